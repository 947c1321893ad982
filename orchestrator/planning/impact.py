"""Decides what each entry gets for a change, and restricts a plan to that. Pure.

| what the change does to what the entry reads | the entry gets |
|---|---|
| nothing | no refresh: `skipped`, with the reason |
| only adds | a soft refresh, limited to the affected schemas and tables within its own scope |
| removes something, or was not understood | a hard refresh without scope: a soft one keeps what was removed |

An entry with `refresh: dbt_sync` keeps its dbt sync, with a warning that this reads no tables. An entry with `mode: soft` of
its own stays soft, with a warning if something was removed. One with `mode: hard` of its own stays hard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from orchestrator.changes.change_set import Change, Effect, NotUnderstood, ObjectName
from orchestrator.manifest.manifest import Entry, Mode, RefreshKind
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.plan import Impact, Lane, RefreshPlan, Skip, Target
from orchestrator.planning.scopes import Index, SoftScope, make_soft_scope, reach_of, reads_everything
from orchestrator.text import and_more, some

SCHEMAS_UNKNOWN = "the schemas that it reads could not be looked up, so it counts as affected; name them under `reads:`"
KEEPS_WHAT_IS_GONE = "stays soft, as its entry says, and keeps what was removed"
SEES_NO_TABLES = "a dbt sync reads no tables, so the model does not get this change"
_SHOWN = 3

# The tables in which migration tools record their runs. No model reads them.
_BOOKS = frozenset(
    {
        *("flyway_schema_history", "schema_version", "databasechangelog", "databasechangeloglock", "schema_migrations"),
        *("ar_internal_metadata", "goose_db_version", "alembic_version", "gorp_migrations", "atlas_schema_revisions"),
        *("__efmigrationshistory", "__drizzle_migrations", "_prisma_migrations", "knex_migrations", "pgmigrations"),
        *("knex_migrations_lock", "sequelizemeta", "django_migrations", "doctrine_migration_versions"),
        *("_sqlx_migrations", "refinery_schema_history", "__diesel_schema_migrations", "micrate_db_version"),
        *("schema_lock", "typeorm_metadata", "dbmate_migrations", "yoyo_lock", "_yoyo_migration", "_yoyo_version"),
    }
)


def must_ask(entry: Entry, followed: FollowedChange) -> bool:
    """Return whether the schemas that an entry reads must be looked up: it has no `reads` and no scope, and the change names
    schemas. If a statement was not understood, the change affects every entry, and no look-up is needed.
    """
    changes = followed.changes
    is_open = reads_everything(entry) and not changes.not_understood
    return entry.enabled and is_open and any(change.name.schema is not None for change in changes.changes)


def find_impacts(
    entries: Iterable[Entry], followed: FollowedChange, *, schemas: Mapping[int, tuple[str, ...] | None]
) -> tuple[Impact, ...]:
    """Return what the change means for each enabled entry.

    `schemas` are, by an entry's index, the schemas that the instance listed. None means that they could not be read. Then the
    entry counts as affected.
    """
    index = Index(c for c in followed.changes.changes if not _is_bookkeeping(c.name))
    judge = _Judge(followed, index, index.new_schemas(followed.may_be_new, schemas.values()))
    impacts = []
    for entry in entries:
        if entry.enabled:
            listed = schemas.get(entry.index)
            one = judge.decide(entry, listed)
            if entry.index in schemas and listed is None and not one.is_skipped:
                one = replace(one, warnings=(SCHEMAS_UNKNOWN, *one.warnings))
            impacts.append(one)
    return tuple(impacts)


def _is_bookkeeping(name: ObjectName) -> bool:
    """Return whether a name is such a table without a schema, which would affect every model. With a schema it is a table
    like any other.
    """
    return name.schema is None and name.table is not None and name.table.lower() in _BOOKS


class _Judge:
    """Decides for one entry after another. What several entries have in common is computed once."""

    def __init__(self, followed: FollowedChange, index: Index, new: frozenset[str]) -> None:
        self._followed = followed
        self._unclear = followed.changes.not_understood
        self._touching = cache(index.touching)
        self._new = new
        self._scopes: dict[object, SoftScope] = {}

    def decide(self, entry: Entry, listed: tuple[str, ...] | None) -> Impact:
        changes = self._touching(reach_of(entry, listed, self._new))
        if not changes and not self._unclear:
            return Impact(entry=entry, why=_why_unaffected(entry, self._followed), is_skipped=True)
        if entry.refresh is RefreshKind.DBT_SYNC:
            because = _shown(changes, self._unclear)
            warnings = (f"{SEES_NO_TABLES}: {because}",)
            return Impact(entry=entry, why=f"dbt sync: {because}", changes=changes, warnings=warnings)
        if self._unclear or any(change.effect is Effect.DESTRUCTIVE for change in changes):
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
            warnings = (f"refreshed hard, without its scope: a soft refresh keeps what was removed ({because})",)
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
        return "not affected: the change is empty"
    if reads_everything(entry):
        return "not affected: the change is in no schema of its connection"
    names = entry.reads if entry.reads is not None else (*entry.schemas, *entry.tables)
    return f"not affected: it reads only {some(names, at_most=_SHOWN)}"


def source_of(item: Change | NotUnderstood) -> str:
    """Return where a change is written: `FILE:LINE`, or only its source if that has no lines."""
    return f"{item.source}:{item.line}" if item.line else item.source


def _shown(changes: Sequence[Change], unclear: Sequence[NotUnderstood] = ()) -> str:
    """Return the first few changes as text, each with its source."""
    words = [f"{source_of(n)} was not understood" for n in unclear[:_SHOWN]]
    words += [f"{c.name} ({source_of(c)}: {c.reason})" for c in changes[: _SHOWN - len(words)]]
    return and_more(words, len(changes) + len(unclear))


def find_unaffected(entries: Iterable[Entry], followed: FollowedChange) -> tuple[Impact, ...]:
    """Return the entries that the change cannot affect. They need no look-ups."""
    return tuple(
        c for c in find_impacts((e for e in entries if not must_ask(e, followed)), followed, schemas={}) if c.is_skipped
    )


def restrict_plan(plan: RefreshPlan, impacts: Sequence[Impact], followed: FollowedChange) -> RefreshPlan:
    """Return the plan with each target refreshed as its impact says.

    Targets without an impact stay as they are. An impact that is skipped becomes a skip, even if it was never planned.
    """
    by_index = {c.entry.index: c for c in impacts}
    warnings = dict(plan.warnings)
    lanes: list[Lane] = []
    for lane in plan.lanes:
        targets = []
        for target in lane.targets:
            one = by_index.get(target.entry.index)
            if one is None:
                targets.append(target)
            elif not one.is_skipped:
                targets.append(replace(target, entry=one.entry))
                warnings[one.entry.index] = (*warnings.get(one.entry.index, ()), *one.warnings)
        if targets:
            lanes.append(replace(lane, targets=tuple(targets)))
    skips = [*plan.skips, *(Skip(entry=c.entry, reason=c.why) for c in impacts if c.is_skipped)]
    restricted = replace(
        plan,
        lanes=tuple(lanes),
        skips=tuple(sorted(skips, key=lambda s: s.entry.index)),
        warnings=warnings,
        impacts=tuple(sorted(impacts, key=lambda c: c.entry.index)),
    )
    return replace(restricted, remarks=_remarks(restricted, followed))


def _remarks(plan: RefreshPlan, followed: FollowedChange) -> tuple[str, ...]:
    """Return remarks on the whole change: what was not understood, not refreshed, or is on several connections."""
    changes = followed.changes
    said = [
        f"{source_of(n)} was not understood ({n.reason or 'a form that is not known'}), so it counts as affecting everything: {n.text}"
        for n in changes.not_understood[:_SHOWN]
    ]
    if len(changes.not_understood) > _SHOWN:
        said.append(f"{len(changes.not_understood) - _SHOWN} more statements were not understood")
    if changes.not_refreshed:
        nodes = some([n.node for n in changes.not_refreshed], at_most=_SHOWN)
        said.append(f"dbt did not build {nodes}: no model is refreshed for them")
    said += changes.warnings
    said += _on_several_connections(plan, followed)
    return tuple(said)


def _on_several_connections(plan: RefreshPlan, followed: FollowedChange) -> list[str]:
    """Return a warning if a change affects models on several connections: it was made in one warehouse."""
    targets = {t.entry.index: t for lane in plan.lanes for t in lane.targets if t.connection is not None}
    touching: dict[int, tuple[Sequence[Change], list[Target]]] = {}
    for one in plan.impacts:
        if one.entry.index in targets and not one.is_skipped:
            # entries with the same changes share one tuple, so each change is examined once
            touching.setdefault(id(one.changes), (one.changes, []))[1].append(targets[one.entry.index])
    places: dict[Change | NotUnderstood, dict[tuple[str, str], Target]] = {}
    for changes, concerned in touching.values():
        mine: dict[tuple[str, str], Target] = {}
        for target in concerned:
            mine.setdefault((target.entry.instance, str(target.connection)), target)
        items: list[Change | NotUnderstood] = [*followed.changes.not_understood, *changes]
        for item in items:
            places.setdefault(item, {}).update({**mine, **places.get(item, {})})
    wide = {change: found for change, found in places.items() if len(found) > 1}
    if not wide:
        return []
    connections = {key: target for found in wide.values() for key, target in found.items()}
    labels = [target.entry.connection for target in connections.values() if target.entry.connection is not None]
    first, more = next(iter(wide)), len(wide) - 1
    what = f"{first.name} ({source_of(first)})" if isinstance(first, Change) else source_of(first)
    if more:
        what += f" and {more} more changes fit" if more > 1 else " and another change fit"
    else:
        what += " fits"
    names = [str(t.entry.connection or t.connection) for t in connections.values()]
    shown = some(names, at_most=_SHOWN)
    how = (
        f"--select connection:{labels[0]} narrows it to one"
        if labels
        else "give the models a `connection:` in the manifest, and --select connection:NAME narrows it to one"
    )
    return [f"{what} models on {len(names)} connections ({shown}): {how}"]
