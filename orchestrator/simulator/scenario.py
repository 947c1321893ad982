"""A scenario: the simulated instance, its limits, its models and what goes wrong on it.

Every moment is in seconds since the simulator started, every duration in seconds. `reading.py` turns text into a
`Scenario`; docs/reference/scenario.md explains each key to people.
"""

from typing import Annotated, Literal

from pydantic import Field, Tag

from orchestrator.simulator.faults import InjectedFault
from orchestrator.simulator.field_types import (
    BY_FORM,
    MAPPING,
    Count,
    ScenarioPart,
    Seconds,
    Spread,
    Text,
    TextForm,
    TimeRange,
)
from orchestrator.simulator.limits import Key, Limit
from orchestrator.simulator.population import Connection, DefaultModel, Generate, Model, ScenarioEnvironment


class Answers(ScenarioPart):
    """Which of the documented forms the answers have."""

    error_shape: Literal["message", "detail", "scim", "error"] = "message"
    """`{error, message}`, `{detail, status}`, the latter with SCIM's schemas, or `{error}` alone."""
    bad_key: Literal["unauthorized", "invalid_token"] = "unauthorized"
    """How a wrong key is refused: 401, or 403 `Invalid bearer token`."""
    job_id: bool = True
    """Whether the answer to a refresh carries the job's id."""
    refresh_status: Text = "running"
    """The status in the answer to a refresh."""
    final_at_once: bool = False
    """Whether the answer to a refresh of duration 0 says how it ended."""
    running: Text = "RUNNING"
    """The word for a job that has not ended: RUNNING in the reference pages, IN_PROGRESS in the vendor's CLI."""
    job_type: Text = "refresh_schema"
    """The job's type in a status answer; REFRESH_SCHEMA in the vendor's CLI."""
    job_visible_after: Seconds = 0.0
    """Seconds after its start in which a job is answered 404."""
    job_kept: Seconds | None = None
    """Seconds after its end until a job is forgotten and answered 404; left out: never."""
    schemas: Literal["array", "object"] = "array"
    """A model's schemas as a bare array, or as `{schemas}`."""
    issues: Literal["array", "object"] = "array"
    """A model's validation issues as a bare array, or as `{issues, valid}`."""
    refresh_parameters: tuple[Text, ...] = ("branch_id", "hard_refresh", "schemas", "tables")
    """The parameters that the refresh call takes; others are answered 400."""
    dbt_sync: bool = True
    """Whether the instance knows the dbt sync of a branch; if not: 404."""
    api_document: bool = True
    """Whether the instance shows its own OpenAPI document at `/openapi.json`; if not: 404."""
    content_filter: bool = True
    """Whether the content validator takes `content_filter_mode`, which the vendor's CLI sends and the reference pages do not
    name.
    """
    names: Literal["exact", "contains"] = "exact"
    """How the `name` filter of the models' list matches, letter case aside."""
    clock_offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Seconds by which the server's clock (Date, dates in Retry-After) is ahead; may be negative."""


class Scenario(ScenarioPart):
    """A simulated Omni instance."""

    version: Literal[1] = 1
    """The version of this format."""
    only: bool = False
    """With --simulate: these models alone; otherwise they are added to the manifest's models, and take precedence over
    them, key by key.
    """
    seed: int = 0
    """The seed of all random values: the same scenario, seed and client make the same calls."""
    keys: tuple[Annotated[TextForm | Annotated[Key, Tag(MAPPING)], BY_FORM], ...] = ()
    """The keys that are accepted: texts or mappings; none: any bearer token is."""
    limit: Limit = Limit()
    """How calls are limited."""
    latency: Spread = 0.0
    """Seconds that a call spends on its way there and back: a number, [min, max], or a lognormal distribution."""
    answers: Answers = Answers()
    """Which of the documented forms the answers have."""
    overlap: Literal["start", "refuse"] = "start"
    """A refresh of a connection whose last one still runs is started as well, or answered 409."""
    max_url: Count = 8192
    """Request targets with more bytes than this are answered 414."""
    keep_alive: Seconds = 75.0
    """Seconds after which an idle connection is closed without notice."""
    outages: tuple[TimeRange, ...] = ()
    """Times in which the port refuses connections; those that are open are reset."""
    connections: tuple[Connection, ...] = ()
    """Connections that models refer to."""
    models: tuple[Model, ...] = ()
    """Models, one by one."""
    generate: tuple[Generate, ...] = ()
    """Generated models."""
    default_model: DefaultModel | None = None
    """What every other uuid stands for; left out: no model (404)."""
    environments: tuple[ScenarioEnvironment, ...] = ()
    """Connection environments."""
    faults: tuple[InjectedFault, ...] = ()
    """What goes wrong; the first rule that applies decides."""
