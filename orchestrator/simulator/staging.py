"""From a scenario to the state that it describes: ids derived, references resolved, models generated."""

import re
from collections.abc import Iterator, Mapping

from orchestrator.simulator.field_types import derive_id
from orchestrator.simulator.population import Connection, DefaultModel, Generate, Model, Traits
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.world import LiveConnection, LiveModel, World

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_COUNTER = re.compile(r"\{n(?::0?(\d{1,2}))?\}")


def fill(pattern: str, number: int) -> str:
    """A generated name: `{n}` is the number, `{n:05}` the number with leading zeros."""
    return _COUNTER.sub(lambda match: str(number).zfill(int(match[1] or 0)), pattern)


def is_id(text: str) -> bool:
    """Whether a text is a uuid."""
    return _ID.fullmatch(text) is not None


def model_id(name: str) -> str:
    """The id of a model that a scenario gives only a name (or generates)."""
    return derive_id("model", name)


def connection_id(name: str) -> str:
    """The id of a connection that a scenario gives only a name (or generates)."""
    return derive_id("connection", name)


def id_of(spec: Model | Connection) -> str:
    """The id of a listed model or connection: its own, or one derived from its name."""
    return spec.id or (model_id if isinstance(spec, Model) else connection_id)(spec.name or "")


def branch_id(of_model_id: str, name: str) -> str:
    """The id of a branch that a scenario gives only a name."""
    return derive_id("branch", f"{of_model_id.lower()}/{name}")


class Stage(World):
    """A world made from a scenario; it also makes the models that only `default_model` describes."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        super().__init__(seed=seed)
        self._default = scenario.default_model
        self.environments = scenario.environments
        self._ids_by_name: dict[str, str] = {}
        for connection in scenario.connections:
            self._list_connection(connection)
        has_bases = any(model.base is not None for model in scenario.models)
        bases = {name: id_ for id_, name in names_of_models(scenario)} if has_bases else {}
        for model in scenario.models:
            self._list_model(model, bases)
        for generate in scenario.generate:
            self._generate(generate)

    def find_model(self, wanted: str) -> LiveModel | None:
        """The model of this id; an unlisted one is made if the scenario has a `default_model`."""
        id_ = wanted.lower()
        model = self.models.get(id_)
        if model is None and self._default is not None:
            model = self._make(id_, f"Model {id_[:8]}", self._default, self._connection(self._default.connection, id_))
        return model

    def find_connection(self, reference: str) -> LiveConnection | None:
        """The connection of this id, or of this name in the scenario."""
        return self.connections.get(self._ids_by_name.get(reference, reference.lower()))

    def _list_connection(self, spec: Connection) -> LiveConnection:
        id_ = id_of(spec)
        live = self.add_connection(id_, spec.name or f"Connection {id_[:8]}", spec)
        if spec.name is not None:
            self._ids_by_name[spec.name] = id_
        return live

    def _connection(self, reference: str | Connection | None, of_model_id: str) -> LiveConnection:
        if isinstance(reference, str):
            found = self.find_connection(reference)
            if found is not None:
                return found
            return self._list_connection(Connection(id=reference) if is_id(reference) else Connection(name=reference))
        spec = reference or Connection()
        if spec.id is None and spec.name is None:
            spec = spec.model_copy(update={"id": connection_id(f"of model {of_model_id}")})
        found = self.connections.get(id_of(spec))
        return found if found is not None else self._list_connection(spec)

    def _list_model(self, spec: Model, bases: Mapping[str, str]) -> None:
        id_ = id_of(spec)
        base_id = None if spec.base is None else bases.get(spec.base, spec.base.lower())
        name = spec.name or f"Model {id_[:8]}"
        self._make(id_, name, spec, self._connection(spec.connection, id_), base_id, is_deleted=spec.deleted)

    def _generate(self, spec: Generate) -> None:
        lines = spec.connections or spec.count
        for number in range(1, spec.count + 1):
            name = fill(spec.connection_name, (number - 1) % lines + 1)
            connection = self.find_connection(name) or self._list_connection(
                Connection(name=name, branch_based=spec.branch_based, schemas=spec.schemas)
            )
            model = fill(spec.name, number)
            self._make(model_id(model), model, spec, connection)

    def _make(
        self,
        id_: str,
        name: str,
        spec: Model | Generate | DefaultModel,
        connection: LiveConnection,
        base_id: str | None = None,
        *,
        is_deleted: bool = False,
    ) -> LiveModel:
        model = LiveModel(
            id=id_,
            name=name,
            kind=spec.kind,
            connection=connection,
            base_id=base_id,
            traits=spec,
            order=len(self.models),
            branches=dict(_branches(spec, id_)),
            is_deleted=is_deleted,
        )
        self.add_model(model)
        return model


def _branches(traits: Traits, of_model_id: str) -> Iterator[tuple[str, str]]:
    for entry in traits.branches:
        if isinstance(entry, str):
            yield (entry.lower() if is_id(entry) else branch_id(of_model_id, entry)), entry
        else:
            yield entry.id or branch_id(of_model_id, entry.name), entry.name


def names_of_models(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Id and name of each listed and generated model, in order."""
    for model in scenario.models:
        id_ = id_of(model)
        yield id_, model.name or id_
    for generate in scenario.generate:
        for number in range(1, generate.count + 1):
            name = fill(generate.name, number)
            yield model_id(name), name


