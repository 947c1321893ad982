"""A rehearsal's instance: the models that a manifest names, with what a scenario adds."""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from orchestrator.manifest.manifest import Entry, Instance
from orchestrator.simulator.limits import Limit
from orchestrator.simulator.population import Connection, Model
from orchestrator.simulator.reading import check_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import connection_id, id_of, is_id, names_of_models

_WILDCARDS = re.compile(r"[*?]")
_CLASS = re.compile(r"\[(?!!)([^\]])[^\]]*\]")


def extend(scenario: Scenario, instance: Instance, entries: Iterable[Entry]) -> Scenario:
    """Return the scenario with every model, branch, connection, schema and table that the entries name.

    What the scenario says wins, key by key; its `default_model` describes the manifest's models that it does not list. If the
    scenario has no limit, the manifest's applies. With `only: true`, only the limit comes from the manifest. Raises
    ScenarioError if the two cannot be one instance, for example if two models have one branch id.
    """
    limit = _extended_limit(scenario, instance)
    if scenario.only:
        return scenario.model_copy(update={"limit": limit})
    wanted = _wanted(entries)
    connections = _Connections(scenario.connections)
    models = []
    met: set[int] = set()
    for model in scenario.models:
        mine = _find(model, wanted)
        if mine is not None:
            met.add(id(mine))
        models.append(_extended_model(model, mine, connections))
    generated = {word for pair in names_of_models(scenario.model_copy(update={"models": ()})) for word in pair}
    default = scenario.default_model
    traits = {} if default is None else {name: getattr(default, name) for name in default.model_fields_set}
    for mine in wanted:
        if id(mine) not in met and not {mine.id, mine.name} & generated:
            model = Model(id=mine.id, name=mine.name).model_copy(update=traits)
            models.append(_extended_model(model, mine, connections))
    update = {"limit": limit, "models": tuple(models), "connections": connections.extended()}
    return check_scenario(scenario.model_copy(update=update))


@dataclass(slots=True)
class _Needs:
    """What a connection must have so that everything that the manifest names exists."""

    schemas: dict[str, tuple[str, ...]] = field(default_factory=dict)
    branch_based: bool = False

    def add(self, other: "_Needs") -> None:
        for schema, tables in other.schemas.items():
            self.schemas[schema] = tuple(dict.fromkeys((*self.schemas.get(schema, ()), *tables)))
        self.branch_based |= other.branch_based

    def met_by(self, connection: Connection) -> Connection:
        """The connection, with defaults for what it leaves out."""
        update: dict[str, object] = {}
        if "schemas" not in connection.model_fields_set and self.schemas:
            update["schemas"] = self.schemas
        if "branch_based" not in connection.model_fields_set and self.branch_based:
            update["branch_based"] = True
        return connection.model_copy(update=update)


@dataclass(slots=True, kw_only=True)
class _Wanted:
    """One model that the manifest names, by id or by name. `labels` are its entries' names."""

    id: str | None
    name: str | None
    labels: set[str] = field(default_factory=set)
    branches: list[str] = field(default_factory=list)
    connection: str | None = None
    needs: _Needs = field(default_factory=_Needs)


class _Connections:
    """The listed connections by their ids, and what the manifest needs of each."""

    def __init__(self, listed: Sequence[Connection]) -> None:
        self._by_id = {id_of(connection): connection for connection in listed}
        self._needs: dict[str, _Needs] = {}
        self._ids = {c.name: id_ for id_, c in self._by_id.items() if c.name is not None}

    def need(self, reference: str | Connection, needs: _Needs) -> str:
        """Note what a model needs of a connection that has a name or an id, and list it; how models refer to it."""
        if isinstance(reference, str):
            key = self._ids.get(reference)
            if key is None and is_id(reference):
                key, reference = reference.lower(), Connection(id=reference)
            elif key is None:
                key, reference = connection_id(reference), Connection(name=reference)
        else:
            key = id_of(reference)
        if key not in self._by_id:
            assert isinstance(reference, Connection)
            self._by_id[key] = reference
        self._needs.setdefault(key, _Needs()).add(needs)
        return key

    def extended(self) -> tuple[Connection, ...]:
        """All connections, with defaults for what they leave out."""
        return tuple(self._needs.get(key, _Needs()).met_by(one) for key, one in self._by_id.items())


def _wanted(entries: Iterable[Entry]) -> list[_Wanted]:
    found: dict[tuple[str | None, str | None], _Wanted] = {}
    for entry in entries:
        name = None if entry.model_id else (entry.model_name or entry.name)
        mine = found.setdefault((entry.model_id, name), _Wanted(id=entry.model_id, name=name))
        mine.labels.add(entry.name)
        mine.connection = mine.connection or entry.connection
        mine.branches += [branch for branch in _branches(entry) if branch not in mine.branches]
        schemas = {schema: tuple(tables) for schema, tables in _scope(entry).items()}
        mine.needs.add(_Needs(schemas=schemas, branch_based=entry.branch is not None))
    return list(found.values())


def _find(model: Model, wanted: Sequence[_Wanted]) -> _Wanted | None:
    """What the manifest needs of a model of the scenario: the same id or name, or the label of an entry that gives an id."""
    own_id = id_of(model)
    by_label = model.id is None and model.name is not None
    return (
        next((w for w in wanted if w.id == own_id or (w.name is not None and w.name == model.name)), None)
        or next((w for w in wanted if by_label and w.id is not None and model.name in w.labels), None)
    )  # fmt: skip


def _extended_model(model: Model, mine: _Wanted | None, connections: _Connections) -> Model:
    if mine is None:
        return model
    update: dict[str, object] = {}
    if model.id is None and mine.id is not None:
        update["id"] = mine.id
    if "branches" not in model.model_fields_set:
        update["branches"] = tuple(mine.branches)
    reference = model.connection
    if isinstance(reference, Connection) and reference.id is None and reference.name is None and mine.connection:
        reference = reference.model_copy(update={"name": mine.connection})
    reference = reference or mine.connection or Connection()
    if isinstance(reference, str) or reference.id is not None or reference.name is not None:
        update["connection"] = connections.need(reference, mine.needs)
    else:
        update["connection"] = mine.needs.met_by(reference)
    return model.model_copy(update=update)


def _extended_limit(scenario: Scenario, instance: Instance) -> Limit:
    stated = scenario.limit.model_fields_set if "limit" in scenario.model_fields_set else set()
    own = {"requests": instance.rate_limit.requests, "per": instance.rate_limit.per_s}
    return scenario.limit.model_copy(update={name: value for name, value in own.items() if name not in stated})


def _branches(entry: Entry) -> list[str]:
    """Return the branches that an entry needs: for a pattern, two that it matches."""
    if entry.branch is None or not entry.has_branch_pattern:
        return [] if entry.branch is None else [entry.branch]
    found = [_CLASS.sub(r"\1", _WILDCARDS.sub(digit, entry.branch)) for digit in "12"]
    return [one for one in dict.fromkeys(found) if fnmatch.fnmatchcase(one, entry.branch)] or [entry.branch]


def _scope(entry: Entry) -> dict[str, list[str]]:
    """A warehouse in which each schema and table of an entry's scope matches something."""
    found: dict[str, list[str]] = {_match(schema): [] for schema in entry.schemas}
    for text in entry.tables:
        owner, _, table = text.rpartition(".")
        for schema in [_match(owner)] if owner else [*found] or ["public"]:
            found.setdefault(schema, []).append(_match(table))
    return found


def _match(pattern: str) -> str:
    """A name that a pattern matches."""
    return _WILDCARDS.sub("x", pattern)
