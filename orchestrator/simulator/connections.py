"""The calls about connections: their list, one of them, its schedules, their environments; and who the caller is."""

import itertools
from collections.abc import Iterator

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
from orchestrator.simulator.world import REFRESHABLE, LiveConnection, LiveModel

_DIALECTS = frozenset(
    {
        "athena",
        "bigquery",
        "clickhouse",
        "databricks",
        "databricks_lakebase",
        "duckdb",
        "exasol",
        "mariadb",
        "motherduck",
        "mssql",
    }
    | {
        "mysql",
        "oracle",
        "postgres",
        "redshift",
        "sap_hana",
        "singlestore",
        "snowflake",
        "sqlserver",
        "starrocks",
        "trino",
    }
)
_CONNECTION_PARAMETERS = frozenset({"name", "database", "dialect", "includeDeleted", "sortField", "sortDirection"})
_ROLES_SHOWN = 100
_PERMISSIONS = {
    "VIEWER": ["RUN_CONTENT_QUERIES"],
    "QUERY_TOPICS": ["QUERY_TOPICS", "RUN_CONTENT_QUERIES"],
    "QUERIER": ["QUERY_FULL_MODEL", "QUERY_TOPICS", "RUN_CONTENT_QUERIES", "USE_WORKBOOKS"],
}
_EDITOR = [
    "QUERY_FULL_MODEL",
    "QUERY_SQL",
    "QUERY_TOPICS",
    "RUN_CONTENT_QUERIES",
    "UPDATE",
    "USE_WORKBOOKS",
    "VIEW_SQL",
]


def list_connections(instance: SimulatedInstance, ask: SimulatedRequest) -> Answer:
    """GET /v1/connections: all of them at once."""
    query = ask.query
    require_known(query, _CONNECTION_PARAMETERS, prefix="formErrors: ")
    require_flag(query, "includeDeleted")
    field = require_choice(query, "sortField", ("database", "dialect", "name"), "name")
    is_descending = require_choice(query, "sortDirection", ("asc", "desc"), "asc") == "desc"
    dialects = [dialect for dialect in query.get("dialect", "").split(",") if dialect]
    known = _DIALECTS | {connection.spec.dialect for connection in instance.stage.connections.values()}
    if unknown := [dialect for dialect in dialects if dialect not in known]:
        raise ApiError(400, f"Bad Request: Invalid dialect(s): {', '.join(unknown)}")
    found = [
        _connection(instance, connection)
        for connection in instance.stage.connections.values()
        if query.get("name", "").lower() in connection.name.lower()
        and query.get("database", "").lower() in connection.spec.database.lower()
        and (not dialects or connection.spec.dialect in dialects)
    ]
    if "sortField" in query:
        found.sort(key=lambda connection: str(connection[field]), reverse=is_descending)
    return Answer(status=200, body={"connections": found})


def show_connection(instance: SimulatedInstance, ask: SimulatedRequest, connection_id: str) -> Answer:
    """GET /v1/connections/{connectionId}."""
    require_known(ask.query, frozenset())
    return Answer(status=200, body={"connection": _connection(instance, _find_connection(instance, connection_id))})


def list_schedules(instance: SimulatedInstance, ask: SimulatedRequest, connection_id: str) -> Answer:
    """GET /v1/connections/{connectionId}/schedules; for connection admins."""
    require_known(ask.query, frozenset())
    connection = _find_connection(instance, connection_id)
    if connection.spec.role != "CONNECTION_ADMIN":
        raise ApiError(403, "Forbidden: Insufficient permissions")
    created = instance.created(connection.order)
    schedules = [
        {
            "scheduleId": derive_id("schedule", f"{connection.id}/{number}"),
            "connectionId": connection.id,
            "schedule": spec.schedule,
            "timezone": spec.timezone,
            "description": f"At {spec.schedule} ({spec.timezone})",
            "hardRefresh": spec.hard_refresh,
            "createdAt": created,
            "updatedAt": created,
            "disabledAt": created if spec.disabled else None,
        }
        for number, spec in enumerate(connection.spec.schedules)
    ]
    return Answer(status=200, body={"schedules": schedules})


def list_environments(instance: SimulatedInstance, ask: SimulatedRequest) -> Answer:
    """GET /v1/connection-environments."""
    require_known(ask.query, frozenset())
    return Answer(status=200, body={"connectionEnvironments": list(_environments(instance))})


def who_am_i(instance: SimulatedInstance, ask: SimulatedRequest) -> Answer:
    """GET /v1/whoami: the caller's role on each model that has roles of its own; without a filter at most 100."""
    require_known(ask.query, frozenset({"modelId"}))
    wanted = [model_id for model_id in ask.query.get("modelId", "").split(",") if model_id]
    if wanted:
        models = iter([instance.model(model_id) for model_id in wanted])
    else:
        models = (model for model in instance.stage.models.values() if model.kind in REFRESHABLE)
    shown = list(itertools.islice(models, None if wanted else _ROLES_SHOWN))
    body: dict[str, object] = {
        "keyScope": "organization",
        "orgRole": "ORG_ADMIN",
        "user": {"id": derive_id("user", "caller"), "membershipId": derive_id("user", "membership")},
        "rolesByModel": {model.id: _role(model) for model in shown},
    }
    if next(models, None) is not None:
        body["rolesByModelTruncated"] = True
    return Answer(status=200, body=body)


def _role(model: LiveModel) -> dict[str, object]:
    role = model.connection.spec.role
    permissions = [] if role == "NO_ACCESS" else _PERMISSIONS.get(role, _EDITOR)
    return {"baseRole": role, "roleName": role, "connectionId": model.connection.id, "permissions": permissions}


def _environments(instance: SimulatedInstance) -> Iterator[dict[str, object]]:
    for environment in instance.stage.environments:
        base = instance.stage.find_connection(environment.base)
        stand_in = instance.stage.find_connection(environment.connection)
        assert base is not None
        assert stand_in is not None
        yield {
            "id": derive_id("environment", f"{base.id}/{stand_in.id}"),
            "baseConnectionId": base.id,
            "connectionId": stand_in.id,
            "userAttributeValues": list(environment.values),
        }


def _find_connection(instance: SimulatedInstance, connection_id: str) -> LiveConnection:
    instance.require_uuid("connectionId", connection_id)
    connection = instance.stage.connections.get(connection_id.lower())
    if connection is None:
        raise ApiError(404, "Not Found: Connection not found")
    return connection


def _connection(instance: SimulatedInstance, connection: LiveConnection) -> dict[str, object]:
    created = instance.created(connection.order)
    return {
        "id": connection.id,
        "name": connection.name,
        "dialect": connection.spec.dialect,
        "database": connection.spec.database,
        "defaultSchema": connection.spec.default_schema,
        "baseRole": connection.spec.role,
        "createdAt": created,
        "updatedAt": created,
        "deletedAt": None,
        "branchConnectionEnvironmentOverridesUserAttr": False,
        "environmentConnectionSwitchesSchemaModel": any(
            instance.stage.find_connection(environment.base) is connection
            for environment in instance.stage.environments
        ),
        # the vendor's pages and the vendor's command line spell this one differently
        "userAttributeNameForConnectionEnvironments": None,
        "userAttributeNameForConnectionsEnvironments": None,
        "userAttributeValuesForDefaultEnvironment": None,
    }
