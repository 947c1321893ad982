"""Runs side by side: no two refreshes of one connection at a time, whatever manifests they come from."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator.run.outcome import Status
from orchestrator.run.settings import Settings
from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from tests.machine import Death, Machine, quick_folder
from tests.rehearsal import manifest_text, model, uuid


def overlaps(calls: Sequence[Call], connection_of: dict[str, str]) -> int:
    """How many jobs began while another one on their connection still ran."""
    count = 0
    for connection in set(connection_of.values()):
        jobs = sorted(
            (c.started_s, c.finished_s)
            for c in calls
            if c.accepted and connection_of.get(str(c.model_id)) == connection
            if c.started_s is not None and c.finished_s is not None
        )
        count += sum(1 for (_, end), (start, _) in pairwise(jobs) if start < end)
    return count


@pytest.mark.parametrize("seed", range(5))
def test_two_runs_take_turns_on_shared_connections(seed: int) -> None:
    """Two manifests over the same connections at the same time: lane by lane one waits for the other, all succeed."""

    async def main(folder: Path) -> None:
        mine = [model(n, connection=f"c{n % 4}", schemas=[f"s{n}"]) for n in range(1, 9)]
        yours = [model(n, connection=f"c{n % 4}", schemas=[f"s{n}"]) for n in range(11, 19)]
        staged = make_scenario(seed=seed, default_model={"duration": [2, 20]})
        connections = {uuid(n): f"c{n % 4}" for n in (*range(1, 9), *range(11, 19))}
        async with Machine(folder, manifest_text(*mine), staged) as machine:
            nights = await asyncio.gather(machine.run(), machine.run(manifest=manifest_text(*yours)))
            assert all(set(night.statuses.values()) == {Status.SUCCEEDED} for night in nights)
            assert overlaps(machine.calls, connections) == 0
            assert len(machine.started) == 16
            assert any(night.witness.about("lane_waits") for night in nights)

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_that_was_left_is_asked_after_before_its_lane_opens() -> None:
    """`--no-wait` leaves a job behind; the next run polls it to its end before it sends its own."""

    async def main(folder: Path) -> None:
        async with Machine(folder, manifest_text(model(1)), make_scenario(default_model={"duration": 60})) as machine:
            first = await machine.run(settings=Settings(wait=False))
            assert first.of("m1").status is Status.ACCEPTED
            second = await machine.run()
            (_, end), (start, _) = [(c.t_s, c.finished_s) for c in machine.started]
            assert second.of("m1").status is Status.SUCCEEDED
            assert end is not None
            assert start >= end

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_of_a_killed_run_is_asked_after_too() -> None:
    """A new run instead of a resume: the killed run's job is known from the journal, and its lane opens when it ended."""

    async def main(folder: Path) -> None:
        staged = make_scenario(default_model={"duration": 60})
        async with Machine(folder, manifest_text(model(1)), staged) as machine:
            await machine.run(death=Death(at=4, after=True))
            night = await machine.run()
            assert night.of("m1").status is Status.SUCCEEDED
            assert overlaps(machine.calls, {uuid(1): "c1"}) == 0
            # it is known to have ended: a third run asks nobody
            calls = len(machine.calls)
            await machine.run()
            assert machine.calls[calls].method == "POST"

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_of_more_than_a_day_ago_holds_nobody_up() -> None:
    """Whatever became of it: after a day its lane is open."""

    async def main(folder: Path) -> None:
        async with Machine(folder, manifest_text(model(1)), make_scenario(default_model={"duration": 5})) as machine:
            await machine.run(settings=Settings(wait=False))
            await asyncio.sleep(86_500)
            calls = len(machine.calls)
            await machine.run()
            assert machine.calls[calls].method == "POST"

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_left_job_that_is_lost_or_never_ends_does_not_close_a_lane_for_ever() -> None:
    """404 three times, or its timeout over: the lane opens."""

    async def main(folder: Path, kept_s: float) -> None:
        staged = make_scenario(default_model={"duration": 300}, answers={"job_kept": kept_s})
        async with Machine(folder, manifest_text(model(1, timeout="1m")), staged) as machine:
            await machine.run(settings=Settings(wait=False))
            await asyncio.sleep(400 if kept_s else 30)
            await machine.run(settings=Settings(wait=False))
            assert len(machine.started) == 2

    for kept_s in (0, 1000):
        with quick_folder() as folder:
            virtual.run(main(folder, kept_s))


def test_a_stopped_run_does_not_wait_for_another_run_s_lane() -> None:
    """Two signals while it waits: it ends at once, its target `not_started`."""

    async def main(folder: Path) -> None:
        async with Machine(folder, manifest_text(model(1)), make_scenario(default_model={"duration": 600})) as machine:
            first = asyncio.create_task(machine.run())
            await asyncio.sleep(1)
            second = await machine.run(act=lambda run: asyncio.get_running_loop().call_later(5, run.stop))
            assert second.of("m1").status is Status.NOT_STARTED
            assert second.result is not None
            assert second.result.duration_s < 10
            assert (await first).of("m1").status is Status.SUCCEEDED

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_call_that_left_nobody_waiting_holds_no_turn() -> None:
    """While one lane waits for another run, the other lanes use every turn at the door."""

    async def main(folder: Path) -> None:
        text = manifest_text(*(model(n) for n in range(1, 30)), workers=1)
        async with Machine(folder, text, make_scenario(default_model={"duration": 30})) as machine:
            first = asyncio.create_task(machine.run(include=["m1"]))
            await asyncio.sleep(1)
            second = await machine.run()
            posts = [c.t_s for c in machine.started if c.model_id != uuid(1)]
            assert posts[-1] < 2
            assert set(second.statuses.values()) == {Status.SUCCEEDED}
            await first

    with quick_folder() as folder:
        virtual.run(main(folder))
