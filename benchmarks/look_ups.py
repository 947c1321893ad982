"""`python -m benchmarks.look_ups`: what look-ups cost on an instance of 5,000 shared models and 60,000 workbook models.

In virtual time over the real stack; the calls are counted by the simulated instance itself.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from benchmarks.programs import ignore
from orchestrator.clock import Clock
from orchestrator.engine.run_context import Access
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import Manifest
from orchestrator.omni.client import OmniClient
from orchestrator.quota.window import MemoryWindow
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator
from orchestrator.simulator.staging import model_id
from orchestrator.survey.preview import look_up
from orchestrator.survey.survey import Survey

SHARED, CONNECTIONS, WORKBOOKS = 5_000, 400, 60_000

_HEAD = "| the manifest | calls | of them by kind of model | resolved |\n|---|---:|---|---:|"


def _name(number: int) -> str:
    return f"Model {1 + number * SHARED // 300:05}"


def _by_name(number: int) -> dict[str, object]:
    return {"model": _name(number)}


def _by_id(number: int) -> dict[str, object]:
    return {"id": model_id(_name(number)), "name": f"m{number}"}


def _all_said(number: int) -> dict[str, object]:
    return {**_by_id(number), "connection": f"c{number}"}


CASES: Sequence[tuple[str, int, Callable[[int], dict[str, object]]]] = (
    ("300 models by name", 300, _by_name),
    ("40 models by name", 40, _by_name),
    ("10 models by name", 10, _by_name),
    ("1 model by name", 1, _by_name),
    ("300 models by id, no connection", 300, _by_id),
    ("10 models by id, no connection", 10, _by_id),
    ("300 models by id, with their connections", 300, _all_said),
)


def measure(manifest: Manifest) -> tuple[Counter[str], int]:
    """The calls of the look-ups for a manifest, by the kind of model that they asked for; how many models they showed."""

    async def main() -> tuple[Counter[str], int]:
        loop = asyncio.get_running_loop()
        clock = Clock(loop.time, virtual.utcnow_of(loop))
        async with Simulator(_instance(), utcnow=clock.utcnow) as simulator:
            instances = {name: replace(i, base_url=simulator.url) for name, i in manifest.instances.items()}
            access = Access(
                clock=clock,
                rng=Random(0),
                observer=ignore,
                open_client=lambda i: OmniClient(i, utcnow=clock.utcnow, user_agent="benchmark", direct=True),
                ledger=lambda i, _: MemoryWindow(i.rate_limit.per_s),
            )
            async with Survey(instances, access) as survey:
                found = await look_up(survey, manifest.entries)
            calls = Counter(call.query.get("modelKind", "any, by its id") for call in simulator.calls)
        wanted = {(e.model_id or model_id(e.model_name or e.name)) for e in manifest.entries}
        return calls, sum(len(wanted & set(inventory.records)) for inventory in found.inventories.values())

    return virtual.run(main(), debug=False)


def _instance() -> Scenario:
    return make_scenario(
        generate=[
            {"count": SHARED, "name": "Model {n:05}", "connections": CONNECTIONS},
            {"count": WORKBOOKS, "name": "Workbook {n}", "kind": "WORKBOOK", "connections": CONNECTIONS},
        ]
    )


def main() -> None:
    """Print one row for each manifest."""
    print(f"{SHARED:,} shared models on {CONNECTIONS} connections, {WORKBOOKS:,} workbook models\n\n{_HEAD}")
    for words, count, entry in CASES:
        text = json.dumps({"models": [entry(number) for number in range(count)]})
        manifest = make_manifest(
            text, path="bench", environ={"OMNI_BASE_URL": "http://127.0.0.1:1", "OMNI_API_TOKEN": "key"}
        )
        calls, shown = measure(manifest)
        kinds = ", ".join(f"{number} {kind}" for kind, number in calls.items()) or "none"
        print(f"| {words} | {calls.total()} | {kinds} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
