"""Makes the plan: resolves each selected entry to ids and puts it into a lane, or says why it gets no refresh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.manifest.manifest import Entry, Manifest, Mode, is_id
from orchestrator.planning.inventory import Inventory
from orchestrator.planning.plan import Expansion, Lane, RefreshPlan, Skip, Target, Unresolved
from orchestrator.planning.resolve import BranchExpander, Resolver, UnresolvedError

_UNKNOWN_CONNECTION = (
    "its connection is not known, so another refresh may run on it at the same time; add `connection:` to its entry"
)
_NOTHING = Inventory()
_Found = tuple[Entry, str, str | None]


def make_plan(
    manifest: Manifest,
    selected: Sequence[Entry],
    inventories: Mapping[str, Inventory],
    *,
    picks: Callable[[Entry, Entry], bool] | None = None,
) -> RefreshPlan:
    """Return the plan for `selected` entries. `inventories`, by instance, are what was looked up.

    An entry with a branch pattern becomes one target for each branch that `picks(entry, pattern)` selects; None selects all.
    """
    warnings: dict[int, list[str]] = defaultdict(list)
    index = {entry.name: entry.index for entry in selected}
    for warning in manifest.warnings:
        if warning.entry in index:
            warnings[index[warning.entry]].append(
                f"{warning.message}; {warning.hint}" if warning.hint else warning.message
            )
    resolvers = {name: Resolver(inventories.get(name, _NOTHING)) for name in {e.instance for e in selected}}
    expander = BranchExpander(manifest, resolvers, picks)
    skips = [Skip(entry=e, reason="disabled in the manifest") for e in selected if not e.enabled]
    unresolved: list[Unresolved] = []
    expansions: list[Expansion] = []
    found: list[_Found] = []
    for entry in (e for e in selected if e.enabled):
        resolve = expander.expand if entry.has_branch_pattern else resolvers[entry.instance].resolve
        try:
            resolved = resolve(entry)
        except UnresolvedError as error:
            unresolved.append(Unresolved(entry=entry, message=error.message, hint=error.hint))
            continue
        if isinstance(resolved, Skip):
            skips.append(resolved)
        elif isinstance(resolved, Expansion):
            expansions.append(resolved)
            found += resolved.resolved
            for one in resolved.entries if entry.index in warnings else ():
                warnings[one.index] += warnings[entry.index]
        else:
            found.append((entry, *resolved))
    places = _Places(found, inventories)
    targets: list[Target] = []
    for entry, model_id, branch_id in found:
        candidates = places.seen_on(entry)
        if len(candidates) > 1:
            message = f"the label {entry.connection!r} stands on two connections: {', '.join(sorted(candidates))}"
            hint = "give each connection its own label, or leave `connection:` out and let it be looked up"
            unresolved.append(Unresolved(entry=entry, message=message, hint=hint))
            continue
        connection, label = places.connection(entry, model_id), entry.connection
        if connection is None:
            warnings[entry.index].append(_UNKNOWN_CONNECTION)
        elif label is not None and is_id(label) and candidates and label.lower() not in candidates:
            warnings[entry.index].append(f"the manifest says connection {label}, the instance says {connection}")
        lane = f"connection {places.base(entry, connection)}" if connection is not None else f"model {model_id}"
        targets.append(Target(entry=entry, model_id=model_id, branch_id=branch_id, connection=connection, lane=lane))
    return RefreshPlan(
        manifest=manifest,
        lanes=_make_lanes(targets),
        skips=tuple(sorted(skips, key=lambda s: s.entry.index)),
        unresolved=tuple(sorted(unresolved, key=lambda u: u.entry.index)),
        warnings={k: tuple(v) for k, v in warnings.items()},
        expansions=tuple(expansions),
    )


def with_known(plan: RefreshPlan, known: Sequence[Target], warnings: Mapping[int, tuple[str, ...]]) -> RefreshPlan:
    """Return the plan with `known` targets, and their warnings by an entry's index, added to it; lanes keep manifest order."""
    if not known:
        return plan
    targets = [*(t for lane in plan.lanes for t in lane.targets), *known]
    return replace(
        plan,
        lanes=_make_lanes(sorted(targets, key=lambda t: t.entry.index)),
        warnings={**{t.entry.index: warnings.get(t.entry.index, ()) for t in known}, **plan.warnings},
    )


