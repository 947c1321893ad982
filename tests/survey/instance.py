"""A survey of one simulated instance in virtual time, over the real stack."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from typing import TypeVar

from orchestrator.clock import Clock
from orchestrator.engine.run_context import Access
from orchestrator.manifest.manifest import Manifest
from orchestrator.omni.client import OmniClient
from orchestrator.quota.window import MemoryWindow
from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator
from orchestrator.survey.survey import Survey
from tests.rehearsal import Witness

T = TypeVar("T")


def survey(
    manifest: Manifest, scenario: Scenario | Mapping[str, Scenario], work: Callable[[Survey], Awaitable[T]]
) -> tuple[T, Sequence[Call]]:
    """What `work` makes of a survey of the manifest's instances (one scenario for all, or one for each), and its calls."""

    async def main() -> tuple[T, Sequence[Call]]:
        loop = asyncio.get_running_loop()
        clock = Clock(loop.time, virtual.utcnow_of(loop))
        async with AsyncExitStack() as stack:
            instances, simulators = {}, []
            for name, instance in manifest.instances.items():
                staged = scenario if isinstance(scenario, Scenario) else scenario[name]
                simulator = await stack.enter_async_context(Simulator(staged, utcnow=clock.utcnow))
                simulators.append(simulator)
                instances[name] = replace(instance, base_url=simulator.url)
            access = Access(
                clock=clock,
                rng=Random(0),
                observer=Witness(),
                open_client=lambda i: OmniClient(i, utcnow=clock.utcnow, user_agent="survey", direct=True),
                ledger=lambda i, _: MemoryWindow(i.rate_limit.per_s),
            )
            async with Survey(instances, access) as opened:
                made = await work(opened)
            return made, [call for simulator in simulators for call in simulator.calls]

    return virtual.run(main())
