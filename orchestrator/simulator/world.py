"""The simulated instance's state: connections with their schema models, models, jobs.

Pure but for its own memory: every moment is a parameter, in seconds since the simulator started. A refresh takes effect
when its job ends: what it read from the warehouse then shows in the connection's schema model, for all models on it.
"""

import heapq
import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from orchestrator.simulator.field_types import draw_s
from orchestrator.simulator.population import Connection, ScenarioIssue, Schemas, Traits

REFRESHABLE = frozenset({"SCHEMA", "SHARED", "SHARED_EXTENSION"})
"""Kinds of models that a refresh may name. The others build on one of these."""

GOOD_WORDS = frozenset({"COMPLETED", "COMPLETE", "SUCCESS", "SUCCEEDED"})
"""Final words of a job that took effect."""

Layer = dict[str, tuple[str, ...]]
"""What a schema model shows: each schema with its tables, or each `schema.table` with its columns."""


@dataclass(slots=True, kw_only=True)
class LiveConnection:
    """A connection while the simulator runs: its schema model (key None) and those of its branches that differ, as tables and
    as columns.
    """

    id: str
    name: str
    spec: Connection
    layers: dict[str | None, Layer]
    columns: dict[str | None, Layer]
    order: int
    shared_models: int = 0
    refreshed_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A model, or a branch of one (kind BRANCH), while the simulator runs; `branches` maps ids to names."""

    id: str
    name: str
    kind: str
    connection: LiveConnection
    base_id: str | None
    traits: Traits
    order: int
    branches: Mapping[str, str] = field(default_factory=dict)
    is_deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedJob:
    """A refresh that runs or has ended: `ends_s` is infinite for one that never ends."""

    id: str
    model_id: str
    connection_id: str
    branch_id: str | None
    is_hard: bool
    schemas: tuple[str, ...]
    tables: tuple[str, ...]
    started_s: float
    ends_s: float
    result: str
    job_type: str | None = None

    @property
    def duration_s(self) -> float:
        """How long it takes; infinite for one that never ends."""
        return self.ends_s - self.started_s

    @property
    def takes_effect(self) -> bool:
        """Whether the schema model changes when it ends."""
        return self.job_type is None and self.result.upper() in GOOD_WORDS


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE | re.DOTALL)


def fits(pattern: str, names: Iterable[str]) -> bool:
    """Whether a scope's entry (`*` stands for anything, letter case is ignored) is one of these spellings of a name."""
    compiled = _pattern(pattern)
    return any(compiled.fullmatch(name) for name in names)


def read_warehouse(spec: Connection, schemas: tuple[str, ...], tables: tuple[str, ...]) -> Layer:
    """What a refresh limited to `schemas` and `tables` finds; empty ones limit nothing, misspelt ones find nothing."""
    found: Layer = {}
    for schema, held in spec.schemas.items():
        spellings = (schema, f"{spec.database}.{schema}")
        if schemas and not any(fits(pattern, spellings) for pattern in schemas):
            continue
        if not tables:
            found[schema] = held
            continue
        matching = tuple(
            table
            for table in held
            if any(fits(pattern, (table, *(f"{s}.{table}" for s in spellings))) for pattern in tables)
        )
        if matching:
            found[schema] = matching
    return found


def merge(layer: Layer, found: Layer) -> Layer:
    """`layer` with everything in `found` added; what the warehouse no longer has stays (a soft refresh)."""
    merged = dict(layer)
    for schema, tables in found.items():
        merged[schema] = tuple(dict.fromkeys((*layer.get(schema, ()), *tables)))
    return merged


