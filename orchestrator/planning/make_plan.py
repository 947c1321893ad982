"""Manifest and inventory -> plan: every selected entry resolved to ids and put into its lane, or refused with reasons."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.manifest.manifest import Entry, Manifest, Mode
from orchestrator.omni.answers import ModelRecord
from orchestrator.planning.inventory import Inventory, by_name, canonical, is_id, same_named
from orchestrator.planning.plan import Lane, RefreshPlan, Skip, Target, Unresolved

# Near names are looked for this often: among thousands of names each search takes a while, and one typo is soon seen.
MOST_SEARCHES = 50
_LONGEST_NAME = 200

_NOT_WHOLE = ": the list of models was not read to its end"


class Resolver:
    """Resolves the entries of one instance by its inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._by_name: Mapping[str, tuple[ModelRecord, ...]] | None = None
        self._searches = 0

    def resolve(self, entry: Entry) -> tuple[str, str | None] | Unresolved:
        """The ids of an entry's model and branch (None: it has none). A model that is given by its id always resolves:
        whether there is one of that id is for the server to say.
        """
        model_id = entry.model_id
        if model_id is None:
            name = entry.model_name or entry.name
            found = self.named(name)
            if len(found) < 2 and not self._inventory.is_settled(name, found):
                return Unresolved(
                    entry=entry,
                    message=f"the model {name!r} could not be looked up{self._inventory.why(name) or _NOT_WHOLE}",
                    hint="write the model's id, or run again when the instance answers",
                )
            if len(found) != 1:
                return self._no_model(entry, name, found)
            model_id = found[0].id
        if entry.branch is None:
            return model_id, None
        if is_id(entry.branch):
            return model_id, entry.branch.lower()
        branches = self._inventory.branches.get(model_id)
        if branches is None:
            return Unresolved(
                entry=entry,
                message=f"the branches of model {model_id} could not be read{self._inventory.why(model_id, entry.model_name)}",
                hint="write the branch's id instead of its name, or run again when the instance answers",
            )
        matches = [branch_id for branch_id, name in branches if name == entry.branch]
        if not matches:
            matches = [branch_id for branch_id, name in branches if canonical(name) == canonical(entry.branch)]
        if len(matches) == 1:
            return model_id, matches[0]
        if matches:
            return Unresolved(
                entry=entry,
                message=f"the model has {len(matches)} branches named {entry.branch!r}",
                hint=f"write the id of the one that is meant: {', '.join(matches[:5])}",
            )
        return Unresolved(
            entry=entry,
            message=f"the model has no branch named {entry.branch!r}",
            hint=self.near(entry.branch, (name for _, name in branches))
            or "check the branch's name in Omni, or write its id",
        )

    def named(self, name: str) -> tuple[ModelRecord, ...]:
        """Return the models of this name, of the first kind that has any."""
        if self._by_name is None:
            self._by_name = by_name(self._inventory.records.values())
        return same_named(self._by_name, name)

    def near(self, name: str, known: Iterable[str]) -> str:
        """Which of the known names may be meant, as a question; empty where none is near."""
        self._searches += 1
        if self._searches > MOST_SEARCHES or len(name) > _LONGEST_NAME:
            return ""
        folded = {k.lower(): k for k in known if len(k) <= _LONGEST_NAME}
        near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)
        return f"did you mean {', '.join(repr(folded[n]) for n in near)}?" if near else ""

    def _no_model(self, entry: Entry, name: str, found: tuple[ModelRecord, ...]) -> Unresolved:
        if found:
            ids = ", ".join(record.id for record in found[:5])
            return Unresolved(
                entry=entry,
                message=f"{len(found)} models are named {name!r}",
                hint=f"write the id of the one that is meant: {ids}",
            )
        return Unresolved(
            entry=entry,
            message=f"no model is named {name!r}",
            hint=self.near(name, self._by_name or ()) or "check the model's name in Omni, or write its id",
        )


_UNKNOWN_CONNECTION = "its connection is not known, so another refresh may run on it at the same time; `connection:` in the manifest says it"
_NOTHING = Inventory()


