"""The content validator: the documents that use a model, and which of their fields the model does not have."""

import re
from collections.abc import Callable, Collection, Iterable

from orchestrator.simulator.answer import (
    Answer,
    ApiError,
    SimulatedInstance,
    SimulatedRequest,
    require_choice,
    require_flag,
    require_known,
)
from orchestrator.simulator.field_types import derive_id
from orchestrator.simulator.model_views import model_and_branch, shown_views, view_name
from orchestrator.simulator.population import ScenarioDocument
from orchestrator.simulator.world import LiveModel

_PARAMETERS = frozenset({"branch_id", "include_personal_folders", "find", "find_type"})
_MODES = ("ALL", "WITH_ISSUES", "NO_ISSUES")
_TYPES = ("VIEW", "FIELD", "TOPIC")
_TIMEFRAME = re.compile(r"\[[^\]]*\]$")


def validate_content(instance: SimulatedInstance, ask: SimulatedRequest, model_id: str) -> Answer:
    """GET /v1/models/{modelId}/content-validator: documents with their issues. No document uses a topic here."""
    query = ask.query
    require_known(query, _PARAMETERS | ({"content_filter_mode"} if instance.answers.content_filter else set()))
    mode = require_choice(query, "content_filter_mode", _MODES, "ALL")
    with_personal = require_flag(query, "include_personal_folders")
    find, find_type = query.get("find"), query.get("find_type")
    if (find is None) != (find_type is None):
        raise ApiError(400, "Bad Request: Both 'find' and 'find_type' parameters must be provided together")
    if find_type is not None:
        require_choice(query, "find_type", _TYPES, "")
    if find_type == "FIELD" and "." not in (find or ""):
        message = "When find_type is FIELD, the find parameter must be scoped by view name (e.g., view_name.field_name)"
        raise ApiError(400, f"Bad Request: {message}")
    model, branch_id = model_and_branch(instance, ask, model_id, "branch_id")
    if model.kind == "SCHEMA":
        raise ApiError(404, f"Shared model with id {model_id} does not exist", model=model)
    has = _known_fields(instance, ask, model, branch_id)
    shown = [
        body
        for document in model.traits.documents
        if (with_personal or not document.personal)
        and (find is None or any(_is_found(field, find, find_type) for field in _all_fields(document)))
        and _fits(body := _document(model, document, has), mode)
    ]
    branch = None if branch_id is None else {"id": branch_id, "name": instance.stage.models[branch_id].name}
    return Answer(status=200, body={"model_id": model_id, "branch": branch, "content": shown}, model=model)


def _known_fields(
    instance: SimulatedInstance, ask: SimulatedRequest, model: LiveModel, branch_id: str | None
) -> Callable[[str], str | None]:
    """Return a function that says what is wrong with a field, or None."""
    columns, spec = instance.stage.columns(model, branch_id, ask.now_s), model.connection.spec
    tables = {
        view: f"{schema}.{table}" for view, schema, table in shown_views(instance, ask, model, branch_id, None)
    } | {view_name(spec, schema, table): "" for schema in spec.offloaded for table in spec.schemas.get(schema, ())}

    def problem(field: str) -> str | None:
        view, _, name = field.partition(".")
        if view not in tables:
            return f"View '{view}' not found in model"
        held: Collection[str] | None = columns.get(tables[view])
        plain = _TIMEFRAME.sub("", name).lower()
        if held is None or plain == "count" or plain in {column.lower() for column in held}:
            return None
        return f"Field '{field}' not found in model"

    return problem


def _document(model: LiveModel, document: ScenarioDocument, problem: Callable[[str], str | None]) -> dict[str, object]:
    id_ = derive_id("document", f"{model.id}/{document.name}")
    folder = document.folder
    return {
        "document_id": id_,
        "identifier": document.identifier or id_[:8],
        "name": document.name,
        "type": "draft" if document.draft else "Published",
        "updated_at": "2026-01-15T10:00:00.000Z",
        "folder": None if folder is None else {"name": folder.rpartition("/")[2], "path": folder},
        "owner": {"email": "ada@example.com", "name": "Ada"},
        "require_pull_request_to_publish": False,
        "queries_and_issues": [
            {
                "query_name": query.name,
                "query_presentation_id": derive_id("document", f"{id_}/{number}"),
                "query_id_map_key": str(number),
                "issues": _issues(query.fields, problem),
            }
            for number, query in enumerate(document.queries, 1)
        ],
        "dashboard_filter_issues": _issues(document.filters, problem),
    }


def _issues(fields: Iterable[str], problem: Callable[[str], str | None]) -> list[str]:
    return list(dict.fromkeys(words for field in fields if (words := problem(field)) is not None))


def _all_fields(document: ScenarioDocument) -> Iterable[str]:
    yield from document.filters
    for query in document.queries:
        yield from query.fields


def _is_found(field: str, find: str, find_type: str | None) -> bool:
    if find_type == "FIELD":
        return _TIMEFRAME.sub("", field) == find
    return find_type == "VIEW" and field.partition(".")[0] == find


def _fits(body: dict[str, object], mode: str) -> bool:
    queries = body["queries_and_issues"]
    assert isinstance(queries, list)
    has_issues = bool(body["dashboard_filter_issues"]) or any(query["issues"] for query in queries)
    return mode == "ALL" or has_issues is (mode == "WITH_ISSUES")
