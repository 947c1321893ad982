"""One program on one workload in virtual time, and the figures read from the simulator's own log of calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.bounds import clairvoyant, last_submit_bound, makespan_bound, order_bound
from benchmarks.programs import Program, Setting, key_text, model_id
from benchmarks.workloads import Workload
from orchestrator.simulator import virtual
from orchestrator.simulator.call_log_checks import known_at
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator

EARLIER_RUNS = 2
NOISE = 0.2
LATENCY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run's figures: ratios to bounds, seconds and counts."""

    makespan_s: float
    over_bound: float
    over_order_bound: float
    last_submit_s: float
    last_submit_late_s: float
    known_ratio: float
    calls_per_model: float
    throttled: int


def measure(program: Program, workload: Workload, *, warm: bool, seed: int) -> Figures:
    """Run `program` on `workload`; the same seed gives the same durations to every program and the same log each time."""
    durations = workload.durations(workload.models, Random(seed))
    history = history_of(workload, durations, seed) if warm else {}
    scenario = stage(workload, durations, seed)

    async def main() -> Figures:
        loop = asyncio.get_running_loop()
        async with Simulator(scenario, utcnow=virtual.utcnow_of(loop)) as simulator:
            await program(Setting(url=simulator.url, workload=workload, history=history, seed=seed))
            return _figures(simulator, workload, durations)

    return virtual.run(main(), debug=False)


def stage(workload: Workload, durations: Sequence[float], seed: int) -> Scenario:
    """A simulated instance on which each model's job takes what `durations` says (seconds)."""
    return make_scenario(
        seed=seed,
        keys=[key_text(n) for n in range(workload.keys)],
        limit={"kind": "sliding", "requests": workload.requests, "per": workload.per_s},
        latency=LATENCY_S,
        models=[
            {
                "id": model_id(i),
                "name": f"model {i}",
                "duration": d,
                "result": "FAILED" if workload.failing else "COMPLETED",
            }
            for i, d in enumerate(durations)
        ],
    )


def history_of(
    workload: Workload, durations: Sequence[float], seed: int, noise: float = NOISE
) -> dict[str, list[float]]:
    """What two earlier runs of the same models took, in seconds by model id; `noise` is the spread of their logs."""
    rng = Random(f"history {seed}")
    return {
        model_id(i): [d / workload.history_factor * math.exp(rng.gauss(0, noise)) for _ in range(EARLIER_RUNS)]
        for i, d in enumerate(durations)
    }


def _figures(simulator: Simulator, workload: Workload, durations: Sequence[float]) -> Figures:
    calls = simulator.calls
    budget, per_s = workload.requests * workload.keys, workload.per_s
    began_s = calls[0].t_s
    last_submit_s = max(c.t_s for c in calls if c.accepted) - began_s
    known = [c.t_s - began_s for c in known_at(calls).values()]
    if len(known) != workload.models:
        raise RuntimeError(f"{len(known)} of {workload.models} ends were seen")
    best = clairvoyant(durations, budget, per_s)
    return Figures(
        makespan_s=max(known),
        over_bound=max(known) / makespan_bound(durations, budget, per_s),
        over_order_bound=max(known) / order_bound(durations, budget, per_s),
        last_submit_s=last_submit_s,
        last_submit_late_s=last_submit_s - last_submit_bound(workload.models, budget, per_s),
        known_ratio=sum(known) / len(known) / best.mean_known_s,
        calls_per_model=len(calls) / workload.models,
        throttled=sum(1 for c in calls if c.limited),
    )
