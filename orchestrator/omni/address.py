"""Builds request targets, byte for byte as they are sent. A name reaches the server as it is written."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, urlsplit

from orchestrator.manifest.manifest import Instance, RefreshKind
from orchestrator.omni.answers import ModelsQuery, RefreshRequest

API = "/api/v1"


class UnsendableName(ValueError):
    """A name that the query cannot carry: empty, with a comma (the server would see two), or no valid Unicode."""


def refresh_target(ask: RefreshRequest) -> str:
    """Return path and query of a call that starts a job. Raises UnsendableName."""
    if ask.kind is RefreshKind.DBT_SYNC:
        return model_target(ask.model_id, "dbt-sync", branch_id=ask.branch_id)
    query = [("hard_refresh", "true" if ask.hard else "false")]
    if ask.branch_id is not None:
        query.append(("branch_id", _escape(ask.branch_id)))
    if ask.schemas:
        query.append(("schemas", _names(ask.schemas)))
    if ask.tables:
        query.append(("tables", _names(ask.tables)))
    return f"{API}/models/{_segment(ask.model_id)}/refresh?" + "&".join(f"{name}={value}" for name, value in query)


def request_bytes(instance: Instance, request: RefreshRequest) -> int:
    """Return how long a refresh call's target is, in bytes, because servers limit it (8,000 is safe).

    Return 0 for one that cannot be sent at all: its own call is refused, and its outcome says why.
    """
    try:
        return len(urlsplit(instance.base_url).path.rstrip("/")) + len(refresh_target(request))
    except UnsendableName:
        return 0


def job_target(job_id: str) -> str:
    """Path of a job's status. Raises UnsendableName."""
    return f"{API}/jobs/{_segment(job_id)}/status"


def models_target(query: ModelsQuery) -> str:
    """Path and query of one page of models; in order of creation, which no refresh changes."""
    return _target(
        "models",
        modelKind=query.kind,
        name=query.name,
        modelId=query.model_id,
        baseModelId=query.base_model_id,
        connectionId=query.connection_id,
        include="activeBranches" if query.active_branches else None,
        sortField="createdAt",
        sortDirection="asc",
        pageSize=str(query.page_size),
        cursor=query.cursor,
    )


def model_target(model_id: str, part: str, **query: str | None) -> str:
    """Path and query of a part of one model: its schemas, its validation, its YAML."""
    return _target(f"models/{_segment(model_id)}/{part}", **query)


def connections_target() -> str:
    """Path of the list of connections; it has no pages."""
    return _target("connections")


def connection_target(connection_id: str, part: str = "") -> str:
    """Path of one connection, or of a part of it: its schedules."""
    return _target(f"connections/{_segment(connection_id)}{part and '/' + part}")


def whoami_target(model_ids: Iterable[str]) -> str:
    """Path and query of the read that says who the key acts as, with its roles on some models."""
    return _target("whoami", modelId=",".join(model_ids) or None)


def environments_target() -> str:
    """Path of the list of connection environments."""
    return _target("connection-environments")


def api_document_target() -> str:
    """Path of the instance's own OpenAPI document."""
    return "/openapi.json"


def ping_target() -> str:
    """Path and query of the smallest read that every key may send."""
    return _target("models", pageSize="1")


def _target(path: str, **query: str | None) -> str:
    parts = [f"{name}={_escape(value)}" for name, value in query.items() if value is not None]
    return f"{API}/{path}" + (f"?{'&'.join(parts)}" if parts else "")


def _names(names: tuple[str, ...]) -> str:
    """Names of a scope as one value. The comma between them is literal: every server decodes it, and it is short."""
    for name in names:
        if not name.strip() or "," in name:
            raise UnsendableName(f"{name!r} cannot be sent as a name of a scope")
    return ",".join(map(_escape, names))


def _segment(text: str) -> str:
    """One segment of a path. `.` and `..` are encoded, so that they name nothing else; an empty one is refused."""
    if not text:
        raise UnsendableName("an empty id cannot be sent")
    return _escape(text).replace(".", "%2E") if text in {".", ".."} else _escape(text)


@lru_cache(maxsize=10_000)
def _escape(text: str) -> str:
    """Return a text in percent-encoding. A scope is measured many times before its calls leave, so results are kept."""
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        pass
    raise UnsendableName("a lone surrogate cannot be sent")
