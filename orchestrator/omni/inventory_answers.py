"""Answers about what an instance has: models, connections, schedules, roles. Bare lists and wrapped ones are the same."""

from __future__ import annotations

from orchestrator.omni.answers import (
    ConnectionEnvironment,
    ConnectionRecord,
    ModelRecord,
    ModelRole,
    ModelsPage,
    RefreshSchedule,
    WhoAmI,
)
from orchestrator.omni.fields import (
    UnreadableAnswer,
    as_count,
    as_flag,
    as_id,
    as_moment,
    as_object,
    as_text,
    objects,
    read_list,
    read_object,
)


def read_models(body: bytes) -> ModelsPage:
    """One page of models. Raises UnreadableAnswer, also where there is a next page and no way to it."""
    page, items = read_list(body, "records", "models", "items", "data")
    info = as_object(page.get("pageInfo"))
    cursor = info.get("nextCursor")
    next_cursor = str(cursor) if as_count(cursor) is not None else as_text(cursor)
    more = as_flag(info.get("hasNextPage"))
    if next_cursor is None and (more or (cursor not in (None, "") and more is not False)):
        raise UnreadableAnswer("the answer has a next page and does not say where")
    return ModelsPage(
        records=tuple(record for item in objects(items) if (record := _model(item)) is not None),
        next_cursor=None if more is False else next_cursor,
        total=as_count(info.get("totalRecords")),
    )


def _model(item: dict[str, object]) -> ModelRecord | None:
    model_id = as_id(item.get("id"))
    if model_id is None:
        return None
    branches = ((as_id(branch.get("id")), as_text(branch.get("name"))) for branch in objects(item.get("branches")))
    kind = as_text(item.get("modelKind"))
    return ModelRecord(
        id=model_id,
        name=as_text(item.get("name")),
        kind=kind and kind.upper(),
        connection_id=as_id(item.get("connectionId")),
        base_model_id=as_id(item.get("baseModelId")),
        deleted=item.get("deletedAt") is not None,
        updated_at=as_moment(item.get("updatedAt")),
        branches=None
        if item.get("branches") is None
        else tuple((branch_id, name) for branch_id, name in branches if branch_id and name),
    )


def read_connections(body: bytes) -> tuple[ConnectionRecord, ...]:
    """The list of connections. Raises UnreadableAnswer."""
    _, items = read_list(body, "connections", "records", "items", "data")
    found = (_connection(item) for item in objects(items))
    return tuple(connection for connection in found if connection is not None)


def read_connection(body: bytes) -> ConnectionRecord:
    """One connection. Raises UnreadableAnswer where it has no id."""
    item = read_object(body)
    connection = _connection(as_object(item.get("connection")) or item)
    if connection is None:
        raise UnreadableAnswer("the answer names no connection")
    return connection


def _connection(item: dict[str, object]) -> ConnectionRecord | None:
    connection_id = as_id(item.get("id"))
    if connection_id is None:
        return None
    return ConnectionRecord(
        id=connection_id,
        name=as_text(item.get("name")),
        dialect=as_text(item.get("dialect")),
        database=as_text(item.get("database")),
        default_schema=as_text(item.get("defaultSchema")),
        base_role=as_text(item.get("baseRole")),
        deleted=item.get("deletedAt") is not None,
    )


def read_schedules(body: bytes) -> tuple[RefreshSchedule, ...]:
    """A connection's native refresh schedules. Raises UnreadableAnswer."""
    _, items = read_list(body, "schedules", "records", "items", "data")
    return tuple(
        RefreshSchedule(
            id=as_id(item.get("scheduleId")) or as_id(item.get("id")) or "",
            cron=as_text(item.get("schedule")) or as_text(item.get("cron")) or as_text(item.get("cronExpression")),
            timezone=as_text(item.get("timezone")) or as_text(item.get("timeZone")),
            hard=as_flag(item.get("hardRefresh")),
            disabled=item.get("disabledAt") is not None,
        )
        for item in objects(items)
    )


def read_environments(body: bytes) -> tuple[ConnectionEnvironment, ...]:
    """The connection environments: each is a connection that stands in for another. Raises UnreadableAnswer."""
    _, items = read_list(body, "connectionEnvironments", "environments", "records", "items", "data")
    return tuple(
        ConnectionEnvironment(
            id=as_id(item.get("id")) or "",
            base_connection_id=as_id(item.get("baseConnectionId")),
            connection_id=as_id(item.get("connectionId")),
        )
        for item in objects(items)
    )


def read_whoami(body: bytes) -> WhoAmI:
    """Who the key acts as. Raises UnreadableAnswer."""
    item = read_object(body)
    return WhoAmI(
        key_scope=as_text(item.get("keyScope")),
        org_role=as_text(item.get("orgRole")),
        roles=tuple(
            ModelRole(
                model_id=model_id.lower(),
                base_role=as_text(as_object(role).get("baseRole")),
                connection_id=as_id(as_object(role).get("connectionId")),
            )
            for model_id, role in as_object(item.get("rolesByModel")).items()
        ),
        truncated=as_flag(item.get("rolesByModelTruncated")) is True,
    )
