"""`python -m benchmarks.bad_night`: one night in which some things go wrong, and what each way to refresh makes of it.

Three models on each of forty connections; the server allows sixty calls a minute and counts strictly. Some refresh calls are
cut off or answered 504 after the refresh has started, some polls get a proxy's 502, the instance is down for a minute, and
every refresh of two connections fails. All programs meet the same rules, in virtual time, over real HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean
from typing import Final

import aiohttp
from aiolimiter import AsyncLimiter

from benchmarks.measure import LATENCY_S
from benchmarks.programs import Setting, key_text, make_run, model_id
from benchmarks.workloads import Workload, lognormal
from orchestrator.simulator import virtual
from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator

CONNECTIONS: Final = 40
MODELS_EACH: Final = 3
MODELS: Final = CONNECTIONS * MODELS_EACH
BROKEN: Final = (7, 23)
"""The connections whose refreshes always fail."""

RULES: Final = (
    {"name": "cut off", "method": "POST", "every": 25, "count": "rule", "drop": "reset", "effect": "before"},
    {"name": "gateway", "method": "POST", "every": 40, "count": "rule", "status": 504, "delay": 30, "effect": "before"},
    {
        "name": "proxy",
        "path": "/status$",
        "every": 50,
        "count": "rule",
        "status": 502,
        "raw": "<html>Bad Gateway</html>",
    },
    {"name": "down", "from": 240, "until": 300, "status": 503, "headers": {"Retry-After": "30"}},
)
WORKLOAD: Final = Workload(name="bad night", models=MODELS, durations=lognormal)

Claims = Mapping[int, str]
"""What a program says of each model: `succeeded`, `failed`, or that it does not know."""
Program = Callable[[Setting], Awaitable[Claims]]


def connection_of(model: int) -> int:
    """The connection of a model."""
    return model // MODELS_EACH


def stage(seed: int) -> Scenario:
    """The instance of this night."""
    durations = lognormal(CONNECTIONS, Random(seed))
    models = [
        {
            "id": model_id(number),
            "name": f"model {number}",
            "connection": f"connection {connection_of(number)}",
            "duration": durations[connection_of(number)],
            "result": "FAILED" if connection_of(number) in BROKEN else "COMPLETED",
        }
        for number in range(MODELS)
    ]
    return make_scenario(
        seed=seed,
        keys=[key_text(0)],
        limit={"kind": "sliding", "requests": 60, "per": 60.0},
        latency=LATENCY_S,
        connections=[{"name": f"connection {number}"} for number in range(CONNECTIONS)],
        models=models,
        faults=list(RULES),
    )


class _Client:
    """The calls of a script. A call raises for a broken connection and for any status but 2xx."""

    def __init__(self, setting: Setting, session: aiohttp.ClientSession, limiter: AsyncLimiter) -> None:
        self._setting = setting
        self._session = session
        self._limiter = limiter

    async def call(self, method: str, path: str) -> Mapping[str, str]:
        """One call."""
        headers = {"Authorization": f"Bearer {key_text(0)}"}
        async with (
            self._limiter,
            self._session.request(method, f"{self._setting.url}/api/v1/{path}", headers=headers) as response,
        ):
            response.raise_for_status()
            body: Mapping[str, str] = await response.json(content_type=None)
            return body

    async def patient(self, method: str, path: str) -> Mapping[str, str]:
        """A call that is tried again after any error, up to five times: the usual retry decorator."""
        wait_s = 2.0
        for _ in range(5):
            try:
                return await self.call(method, path)
            except aiohttp.ClientError:
                await asyncio.sleep(wait_s)
                wait_s *= 2
        return await self.call(method, path)

    async def submit(self, model: int, *, patient: bool) -> str:
        """Start a refresh; return the id of its job."""
        call = self.patient if patient else self.call
        return (await call("POST", f"models/{model_id(model)}/refresh"))["jobId"]

    async def follow(self, job: str, *, every_s: float, patient: bool) -> str:
        """Poll a job to its end; return how it ended."""
        call = self.patient if patient else self.call
        while True:
            await asyncio.sleep(every_s)
            status = (await call("GET", f"jobs/{job}/status"))["status"]
            if status in ("COMPLETED", "FAILED"):
                return "succeeded" if status == "COMPLETED" else "failed"


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def loop(setting: Setting) -> Claims:
    """A shell loop over `curl` or a command line that sends one refresh: a call a second, and no job is followed."""
    claims = {}
    async with _session() as session:
        client = _Client(setting, session, AsyncLimiter(1, 1.0))
        for model in range(MODELS):
            try:
                await client.submit(model, patient=False)
                claims[model] = "succeeded"
            except aiohttp.ClientError:
                claims[model] = "failed"
    return claims


async def script(setting: Setting) -> Claims:
    """The usual asyncio script: a limiter of sixty a minute, `gather`, polls each 5 s, a retry decorator on every call."""
    async with _session() as session:
        client = _Client(setting, session, AsyncLimiter(60, 60.0))

        async def refresh(model: int) -> str:
            try:
                job = await client.submit(model, patient=True)
                return await client.follow(job, every_s=5.0, patient=True)
            except aiohttp.ClientError:
                return "failed"

        return dict(enumerate(await asyncio.gather(*map(refresh, range(MODELS)))))


async def tasks(setting: Setting) -> Claims:
    """A task per model in a scheduler: sixteen slots, polls each 30 s, and two retries of the whole task after a minute."""
    slots = asyncio.Semaphore(16)
    async with _session() as session:
        client = _Client(setting, session, AsyncLimiter(1_000_000, 1.0))

        async def attempt(model: int) -> str:
            async with slots:
                job = await client.submit(model, patient=False)
                return await client.follow(job, every_s=30.0, patient=False)

        async def task(model: int) -> str:
            for retries_left in (2, 1, 0):
                try:
                    if (end := await attempt(model)) == "succeeded":
                        return end
                except aiohttp.ClientError:
                    pass
                if retries_left:
                    await asyncio.sleep(60.0)
            return "failed"

        return dict(enumerate(await asyncio.gather(*map(task, range(MODELS)))))


async def connections(setting: Setting) -> Claims:
    """One refresh for each connection, one connection after another, followed to its end: a release pipeline's way."""
    claims: dict[int, str] = {}
    async with _session() as session:
        client = _Client(setting, session, AsyncLimiter(1_000_000, 1.0))
        for first in range(0, MODELS, MODELS_EACH):
            try:
                job = await client.submit(first, patient=False)
                end = await client.follow(job, every_s=5.0, patient=True)
            except aiohttp.ClientError:
                end = "failed"
            claims |= dict.fromkeys(range(first, first + MODELS_EACH), end)
    return claims


