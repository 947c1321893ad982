"""A whole run in virtual time over the real stack: rate limiters, pool, client and HTTP on one side, simulators on the other.

Nothing is replaced but time: an hour of polling takes a moment, and the same manifest, scenario and seed give the same
calls at the same moments.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from orchestrator.clock import Clock
from orchestrator.engine.connection_lock import ConnectionLocks
from orchestrator.engine.events import RunEvent
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.run import Run, RunResult
from orchestrator.engine.run_context import RunContext, RunSettings
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, KeySource, Manifest, Secret
from orchestrator.omni.client import OmniClient
from orchestrator.planning.followed_change import FollowedChange
from orchestrator.planning.selection import Selector
from orchestrator.quota.rate_limiter import LimiterEvent
from orchestrator.quota.window import MemoryWindow
from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator

ENVIRON = {"OMNI_BASE_URL": "http://127.0.0.1:1", **{f"KEY_{n}": f"rehearsal-key-{n}" for n in range(1, 10)}}
"""What a manifest's text may name: `${KEY_1}` to `${KEY_9}`, and the only instance of one that names none."""

Act = Callable[[Run], Awaitable[None]]


E = TypeVar("E")


@dataclass(slots=True)
class Witness:
    """An observer that keeps every event with its moment (seconds since the run began)."""

    clock: Callable[[], float] = lambda: 0.0
    events: list[tuple[float, RunEvent | LimiterEvent]] = field(default_factory=list)

    def moments(self, kind: type[object]) -> list[float]:
        """Return when events of a kind came."""
        return [at for at, event in self.events if isinstance(event, kind)]

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a kind."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def __call__(self, event: RunEvent | LimiterEvent) -> None:
        """Keep an event."""
        self.events.append((self.clock(), event))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """How a run ended: its result, the calls that each simulated instance saw, and the events of its observer."""

    result: RunResult
    calls_of: Mapping[str, Sequence[Call]]
    witness: Witness

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """One for each selected entry, in manifest order."""
        return self.result.outcomes

    @property
    def outcome(self) -> Outcome:
        """The only one."""
        (outcome,) = self.result.outcomes
        return outcome

    @property
    def calls(self) -> Sequence[Call]:
        """The calls of all instances, by their moments."""
        return sorted((c for calls in self.calls_of.values() for c in calls), key=lambda c: c.t_s)

    @property
    def posts(self) -> Sequence[Call]:
        """The refresh calls."""
        return [c for c in self.calls if c.method == "POST"]

    @property
    def polls(self) -> Sequence[Call]:
        """The questions about jobs."""
        return [c for c in self.calls if "/jobs/" in c.path]

    @property
    def reads(self) -> Sequence[Call]:
        """All other questions: look-ups and probes."""
        return [c for c in self.calls if c.method == "GET" and "/jobs/" not in c.path]

    @property
    def statuses(self) -> dict[str, Status]:
        """Each target's status, by its name."""
        return {o.name: o.status for o in self.result.outcomes}

    def of(self, name: str) -> Outcome:
        """One target's outcome."""
        return next(o for o in self.result.outcomes if o.name == name)


def read_manifest(text: str) -> Manifest:
    """The manifest that a text says; its base URLs are replaced by the rehearsal, its keys come from `ENVIRON`."""
    return make_manifest(text, path="rehearsal.yaml", environ=ENVIRON)