def _make_lanes(targets: Iterable[Target]) -> tuple[Lane, ...]:
    lanes: defaultdict[tuple[str, str], list[Target]] = defaultdict(list)
    for target in targets:
        lanes[target.entry.instance, target.lane].append(target)
    return tuple(Lane(instance=i, key=key, targets=tuple(served)) for (i, key), served in lanes.items())


_ID, _LABEL, _MODEL = range(3)
_Name = tuple[int, str, str]
"""What a text is, its instance, and the text."""


class _SameNames:
    """Names of one thing, joined. An id is a better name than a label, and a label a better one than a model."""

    def __init__(self) -> None:
        self._better: dict[_Name, _Name] = {}

    def best(self, name: _Name) -> _Name:
        while (better := self._better.get(name)) is not None:
            # each step halves the way for the next one
            self._better[name] = self._better.get(better, better)
            name = better
        return name

    def join(self, one: _Name, other: _Name) -> None:
        """Make one best name of two; of equally good ones, `one`."""
        better, worse = sorted((self.best(one), self.best(other)), key=lambda name: name[0])
        if better != worse:
            self._better[worse] = better


class _Places:
    """The connection of each model: what look-ups showed, else what all entries with the same model or label say together. A
    label can be a connection's id.
    """

    def __init__(self, found: Sequence[_Found], inventories: Mapping[str, Inventory]) -> None:
        self._shown: dict[tuple[str, str], str] = {}
        self._seen_on: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._names = _SameNames()
        self._bases = _SameNames()
        for instance, known in inventories.items():
            for base, environment in known.environments:
                # a connection can be an environment of several bases, and a base of others
                self._bases.join((_ID, instance, base), (_ID, instance, environment))
        for entry, model_id, _ in found:
            record = inventories.get(entry.instance, _NOTHING).records.get(model_id)
            if record is not None and record.connection_id is not None:
                self._shown[entry.instance, model_id] = record.connection_id
                self._names.join((_MODEL, entry.instance, model_id), (_ID, entry.instance, record.connection_id))
                if entry.connection is not None:
                    self._seen_on[entry.instance, entry.connection].add(record.connection_id)
        for entry, model_id, _ in found:
            label = entry.connection
            if label is not None and len(self.seen_on(entry)) < 2:
                name = (_ID, entry.instance, label.lower()) if is_id(label) else (_LABEL, entry.instance, label)
                self._names.join((_MODEL, entry.instance, model_id), name)

    def seen_on(self, entry: Entry) -> set[str]:
        """Return the ids of the connections on which the entry's label was seen."""
        return set() if entry.connection is None else self._seen_on.get((entry.instance, entry.connection), set())

    def connection(self, entry: Entry, model_id: str) -> str | None:
        """Return the connection of a model: its id if that is known, else a label; None if neither is."""
        if (shown := self._shown.get((entry.instance, model_id))) is not None:
            return shown
        kind, _, name = self._names.best((_MODEL, entry.instance, model_id))
        return None if kind == _MODEL else name

    def base(self, entry: Entry, connection: str) -> str:
        """Return the connection that names the lane: the base of a connection environment, else the connection itself.

        Whether a refresh works on the base or on an environment depends on the user attributes of the key's user.
        """
        return self._bases.best((_ID, entry.instance, connection))[2]


def coverage_warnings(refresh_mode: Mode, entry: Entry) -> tuple[str, ...]:
    """Return the warning for a target that a refresh of another mode than its own serves."""
    if refresh_mode is Mode.HARD and entry.mode is Mode.SOFT and entry.mode_pinned:
        return ("asked for a soft refresh and was served by a hard one of the same connection",)
    return ()
