"""Decides what each entry gets for a change: a hard refresh, a soft one of what the change affects, or none. Pure.

| what the change does to what the entry reads | the entry gets |
|---|---|
| nothing | no refresh: `skipped`, with the reason |
| only adds | a soft refresh, limited to the affected schemas and tables within its own scope |
| removes something, or was not understood | a hard refresh without scope: a soft one keeps what was removed |

An entry with `refresh: dbt_sync` keeps its dbt sync, with a warning: that reads no tables.
An entry with `mode: soft` of its own stays soft, with a warning if something was removed; one with `mode: hard` stays hard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.changes.change_set import Change, Effect, NotUnderstood
from orchestrator.manifest.manifest import Entry, Mode, RefreshKind
from orchestrator.planning.bookkeeping import is_bookkeeping
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.read_set import Index, ReadSet, is_destructive, new_schemas, reach_of, reads_everything
from orchestrator.planning.soft_scope import SoftScope, make_soft_scope

NOTHING_TOUCHED = "not touched: the change touches nothing"
SCHEMAS_UNKNOWN = "which schemas it reads could not be asked, so it counts as touched; `reads:` in the manifest says it"
KEEPS_WHAT_IS_GONE = "stays soft, as its entry says, and so keeps what is gone"
SEES_NO_TABLES = "a dbt sync reads no tables, so the model does not get this change"
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What a change means for one entry.

    `entry` is the entry as it is to be refreshed, unchanged if `is_skipped`. `why` explains it to people. `changes` are those
    that affect the entry.
    """

    entry: Entry
    why: str
    is_skipped: bool = False
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


def must_ask(entry: Entry, followed: FollowedChange) -> bool:
    """Return whether the schemas that an entry reads must be read from the instance.

    That is so if the entry has neither `reads` nor a scope and the change names schemas. If a statement was not understood,
    the change affects every entry, and nothing needs to be read.
    """
    changes = followed.changes
    is_open = reads_everything(entry) and not changes.not_understood
    return entry.enabled and is_open and any(change.name.schema is not None for change in changes.changes)


def find_impacts(
    entries: Iterable[Entry], followed: FollowedChange, *, schemas: Mapping[int, tuple[str, ...] | None]
) -> tuple[Impact, ...]:
    """Return what the change means for each enabled entry.

    `schemas` holds, by an entry's index, the schemas that the instance listed. None means that they could not be read: then
    the change counts as affecting the entry.
    """
    index = Index(c for c in followed.changes.changes if not is_bookkeeping(c.name))
    judge = _Judge(followed, index, new_schemas(index, followed.may_be_new, schemas.values()))
    impacts = []
    for entry in entries:
        if entry.enabled:
            listed = schemas.get(entry.index)
            one = judge.decide(entry, listed)
            if entry.index in schemas and listed is None and not one.is_skipped:
                one = replace(one, warnings=(SCHEMAS_UNKNOWN, *one.warnings))
            impacts.append(one)
    return tuple(impacts)


class _Judge:
    """Decides for one entry after the other. What several entries have in common is computed once."""

    def __init__(self, followed: FollowedChange, index: Index, new: frozenset[str]) -> None:
        self._followed = followed
        self._unclear = followed.changes.not_understood
        self._index = index
        self._new = new
        self._found: dict[ReadSet, tuple[Change, ...]] = {}
        self._scopes: dict[object, SoftScope] = {}

    def decide(self, entry: Entry, listed: tuple[str, ...] | None) -> Impact:
        reach = reach_of(entry, listed, self._new)
        if reach not in self._found:
            self._found[reach] = self._index.touching(reach)
        changes = self._found[reach]
        if not changes and not self._unclear:
            return Impact(entry=entry, why=_why_unaffected(entry, self._followed), is_skipped=True)
        if entry.refresh is RefreshKind.DBT_SYNC:
            because = _shown(changes, self._unclear)
            warnings = (f"{SEES_NO_TABLES}: {because}",)
            return Impact(entry=entry, why=f"dbt sync: {because}", changes=changes, warnings=warnings)
        if self._unclear or is_destructive(changes):
            return self._destructive(entry, changes, listed)
        if entry.mode is Mode.HARD and entry.mode_pinned:
            return Impact(entry=entry, why=f"hard, as its entry says: {_shown(changes)}", changes=changes)
        scope = self._scope(entry, changes, listed)
        return Impact(
            entry=_softened(entry, scope), why=f"soft: {_shown(changes)}", changes=changes, warnings=scope.warnings
        )

    def _destructive(self, entry: Entry, changes: tuple[Change, ...], listed: tuple[str, ...] | None) -> Impact:
        because = _shown([c for c in changes if c.effect is Effect.DESTRUCTIVE], self._unclear)
        if entry.mode is Mode.SOFT and entry.mode_pinned:
            scope = SoftScope(schemas=entry.schemas, tables=entry.tables)
            if not self._unclear:
                scope = self._scope(entry, changes, listed)
            warnings = (f"{KEEPS_WHAT_IS_GONE}: {because}", *scope.warnings)
            why = f"soft, as its entry says: {because}"
            return Impact(entry=_softened(entry, scope), why=why, changes=changes, warnings=warnings)
        hard = replace(entry, mode=Mode.HARD, schemas=(), tables=())
        warnings = ()
        if entry.schemas or entry.tables:
            warnings = (f"refreshed hard and so without its scope, since a soft refresh keeps what is gone: {because}",)
        return Impact(entry=hard, why=f"hard: {because}", changes=changes, warnings=warnings)

    def _scope(self, entry: Entry, changes: tuple[Change, ...], listed: tuple[str, ...] | None) -> SoftScope:
        key = (entry.reads, entry.schemas, entry.tables, listed)
        if key not in self._scopes:
            self._scopes[key] = make_soft_scope(entry, changes, listed)
        return self._scopes[key]


def _softened(entry: Entry, scope: SoftScope) -> Entry:
    return replace(entry, mode=Mode.SOFT, schemas=scope.schemas, tables=scope.tables)


def _why_unaffected(entry: Entry, followed: FollowedChange) -> str:
    if followed.is_nothing:
        return NOTHING_TOUCHED
    if reads_everything(entry):
        return "not touched: nothing that changed is in a schema of its connection"
    names = entry.reads if entry.reads is not None else (*entry.schemas, *entry.tables)
    return f"not touched: it reads {_some(names[:_SHOWN], len(names))}"


def source_of(item: Change | NotUnderstood) -> str:
    """Return where a change is written: `FILE:LINE`, or only its source if that has no lines."""
    return f"{item.source}:{item.line}" if item.line else item.source


def _shown(changes: Sequence[Change], unclear: Sequence[NotUnderstood] = ()) -> str:
    """Return the first few changes as text, each with its source."""
    words = [f"{source_of(n)} was not understood" for n in unclear[:_SHOWN]]
    words += [f"{c.name} ({source_of(c)}: {c.reason})" for c in changes[: _SHOWN - len(words)]]
    return _some(words, len(changes) + len(unclear))


def _some(words: Sequence[str], count: int) -> str:
    return ", ".join(words) if len(words) == count else f"{', '.join(words)} and {count - len(words)} more"
