"""Who competes: this program, without and with history, and what people write instead; all over the real HTTP stack."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import aiohttp
from aiolimiter import AsyncLimiter

from benchmarks.workloads import Workload
from orchestrator.clock import Clock
from orchestrator.engine.connection_lock import ConnectionLocks
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.run import Run
from orchestrator.engine.run_context import RunContext
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, KeySource, Manifest, PollBounds, RateLimit, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.quota.window import MemoryWindow
from orchestrator.simulator.virtual import VirtualLoop

INSTANCE = "bench"


def model_id(number: int) -> str:
    """The id of the `number`-th model."""
    return str(uuid.UUID(int=(0x0B << 120) | (4 << 76) | (8 << 60) | number))


def key_text(number: int) -> str:
    """The `number`-th API key."""
    return f"bench-key-{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a program is given: where the server is, what there is to do, and what is known from earlier."""

    url: str
    workload: Workload
    history: Mapping[str, Sequence[float]]
    seed: int


Program = Callable[[Setting], Awaitable[None]]


def ignore(event: object) -> None:
    """Observe nothing."""
    del event


async def ours(setting: Setting) -> None:
    """This program; it knows of earlier runs what `setting.history` holds."""
    await make_run(setting).run()


Adapt = Callable[[RunContext, Manifest, tuple[Entry, ...]], RunContext]
"""Replaces parts of a run's context."""


def make_run(setting: Setting, adapt: Adapt | None = None, *, models_each: int = 1) -> Run:
    """This program's run, not begun yet, with so many models on each connection; to be called inside the virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    workload = setting.workload
    instance = Instance(
        name=INSTANCE,
        base_url=setting.url,
        keys=tuple(ApiKey(source=KeySource(), secret=Secret(key_text(n))) for n in range(workload.keys)),
        rate_limit=RateLimit(requests=workload.requests, per_s=workload.per_s),
    )
    entries = tuple(
        Entry(
            index=i,
            name=f"model {i}",
            instance=INSTANCE,
            model_id=model_id(i),
            connection=f"connection {i // models_each}",
            poll=PollBounds(),
            timeout_s=3600.0,
        )
        for i in range(workload.models)
    )
    manifest = Manifest(path="bench.yaml", sha256="", instances={INSTANCE: instance}, entries=entries)
    context = RunContext(
        clock=Clock(loop.time, loop.utcnow),
        rng=Random(setting.seed),
        observer=ignore,
        recorder=Recorder(),
        open_client=lambda i: OmniClient(i, utcnow=loop.utcnow, user_agent="benchmark", direct=True),
        ledger=lambda i, _: MemoryWindow(i.rate_limit.per_s),
        locks=ConnectionLocks(),
        redact=lambda text: text,
        history={INSTANCE: setting.history},
    )
    if adapt is not None:
        context = adapt(context, manifest, entries)
    return Run(manifest, entries, context)


class _Script:
    """What the scripts have in common: a session, a limiter, and a wait that doubles after a 429."""

    def __init__(self, setting: Setting, session: aiohttp.ClientSession, limiter: AsyncLimiter) -> None:
        self._url = setting.url
        self._session = session
        self._limiter = limiter
        self._rng = Random(setting.seed)
        self._keys = setting.workload.keys

    async def _call(self, method: str, path: str, number: int) -> Mapping[str, str]:
        headers = {"Authorization": f"Bearer {key_text(number % self._keys)}"}
        wait_s = 1.0
        while True:
            async with (
                self._limiter,
                self._session.request(method, f"{self._url}/api/v1/{path}", headers=headers) as response,
            ):
                body: Mapping[str, str] = await response.json(content_type=None)
                if response.status != 429:
                    return body
            await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))
            wait_s = min(60.0, wait_s * 2)

    async def refresh(self, number: int, *, poll_s: float, growth: float = 1.0) -> None:
        """One model, from its submit to the poll that finds it finished."""
        job = await self._call("POST", f"models/{model_id(number)}/refresh", number)
        while True:
            await asyncio.sleep(poll_s)
            poll_s = min(60.0, poll_s * growth)
            status = await self._call("GET", f"jobs/{job['jobId']}/status", number)
            if status["status"] in ("COMPLETED", "FAILED"):
                return


async def gather(setting: Setting) -> None:
    """The usual asyncio script: `AsyncLimiter(60, 60)`, `gather` over all models, a poll every 5 s."""
    workload = setting.workload
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        script = _Script(setting, session, AsyncLimiter(workload.requests * workload.keys, workload.per_s))
        await asyncio.gather(*(script.refresh(i, poll_s=5.0) for i in range(workload.models)))


async def paced(setting: Setting) -> None:
    """The careful script: one call a second, polls that double from 5 s to 60 s."""
    workload = setting.workload
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        limiter = AsyncLimiter(1, workload.per_s / (workload.requests * workload.keys))
        script = _Script(setting, session, limiter)
        await asyncio.gather(*(script.refresh(i, poll_s=5.0, growth=2.0) for i in range(workload.models)))


def workers(count: int) -> Program:
    """`count` workers, each one model at a time, a poll every 5 s: `xargs -P`, or a loop for one."""

    async def program(setting: Setting) -> None:
        left = list(reversed(range(setting.workload.models)))

        async def work(script: _Script) -> None:
            while left:
                await script.refresh(left.pop(), poll_s=5.0)

        async with aiohttp.ClientSession() as session:
            script = _Script(setting, session, AsyncLimiter(1_000_000, 1.0))
            await asyncio.gather(*(work(script) for _ in range(count)))

    return program


PROGRAMS: Mapping[str, Program] = {
    "ours, cold": ours,
    "ours, warm": ours,
    "gather, 5 s polls": gather,
    "paced, doubling polls": paced,
    "eight workers": workers(8),
    "one at a time": workers(1),
}
