"""The targets that a selection holds, as JSON data."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.manifest.manifest import Entry


def make_target_list(entries: Sequence[Entry]) -> dict[str, object]:
    """Return what `ls --json` prints."""
    return {"targets": [_facts(entry) for entry in entries]}


def _facts(entry: Entry) -> dict[str, object]:
    names = (
        "name",
        "instance",
        "model_id",
        "model_name",
        "branch",
        "max_branches",
        "connection",
        "schemas",
        "tables",
        "tags",
        "enabled",
    )
    facts: dict[str, object] = {name: getattr(entry, name) for name in names}
    return {**facts, "refresh": entry.refresh.value, "mode": entry.mode.value, "line": entry.place.line}
