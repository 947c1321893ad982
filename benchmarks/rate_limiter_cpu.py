"""`python -m benchmarks.rate_limiter_cpu`: what the rate limiter itself costs with thousands of jobs in flight and one key.

No HTTP: a call is answered at once, so that all the time that is measured is the rate limiter's.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from random import Random

from benchmarks.workloads import lognormal
from orchestrator.manifest.manifest import RateLimit, Secret
from orchestrator.quota.choice import CallRequest, FollowedJob, Purpose
from orchestrator.quota.duration_model import DurationModel
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.rate_limiter import ConcurrencyLimit, RateLimiter
from orchestrator.quota.window import MemoryWindow
from orchestrator.simulator import virtual


async def _follow(limiter: RateLimiter, number: int, duration_s: float) -> None:
    loop = asyncio.get_running_loop()
    model, accepted_at = f"model {number}", loop.time()
    unfinished_at = polled_at = accepted_at
    while True:
        job = FollowedJob(
            model=model,
            accepted_at=accepted_at,
            unfinished_at=unfinished_at,
            polled_at=polled_at,
            min_s=2.0,
            max_s=60.0,
            timeout_at=accepted_at + 36000.0,
        )
        permit = await limiter.acquire(CallRequest(purpose=Purpose.POLL, job=job))
        permit.answered()
        polled_at = permit.left_at
        if polled_at - accepted_at >= duration_s:
            limiter.durations.ended(unfinished_at - accepted_at, polled_at - accepted_at)
            return
        unfinished_at = polled_at


async def _run(jobs: int, minutes: float) -> tuple[float, int]:
    """CPU seconds that the rate limiter took, and how many jobs were seen to end, in so many virtual minutes."""
    loop = asyncio.get_running_loop()
    limit = RateLimit(requests=60, per_s=60.0)
    key = KeyQuota(label="key", secret=Secret("key"), limit=limit, ledger=MemoryWindow(60.0), rng=Random(0))
    limiter = RateLimiter(
        keys=[key],
        concurrency_limit=ConcurrencyLimit(16),
        durations=DurationModel(),
        observer=lambda _: None,
        clock=loop.time,
    )
    serving = asyncio.create_task(limiter.serve())
    follows = [asyncio.create_task(_follow(limiter, n, d)) for n, d in enumerate(lognormal(jobs, Random(0)))]
    await asyncio.sleep(0)
    began_s = time.process_time()
    await asyncio.sleep(minutes * 60)
    took_s = time.process_time() - began_s
    ended = sum(f.done() for f in follows)
    for task in (serving, *follows):
        task.cancel()
    await asyncio.gather(serving, *follows, return_exceptions=True)
    return took_s, ended


def main(args: Sequence[str] | None = None) -> None:
    """Print the share of one core that the rate limiter takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate_limiter_cpu", description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000, help="how many jobs are in flight [5000]")
    parser.add_argument("--minutes", type=float, default=30.0, help="for how many virtual minutes [30]")
    chosen = parser.parse_args(args)
    took_s, ended = virtual.run(_run(chosen.jobs, chosen.minutes), debug=False)
    share = took_s / (chosen.minutes * 60)
    print(
        f"{chosen.jobs} jobs, {chosen.minutes:g} minutes at 60 calls a minute: {ended} seen to end, {share:.2%} of a core"
    )


if __name__ == "__main__":
    main()