async def ours(setting: Setting) -> Claims:
    """This program, without any history."""
    result = await make_run(setting, models_each=MODELS_EACH).run()
    return dict(enumerate(outcome.status.value for outcome in result.outcomes))


PROGRAMS: Final[Mapping[str, Program]] = {
    "a loop that does not wait": loop,
    "the usual asyncio script": script,
    "a task per model": tasks,
    "connection after connection": connections,
    "this program": ours,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What a program did, by the server's own log.

    `again` counts refreshes of a connection that had already been refreshed, or was being refreshed, without a failure;
    `at_once` pairs of refreshes that ran at once on one connection. `wrong_successes` and `wrong_failures` are claims that
    the log contradicts, `unknown` claims that leave the question open.
    """

    minutes: float
    calls: int
    throttled: int
    refreshes: int
    again: int
    at_once: int
    wrong_successes: int
    wrong_failures: int
    unknown: int


def measure(program: Program, seed: int) -> Night:
    """One night of a program."""

    async def main() -> Night:
        clock = asyncio.get_running_loop()
        async with Simulator(stage(seed), utcnow=virtual.utcnow_of(clock)) as simulator:
            began_at = clock.time()
            setting = Setting(url=simulator.url, workload=WORKLOAD, history={}, seed=seed)
            claims = await program(setting)
            took_s = clock.time() - began_at
            calls = tuple(simulator.calls)
        numbers = {model_id(number): number for number in range(MODELS)}
        started = [connection_of(numbers[call.model_id or ""]) for call in calls if call.accepted]
        good = {connection for connection in started if connection not in BROKEN}
        is_good = {model: connection_of(model) in good for model in range(MODELS)}
        return Night(
            minutes=took_s / 60,
            calls=len(calls),
            throttled=sum(call.limited for call in calls),
            refreshes=len(started),
            again=sum(started.count(connection) - 1 for connection in good),
            at_once=len(overlaps(calls)),
            wrong_successes=sum(claim == "succeeded" and not is_good[model] for model, claim in claims.items()),
            wrong_failures=sum(claim == "failed" and is_good[model] for model, claim in claims.items()),
            unknown=sum(claim not in ("succeeded", "failed") for claim in claims.values()),
        )

    return virtual.run(main(), debug=False)


_COLUMNS: Final = {
    "minutes": "minutes",
    "calls": "calls",
    "429": "throttled",
    "refreshes": "refreshes",
    "in vain": "again",
    "at once": "at_once",
    "wrongly good": "wrong_successes",
    "wrongly bad": "wrong_failures",
    "not known": "unknown",
}


def main(args: Sequence[str] | None = None) -> None:
    """Print one row for each program: means over the seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bad_night", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds to average over [5]")
    chosen = parser.parse_args(args)
    print(f"| {MODELS} models | {' | '.join(_COLUMNS)} |\n|---|{'---:|' * len(_COLUMNS)}")
    for name, program in PROGRAMS.items():
        nights = [measure(program, seed) for seed in range(1, chosen.seeds + 1)]
        cells = [mean(getattr(night, field) for night in nights) for field in _COLUMNS.values()]
        print(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
