"""Judges what was read back after a refresh: is the scope there, and which issues of the model and its documents are new? Pure.

COMPLETED does not prove that a scope matched anything (docs/explanation/proof.md: a misspelt name matches nothing and is no
error). Only a complete read that shows an absence proves it. If the name may be hidden, the question stays open.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.engine.outcome import WARNING, ContentChanges, DocumentIssues, Validation
from orchestrator.manifest.manifest import Entry, Verify
from orchestrator.omni.answers import ContentDocument, ContentIssue, ValidationIssue, View
from orchestrator.planning.names import Pattern, may_be, patterns_of_schemas, patterns_of_tables, split_name
from orchestrator.text import clean

ModelBranch = tuple[str, str | None]
"""The ids of a model and its branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRead:
    """A read that failed."""

    why: str


IssuesBefore = dict[tuple[Verify, ModelBranch], tuple[ValidationIssue, ...] | tuple[ContentDocument, ...] | NotRead]
"""The issues before a refresh, by what is verified, and by the ids of a model and its branch."""

MOST_ISSUES = 200
MOST_DOCUMENTS = 100
MOST_ISSUES_OF_ONE = 20
MOST_CHARACTERS = 500


class ReadBackResult(StrEnum):
    """What a read shows of one name: it is there, it is missing, or the read does not decide."""

    THERE = "there"
    MISSING = "missing"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What was read of a model after its job; None: not read.

    `schemas` are all of its schemas. `views` are those that the server lists by itself, `within` those of schemas (in lower
    case) that were read by name, because they may be offloaded.
    """

    schemas: tuple[str, ...] | None = None
    views: tuple[View, ...] | None = None
    within: tuple[tuple[str, tuple[View, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeJudgement:
    """The names of a scope that are `missing`, and those for which the reads do not decide (`unclear`)."""

    missing: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether the whole scope is there."""
        return not self.missing and not self.unclear


def judge_scope(entry: Entry, read: ReadBack) -> ScopeJudgement:
    """Judge whether each schema and table of an entry's scope is there: tables within its schemas, at least one for a pattern."""
    results = {name: find_schema(name, read) for name in entry.schemas}
    results.update({name: find_table(name, entry.schemas, read) for name in entry.tables})
    return ScopeJudgement(
        missing=tuple(name for name, result in results.items() if result is ReadBackResult.MISSING),
        unclear=tuple(name for name, result in results.items() if result is ReadBackResult.UNCLEAR),
    )


def find_schema(name: str, read: ReadBack) -> ReadBackResult:
    """Return whether a schema of a scope is there: in the list of schemas, or because a view belongs to it."""
    (pattern,) = patterns_of_schemas([name])
    if any(_is_in(view, pattern) for view in _all_views(read)):
        return ReadBackResult.THERE
    if read.schemas is None:
        return ReadBackResult.UNCLEAR
    return (
        ReadBackResult.THERE if any(_is_listed(pattern, listed) for listed in read.schemas) else ReadBackResult.MISSING
    )


def find_table(name: str, schemas: Sequence[str], read: ReadBack) -> ReadBackResult:
    """Return whether a table of a scope is there, in one of the scope's schemas if it has any."""
    (pattern,) = patterns_of_tables([name])
    within = patterns_of_schemas(schemas)
    results = {find_view(view, pattern, within) for view in _all_views(read)}
    if ReadBackResult.THERE in results:
        return ReadBackResult.THERE
    if read.views is None or ReadBackResult.UNCLEAR in results:
        return ReadBackResult.UNCLEAR
    return ReadBackResult.UNCLEAR if hidden_schemas([name], schemas, read) != () else ReadBackResult.MISSING


