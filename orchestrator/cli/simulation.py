"""`--simulate`: a simulator for each instance of a manifest, in this process, and the manifest pointed at it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.manifest.api_keys import reason
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, KeySource, Manifest, Secret
from orchestrator.simulator.reading import ScenarioError, load_scenario, make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator

# any key is accepted by a simulated instance; keys must differ to have quotas of their own
_KEY = "simulated-key"


async def enter_simulation(stack: AsyncExitStack, scenario: str, manifest: Manifest, clock: Clock) -> Manifest:
    """Start a simulator for each instance for as long as `stack` lives; the manifest with their addresses. Raises
    `UsageError` where the scenario is wrong.
    """
    instances = {}
    for name, staged in stage(manifest, scenario).items():
        instance = manifest.instances[name]
        simulator = await stack.enter_async_context(Simulator(staged, utcnow=clock.utcnow))
        keys = [
            ApiKey(source=KeySource(), secret=Secret(key))
            for key in (_known_keys(staged) or [f"{_KEY}-{name}-{n}" for n in range(max(1, len(instance.keys)))])
        ]
        instances[name] = replace(instance, base_url=simulator.url, keys=tuple(keys), ca_file=None)
    return replace(manifest, instances=instances)


def stage(manifest: Manifest, scenario: str = "") -> dict[str, Scenario]:
    """The scenario of each instance of a manifest.

    `scenario` is a file's path; an empty text means the scenario beside the manifest where there is one, else instances
    on which everything that the manifest names exists. Raises `UsageError` where the scenario is wrong.
    """
    path = scenario or _scenario_beside(manifest.path)
    return {
        name: read_scenario(path)
        if path
        else _everything_exists(instance, [e for e in manifest.entries if e.instance == name])
        for name, instance in manifest.instances.items()
    }


def _scenario_beside(manifest_path: str) -> str:
    """`NAME.scenario.yaml` beside the manifest `NAME.yaml`; an empty text where there is none."""
    beside = Path(manifest_path).with_suffix(".scenario.yaml")
    return str(beside) if beside.is_file() else ""


def read_scenario(path: str) -> Scenario:
    """The scenario in a file; raises `UsageError` with every fault."""
    try:
        return load_scenario(Path(path))
    except ScenarioError as error:
        raise UsageError(f"the scenario is wrong:\n{error}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the scenario cannot be read: {reason(error)}: {path}") from None


def _known_keys(scenario: Scenario) -> list[str]:
    return [key if isinstance(key, str) else key.key for key in scenario.keys]


def _everything_exists(instance: Instance, entries: list[Entry]) -> Scenario:
    """An instance on which each model, branch, connection, schema and table that the manifest names exists."""
    held: dict[object, dict[str, list[str]]] = {}
    models: dict[tuple[str | None, str | None], dict[str, object]] = {}
    labels: dict[str, bool] = {}
    for entry in entries:
        name = None if entry.model_id else (entry.model_name or entry.name)
        model = models.setdefault((entry.model_id, name), {"branches": []})
        model.update({"id": entry.model_id} if entry.model_id else {"name": name})
        if entry.branch is not None:
            branches = model["branches"]
            assert isinstance(branches, list)
            if entry.branch not in branches:
                branches.append(entry.branch)
        warehouse = held.setdefault(entry.connection or (entry.model_id, name), {})
        for schema, tables in _named(entry).items():
            warehouse[schema] = list(dict.fromkeys((*warehouse.get(schema, ()), *tables)))
        if entry.connection is not None:
            labels[entry.connection] = labels.get(entry.connection, False) or entry.branch is not None
            model["connection"] = entry.connection
        else:
            own = model.setdefault("connection", {"branch_based": False})
            # another entry may have said the model's connection
            if isinstance(own, dict):
                own.update({"branch_based": own["branch_based"] or entry.branch is not None, "schemas": warehouse})
    limit = instance.rate_limit
    return make_scenario(
        limit={"requests": limit.requests, "per": limit.per_s},
        connections=[{"name": n, "branch_based": based, "schemas": held[n]} for n, based in labels.items()],
        models=list(models.values()),
    )


def _named(entry: Entry) -> dict[str, list[str]]:
    """A warehouse in which each schema and table of an entry's scope matches something."""
    found: dict[str, list[str]] = {_match(schema): [] for schema in entry.schemas}
    for text in entry.tables:
        owner, _, table = text.rpartition(".")
        for schema in [_match(owner)] if owner else [*found] or ["public"]:
            found.setdefault(schema, []).append(_match(table))
    return found


def _match(pattern: str) -> str:
    """A name that a pattern matches."""
    return pattern.replace("*", "x").replace("?", "x")
