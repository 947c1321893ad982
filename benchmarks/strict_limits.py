"""`python -m benchmarks.strict_limits`: 500 models against servers that count strictly, each in its way, behind a network
that takes up to 800 ms: how many calls were throttled, and how much of the budget was used while there was work.
"""

from __future__ import annotations

import asyncio
from random import Random

from benchmarks.measure import stage
from benchmarks.programs import Setting, ours
from benchmarks.workloads import Workload, lognormal
from orchestrator.simulator import virtual
from orchestrator.simulator.call_log_checks import budget_share, most_in_window
from orchestrator.simulator.limits import Limit
from orchestrator.simulator.server import Simulator

MODELS = 500
JITTERS_S = ((0.0, 0.0), (0.0, 0.2), (0.0, 0.8))
KINDS = ("sliding", "fixed", "bucket")


async def _run(kind: str, jitter_s: tuple[float, float], seed: int) -> tuple[int, float, int]:
    """Calls answered 429, the share of the budget that was used, the most calls in any minute."""
    workload = Workload(name="strict", models=MODELS, durations=lognormal)
    durations = workload.durations(workload.models, Random(seed))
    limit = Limit.model_validate({"kind": kind, "requests": 60, "per": 60.0})
    scenario = stage(workload, durations, seed).model_copy(update={"limit": limit, "latency": jitter_s})
    loop = asyncio.get_running_loop()
    async with Simulator(scenario, utcnow=virtual.utcnow_of(loop)) as simulator:
        await ours(Setting(url=simulator.url, workload=workload, history={}, seed=seed))
        calls = simulator.calls
        return sum(c.limited for c in calls), budget_share(calls, 60, 60.0), most_in_window(calls, 60.0)


def main() -> None:
    """Print one row for each way of counting and each jitter."""
    print("| the server counts | network, one way and back | throttled | budget used | most in any minute |")
    print("|---|---|---:|---:|---:|")
    for kind in KINDS:
        for jitter_s in JITTERS_S:
            throttled, share, most = virtual.run(_run(kind, jitter_s, 1), debug=False)
            print(
                f"| {kind} | {jitter_s[0] * 1000:.0f} to {jitter_s[1] * 1000:.0f} ms | {throttled} | {share:.1%} | {most} |"
            )


if __name__ == "__main__":
    main()
