"""Typed questions and answers of the Omni API; every field that the server may leave out is optional."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.manifest.manifest import RefreshKind


class JobState(StrEnum):
    """What a status word means. Unknown words mean that the job still runs (docs and spec disagree)."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRequest:
    """One call that starts a job: `POST /v1/models/{model_id}/refresh`, or `.../dbt-sync`, with its query.

    Names go out exactly as they stand. A dbt sync sends its branch and nothing else.
    """

    model_id: str
    kind: RefreshKind = RefreshKind.SCHEMA
    hard: bool
    branch_id: str | None = None
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshAnswer:
    """A 2xx answer to a refresh call. `job_id` is None if the server gave none; `state` may be final already."""

    job_id: str | None
    state: JobState
    word: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAnswer:
    """A 2xx answer about a job; `word` is the server's own, upper case, at most 100 characters."""

    state: JobState
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsQuery:
    """One page of `GET /v1/models`; unset filters are left out of the query."""

    kind: str | None = None
    name: str | None = None
    model_id: str | None = None
    base_model_id: str | None = None
    connection_id: str | None = None
    active_branches: bool = False
    page_size: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """One model as the list shows it; ids are lower case. A branch is a model of kind BRANCH; its id is a
    model id. `branches` holds (id, name) pairs; None if the request did not ask for them or the answer has none.
    """

    id: str
    name: str | None
    kind: str | None
    connection_id: str | None
    base_model_id: str | None
    deleted: bool
    branches: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsPage:
    """One page of models; `next_cursor` is None on the last one. `total` is what the server says, if it does."""

    records: tuple[ModelRecord, ...]
    next_cursor: str | None
    total: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """One connection as the list shows it."""

    id: str
    name: str | None
    dialect: str | None = None
    database: str | None = None
    default_schema: str | None = None
    base_role: str | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationIssue:
    """One finding of a model's validation; equal issues are the same issue before and after.

    `yaml_path` says where it is in the reference pages' form, `view` and `field` in that of the vendor's CLI.
    """

    message: str
    is_warning: bool
    yaml_path: str | None = None
    view: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentIssue:
    """One finding of the content validator about a document. `query` is the name of the query or filter that has it, `query_id`
    what identifies that; both are None if the whole document has it.
    """

    message: str
    query: str | None = None
    query_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentDocument:
    """A document as the content validator shows it. `identifier` is the part of its address that identifies it, `kind` the word
    that distinguishes a draft from a published document. `queries` are the names of its queries.
    """

    id: str
    name: str | None = None
    identifier: str | None = None
    kind: str | None = None
    folder: str | None = None
    queries: tuple[str, ...] = ()
    issues: tuple[ContentIssue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshSchedule:
    """One native refresh schedule of a connection: six-field EventBridge cron and an IANA time zone."""

    id: str
    cron: str | None
    timezone: str | None
    hard: bool | None
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRole:
    """The caller's role on one model as `GET /v1/whoami` reports it; it does not say whether a refresh is allowed."""

    model_id: str
    base_role: str | None
    connection_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI:
    """Who a key acts as. `roles` holds the models that the request named; the server may leave some out."""

    key_scope: str | None
    org_role: str | None
    roles: tuple[ModelRole, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEnvironment:
    """One connection environment: `connection_id` replaces `base_connection_id`, and has a schema of its own."""

    id: str
    base_connection_id: str | None
    connection_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDocument:
    """What an instance's own OpenAPI document says of the calls that start a job: the query parameters of the refresh call, and
    whether there is a dbt sync.
    """

    refresh_parameters: tuple[str, ...]
    knows_dbt_sync: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewField:
    """A field of a view. `sql` is None if its definition has none: then it is the column of its own name."""

    name: str
    sql: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of a model. `table` is None if the model's YAML does not name it: then it is a query, or a table under the
    view's own name, which may be scoped (`schema__table`, `catalog_schema__table`). `fields` are read only if they were asked
    for.
    """

    name: str
    catalog: str | None
    schema: str | None
    table: str | None
    fields: tuple[ViewField, ...] = ()