def make_plan(manifest: Manifest, selected: Sequence[Entry], inventories: Mapping[str, Inventory]) -> RefreshPlan:
    """The plan for `selected` entries; `inventories` by instance holds what was looked up (nothing where not needed)."""
    warnings: dict[int, list[str]] = defaultdict(list)
    index = {entry.name: entry.index for entry in selected}
    for warning in manifest.warnings:
        if warning.entry in index:
            warnings[index[warning.entry]].append(
                f"{warning.message}; {warning.hint}" if warning.hint else warning.message
            )
    unresolved: list[Unresolved] = []
    found: list[tuple[Entry, str, str | None]] = []
    resolvers: dict[str, Resolver] = {}
    for entry in (e for e in selected if e.enabled):
        if entry.instance not in resolvers:
            resolvers[entry.instance] = Resolver(inventories.get(entry.instance, _NOTHING))
        ids = resolvers[entry.instance].resolve(entry)
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
        connection, label = places.connection(entry, model_id), entry.connection
        if connection is None:
            warnings[entry.index].append(_UNKNOWN_CONNECTION)
        elif label is not None and is_id(label) and candidates and label.lower() not in candidates:
            warnings[entry.index].append(f"the manifest says connection {label}, the instance says {connection}")
        lane = f"connection {connection}" if connection is not None else f"model {model_id}"
        target = Target(entry=entry, model_id=model_id, branch_id=branch_id, connection=connection, lane=lane)
        lanes.setdefault((entry.instance, lane), []).append(target)
    return RefreshPlan(
        manifest=manifest,
        lanes=tuple(Lane(instance=i, key=key, targets=tuple(ts)) for (i, key), ts in lanes.items()),
        skips=tuple(Skip(entry=e, reason="disabled in the manifest") for e in selected if not e.enabled),
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
                label = entry.connection
                name = (_ID, label.lower()) if is_id(label) else (_LABEL, label)
                self._join((entry.instance, _MODEL, model_id), (entry.instance, *name))

    def seen_on(self, entry: Entry) -> set[str]:
        """The connections' ids that the entry's label was seen on."""
        return set() if entry.connection is None else self._seen_on.get((entry.instance, entry.connection), set())

    def connection(self, entry: Entry, model_id: str) -> str | None:
        """Return the connection of a model: its id if that is known, else a label; None if neither is."""
        if (shown := self._shown.get((entry.instance, model_id))) is not None:
            return shown
        _, kind, name = self._first((entry.instance, _MODEL, model_id))
        return None if kind == _MODEL else name

    def _first(self, node: _Node) -> _Node:
        while (before := self._same.get(node)) is not None:
            # each step halves the way for the next one
            if (further := self._same.get(before)) is not None:
                self._same[node] = further
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


def coverage_warnings(refresh_mode: Mode, entry: Entry) -> tuple[str, ...]:
    """Return the warning for a target that a refresh of another mode than its own serves."""
    if refresh_mode is Mode.HARD and entry.mode is Mode.SOFT and entry.mode_pinned:
        return ("asked for a soft refresh and was served by a hard one of the same connection",)
    return ()


def with_known(plan: RefreshPlan, known: Sequence[Target], warnings: Mapping[int, tuple[str, ...]]) -> RefreshPlan:
    """The plan with `known` targets, and their warnings by an entry's index, added to it; lanes keep manifest order."""
    if not known:
        return plan
    lanes: dict[tuple[str, str], list[Target]] = {}
    for target in sorted((*(t for lane in plan.lanes for t in lane.targets), *known), key=lambda t: t.entry.index):
        lanes.setdefault((target.entry.instance, target.lane), []).append(target)
    return replace(
        plan,
        lanes=tuple(Lane(instance=i, key=key, targets=tuple(targets)) for (i, key), targets in lanes.items()),
        warnings={**{t.entry.index: warnings.get(t.entry.index, ()) for t in known}, **plan.warnings},
    )
