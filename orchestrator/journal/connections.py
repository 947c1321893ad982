"""The names under which a connection is known, and what runs learned about which names mean the same connection.

A lane has a name for each of its models, its connection's id and its labels. Two lanes meet if one of their names is the
same, or if the journal knows that two of them mean the same connection. What was learned decides only which refresh waits for which,
never what is refreshed: an outdated fact costs only time.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from orchestrator.journal.database import Reader, SqlBatch, fit
from orchestrator.manifest.manifest import is_id
from orchestrator.planning.plan import RefreshPlan, Target

_ID = "connection "
_LABEL = "label "
_MODEL = "model "
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneNames:
    """The names that a lane holds while its refresh runs, and those that no other lane may hold then (these and more)."""

    held: frozenset[str]
    checked: frozenset[str]


def instance_address(base_url: str) -> str:
    """Return one spelling for all spellings of an instance's address. All names of this machine are one host."""
    parts = urlsplit(base_url.strip())
    host = (parts.hostname or "").rstrip(".")
    if host in {"localhost", "::1"} or host.startswith("127."):
        host = "loopback"
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    path = parts.path.rstrip("/").removesuffix("/v1").removesuffix("/api").rstrip("/")
    return f"{host}:{port}{path}"


def model_name(model_id: str) -> str:
    """Return a model's name among those of a lane."""
    return _MODEL + _plain(model_id)


def connection_name(text: str) -> str:
    """Return the name of a connection that is given by its id or by a label; case and blanks make no difference."""
    return (_ID if is_id(text.strip()) else _LABEL) + _plain(text)


def names_of(targets: Iterable[Target]) -> LaneNames:
    """Return the names that targets give. A lane with an id holds no labels: another connection may have the same label."""
    models, ids, labels = set(), set(), set()
    for target in targets:
        models.add(model_name(target.model_id))
        kind, _, root = target.lane.partition(" ")
        if kind == "connection" and is_id(root):
            # the base of a connection environment: a refresh may work on either
            ids.add(connection_name(root))
        for text in (target.connection, target.entry.connection):
            name = None if text is None else connection_name(text)
            if name is not None and name.startswith(_LABEL):
                labels.add(name)
            elif name is not None and text is target.connection:
                ids.add(name)
    return LaneNames(held=frozenset(models | (ids or labels)), checked=frozenset(models | ids | labels))


def names_of_old_call(lane: str, model_id: str | None) -> frozenset[str]:
    """Return the names of a call that an earlier version stored with its lane's key alone."""
    names = {model_name(model_id)} if model_id is not None else set()
    kind, _, name = lane.partition(" ")
    names.add(connection_name(name) if kind == "connection" else model_name(name))
    return frozenset(names)


class Connections:
    """What the journal knows of names of connections: a model's connection or label, and a label's connections."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def lane_names(self, address: str, targets: Sequence[Target]) -> LaneNames:
        """Return a lane's names, with those that the journal adds if the lane does not know its connection's id."""
        names = names_of(targets)
        if any(name.startswith(_ID) for name in names.held):
            return names
        held = names.held.union(*self._meanings(address, names.held).values())
        return LaneNames(held=held, checked=held | names.checked)

    def may_meet(self, address: str, checked: frozenset[str]) -> frozenset[str]:
        """Return `checked` and all names that may mean one of them: `meeting` picks some of these, and no others."""
        wanted = json.dumps(sorted(checked))
        rows = self._reader.read(_MEANING, (fit(address), wanted, fit(address), wanted))
        return checked | {name for (name,) in rows}

    def meeting(self, address: str, names: Iterable[str], checked: frozenset[str]) -> frozenset[str]:
        """Return those of `names` that mean a connection of `checked`. The answer for a name does not depend on the others."""
        names = frozenset(names)
        meanings = self._meanings(address, names - checked)
        return frozenset(n for n in names if n in checked or not checked.isdisjoint(meanings.get(n, ())))

    def _meanings(self, address: str, names: Iterable[str]) -> dict[str, set[str]]:
        """Return what models and labels mean: a connection's id if it is known, else a label and its ids."""
        wanted = sorted(name for name in names if not name.startswith(_ID))
        if not wanted:
            return {}
        found: dict[str, set[str]] = {}
        beyond: dict[str, set[str]] = {}
        for name, means, label_means in self._reader.read(_MEANINGS, (fit(address), json.dumps(wanted))):
            found.setdefault(name, set()).add(means)
            if label_means is not None:
                beyond.setdefault(name, set()).add(label_means)
        for name, meanings in found.items():
            ids = {m for m in meanings if m.startswith(_ID)}
            found[name] = ids if ids and name.startswith(_MODEL) else meanings | beyond.get(name, set())
        return found


# what names mean, and what that means if it is a label
_MEANINGS: Final = """
SELECT known.name, known.means, label.means FROM connection_names AS known
LEFT JOIN connection_names AS label ON label.address = known.address AND label.name = known.means
WHERE known.address = ? AND known.name IN (SELECT value FROM json_each(?))
"""
_MEANING: Final = """
SELECT name FROM connection_names WHERE address = ? AND means IN (SELECT value FROM json_each(?))
UNION
SELECT known.name FROM connection_names AS known
JOIN connection_names AS label ON label.address = known.address AND label.name = known.means
WHERE known.address = ? AND label.means IN (SELECT value FROM json_each(?))
"""
_LEARN: Final = """
INSERT INTO connection_names (address, name, means, seen_at) VALUES (?, ?, ?, ?)
ON CONFLICT (address, name, means) DO UPDATE SET seen_at = excluded.seen_at
"""
# a model that one manifest labels and another run looked up shows which connection the label means
_LEARN_LABELS: Final = """
INSERT INTO connection_names (address, name, means, seen_at)
SELECT DISTINCT label.address, label.means, id.means, CAST(? AS TEXT) FROM connection_names AS label
JOIN connection_names AS id ON id.address = label.address AND id.name = label.name
WHERE label.address = ? AND (label.seen_at = ? OR id.seen_at = ?)
AND substr(label.means, 1, ?) = ? AND substr(id.means, 1, ?) = ?
ON CONFLICT (address, name, means) DO UPDATE SET seen_at = excluded.seen_at
"""


def learn(plan: RefreshPlan, at: datetime) -> list[SqlBatch]:
    """Return the statements that store a plan's facts about connections. A model's newest id replaces its earlier one."""
    facts: dict[str, dict[tuple[str, str], None]] = {}
    outdated = []
    for lane in plan.lanes:
        address = fit(instance_address(plan.manifest.instances[lane.instance].base_url))
        own = facts.setdefault(address, {})
        for target in lane.targets:
            if target.connection is None:
                continue
            model, means = model_name(target.model_id), connection_name(target.connection)
            own[model, means] = None
            if means.startswith(_ID):
                outdated.append((address, model, means, len(_ID), _ID))
            label = target.entry.connection
            if label is not None and means.startswith(_ID) and not is_id(label):
                own[connection_name(label), means] = None
    moment = at.isoformat()
    rows = [(address, name, means, moment) for address, own in facts.items() for name, means in own]
    # one statement for each address: it reads all of the address's rows, so one for each lane would be quadratic
    labels = [(moment, address, moment, moment, len(_LABEL), _LABEL, len(_ID), _ID) for address in facts]
    outdate = "DELETE FROM connection_names WHERE address = ? AND name = ? AND means != ? AND substr(means, 1, ?) = ?"
    return [(outdate, outdated), (_LEARN, rows), (_LEARN_LABELS, labels)]


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFC", " ".join(text.split())).casefold()
    return folded.encode("utf-8", "backslashreplace").decode("utf-8")