def hidden_schemas(tables: Iterable[str], schemas: Sequence[str], read: ReadBack) -> tuple[str, ...] | None:
    """Return the schemas in which these tables may be and of which the server listed no view, because it may offload them.

    None if the schemas were not read.
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
    """Whether a pattern may mean a schema that the instance lists."""
    (name,) = patterns_of_schemas([listed])
    return may_be(pattern.schema, name.schema) and may_be(pattern.catalog, name.catalog)


def _is_in(view: View, pattern: Pattern) -> bool:
    """Whether a view is certainly in a schema that the pattern means."""
    if view.schema is None:
        return False
    (name,) = patterns_of_schemas([view.schema])
    catalog = view.catalog if view.catalog is not None else name.catalog
    return may_be(pattern.schema, name.schema) and may_be(pattern.catalog, catalog)


def find_view(view: View, pattern: Pattern, within: Sequence[Pattern] = ()) -> ReadBackResult:
    """Return what one view shows of a table: it is the table's, it is another table's, or its file does not say."""
    if view.schema is not None:
        in_schema = not within or any(_is_in(view, p) for p in within)
        in_schema = in_schema and (pattern.schema is None or _is_in(view, pattern))
        if not in_schema:
            return ReadBackResult.MISSING
        if view.table is not None:
            return ReadBackResult.THERE if may_be(pattern.table, view.table) else ReadBackResult.MISSING
        # a view that names no table is either the view of the table with its own name, or a query
        bare = view.name.rpartition("__")[2]
        return (
            ReadBackResult.THERE
            if any(may_be(_viewed(pattern.table), n) for n in (view.name, bare))
            else ReadBackResult.MISSING
        )
    return _find_by_name(view, pattern, within)


def _find_by_name(view: View, pattern: Pattern, within: Sequence[Pattern]) -> ReadBackResult:
    """Return what a view's name shows if its file names no schema: `table`, `schema__table` or `catalog_schema__table`.

    Views of the default schema have no prefix (docs/explanation/proof.md, `verify: scope`).
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
    """A part of a name as a view's name spells it; wildcards stay."""
    return None if part is None else re.sub(r"[^\w*?]+", "_", part).lower()


def compare_issues(before: Iterable[ValidationIssue], after: Iterable[ValidationIssue]) -> Validation:
    """Return the issues that are new and those that are gone: one line each, errors first, at most `MOST_ISSUES` of each.

    Equal issues are counted: a second one like the first is new.
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
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def compare_content(before: Iterable[ContentDocument], after: Iterable[ContentDocument]) -> ContentChanges:
    """Return the documents with new issues and those with fixed ones, at most `MOST_DOCUMENTS` of each.

    An issue is known by its document, its query and its message, and counted: a document, a query or a folder may get another
    name meanwhile. A document that was broken before is listed with its new issues alone.
    """
    old, new = _issues_of(before), _issues_of(after)
    broke, repaired = _documents(new, old), _documents(old, new)
    return ContentChanges(
        new=broke[:MOST_DOCUMENTS],
        fixed=repaired[:MOST_DOCUMENTS],
        new_documents=len(broke),
        fixed_documents=len(repaired),
    )


_IssueOfDocument = tuple[str, str | None, str | None, str]
"""A document's id and kind, a query's id, a message."""


def _issues_of(
    documents: Iterable[ContentDocument],
) -> dict[_IssueOfDocument, list[tuple[ContentDocument, ContentIssue]]]:
    found: dict[_IssueOfDocument, list[tuple[ContentDocument, ContentIssue]]] = {}
    for document in documents:
        for issue in document.issues:
            key = (document.id, document.kind, issue.query_id, issue.message)
            found.setdefault(key, []).append((document, issue))
    return found


def _documents(
    issues: Mapping[_IssueOfDocument, Sequence[tuple[ContentDocument, ContentIssue]]],
    others: Mapping[_IssueOfDocument, Sequence[object]],
) -> tuple[DocumentIssues, ...]:
    """Return the documents with issues that are not among the others, by name."""
    found: dict[tuple[str, str | None], tuple[ContentDocument, list[str]]] = {}
    for key, held in issues.items():
        for document, issue in held[len(others.get(key, ())) :]:
            text = f"{issue.query}: {issue.message}" if issue.query else issue.message
            found.setdefault(key[:2], (document, []))[1].append(_cut(clean(text)))
    made = (_document(document, lines) for document, lines in found.values())
    return tuple(sorted(made, key=lambda document: document.name.lower()))


def _document(document: ContentDocument, lines: Sequence[str]) -> DocumentIssues:
    name = _cut(clean(document.name or document.identifier or document.id))
    if document.kind is not None and document.kind.lower() == "draft":
        name = f"{name} (draft)"
    if name.startswith(WARNING):
        name = f"document {name}"
    more = len(lines) - MOST_ISSUES_OF_ONE
    return DocumentIssues(
        name=name,
        identifier=document.identifier and clean(document.identifier)[:MOST_CHARACTERS],
        folder=document.folder and _cut(clean(document.folder)),
        issues=(*lines[:MOST_ISSUES_OF_ONE], *([f"and {more} more"] if more > 0 else [])),
    )
