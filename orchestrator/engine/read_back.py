"""Is what was asked for there, and what did a refresh break? Compares what was read back with what was wanted. Pure.

COMPLETED does not prove that a scope matched anything (docs/explanation/proof.md: a misspelt name matches nothing and is no error). Only a complete
read that shows an absence proves it; what may hide the name from sight leaves the question open.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.engine.outcome import WARNING, Validation
from orchestrator.manifest.manifest import Entry
from orchestrator.omni.answers import ValidationIssue, View
from orchestrator.planning.names import Pattern, may_be, patterns_of_schemas, patterns_of_tables, split_name
from orchestrator.text import clean

Place = tuple[str, str | None]
"""A model and its branch."""

Issues = dict[Place, tuple[ValidationIssue, ...]]
"""What the validation of models found."""

MOST_ISSUES = 200
MOST_CHARACTERS = 500


class ReadBackResult(StrEnum):
    """What a read shows of one name: it is there, it is not, or it cannot be told."""

    THERE = "there"
    MISSING = "missing"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What was read of a model after its job. `schemas` are all of its schemas, `views` those that are shown without asking for a
    schema, `within` those of schemas (in lower case) that were asked for by name, since they may be offloaded. None: not read.
    """

    schemas: tuple[str, ...] | None = None
    views: tuple[View, ...] | None = None
    within: tuple[tuple[str, tuple[View, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of a scope's names: those that are `missing`, and those of which nobody can tell."""

    missing: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether everything that was asked for is there."""
        return not self.missing and not self.unclear


def judge_scope(entry: Entry, read: ReadBack) -> Judgement:
    """Whether each schema and each table of the entry's scope is there: the tables within the schemas, and of each pattern at
    least one.
    """
    sights = {name: see_schema(name, read) for name in entry.schemas}
    sights.update({name: see_table(name, entry.schemas, read) for name in entry.tables})
    return Judgement(
        missing=tuple(name for name, sight in sights.items() if sight is ReadBackResult.MISSING),
        unclear=tuple(name for name, sight in sights.items() if sight is ReadBackResult.UNCLEAR),
    )


def see_schema(name: str, read: ReadBack) -> ReadBackResult:
    """Whether a schema of a scope is there: a view of it tells that as well as the list of schemas."""
    (pattern,) = patterns_of_schemas([name])
    if any(_is_in(view, pattern) for view in _all_views(read)):
        return ReadBackResult.THERE
    if read.schemas is None:
        return ReadBackResult.UNCLEAR
    return (
        ReadBackResult.THERE if any(_is_listed(pattern, listed) for listed in read.schemas) else ReadBackResult.MISSING
    )


def see_table(name: str, schemas: Sequence[str], read: ReadBack) -> ReadBackResult:
    """Whether a table of a scope is there, in one of the scope's schemas where it has any."""
    (pattern,) = patterns_of_tables([name])
    within = patterns_of_schemas(schemas)
    sights = {_see(view, pattern, within) for view in _all_views(read)}
    if ReadBackResult.THERE in sights:
        return ReadBackResult.THERE
    if read.views is None or ReadBackResult.UNCLEAR in sights:
        return ReadBackResult.UNCLEAR
    return ReadBackResult.UNCLEAR if hidden_schemas([name], schemas, read) != () else ReadBackResult.MISSING


def hidden_schemas(tables: Iterable[str], schemas: Sequence[str], read: ReadBack) -> tuple[str, ...] | None:
    """The schemas in which these tables may be and whose views are not shown without being asked for: those with no view in sight.
    None where nobody knows which schemas there are.
    """
    if read.schemas is None:
        return None
    within = patterns_of_schemas(schemas)
    wanted = patterns_of_tables(tables)
    seen = {split_name(view.schema)[-1].lower() for view in read.views or () if view.schema is not None}
    asked = {name for name, _ in read.within}
    return tuple(
        listed
        for listed in read.schemas
        if listed.lower() not in asked
        and split_name(listed)[-1].lower() not in seen
        and (not within or any(_is_listed(p, listed) for p in within))
        and any(_is_listed(p, listed) for p in wanted)
    )


def _all_views(read: ReadBack) -> Iterable[View]:
    yield from read.views or ()
    for _, views in read.within:
        yield from views


def _is_listed(pattern: Pattern, listed: str) -> bool:
    """Whether a schema, as the instance names it, may be one that the pattern means."""
    (name,) = patterns_of_schemas([listed])
    return may_be(pattern.schema, name.schema) and may_be(pattern.catalog, name.catalog)


def _is_in(view: View, pattern: Pattern) -> bool:
    """Whether a view lies for sure in a schema that the pattern means."""
    if view.schema is None:
        return False
    (name,) = patterns_of_schemas([view.schema])
    catalog = view.catalog if view.catalog is not None else name.catalog
    return may_be(pattern.schema, name.schema) and may_be(pattern.catalog, catalog)


def _see(view: View, pattern: Pattern, within: Sequence[Pattern]) -> ReadBackResult:
    """What one view tells of a table: it is the table's, it is another's, or its file does not say."""
    if view.schema is not None:
        in_schema = not within or any(_is_in(view, p) for p in within)
        in_schema = in_schema and (pattern.schema is None or _is_in(view, pattern))
        if not in_schema:
            return ReadBackResult.MISSING
        if view.table is not None:
            return ReadBackResult.THERE if may_be(pattern.table, view.table) else ReadBackResult.MISSING
        # a view that names no table is one on the table of its own name, or a query
        bare = view.name.rpartition("__")[2]
        return (
            ReadBackResult.THERE
            if any(may_be(_viewed(pattern.table), n) for n in (view.name, bare))
            else ReadBackResult.MISSING
        )
    return _see_name(view, pattern, within)


def _see_name(view: View, pattern: Pattern, within: Sequence[Pattern]) -> ReadBackResult:
    """What a view's name tells where its file names no schema: `table`, `schema__table` or `catalog_schema__table`, and views of the
    default schema have no prefix (docs/explanation/proof.md, `verify: scope`).
    """
    if view.table is not None and not may_be(pattern.table, view.table):
        return ReadBackResult.MISSING
    scope, _, table = view.name.rpartition("__")
    if view.table is None and not any(may_be(_viewed(pattern.table), n) for n in (table, view.name)):
        return ReadBackResult.MISSING
    owners = [p for p in (pattern, *within) if p.schema is not None]
    if not owners:
        return ReadBackResult.THERE
    if scope and any(_is_prefix(scope, p) for p in owners):
        return ReadBackResult.THERE
    return ReadBackResult.UNCLEAR


def _is_prefix(scope: str, pattern: Pattern) -> bool:
    schema = _viewed(pattern.schema)
    whole = schema if pattern.catalog is None else _viewed(f"{pattern.catalog}_{pattern.schema}")
    return may_be(schema, scope) or may_be(whole, scope)


def _viewed(part: str | None) -> str | None:
    """A part as it stands in a view's name; wildcards stay what they are."""
    return None if part is None else re.sub(r"[^\w*?]+", "_", part).lower()


def compare_issues(before: Iterable[ValidationIssue], after: Iterable[ValidationIssue]) -> Validation:
    """Return the issues that are new and those that are gone: one line each, errors first, at most `MOST_ISSUES` of each.

    Equal issues are told apart by their number: a second one like the first is new.
    """
    old, new = Counter(before), Counter(after)
    return Validation(new=_lines(new - old), fixed=_lines(old - new))


def _lines(issues: Iterable[ValidationIssue]) -> tuple[str, ...]:
    ordered = sorted(issues, key=lambda issue: issue.is_warning)
    lines = [_line(issue) for issue in ordered[:MOST_ISSUES]]
    if (left := ordered[MOST_ISSUES:]) and left[0].is_warning:
        lines.append(f"{WARNING}and {len(left)} more")
    elif left:
        lines.append(f"and {len(left)} more")
    return tuple(lines)


def _line(issue: ValidationIssue) -> str:
    where = issue.yaml_path or ".".join(part for part in (issue.view, issue.field) if part)
    text = clean(f"{where}: {issue.message}" if where else issue.message)
    if issue.is_warning:
        text = WARNING + text
    elif text.startswith(WARNING):
        text = f"error: {text}"
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
