"""The calls that read a model back: its schemas, its views, its files, its validation issues."""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping

from orchestrator.simulator.answer import (
    Answer,
    ApiError,
    SimulatedInstance,
    SimulatedRequest,
    require_choice,
    require_count,
    require_flag,
    require_known,
)
from orchestrator.simulator.population import Connection, ScenarioIssue
from orchestrator.simulator.world import LiveModel

_WORD = re.compile(r"\W+")
_YAML_PARAMETERS = frozenset({"branchId", "fileName", "mode", "includeChecksums", "includeSchemas", "fullyResolved"})

_YAML_MODES_WITH_VIEWS = ("combined", "merged")
_YAML_MODES = (*_YAML_MODES_WITH_VIEWS, "extension", "staged", "history")


def list_schemas(instance: SimulatedInstance, ask: SimulatedRequest, model_id: str) -> Answer:
    """GET /v1/models/{modelId}/schemas: names, sorted, with offloaded ones; the branch under either name."""
    require_known(ask.query, frozenset({"branchId", "branch_id"}))
    parameter = "branch_id" if "branch_id" in ask.query else "branchId"
    model, branch_id = model_and_branch(instance, ask, model_id, parameter)
    names = sorted({*instance.stage.layer(model, branch_id, ask.now_s), *model.connection.spec.offloaded})
    body: object = {"schemas": names} if instance.answers.schemas == "object" else names
    return Answer(status=200, body=body, model=model)


def validate(instance: SimulatedInstance, ask: SimulatedRequest, model_id: str) -> Answer:
    """GET /v1/models/{modelId}/validate. The branch is called `branchId` here, unlike in a refresh."""
    require_known(ask.query, frozenset({"branchId", "limit"}))
    limit = require_count(ask.query, "limit", sys.maxsize)
    model, branch_id = model_and_branch(instance, ask, model_id, "branchId")
    found = instance.stage.issues(model, branch_id, ask.now_s)
    body: object = [_issue(issue) for issue in found[:limit]]
    if instance.answers.issues == "object":
        is_valid = all(issue.is_warning for issue in found)
        body = {"issues": [_issue_with_severity(issue) for issue in found[:limit]], "valid": is_valid}
    return Answer(status=200, body=body, model=model)


def list_views(instance: SimulatedInstance, ask: SimulatedRequest, model_id: str) -> Answer:
    """GET /v1/models/{modelId}/view: every view, with no fields; those of offloaded schemas are left out."""
    require_known(ask.query, frozenset({"branch_id"}))
    model, branch_id = model_and_branch(instance, ask, model_id, "branch_id")
    views: list[dict[str, object]] = [
        {"name": view, "label": table, "hidden": False, "fields": []}
        for view, _, table in shown_views(instance, ask, model, branch_id, None)
    ]
    return Answer(status=200, body={"success": True, "views": views}, model=model)


def show_files(instance: SimulatedInstance, ask: SimulatedRequest, model_id: str) -> Answer:
    """GET /v1/models/{modelId}/yaml: one file for the model, and one for each view under its schema's name.

    `includeSchemas` names one schema, and is the only way to see an offloaded one; `fileName` is a name or a pattern.
    """
    query = ask.query
    require_known(query, _YAML_PARAMETERS)
    mode = require_choice(query, "mode", _YAML_MODES, "combined")
    with_checksums = require_flag(query, "includeChecksums")
    require_flag(query, "fullyResolved")
    model, branch_id = model_and_branch(instance, ask, model_id, "branchId")
    columns = instance.stage.columns(model, branch_id, ask.now_s)
    files, names = {"model": f"label: {json.dumps(model.name)}\n"}, {}
    if mode in _YAML_MODES_WITH_VIEWS:
        for view, schema, table in shown_views(instance, ask, model, branch_id, query.get("includeSchemas")):
            file = f"{schema}/{view}.view"
            files[file] = f"schema: {json.dumps(schema)}\ntable_name: {json.dumps(table)}\n" + _fields(
                columns.get(f"{schema}.{table}", ())
            )
            names[file] = view
    if wanted := query.get("fileName"):
        files = {file: text for file, text in files.items() if _is_named(file, wanted)}
    body: dict[str, object] = {
        "files": files,
        "version": 1 + instance.stage.version,
        "viewNames": {file: view for file, view in names.items() if file in files},
    }
    if with_checksums:
        body["checksums"] = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in files.items()}
    return Answer(status=200, body=body, model=model)


def _fields(columns: tuple[str, ...]) -> str:
    """A dimension for each column, and a count, as far as the scenario lists the columns."""
    if not columns:
        return ""
    names = "".join(f"  {_WORD.sub('_', column).lower()}:\n    sql: '\"{column}\"'\n" for column in columns)
    return f"dimensions:\n{names}measures:\n  count:\n    aggregate_type: count\n"


def view_name(spec: Connection, schema: str, table: str) -> str:
    """What a table's view is called: without prefix in the default schema, else with it, or always with everything."""
    scope = schema
    if spec.scope_view_names and "." not in schema:
        scope = f"{spec.database}.{schema}"
    elif not spec.scope_view_names and schema == spec.default_schema:
        scope = ""
    return "__".join(re.sub(r"\W+", "_", part).lower() for part in (scope, table) if part)


def _issue(issue: ScenarioIssue) -> dict[str, object]:
    """An issue as the vendor's pages show it."""
    return issue.model_dump(include={"message", "is_warning", "yaml_path"}, exclude_none=True)


def _issue_with_severity(issue: ScenarioIssue) -> dict[str, object]:
    """An issue as the vendor's command line knows it."""
    severity = "warning" if issue.is_warning else "error"
    return {"severity": severity, **issue.model_dump(include={"message", "view", "field"}, exclude_none=True)}


def shown_views(
    instance: SimulatedInstance, ask: SimulatedRequest, model: LiveModel, branch_id: str | None, only: str | None
) -> Iterator[tuple[str, str, str]]:
    """Each view's name, schema and table; of one schema, if `only` names it."""
    spec = model.connection.spec
    layer: Mapping[str, tuple[str, ...]] = instance.stage.layer(model, branch_id, ask.now_s)
    for schema, tables in layer.items():
        if (schema in spec.offloaded and schema != only) or (only and schema != only):
            continue
        for table in tables:
            yield view_name(spec, schema, table), schema, table


def _is_named(file: str, wanted: str) -> bool:
    """Whether the file has this name, or matches it as a pattern in which only `.*` is special."""
    pattern = ".*".join(map(re.escape, wanted.split(".*")))
    return file == wanted or re.search(pattern, file, re.DOTALL) is not None


def model_and_branch(
    instance: SimulatedInstance, ask: SimulatedRequest, model_id: str, parameter: str
) -> tuple[LiveModel, str | None]:
    """The model, and the branch that the parameter names. Raises ApiError 400, 403 or 404."""
    model = instance.model(model_id)
    if model.connection.spec.role == "NO_ACCESS":
        raise ApiError(403, "Permission denied", model=model)
    branch_id = ask.query.get(parameter)
    if branch_id is None:
        return (model, model.id) if model.kind == "BRANCH" else (model, None)
    instance.require_uuid(parameter, branch_id)
    if model.kind == "SCHEMA":
        raise ApiError(400, "Bad Request: Schema models do not have branches", model=model)
    if branch_id.lower() not in instance.stage.branch_ids(model):
        raise ApiError(404, f"Branch model with id {branch_id} does not exist", model=model)
    return model, branch_id.lower()
