"""`python -m benchmarks.throughput`: what the program costs where nothing limits it: 3,000 models against a simulator in
a process of its own, in real time, beside a bare aiohttp loop that makes the same calls.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import aiohttp

from benchmarks.programs import ignore, model_id
from orchestrator.clock import real_clock
from orchestrator.engine.connection_lock import ConnectionLocks
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.run import Run
from orchestrator.engine.run_context import RunContext
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, KeySource, Manifest, PollBounds, RateLimit, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.quota.window import MemoryWindow

WORKERS = 16
SCENARIO = "limit: {kind: none}\ndefault_model: {duration: 0}\n"


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO)
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "simulate", str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


async def _ours(url: str, models: int) -> float:
    clock = real_clock()
    limit = RateLimit(requests=100_000, per_s=1.0)
    instance = Instance(
        name="bench", base_url=url, keys=(ApiKey(source=KeySource(), secret=Secret("key")),), rate_limit=limit
    )
    entries = tuple(
        Entry(index=i, name=f"model {i}", instance="bench", model_id=model_id(i), connection=str(i),
              poll=PollBounds(min_s=0.001, max_s=0.01))
        for i in range(models)
    )  # fmt: skip
    manifest = Manifest(path="bench.yaml", sha256="", instances={"bench": instance}, entries=entries, workers=WORKERS)
    context = RunContext(
        clock=clock,
        rng=Random(0),
        observer=ignore,
        recorder=Recorder(),
        open_client=lambda i: OmniClient(i, utcnow=clock.utcnow, user_agent="benchmark", direct=True),
        ledger=lambda i, _: MemoryWindow(i.rate_limit.per_s),
        locks=ConnectionLocks(),
        redact=lambda text: text,
    )
    began_s = time.perf_counter()
    await Run(manifest, entries, context).run()
    return time.perf_counter() - began_s


async def _bare(url: str, models: int) -> float:
    """The same calls by the same number of workers: a connection for each refresh, kept-alive ones for the polls."""
    headers = {"Authorization": "Bearer key"}
    left = list(range(models))

    async def work(posts: aiohttp.ClientSession, reads: aiohttp.ClientSession) -> None:
        while left:
            async with posts.post(f"{url}/api/v1/models/{model_id(left.pop())}/refresh?hard_refresh=true") as answer:
                job = await answer.json()
            async with reads.get(f"{url}/api/v1/jobs/{job['jobId']}/status") as answer:
                await answer.json()

    began_s = time.perf_counter()
    async with (
        aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(force_close=True)) as posts,
        aiohttp.ClientSession(headers=headers) as reads,
    ):
        await asyncio.gather(*(work(posts, reads) for _ in range(WORKERS)))
    return time.perf_counter() - began_s


async def _pairs(url: str, models: int, pairs: int) -> list[tuple[float, float]]:
    await _bare(url, 100)
    return [(await _ours(url, models), await _bare(url, models)) for _ in range(pairs)]


def main(args: Sequence[str] | None = None) -> None:
    """Print both times and their ratio, pair by pair."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--models", type=int, default=3000, help="how many models [3000]")
    parser.add_argument("--pairs", type=int, default=3, help="how often each runs, in turn [3]")
    chosen = parser.parse_args(args)
    with TemporaryDirectory() as folder, _server(Path(folder)) as url:
        pairs = asyncio.run(_pairs(url, chosen.models, chosen.pairs))
    for ours, bare in pairs:
        print(f"{chosen.models} models: ours {ours:.2f} s, a bare loop {bare:.2f} s, ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main()
