"""From a change to what each entry gets: a hard refresh, a soft one of no more than what was touched, or none. Pure.

| the change, as far as it touches the entry | the entry gets |
|---|---|
| nothing | no refresh: `skipped`, with the reason |
| only adds | a soft refresh, limited to the touched schemas and tables within its own scope |
| takes something away, or was not understood | a hard refresh without scope: a soft one keeps what is gone |

An entry that says `mode: soft` itself stays soft, with a warning where something is gone; one that says `mode: hard` stays hard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.changes.change_set import Change, Effect, NotUnderstood
from orchestrator.manifest.manifest import Entry, Mode
from orchestrator.planning.bookkeeping import is_bookkeeping
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.read_set import Index, ReadSet, is_destructive, new_schemas, reach_of, reads_everything
from orchestrator.planning.soft_scope import SoftScope, make_soft_scope

NOTHING_TOUCHED = "not touched: the change touches nothing"
SCHEMAS_UNKNOWN = "which schemas it reads could not be asked, so it counts as touched; `reads:` in the manifest says it"
KEEPS_WHAT_IS_GONE = "stays soft, as its entry says, and so keeps what is gone"
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """What a change means to one entry: `entry` as it is to be refreshed, or as it was where `is_skipped`. `why` says it for
    people; `changes` are those that touch it.
    """

    entry: Entry
    why: str
    is_skipped: bool = False
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


def must_ask(entry: Entry, touched: FollowedChange) -> bool:
    """Whether the instance must be asked which schemas an entry reads: it says neither `reads` nor scopes, and the change has
    schemas to look for. Where a statement was not understood all is touched, and there is nothing to ask.
    """
    changes = touched.changes
    is_open = reads_everything(entry) and not changes.not_understood
    return entry.enabled and is_open and any(change.name.schema is not None for change in changes.changes)


def concern(
    entries: Iterable[Entry], touched: FollowedChange, *, schemas: Mapping[int, tuple[str, ...] | None]
) -> tuple[Concern, ...]:
    """What the change means to each enabled entry. `schemas` hold, by an entry's index, what the instance lists for those of which it
    was asked; None where it could not be read, and then the entry counts as touched.
    """
    index = Index(c for c in touched.changes.changes if not is_bookkeeping(c.name))
    judge = _Judge(touched, index, new_schemas(index, touched.may_be_new, schemas.values()))
    concerns = []
    for entry in entries:
        if entry.enabled:
            listed = schemas.get(entry.index)
            one = judge.decide(entry, listed)
            if entry.index in schemas and listed is None and not one.is_skipped:
                one = replace(one, warnings=(SCHEMAS_UNKNOWN, *one.warnings))
            concerns.append(one)
    return tuple(concerns)


class _Judge:
    """Decides for one entry after the other; what is the same for several is found out once."""

    def __init__(self, touched: FollowedChange, index: Index, new: frozenset[str]) -> None:
        self._touched = touched
        self._unclear = touched.changes.not_understood
        self._index = index
        self._new = new
        self._found: dict[ReadSet, tuple[Change, ...]] = {}
        self._scopes: dict[object, SoftScope] = {}

    def decide(self, entry: Entry, listed: tuple[str, ...] | None) -> Concern:
        reach = reach_of(entry, listed, self._new)
        if reach not in self._found:
            self._found[reach] = self._index.touching(reach)
        changes = self._found[reach]
        if not changes and not self._unclear:
            return Concern(entry=entry, why=_not_touched(entry, self._touched), is_skipped=True)
        if self._unclear or is_destructive(changes):
            return self._destructive(entry, changes, listed)
        if entry.mode is Mode.HARD and entry.mode_pinned:
            return Concern(entry=entry, why=f"hard, as its entry says: {_shown(changes)}", changes=changes)
        scope = self._scope(entry, changes, listed)
        return Concern(
            entry=_softened(entry, scope), why=f"soft: {_shown(changes)}", changes=changes, warnings=scope.warnings
        )

    def _destructive(self, entry: Entry, changes: tuple[Change, ...], listed: tuple[str, ...] | None) -> Concern:
        because = _shown([c for c in changes if c.effect is Effect.DESTRUCTIVE], self._unclear)
        if entry.mode is Mode.SOFT and entry.mode_pinned:
            scope = SoftScope(schemas=entry.schemas, tables=entry.tables)
            if not self._unclear:
                scope = self._scope(entry, changes, listed)
            warnings = (f"{KEEPS_WHAT_IS_GONE}: {because}", *scope.warnings)
            why = f"soft, as its entry says: {because}"
            return Concern(entry=_softened(entry, scope), why=why, changes=changes, warnings=warnings)
        hard = replace(entry, mode=Mode.HARD, schemas=(), tables=())
        warnings = ()
        if entry.schemas or entry.tables:
            warnings = (f"refreshed hard and so without its scope, since a soft refresh keeps what is gone: {because}",)
        return Concern(entry=hard, why=f"hard: {because}", changes=changes, warnings=warnings)

    def _scope(self, entry: Entry, changes: tuple[Change, ...], listed: tuple[str, ...] | None) -> SoftScope:
        key = (entry.reads, entry.schemas, entry.tables, listed)
        if key not in self._scopes:
            self._scopes[key] = make_soft_scope(entry, changes, listed)
        return self._scopes[key]


def _softened(entry: Entry, scope: SoftScope) -> Entry:
    return replace(entry, mode=Mode.SOFT, schemas=scope.schemas, tables=scope.tables)


def _not_touched(entry: Entry, touched: FollowedChange) -> str:
    if touched.is_nothing:
        return NOTHING_TOUCHED
    if reads_everything(entry):
        return "not touched: nothing that changed is in a schema of its connection"
    names = entry.reads if entry.reads is not None else (*entry.schemas, *entry.tables)
    return f"not touched: it reads {_some(names[:_SHOWN], len(names))}"


def place_of(item: Change | NotUnderstood) -> str:
    """Where it is written: `FILE:LINE`, or what named it where there are no lines."""
    return f"{item.source}:{item.line}" if item.line else item.source


def _shown(changes: Sequence[Change], unclear: Sequence[NotUnderstood] = ()) -> str:
    """The first few of them, each with its place."""
    words = [f"{place_of(n)} was not understood" for n in unclear[:_SHOWN]]
    words += [f"{c.name} ({place_of(c)}: {c.reason})" for c in changes[: _SHOWN - len(words)]]
    return _some(words, len(changes) + len(unclear))


def _some(words: Sequence[str], count: int) -> str:
    return ", ".join(words) if len(words) == count else f"{', '.join(words)} and {count - len(words)} more"
