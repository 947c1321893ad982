"""Chains of runs, stops, kills, resumes and retries, alone and beside others: runs of the same manifest, and of another
manifest on the same connections.

The simulated server's log decides what was started; the journal shows which of it the program knew.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import RunSettings
from orchestrator.journal.records import CallStatus, StoredCall
from orchestrator.simulator import virtual
from orchestrator.simulator.call_log_checks import known_at, overlaps
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.machine import Death, Machine, Night, quick_folder
from tests.rehearsal import manifest_text, model, uuid

# Models 1, 2 and 4 stand on one connection, 3 on another. The manifests name them differently and share models 2 and 3.
MANIFESTS = [
    manifest_text(
        model(1, connection="wh", schemas=["a"], timeout="40s"),
        model(2, connection="wh", schemas=["b"], timeout="40s"),
        model(3, connection="lake", timeout="8s"),
    ),
    manifest_text(
        model(4, connection=None, schemas=["d"], timeout="40s"),
        model(2, connection=None, schemas=["c"], timeout="40s"),
        model(3, connection=None, name="three", timeout="60s"),
    ),
]
ANSWERS: list[dict[str, object]] = [
    {"status": 502, "effect": "before"},
    {"drop": "reset", "effect": "before"},
    {"status": 200, "body": {"status": "running"}, "effect": "before"},
    {"status": 409},
    {"status": 400},
]
RESULTS = ["COMPLETED", "COMPLETED", "COMPLETED", "FAILED"]


def staged(rng: Random) -> Scenario:
    """Jobs of up to 30 s, some of which fail; calls of the first connection that are cut off when they have had their effect."""
    faults: list[dict[str, object]] = []
    for number in (1, 2, 4):
        path = f"{uuid(number)}/refresh"
        odd = [n for n in range(1, 6) if rng.random() < 0.25]
        faults += [{"method": "POST", "path": path, "nth": [n], **rng.choice(ANSWERS)} for n in odd]
    models = [
        {"id": uuid(n), "connection": "lake" if n == 3 else "wh", "duration": [2, 30], "result": rng.choice(RESULTS)}
        for n in (1, 2, 3, 4)
    ]
    return make_scenario(
        seed=rng.randrange(10**6), connections=[{"name": "wh"}, {"name": "lake"}], models=models, faults=faults
    )


class Chains:
    """What people and schedulers do, at random. `nights` are all runs, `roots` their plans."""

    def __init__(self, machine: Machine, rng: Random) -> None:
        self.machine = machine
        self.rng = rng
        self.nights: list[Night] = []

    @property
    def roots(self) -> list[str]:
        """Every plan that was begun, oldest first."""
        return list(dict.fromkeys(night.root for night in self.nights))

    def _end(self) -> dict[str, Any]:
        """How the next run ends: killed at some commit, stopped after a while, without waiting, or by itself."""
        kind, rng = self.rng.random(), self.rng
        if kind < 0.4:
            return {"death": Death(at=rng.randint(2, 30), after=rng.random() < 0.5)}
        if kind < 0.6:
            after_s = rng.uniform(0.1, 40)
            return {"act": lambda run: asyncio.get_running_loop().call_later(after_s, run.stop)}
        if kind < 0.7:
            return {"settings": RunSettings(wait=False)}
        if kind < 0.8:
            return {"settings": RunSettings(deadline_s=rng.uniform(1, 40))}
        return {}

    async def step(self) -> None:
        """Do one of the things that may happen next: a new run, two runs at once, a resume, a retry."""
        machine, rng = self.machine, self.rng
        kind, unfinished = rng.random(), machine.unfinished()
        if kind < 0.25 or not self.roots:
            self.nights.append(await machine.run(manifest=rng.choice(MANIFESTS), **self._end()))
        elif kind < 0.45:
            beside = machine.run(manifest=rng.choice(MANIFESTS), **self._end())
            if unfinished is not None and rng.random() < 0.3:
                other = machine.resume(unfinished, **self._end())
            else:
                other = machine.run(manifest=rng.choice(MANIFESTS), **self._end())
            self.nights += await asyncio.gather(beside, other)
        elif kind < 0.65 and unfinished is not None:
            self.nights.append(await machine.resume(unfinished, **self._end()))
        else:
            await self._retry(rng.choice(self.roots), **self._end())
        if rng.random() < 0.4:
            await asyncio.sleep(rng.uniform(1, 60))

    async def finish(self, failing: Collection[str]) -> None:
        """Resume and retry, undisturbed, until only what the server always fails is left."""
        for root in self.roots:
            while (unfinished := self.machine.unfinished()) is not None:
                self.nights.append(await self.machine.resume(unfinished))
            for _ in range(5):
                if self.left(root) <= set(failing):
                    break
                await self._retry(root)

    def left(self, root: str) -> set[str]:
        """The ids of the models that a retry of a run would take."""
        wanted, chain = self.machine.wanted(root), self.machine.chain(root)
        ids = {t.position: t.model_id for one in chain for t in one.targets if t.model_id is not None}
        return {ids.get(position, "not known yet") for position in wanted}

    async def _retry(self, root: str, **end: Any) -> None:
        if self.machine.wanted(root):
            self.nights.append(await self.machine.retry(root, **end))


@pytest.mark.parametrize("seed", range(12))
def test_any_chain_sends_nothing_twice_and_loses_nothing(seed: int) -> None:
    """A job that is known to have succeeded is not started again in its chain, never two run at once, and none is lost."""

    async def main(folder: Path) -> None:
        rng = Random(seed)
        scenario = staged(rng)
        failing = {str(m.id) for m in scenario.models if m.result == "FAILED"}
        async with Machine(folder, MANIFESTS[0], scenario) as machine:
            chains = Chains(machine, rng)
            for _ in range(6):
                await chains.step()
            await chains.finish(failing)
            known = set()
            for root in chains.roots:
                for sender, calls in calls_by_sender(machine, root).items():
                    known |= {call.job_id for call in calls}
                    good = [c for c in calls if c.job_id is not None and c.model_id not in failing]
                    assert not good or good[0].is_last, (root, sender)
                assert chains.left(root) <= failing
            check_log(machine, failing)
            at_once = overlaps(machine.calls)
            assert not [one for one, _ in at_once if one.job_id in known or one.model_id != uuid(3)]
            started = {call.job_id for call in machine.started}
            for outcome in (o for night in chains.nights if night.result is not None for o in night.outcomes):
                if outcome.status is Status.SUCCEEDED:
                    assert outcome.model_id not in failing
                    assert started.issuperset(outcome.job_ids)
                    assert outcome.job_ids

    with quick_folder() as folder:
        virtual.run(main(folder))


def check_log(machine: Machine, failing: Collection[str]) -> None:
    """Check in the server's log that each chain refreshed each model of its manifest, and nothing again that it saw succeed."""
    first_told = known_at(machine.calls)
    for family in set(machine.families.values()):
        mine = [call for call in machine.started if call.user_agent == family]
        for model_id in machine.models(family).difference(failing):
            starts = [call for call in mine if call.model_id == model_id]
            assert starts, (family, model_id)
            told = [first_told[job].t_s for job in (c.job_id for c in starts) if job is not None and job in first_told]
            assert all(call.t_s < min(told, default=call.t_s + 1) for call in starts), (family, model_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A refresh call that may have left; `is_last` is whether none followed it for the same target."""

    job_id: str | None
    model_id: str
    is_last: bool


def calls_by_sender(machine: Machine, root: str) -> Mapping[int, Sequence[Sent]]:
    """The calls of a whole chain of retries that may have started something, by the position of their sender."""
    chain = machine.chain(root)
    models = {t.position: str(t.model_id) for one in chain for t in one.targets if t.model_id is not None}
    found: dict[int, list[StoredCall]] = {}
    for call in sorted((c for one in chain for c in one.calls), key=lambda c: c.id):
        if call.fate is not CallStatus.REFUSED:
            found.setdefault(call.sender, []).append(call)
    return {
        sender: [Sent(job_id=c.job_id, model_id=models[sender], is_last=c is calls[-1]) for c in calls]
        for sender, calls in found.items()
    }