def rehearse(
    manifest: str | Manifest,
    scenario: Scenario | Mapping[str, Scenario],
    *,
    settings: RunSettings | None = None,
    include: Sequence[str] = (),
    history: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    seed: int = 0,
    recorder: Recorder | None = None,
    redact: Callable[[str], str] = str,
    act: Act | None = None,
    tls: ssl.SSLContext | None = None,
    touched: FollowedChange | None = None,
    debug: bool = False,
) -> Rehearsal:
    """Run `manifest` against `scenario` (one for all instances, or one for each name) from its first call to its last.

    `act` runs beside the run, in its loop: it may sleep in virtual time and stop it. `history` holds earlier durations by
    instance and model id. A key that a scenario lists is sent as it is listed; else keys are the manifest's. `tls`: the
    simulators serve https with this context. `touched` is the change that the run follows.
    """
    loaded = read_manifest(manifest) if isinstance(manifest, str) else manifest
    selected = Selector(loaded, include).select()
    main = _run(
        manifest=loaded,
        selected=selected,
        scenario=scenario,
        settings=settings or RunSettings(),
        history=history or {},
        seed=seed,
        recorder=recorder or Recorder(),
        redact=redact,
        act=act,
        tls=tls,
        touched=touched,
    )
    return virtual.run(main, debug=debug)


async def _run(
    *,
    manifest: Manifest,
    selected: Sequence[Entry],
    scenario: Scenario | Mapping[str, Scenario],
    settings: RunSettings,
    history: Mapping[str, Mapping[str, Sequence[float]]],
    seed: int,
    recorder: Recorder,
    redact: Callable[[str], str],
    act: Act | None,
    tls: ssl.SSLContext | None,
    touched: FollowedChange | None,
) -> Rehearsal:
    loop = asyncio.get_running_loop()
    clock = Clock(loop.time, virtual.utcnow_of(loop))
    began_at = loop.time()
    witness = Witness(clock=lambda: loop.time() - began_at)
    async with AsyncExitStack() as stack:
        simulators: dict[str, Simulator] = {}
        instances: dict[str, Instance] = {}
        for name, instance in manifest.instances.items():
            staged = scenario if isinstance(scenario, Scenario) else scenario[name]
            simulator = Simulator(staged, utcnow=clock.utcnow, seed=seed, tls=tls)
            simulators[name] = await stack.enter_async_context(simulator)
            instances[name] = replace(instance, base_url=simulators[name].url, keys=_keys(staged, instance))
        staged_manifest = replace(manifest, instances=instances)

        run = Run(
            staged_manifest,
            selected,
            RunContext(
                clock=clock,
                rng=Random(seed),
                observer=witness,
                recorder=recorder,
                open_client=lambda i: OmniClient(i, utcnow=clock.utcnow, user_agent="rehearsal", direct=True),
                ledger=lambda i, _: MemoryWindow(i.rate_limit.per_s),
                locks=ConnectionLocks(),
                settings=settings,
                redact=redact,
                history=history,
            ),
            change=touched,
        )
        acting = None if act is None else asyncio.create_task(_act(act, run))
        try:
            result = await run.run()
        finally:
            if acting is not None:
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)
        return Rehearsal(result=result, calls_of={n: tuple(s.calls) for n, s in simulators.items()}, witness=witness)


async def _act(act: Act, run: Run) -> None:
    await act(run)


def _keys(scenario: Scenario, instance: Instance) -> tuple[ApiKey, ...]:
    listed = [key if isinstance(key, str) else key.key for key in scenario.keys]
    return tuple(ApiKey(source=KeySource(), secret=Secret(key)) for key in listed) or instance.keys


def uuid(number: int) -> str:
    """A model's id for tests: the same for the same number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def model(number: int, **keys: object) -> dict[str, object]:
    """An entry `m<number>` on a connection of its own, which needs no look-up; `keys` add to it (None takes one away)."""
    entry = {"id": uuid(number), "name": f"m{number}", "connection": f"c{number}", **keys}
    return {key: value for key, value in entry.items() if value is not None}


def manifest_text(*models: Mapping[str, object], keys: int = 1, **top: object) -> str:
    """A manifest with these entries on one instance `sim` of `keys` keys; `instance` holds more of its settings."""
    own = top.pop("instance", {})
    assert isinstance(own, dict)
    api_keys = [f"${{KEY_{n}}}" for n in range(1, keys + 1)]
    instances = {"sim": {"base_url": ENVIRON["OMNI_BASE_URL"], "api_keys": api_keys, **own}}
    return json.dumps({"instances": instances, **top, "models": list(models)})
