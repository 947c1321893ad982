"""What the journal knows of a manifest's earlier runs, target by target."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from orchestrator.journal.database import Database, Row, fit
from orchestrator.journal.records import Earlier

_REFUSED_KEY: Final = "key_refused"


def read_earlier(
    database: Database,
    manifest_identity: str,
    *,
    before: str,
    names: Iterable[str],
    good: Collection[str],
    silent: Collection[str],
) -> dict[str, Earlier]:
    """Return the last result of targets, by name, in runs of the same manifest before that of the root `before`.

    `good` are the statuses that end a streak of failures. A status of `silent` is no result, except if the target's key was
    refused.
    """
    roots = database.read(
        "SELECT id, began_at FROM runs WHERE manifest_identity = ? AND id = root AND number <"
        " (SELECT number FROM runs WHERE id = ?) ORDER BY number DESC",
        (fit(manifest_identity), before),
    )
    found: dict[str, Earlier] = {}
    # the names whose streak may have begun still earlier
    asked = {fit(name): name for name in names}
    for root, began_at in roots:
        if not asked:
            break
        for kept, status in _results(database, root, silent):
            name, bad = asked.get(kept), status not in good
            if name is None:
                continue
            if not bad:
                del asked[kept]
            if bad or name not in found:
                last = found[name].status if name in found else status
                since = datetime.fromisoformat(began_at) if bad else None
                found[name] = Earlier(status=last, failing_since=since)
    return found


def _results(database: Database, root: str, silent: Collection[str]) -> list[Row]:
    """Return names and statuses of a run's targets that have a result."""
    packed = json.dumps(sorted(silent))
    rows = database.read(
        "SELECT name, status, CASE WHEN status IN (SELECT value FROM json_each(?)) THEN outcome END FROM targets"
        " WHERE root = ? AND status IS NOT NULL"
        " AND (status NOT IN (SELECT value FROM json_each(?)) OR outcome LIKE ?)",
        (packed, root, packed, f'%"{_REFUSED_KEY}"%'),
    )
    return [(name, status) for name, status, outcome in rows if outcome is None or _was_refused(json.loads(outcome))]


def _was_refused(outcome: Mapping[str, Any]) -> bool:
    return (outcome.get("error") or {}).get("kind") == _REFUSED_KEY


def read_recent(
    database: Database, manifest_identity: str, *, before: str, names: Iterable[str], count: int
) -> dict[str, tuple[str, ...]]:
    """Return the last `count` statuses of targets, by name, oldest first, in runs of the manifest before the root `before`.

    It looks at three times as many runs at most: a run over a selection has no status of the other targets.
    """
    roots = database.read(
        "SELECT id FROM runs WHERE manifest_identity = ? AND id = root AND number <"
        " (SELECT number FROM runs WHERE id = ?) ORDER BY number DESC LIMIT ?",
        (fit(manifest_identity), before, 3 * count),
    )
    asked = {fit(name): name for name in names}
    found: dict[str, list[str]] = {}
    for (root,) in roots:
        if not asked:
            break
        for kept, status in database.read(
            "SELECT name, status FROM targets WHERE root = ? AND status IS NOT NULL", (root,)
        ):
            name = asked.get(kept)
            if name is not None:
                found.setdefault(name, []).append(status)
                if len(found[name]) == count:
                    del asked[kept]
    return {name: tuple(reversed(statuses)) for name, statuses in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTarget:
    """A target in an earlier run: its outcome as a report's row, None if it has none yet."""

    name: str
    model_id: str | None
    outcome: Mapping[str, Any] | None


def read_past_targets(database: Database, root: str, *, only: str | None) -> tuple[PastTarget, ...]:
    """The targets of a run, in manifest order; with `only`, those of that name or model id."""
    rows = database.read(
        "SELECT name, model_id, outcome FROM targets WHERE root = ? AND (CAST(? AS TEXT) IS NULL OR name = ? OR model_id = ?)"
        " ORDER BY place",
        (root, fit(only), fit(only), fit(only)),
    )
    return tuple(
        PastTarget(name=name, model_id=model_id, outcome=None if outcome is None else json.loads(outcome))
        for name, model_id, outcome in rows
    )
