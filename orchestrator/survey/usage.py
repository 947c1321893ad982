"""What uses the tables and columns that a change takes away: views and fields of models, and documents in Omni.

One read per model shows its views and fields. Then one call of the content validator per view or field names the documents.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from orchestrator.changes.change_set import Change, Effect
from orchestrator.engine.look_up import together
from orchestrator.engine.read_back import ModelBranch, ReadBackResult, find_view
from orchestrator.manifest.manifest import Entry
from orchestrator.omni.answers import ContentDocument, View, ViewField
from orchestrator.omni.errors import CallError
from orchestrator.planning.names import Pattern
from orchestrator.planning.plan import RefreshPlan
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.survey import Survey

T = TypeVar("T")

MOST_CALLS: Final = 50
"""The most calls of the content validator for one plan."""

NOT_LOOKED_UP: Final = f"a plan looks up at most {MOST_CALLS} views and fields"

_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")
_TIMEFRAME: Final = re.compile(r"\[[^\]]*\]")

_Model = tuple[str, ModelBranch]
"""An instance, and the ids of a model and its branch."""

_Element = tuple[str, str]
"""An object for the content validator to find: `VIEW` or `FIELD`, and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What uses the things that one change takes away, in one model.

    `views` are on the changed table. `fields` (`view.field`) use the columns that the change drops or renames, if it names
    columns. `documents` use these fields, or these views. `problem` says what is unknown; otherwise it is empty.
    """

    change: Change
    entry: Entry
    views: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    documents: tuple[ContentDocument, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Everything that uses what a change takes away, in the order of the changes, and how many reads found it."""

    uses: tuple[Use, ...]
    reads: int


async def find_usage(survey: Survey, plan: RefreshPlan) -> Usage:
    """Read what uses the things that the plan's change drops or renames. A read that fails is the problem of its use."""
    wanted = _wanted(plan)
    models = list(dict.fromkeys(model for _, model in wanted))
    readers = {name: await survey.look_up(name) for name in dict.fromkeys(name for name, _ in models)}
    views: dict[_Model, tuple[View, ...] | str] = {}
    documents: dict[tuple[_Model, _Element], tuple[ContentDocument, ...] | str] = {}

    async def read_views(model: _Model) -> None:
        name, (model_id, branch_id) = model
        client = (await survey.calls(name)).client
        call = partial(client.views, model_id, branch_id=branch_id, with_fields=True)
        views[model] = await _answer(readers[name].read(call))

    async def read_documents(model: _Model, element: _Element) -> None:
        name, (model_id, branch_id) = model
        client = (await survey.calls(name)).client
        call = partial(client.content, model_id, branch_id=branch_id, find_type=element[0], find=element[1])
        documents[model, element] = await _answer(readers[name].read(call))

    await together(*map(read_views, models))
    uses = [(_with_views(use, views[model]), model) for use, model in wanted]
    elements = dict.fromkeys((model, element) for use, model in uses for element in _elements(use))
    await together(*(read_documents(*one) for one in list(elements)[:MOST_CALLS]))
    return Usage(
        uses=tuple(
            _with_documents(use, [documents.get((model, element), NOT_LOOKED_UP) for element in _elements(use)])
            for use, model in uses
        ),
        reads=sum(reader.reads for reader in readers.values()),
    )


def _wanted(plan: RefreshPlan) -> list[tuple[Use, _Model]]:
    """Return the destructive changes of tables, each with the models that it affects: one entry for a model and branch."""
    targets = {target.entry.index: target for lane in plan.lanes for target in lane.targets}
    found: dict[tuple[Change, _Model], Use] = {}
    for impact in plan.impacts:
        target = targets.get(impact.entry.index)
        for change in impact.changes if target is not None and not impact.is_skipped else ():
            if target is not None and change.effect is Effect.DESTRUCTIVE:
                model = (target.entry.instance, (target.model_id, target.branch_id))
                found.setdefault((change, model), Use(change=change, entry=target.entry))
    return [(use, model) for (_, model), use in found.items()]


async def _answer(read: Awaitable[T]) -> T | str:
    """Return what was read, or why it could not be."""
    try:
        return await read
    except CallError as error:
        return f"{error.http_status or ''} {error.message or error.kind.value}".strip()
    except LimiterClosed as closed:
        return Survey.why(closed)


def _with_views(use: Use, views: tuple[View, ...] | str) -> Use:
    """Return the use with the views and fields of the model that use what the change takes away."""
    change = use.change
    if isinstance(views, str):
        return replace(use, problem=f"its views could not be read: {views}")
    pattern = Pattern(change.name.catalog, change.name.schema, change.name.table, str(change.name))
    mine = [view for view in views if _is_on(view, pattern)]
    names = tuple(dict.fromkeys(view.name for view in mine))
    fields = fields_using(change.columns, mine, views) if change.columns else ()
    return replace(use, views=names, fields=fields)


def _is_on(view: View, pattern: Pattern) -> bool:
    """Whether a view is on a table, or may be: its file need not say which schema it is in."""
    result = find_view(view, pattern)
    return result is ReadBackResult.THERE or (result is ReadBackResult.UNCLEAR and pattern.table is not None)


def _elements(use: Use) -> list[_Element]:
    if use.change.columns:
        return [("FIELD", name) for name in use.fields]
    return [("VIEW", name) for name in use.views]


def _with_documents(use: Use, answers: Sequence[tuple[ContentDocument, ...] | str]) -> Use:
    """Return the use with the documents that were found, each once, and with why others may be missing."""
    read = [answer for answer in answers if not isinstance(answer, str)]
    missing = next((answer for answer in answers if isinstance(answer, str)), None)
    found = {(document.id, document.kind): document for answer in read for document in answer}
    documents = tuple(sorted(found.values(), key=lambda document: (document.name or document.id).lower()))
    problem = use.problem if missing is None else f"documents could not be read: {missing}"
    return replace(use, documents=documents, problem=problem)


def fields_using(columns: Sequence[str], mine: Iterable[View], views: Sequence[View]) -> tuple[str, ...]:
    """Return the fields (`view.field`) that use columns of the table of `mine`, and the fields that refer to those, in all views."""
    used = dict.fromkeys(
        f"{view.name}.{field.name}" for view in mine for field in view.fields if _uses_column(field, columns)
    )
    referring = [
        (f"{view.name}.{field.name}", frozenset(_references(field, view.name)))
        for view in views
        for field in view.fields
        if field.sql is not None and "${" in field.sql
    ]
    while more := [name for name, references in referring if name not in used and references & used.keys()]:
        used.update(dict.fromkeys(more))
    return tuple(used)


def _uses_column(field: ViewField, columns: Sequence[str]) -> bool:
    """Whether a field's SQL names a column. A field without SQL is on the column of its own name."""
    if field.sql is None:
        return any(_plain(field.name) == _plain(column) for column in columns)
    sql = _REFERENCE.sub(" ", field.sql)
    return any(re.search(rf"(?<!\w){re.escape(column)}(?!\w)", sql, re.IGNORECASE) for column in columns)


def _references(field: ViewField, view: str) -> Iterable[str]:
    for text in _REFERENCE.findall(field.sql or ""):
        name = _TIMEFRAME.sub("", text).strip()
        yield name if "." in name else f"{view}.{name}"


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name).lower()