Keys = tuple[str | int, ...]
"""The way to a place in a scenario: `("models", 2, "base")`."""


def dotted(keys: Keys) -> str:
    """The key's path, such as `models[2].base`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def conflicts(scenario: Scenario) -> Iterator[tuple[Keys, str]]:
    """Errors that concern several keys: the place and the message of each."""
    yield from _equal_ids(scenario)
    yield from _bad_patterns(scenario)
    yield from _lost_references(scenario)


def _equal_ids(scenario: Scenario) -> Iterator[tuple[Keys, str]]:
    for number, connection in enumerate(scenario.connections):
        if connection.id is None and connection.name is None:
            yield ("connections", number), "a listed connection needs an `id` or a `name`"
    for placed in (_placed_ids(scenario), _placed_connections(scenario)):
        seen: dict[str, Keys] = {}
        for keys, id_ in placed:
            if id_ in seen:
                yield keys, f"the same id as {dotted(seen[id_])}: {id_}"
            seen.setdefault(id_, keys)


def _bad_patterns(scenario: Scenario) -> Iterator[tuple[Keys, str]]:
    for number, generate in enumerate(scenario.generate):
        if generate.count > 1 and not _COUNTER.search(generate.name):
            yield ("generate", number, "name"), "needs `{n}`, or all models have one name"
        if (generate.connections or generate.count) > 1 and not _COUNTER.search(generate.connection_name):
            yield ("generate", number, "connection_name"), "needs `{n}`, or all connections have one name"


def _lost_references(scenario: Scenario) -> Iterator[tuple[Keys, str]]:
    based = [(number, model.base) for number, model in enumerate(scenario.models) if model.base is not None]
    models = {reference for pair in names_of_models(scenario) for reference in pair} if based else set()
    for number, base in based:
        if base not in models and base.lower() not in models:
            yield ("models", number, "base"), f"no model has the id or name {base!r}"
    connections = {id_ for _, id_ in _placed_connections(scenario)}
    connections |= {connection.name for connection in scenario.connections if connection.name is not None}
    for number, environment in enumerate(scenario.environments):
        for key, reference in (("base", environment.base), ("connection", environment.connection)):
            if reference not in connections and reference.lower() not in connections:
                yield ("environments", number, key), f"no listed connection has the id or name {reference!r}"


def _placed_connections(scenario: Scenario) -> Iterator[tuple[Keys, str]]:
    for number, connection in enumerate(scenario.connections):
        if connection.id is not None or connection.name is not None:
            yield ("connections", number), id_of(connection)


def _placed_ids(scenario: Scenario) -> Iterator[tuple[Keys, str]]:
    """Every id of a model or branch, with its place."""
    for number, model in enumerate(scenario.models):
        id_ = id_of(model)
        yield ("models", number), id_
        for position, (branch, _) in enumerate(_branches(model, id_)):
            yield ("models", number, "branches", position), branch
    for number, generate in enumerate(scenario.generate):
        is_numbered = _COUNTER.search(generate.name) is not None
        for count in range(1, generate.count + 1 if is_numbered else 2):
            yield ("generate", number), model_id(fill(generate.name, count))
