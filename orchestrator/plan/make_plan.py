"""Manifest and inventory -> plan: every selected entry resolved to ids and put into its lane, or refused with reasons."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from orchestrator.manifest.manifest import Entry, Manifest, Mode
from orchestrator.plan.inventory import UUID, Inventory
from orchestrator.plan.plan import Lane, Plan, Skip, Target, Unresolved

_UNKNOWN_CONNECTION = "its connection is not known, so another refresh may run on it at the same time; `connection:` in the manifest says it"


def make_plan(manifest: Manifest, selected: Sequence[Entry], inventories: Mapping[str, Inventory]) -> Plan:
    """The plan for `selected` entries; `inventories` by instance holds what was looked up (nothing where not needed)."""
    skips = [Skip(entry=e, reason="disabled in the manifest") for e in selected if not e.enabled]
    warnings: dict[int, list[str]] = defaultdict(list)
    for warning in manifest.warnings:
        for entry in selected:
            if warning.entry == entry.name:
                warnings[entry.index].append(warning.message)
    unresolved: list[Unresolved] = []
    found: list[tuple[Entry, str, str | None]] = []
    for entry in (e for e in selected if e.enabled):
        ids = _resolve(entry, inventories.get(entry.instance, Inventory()))
        if isinstance(ids, Unresolved):
            unresolved.append(ids)
        else:
            found.append((entry, *ids))
    places = _Places(found, inventories)
    lanes: dict[tuple[str, str], list[Target]] = {}
    for entry, model_id, branch_id in found:
        candidates = places.seen_on(entry)
        if len(candidates) > 1:
            unresolved.append(_two_connections(entry, candidates))
            continue
        connection = places.connection(entry, model_id)
        if connection is None:
            warnings[entry.index].append(_UNKNOWN_CONNECTION)
        lane = f"connection {connection}" if connection is not None else f"model {model_id}"
        target = Target(entry=entry, model_id=model_id, branch_id=branch_id, connection=connection, lane=lane)
        lanes.setdefault((entry.instance, lane), []).append(target)
    return Plan(
        manifest=manifest,
        lanes=tuple(Lane(instance=i, key=key, targets=tuple(ts)) for (i, key), ts in lanes.items()),
        skips=tuple(skips),
        unresolved=tuple(sorted(unresolved, key=lambda u: u.entry.index)),
        warnings={k: tuple(v) for k, v in warnings.items()},
    )


_ID, _LABEL, _MODEL = range(3)
_Node = tuple[str, int, str]


class _Places:
    """Which connection each model stands on: as look-ups showed it, else as the entries of one model or of one label
    together say. A label may be a connection's id.
    """

    def __init__(self, found: Sequence[tuple[Entry, str, str | None]], inventories: Mapping[str, Inventory]) -> None:
        self._shown: dict[tuple[str, str], str] = {}
        self._seen_on: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._same: dict[_Node, _Node] = {}
        for entry, model_id, _ in found:
            inventory = inventories.get(entry.instance)
            record = inventory.records.get(model_id) if inventory is not None else None
            if record is not None and record.connection_id is not None:
                self._shown[entry.instance, model_id] = record.connection_id
                self._join((entry.instance, _MODEL, model_id), (entry.instance, _ID, record.connection_id))
                if entry.connection is not None:
                    self._seen_on[entry.instance, entry.connection].add(record.connection_id)
        for entry, model_id, _ in found:
            if entry.connection is not None and len(self.seen_on(entry)) < 2:
                is_id = UUID.fullmatch(entry.connection) is not None
                label = entry.connection.lower() if is_id else entry.connection
                self._join((entry.instance, _MODEL, model_id), (entry.instance, _ID if is_id else _LABEL, label))

    def seen_on(self, entry: Entry) -> set[str]:
        """The connections' ids that the entry's label was seen on."""
        return set() if entry.connection is None else self._seen_on.get((entry.instance, entry.connection), set())

    def connection(self, entry: Entry, model_id: str) -> str | None:
        """The connection of a model: its id where it is known, else a label; None where neither is."""
        _, kind, name = self._first((entry.instance, _MODEL, model_id))
        return self._shown.get((entry.instance, model_id)) or (None if kind == _MODEL else name)

    def _first(self, node: _Node) -> _Node:
        while (before := self._same.get(node, node)) != node:
            node = before
        return node

    def _join(self, one: _Node, other: _Node) -> None:
        """Two names of one thing; an id names it better than a label, a label better than a model."""
        one, other = self._first(one), self._first(other)
        if one != other:
            better, worse = (one, other) if one[1] <= other[1] else (other, one)
            self._same[worse] = better


def _two_connections(entry: Entry, candidates: set[str]) -> Unresolved:
    return Unresolved(
        entry=entry,
        message=f"the label {entry.connection!r} stands on two connections: {', '.join(sorted(candidates))}",
        hint="give each connection its own label, or leave `connection:` out and let it be looked up",
    )


def _resolve(entry: Entry, inventory: Inventory) -> tuple[str, str | None] | Unresolved:
    model_id = entry.model_id
    if model_id is None:
        name = entry.model_name or entry.name
        found = inventory.named(name)
        if len(found) != 1:
            return _unresolved_model(entry, name, len(found), inventory)
        model_id = found[0].id
    if entry.branch is None:
        return model_id, None
    if UUID.fullmatch(entry.branch):
        return model_id, entry.branch.lower()
    branches = inventory.branches.get(model_id)
    if branches is None:
        return Unresolved(
            entry=entry,
            message=f"the branches of model {model_id} could not be read{_because(inventory)}",
            hint="write the branch's id instead of its name, or run again when the instance answers",
        )
    matches = [branch_id for branch_id, name in branches if name == entry.branch]
    if len(matches) == 1:
        return model_id, matches[0]
    near = difflib.get_close_matches(entry.branch, [name for _, name in branches], n=3, cutoff=0.5)
    return Unresolved(
        entry=entry,
        message=f"the model has {'no branch' if not matches else f'{len(matches)} branches'} named {entry.branch!r}",
        hint=f"did you mean {', '.join(map(repr, near))}?"
        if near
        else "check the branch's name in Omni, or write its id",
    )


def _unresolved_model(entry: Entry, name: str, count: int, inventory: Inventory) -> Unresolved:
    if count > 1:
        return Unresolved(
            entry=entry, message=f"{count} models are named {name!r}", hint="write the id of the one that is meant"
        )
    if inventory.failure:
        return Unresolved(
            entry=entry,
            message=f"the model {name!r} could not be looked up{_because(inventory)}",
            hint="write the model's id, or run again when the instance answers",
        )
    known = sorted({r.name for r in inventory.records.values() if r.name})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return Unresolved(
        entry=entry,
        message=f"no model is named {name!r}",
        hint=f"did you mean {', '.join(map(repr, near))}?"
        if near
        else "check the model's name in Omni, or write its id",
    )


def _because(inventory: Inventory) -> str:
    return f": {inventory.failure}" if inventory.failure else ""


def coverage_warnings(refresh_mode: Mode, entry: Entry) -> tuple[str, ...]:
    """What a target must be told that is served by a refresh of another mode than the one it asked for."""
    if refresh_mode is Mode.HARD and entry.mode is Mode.SOFT and entry.mode_pinned:
        return ("asked for a soft refresh and was served by a hard one of the same connection",)
    return ()
