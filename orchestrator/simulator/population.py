"""What the simulated instance holds: connections, models and branches, listed one by one or generated."""

from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from orchestrator.simulator.field_types import (
    BY_FORM,
    MAPPING,
    Count,
    Duration,
    Id,
    ScenarioPart,
    Text,
    TextForm,
    TextsForm,
)

Kind = Literal["SCHEMA", "SHARED", "SHARED_EXTENSION", "WORKBOOK", "QUERY"]
Role = Literal["NO_ACCESS", "VIEWER", "QUERY_TOPICS", "QUERIER", "MODELER", "CONNECTION_ADMIN"]
Schemas = dict[Text, tuple[Text, ...]]


class ScenarioIssue(ScenarioPart):
    """A validation issue of a model."""

    message: str
    """What is wrong."""
    is_warning: bool = False
    """A warning, not an error."""
    yaml_path: str | None = None
    """The file that it is about; shown if issues are a bare array."""
    view: Text | None = None
    """The view that it is about; shown if issues are an object."""
    field: Text | None = None
    """The field that it is about; shown if issues are an object."""


class ScenarioQuery(ScenarioPart):
    """A query of a document."""

    name: Text
    """Its name."""
    fields: tuple[Text, ...] = ()
    """The fields that it uses, each `view.field`."""


class ScenarioDocument(ScenarioPart):
    """A document that uses a model."""

    name: Text
    """Its name."""
    identifier: Text | None = None
    """What identifies it in its address; left out: derived from the model's id and the name."""
    folder: Text | None = None
    """The path of its folder."""
    draft: bool = False
    """Whether it is a draft."""
    personal: bool = False
    """Whether it is in a personal folder: listed only if a call includes personal folders."""
    queries: tuple[ScenarioQuery, ...] = ()
    """Its queries."""
    filters: tuple[Text, ...] = ()
    """The fields of its dashboard's filters, each `view.field`."""


class ScenarioSchedule(ScenarioPart):
    """A native refresh schedule of a connection."""

    schedule: Text
    """Six cron fields, as AWS EventBridge writes them."""
    timezone: Text = "UTC"
    """An IANA time zone."""
    hard_refresh: bool = False
    """Whether it refreshes hard."""
    disabled: bool = False
    """Whether it is switched off."""


class Connection(ScenarioPart):
    """A database connection: what its warehouse holds, and what the schema model shows of it before any refresh."""

    id: Id | None = None
    """A uuid; left out: derived from the name."""
    name: Text | None = None
    """Its name; left out: `Connection` and the first digits of its id."""
    dialect: Text = "snowflake"
    """The kind of database."""
    database: Text = "analytics"
    """The default catalog."""
    default_schema: Text | None = None
    """The default schema."""
    branch_based: bool = False
    """Whether branch-based schema refresh is on. If it is, a refresh needs a branch; otherwise it must name none."""
    role: Role = "CONNECTION_ADMIN"
    """The caller's role. CONNECTION_ADMIN may refresh; MODELER may too, if the connection has one shared model."""
    schemas: Schemas = Field(default_factory=dict)
    """What the warehouse holds: each schema with its tables. This is what a refresh reads."""
    schemas_before: Schemas | None = None
    """What the schema model shows until a refresh; left out: the same as `schemas`."""
    columns: Schemas = Field(default_factory=dict)
    """The columns of tables, by `schema.table`. A table that is left out has every column that a document uses."""
    columns_before: Schemas | None = None
    """The columns that the schema model shows until a refresh; left out: the same as `columns`."""
    offloaded: tuple[Text, ...] = ()
    """Schemas that are listed, but whose views are shown only if a call names the schema."""
    scope_view_names: bool = False
    """Whether views' names always carry catalog and schema."""
    schedules: tuple[ScenarioSchedule, ...] = ()
    """Its native refresh schedules."""


class Branch(ScenarioPart):
    """A branch of a model."""

    name: Text
    """Its name, such as `nightly/schema`."""
    id: Id | None = None
    """A uuid; left out: derived from the model's id and the name."""


ConnectionRef = Annotated[TextForm | Annotated[Connection, Tag(MAPPING)], BY_FORM]


class Traits(ScenarioPart):
    """What listed, generated and all other models have in common."""

    kind: Kind = "SHARED"
    """The model's kind. Only SCHEMA, SHARED and SHARED_EXTENSION can be refreshed."""
    forbidden: bool = False
    """Whether a refresh is answered 403."""
    branches: tuple[Annotated[TextForm | Annotated[Branch, Tag(MAPPING)], BY_FORM], ...] = ()
    """Its active branches: names (or uuids, which are then both), or mappings with a name and an id."""
    duration: Duration = 8.0
    """Seconds that a refresh takes: a number, [min, max], a lognormal distribution, or `never`."""
    result: Annotated[TextForm | TextsForm, BY_FORM] = "COMPLETED"
    """The job's final word. A list: one word for each refresh, the last one for all that follow."""
    issues: tuple[ScenarioIssue, ...] = ()
    """Validation issues after a refresh."""
    issues_before: tuple[ScenarioIssue, ...] | None = None
    """Validation issues until a refresh; left out: the same as `issues`."""
    documents: tuple[ScenarioDocument, ...] = ()
    """The documents that use it. One that uses a view or a field that the schema model does not show has issues."""


class Model(Traits):
    """A model."""

    id: Id | None = None
    """A uuid; left out: derived from the name."""
    name: Text | None = None
    """Its name; left out: `Model` and the first digits of its id."""
    connection: ConnectionRef | None = None
    """A listed connection's id or name, or a connection of its own (also what is left out)."""
    base: Text | None = None
    """The id or name of the model that this one builds on."""
    deleted: bool = False
    """Whether it is in the trash: listed only if a call includes deleted models."""

    @model_validator(mode="after")
    def _can_be_found(self) -> "Model":
        if self.id is None and self.name is None:
            raise ValueError("a model needs an `id` or a `name`")
        return self


class DefaultModel(Traits):
    """What every uuid stands for that names no other model."""

    connection: ConnectionRef | None = None
    """A listed connection's id or name; else each such model has its own connection, made like this one."""


class Generate(Traits):
    """Many models that differ only in their names."""

    count: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many."""
    name: Text = "Model {n}"
    """The pattern of their names: `{n}` counts from 1; `{n:05}` with leading zeros."""
    connections: Count | None = None
    """How many connections they share, in turn; left out: each has its own."""
    connection_name: Text = "Connection {n}"
    """The pattern of the connections' names."""
    branch_based: bool = False
    """As for a connection."""
    schemas: Schemas = Field(default_factory=dict)
    """As for a connection."""


class ScenarioEnvironment(ScenarioPart):
    """A connection environment: one connection stands in for another."""

    base: Text
    """The base connection's id or name."""
    connection: Text
    """The id or name of the connection that stands in."""
    values: tuple[Text, ...] = ()
    """The user attribute's values that choose it."""
