"""`--simulate`: a simulator for each instance of a manifest, in this process, and the manifest pointed at it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.input_file import reason
from orchestrator.manifest.manifest import ApiKey, KeySource, Manifest, Secret
from orchestrator.simulator.extending import extend
from orchestrator.simulator.reading import ScenarioError, load_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator

# any key is accepted by a simulated instance; keys must differ to have quotas of their own
_KEY = "simulated-key"


async def enter_simulation(stack: AsyncExitStack, scenario: str | None, manifest: Manifest, clock: Clock) -> Manifest:
    """Start a simulator for each instance for as long as `stack` lives; the manifest with their addresses.

    Raises UsageError if the scenario is wrong.
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


def stage(manifest: Manifest, scenario: str | None = None) -> dict[str, Scenario]:
    """Return the scenario of each instance of a manifest: its models, extended by the scenario file.

    `scenario` is the file's path; None means `NAME.scenario.yaml` beside the manifest `NAME.yaml`, if it exists. Raises
    UsageError if the scenario is wrong.
    """
    path = scenario or _scenario_beside(manifest.path)
    said = read_scenario(path) if path else Scenario()
    try:
        return {
            name: extend(said, instance, [e for e in manifest.entries if e.instance == name])
            for name, instance in manifest.instances.items()
        }
    except ScenarioError as error:
        raise UsageError(
            f"the manifest and the scenario do not go together:\n{error}", code="invalid-scenario"
        ) from None


def _scenario_beside(manifest_path: str) -> str | None:
    """`NAME.scenario.yaml` beside the manifest `NAME.yaml`; None if there is none."""
    beside = Path(manifest_path).with_suffix(".scenario.yaml")
    return str(beside) if beside.is_file() else None


def read_scenario(path: str) -> Scenario:
    """Return the scenario in a file. Raises `UsageError` with every fault."""
    try:
        return load_scenario(Path(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"the scenario cannot be read: {reason(error)}: {path}", code="unreadable-file") from None


def _known_keys(scenario: Scenario) -> list[str]:
    return [key if isinstance(key, str) else key.key for key in scenario.keys]