class World:
    """All connections, models and jobs. `seed` decides durations (by model and refresh) and job ids."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._job_dice = random.Random(f"{seed}/jobs")
        self._jobs: dict[str, SimulatedJob] = {}
        self._ending: list[tuple[float, int, SimulatedJob]] = []
        self._refreshes: dict[str, int] = {}
        self._running: dict[str, list[SimulatedJob]] = {}
        self._issues_are_new: set[tuple[str, str | None]] = set()
        self.connections: dict[str, LiveConnection] = {}
        self.models: dict[str, LiveModel] = {}
        self.version = 0
        """Grows whenever a refresh has changed something that lists show."""

    def add_connection(self, connection_id: str, name: str, spec: Connection) -> LiveConnection:
        """A new connection whose schema model shows what it did before any refresh."""
        before: Schemas = spec.schemas if spec.schemas_before is None else spec.schemas_before
        columns = spec.columns if spec.columns_before is None else spec.columns_before
        live = LiveConnection(
            id=connection_id,
            name=name,
            spec=spec,
            layers={None: dict(before)},
            columns={None: dict(columns)},
            order=len(self.connections),
        )
        self.connections[connection_id] = live
        return live

    def add_model(self, model: LiveModel) -> None:
        """A new model, and its branches as models of their own."""
        self.models[model.id] = model
        if model.kind == "SHARED" and not model.is_deleted:
            model.connection.shared_models += 1
        for branch_id, name in model.branches.items():
            self.models[branch_id] = LiveModel(
                id=branch_id,
                name=name,
                kind="BRANCH",
                connection=model.connection,
                base_id=model.id,
                traits=model.traits,
                order=len(self.models),
            )

    def branch_ids(self, model: LiveModel) -> set[str]:
        """The branches that a call about `model` may name: its own, its base's, and for a schema model those of the
        connection's shared models.
        """
        allowed = set(model.branches)
        if model.base_id is not None:
            allowed.update(self.models[model.base_id].branches)
        if model.kind == "SCHEMA":
            allowed.update(
                other.id
                for other in self.models.values()
                if other.kind == "BRANCH" and other.connection is model.connection
            )
        return allowed

    def duration_s(self, model: LiveModel, number: int) -> float:
        """Seconds that the model's refresh `number` (from 1) takes: the same for a seed, with any caller at any time."""
        duration = model.traits.duration
        if isinstance(duration, float):
            return duration
        return draw_s(duration, random.Random(f"{self._seed}/duration/{model.id}/{number}"))

    def start_refresh(
        self,
        model: LiveModel,
        branch_id: str | None,
        *,
        is_hard: bool,
        schemas: tuple[str, ...],
        tables: tuple[str, ...],
        now_s: float,
        job_type: str | None = None,
    ) -> SimulatedJob:
        """Start a refresh whose checks have passed; with a `job_type`, a job that changes no schema."""
        number = self._refreshes[model.id] = self._refreshes.get(model.id, 0) + 1
        results = model.traits.result
        job = SimulatedJob(
            id=str(UUID(int=self._job_dice.getrandbits(128), version=4)),
            model_id=model.id,
            connection_id=model.connection.id,
            branch_id=branch_id,
            is_hard=is_hard,
            schemas=schemas,
            tables=tables,
            started_s=now_s,
            ends_s=now_s + self.duration_s(model, number),
            result=results if isinstance(results, str) else results[min(number, len(results)) - 1],
            job_type=job_type,
        )
        self._jobs[job.id] = job
        self._running.setdefault(job.connection_id, []).append(job)
        if math.isfinite(job.ends_s):
            heapq.heappush(self._ending, (job.ends_s, len(self._jobs), job))
        return job

    def find_job(self, job_id: str) -> SimulatedJob | None:
        """The job of this id, whenever it started or ended."""
        return self._jobs.get(job_id)

    def running_job(self, connection: LiveConnection, now_s: float) -> SimulatedJob | None:
        """A job that runs on the connection at `now_s`."""
        running = self._running[connection.id] = [j for j in self._running.get(connection.id, ()) if j.ends_s > now_s]
        return running[0] if running else None

    def layer(self, model: LiveModel, branch_id: str | None, now_s: float) -> Layer:
        """What the schema model under `model` shows at `now_s`; a branch shows its own if it was refreshed."""
        self.settle(now_s)
        layers = model.connection.layers
        return layers.get(branch_id, layers[None])

    def columns(self, model: LiveModel, branch_id: str | None, now_s: float) -> Layer:
        """The columns that the schema model under `model` shows at `now_s`, by `schema.table`, as far as the scenario lists
        them.
        """
        self.settle(now_s)
        columns = model.connection.columns
        return columns.get(branch_id, columns[None])

    def issues(self, model: LiveModel, branch_id: str | None, now_s: float) -> tuple[ScenarioIssue, ...]:
        """The model's validation issues at `now_s`."""
        self.settle(now_s)
        traits = model.traits
        is_new = traits.issues_before is None or (model.connection.id, branch_id) in self._issues_are_new
        return traits.issues if is_new else traits.issues_before or ()

    def settle(self, now_s: float) -> None:
        """Let each job that has ended by `now_s` take effect, in the order of their ends."""
        while self._ending and self._ending[0][0] <= now_s:
            _, _, job = heapq.heappop(self._ending)
            if job.takes_effect:
                self._take_effect(job)

    def _take_effect(self, job: SimulatedJob) -> None:
        connection = self.connections[job.connection_id]
        found = read_warehouse(connection.spec, job.schemas, job.tables)
        layers = connection.layers
        layers[job.branch_id] = found if job.is_hard else merge(layers.get(job.branch_id, layers[None]), found)
        tables = {f"{schema}.{table}" for schema, held in found.items() for table in held}
        columns, read = connection.columns, {t: c for t, c in connection.spec.columns.items() if t in tables}
        columns[job.branch_id] = read if job.is_hard else merge(columns.get(job.branch_id, columns[None]), read)
        self._issues_are_new.add((job.connection_id, job.branch_id))
        connection.refreshed_s = job.ends_s
        self.version += 1
