"""`python -m benchmarks.half_time`: how right the estimate of the time left is when half of the run is over."""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from statistics import mean

from benchmarks.measure import NOISE, history_of, stage
from benchmarks.programs import Setting, make_run
from benchmarks.workloads import WORKLOADS, Workload
from orchestrator.simulator import virtual
from orchestrator.simulator.server import Simulator


class Past(StrEnum):
    """What is known of the models beforehand."""

    NONE = "none"
    NOISY = "two runs, 20 % noise then and now"
    REPEATED = "two runs of the same durations"


async def _watch(
    workload: Workload, past: Past, *, seed: int, every_s: float
) -> tuple[float, list[tuple[float, float]]]:
    """One run: how long it took, and what was estimated on the way, at which second."""
    loop = asyncio.get_running_loop()
    usual = workload.durations(workload.models, Random(seed))
    noise = NOISE if past is Past.NOISY else 0.0
    rng = Random(f"today {seed}")
    durations = [d * math.exp(rng.gauss(0, noise)) for d in usual]
    history = {} if past is Past.NONE else history_of(workload, usual, seed, noise)
    async with Simulator(stage(workload, durations, seed), utcnow=virtual.utcnow_of(loop)) as simulator:
        run = make_run(Setting(url=simulator.url, workload=workload, history=history, seed=seed))
        began_at = loop.time()
        estimates: list[tuple[float, float]] = []

        async def look() -> None:
            while True:
                await asyncio.sleep(every_s)
                left_s = run.time_left_s()
                if left_s is not None:
                    estimates.append((loop.time() - began_at, left_s))

        looking = asyncio.create_task(look())
        await run.run()
        looking.cancel()
        return loop.time() - began_at, estimates


def at_half_time(workload: Workload, past: Past, *, seed: int) -> tuple[float, float]:
    """Return the time that was left when half of the run was over, and the estimate of it then; in seconds."""
    took_s, estimates = virtual.run(_watch(workload, past, seed=seed, every_s=15.0))
    at_s, estimate = min(estimates, key=lambda e: abs(e[0] - took_s / 2))
    return took_s - at_s, estimate


def main(args: Sequence[str] | None = None) -> None:
    """Print one row for each workload: how far off the estimate is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.half_time", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds [10]")
    parser.add_argument("--workload", default="lognormal", help="only workloads whose name holds this [lognormal]")
    chosen = parser.parse_args(args)
    print("| workload | history | mean error | worst error |\n|---|---|---:|---:|")
    for workload in WORKLOADS:
        if chosen.workload in workload.name and workload.models <= 1000:
            for past in Past:
                found = [at_half_time(workload, past, seed=s) for s in range(chosen.seeds)]
                errors = [abs(estimate - left) / left for left, estimate in found]
                print(f"| {workload.name} | {past.value} | {mean(errors):.0%} | {max(errors):.0%} |", flush=True)


if __name__ == "__main__":
    main()
