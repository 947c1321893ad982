"""Runs side by side: no two refreshes of one connection at a time, whatever manifests they come from."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator.clock import Clock
from orchestrator.engine.events import LaneWaiting
from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import Overlap, RunSettings
from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from tests.machine import Death, Machine, quick_folder
from tests.rehearsal import manifest_text, model, uuid

LOST = {"method": "GET", "path": "/jobs/", "always": True, "status": 404}


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
            assert any(night.witness.of(LaneWaiting) for night in nights)

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_an_orphaned_job_is_polled_before_its_lane_opens() -> None:
    """`--no-wait` leaves a job behind; the next run polls it to its end before it sends its own."""

    async def main(folder: Path) -> None:
        async with Machine(folder, manifest_text(model(1)), make_scenario(default_model={"duration": 60})) as machine:
            first = await machine.run(settings=RunSettings(wait=False))
            assert first.of("m1").status is Status.ACCEPTED
            second = await machine.run()
            (_, end), (start, _) = [(c.t_s, c.finished_s) for c in machine.started]
            assert second.of("m1").status is Status.SUCCEEDED
            assert end is not None
            assert start >= end

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_of_a_killed_run_is_polled_too() -> None:
    """A new run instead of a resume: the killed run's job is known from the journal, and its lane opens when it ended."""

    async def main(folder: Path) -> None:
        staged = make_scenario(default_model={"duration": 60})
        async with Machine(folder, manifest_text(model(1)), staged) as machine:
            await machine.run(death=Death(at=4, after=True))
            night = await machine.run()
            assert night.of("m1").status is Status.SUCCEEDED
            assert overlaps(machine.calls, {uuid(1): "c1"}) == 0
            # it is known to have ended: a third run sends no poll for it
            calls = len(machine.calls)
            await machine.run()
            assert machine.calls[calls].method == "POST"

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_of_more_than_a_day_ago_holds_no_lane() -> None:
    """After a day the lane is open, whatever happened to the job."""

    async def main(folder: Path) -> None:
        async with Machine(folder, manifest_text(model(1)), make_scenario(default_model={"duration": 5})) as machine:
            await machine.run(settings=RunSettings(wait=False))
            await asyncio.sleep(86_500)
            calls = len(machine.calls)
            await machine.run()
            assert machine.calls[calls].method == "POST"

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_left_job_that_is_lost_from_sight_closes_its_lane_for_its_timeout() -> None:
    """404 three times: whether it runs is unknown, so the lane opens when its timeout is over."""

    async def main(folder: Path) -> None:
        staged = make_scenario(default_model={"duration": 300}, faults=[LOST])
        async with Machine(folder, manifest_text(model(1, timeout="10m")), staged) as machine:
            await machine.run(settings=RunSettings(wait=False))
            await asyncio.sleep(60)
            night = await machine.run(settings=RunSettings(wait=False))
            (_, end), (start, _) = [(c.t_s, c.finished_s) for c in machine.started]
            assert end is not None
            assert end < 599.9 < start < 610
            assert night.witness.of(LaneWaiting)

    with quick_folder() as folder:
        virtual.run(main(folder))


UNKNOWN_ENDS = [
    pytest.param({"method": "POST", "nth": [1], "count": "rule", "drop": "reset"}, Status.UNKNOWN, id="reset"),
    pytest.param({"method": "POST", "nth": [1], "count": "rule", "status": 502}, Status.UNKNOWN, id="502"),
    pytest.param(
        {"method": "POST", "nth": [1], "count": "rule", "status": 200, "body": {"status": "running"}},
        Status.ACCEPTED,
        id="no job id",
    ),
]


@pytest.mark.parametrize("fault, status", UNKNOWN_ENDS)
def test_a_refresh_whose_end_is_unknown_closes_its_connection_for_the_next_run(
    fault: dict[str, object], status: Status
) -> None:
    """Of whatever manifest: it says that it waits and for how long, and sends when the timeout since the call is over."""

    async def main(folder: Path) -> None:
        staged = make_scenario(default_model={"duration": 90}, faults=[fault])
        text = manifest_text(model(1, connection="wh", timeout="2m"))
        async with Machine(folder, text, staged) as machine:
            first = await machine.run()
            assert first.of("m1").status is status
            other = await machine.run(manifest=manifest_text(model(2, connection="WH ")))
            assert other.of("m2").status is Status.SUCCEEDED
            posts = [c.t_s for c in machine.calls if c.method == "POST"]
            assert 119.9 < posts[1] - posts[0] < 125
            (waited,) = other.witness.of(LaneWaiting)
            assert first.id in waited.holder
            assert waited.at_most_s is not None
            assert 110 < waited.at_most_s <= 120

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_an_intent_of_a_killed_run_closes_its_connection() -> None:
    """Killed when the call was about to leave: another manifest's run waits out its timeout."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, connection="wh", timeout="2m"))
        async with Machine(folder, text, make_scenario(default_model={"duration": 90})) as machine:
            await machine.run(death=Death(at=3, after=True))
            assert not machine.started
            other = await machine.run(manifest=manifest_text(model(2, connection="wh")))
            assert other.of("m2").status is Status.SUCCEEDED
            assert machine.started[0].t_s > 119.9

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_proceed_does_not_wait_for_what_cannot_be_checked() -> None:
    """`--on-overlap proceed`: a person who looked in Omni need not wait for a refresh without a job."""

    async def main(folder: Path) -> None:
        staged = make_scenario(default_model={"duration": 5}, faults=[{"method": "POST", "nth": [1], "drop": "reset"}])
        async with Machine(folder, manifest_text(model(1)), staged) as machine:
            await machine.run()
            night = await machine.run(settings=RunSettings(overlap=Overlap.PROCEED))
            assert night.of("m1").status is Status.SUCCEEDED
            assert machine.started[-1].t_s < 5

    with quick_folder() as folder:
        virtual.run(main(folder))


@pytest.mark.parametrize("overlap", list(Overlap))
def test_a_job_that_timed_out_and_still_runs_is_followed_first(overlap: Overlap) -> None:
    """The next run sends its own only when that job has ended; all words of `--on-overlap` wait for it."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, connection="wh", timeout="10s"))
        staged = make_scenario(models=[{"id": uuid(1), "duration": 75}], default_model={"duration": 5})
        async with Machine(folder, text, staged) as machine:
            first = await machine.run()
            assert first.of("m1").status is Status.TIMED_OUT
            other = await machine.run(
                manifest=manifest_text(model(2, connection="wh")), settings=RunSettings(overlap=overlap)
            )
            assert other.of("m2").status is Status.SUCCEEDED
            assert overlaps(machine.calls, {uuid(1): "wh", uuid(2): "wh"}) == 0

    with quick_folder() as folder:
        virtual.run(main(folder))


@pytest.mark.parametrize("overlap, status", [("fail", Status.NOT_STARTED), ("proceed", Status.SUCCEEDED)])
def test_a_job_that_does_not_end(overlap: str, status: Status) -> None:
    """After the longer timeout its connection's targets are `not_started`, all at once; with `proceed` they are sent."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, connection="wh", timeout="1m"))
        staged = make_scenario(models=[{"id": uuid(1), "duration": "never"}], default_model={"duration": 5})
        async with Machine(folder, text, staged) as machine:
            await machine.run(settings=RunSettings(wait=False))
            models = [model(n, connection="wh", schemas=[f"s{n}"], timeout="5m") for n in (2, 3)]
            began_at = machine.clock.now()
            other = await machine.run(manifest=manifest_text(*models), settings=RunSettings(overlap=Overlap(overlap)))
            assert set(other.statuses.values()) == {status}
            assert 300 <= machine.clock.now() - began_at < 330
            if status is Status.NOT_STARTED:
                assert {o.error and o.error.kind for o in other.outcomes} == {"lane_closed"}
                assert len(machine.started) == 1

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_deadline_ends_the_waiting_for_a_lane() -> None:
    """A run that waits for what an earlier run left ends at its deadline, in order, with nothing sent."""

    async def main(folder: Path) -> None:
        faults = [{"method": "POST", "nth": [1], "drop": "reset"}]
        async with Machine(folder, manifest_text(model(1)), make_scenario(faults=faults)) as machine:
            await machine.run()
            night = await machine.run(settings=RunSettings(deadline_s=20))
            outcome = night.of("m1")
            assert outcome.error is not None
            assert (outcome.status, outcome.error.kind) == (Status.NOT_STARTED, "deadline")
            assert night.result is not None
            assert night.result.duration_s < 21
            assert len([c for c in machine.calls if c.method == "POST"]) == 1

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_clock_that_is_stepped_hides_no_job() -> None:
    """The wall clock jumps by 25 hours while a job runs: the next run still follows it first."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, timeout="10s"))
        staged = make_scenario(default_model={"duration": 75})
        async with Machine(folder, text, staged) as machine:
            await machine.run(boot="b1")
            now, utcnow = machine.clock.now, machine.clock.utcnow
            machine.clock = Clock(now, lambda: utcnow() + timedelta(hours=25))
            await machine.run(boot="b1", manifest=manifest_text(model(1, timeout="5m")))
            assert len(machine.started) == 2
            assert overlaps(machine.calls, {uuid(1): "c1"}) == 0

    with quick_folder() as folder:
        virtual.run(main(folder))


NAMES = [
    pytest.param({"connection": "wh"}, {"connection": " WH"}, 2, id="another spelling"),
    pytest.param({"connection": "wh"}, {"connection": "lake"}, 1, id="one model, two labels"),
    pytest.param({"connection": "wh"}, {"connection": uuid(900)}, 1, id="one model, a label and an id"),
    pytest.param({"connection": "wh"}, {"connection": None}, 1, id="one model, a label and nothing"),
    pytest.param({"connection": None}, {"connection": None, "id": None, "model": "One"}, 1, id="an id and a name"),
    pytest.param({"connection": None}, {"connection": None}, 2, id="two models, both looked up"),
]


@pytest.mark.parametrize("mine, yours, number", NAMES)
def test_one_connection_under_two_names(mine: dict[str, object], yours: dict[str, object], number: int) -> None:
    """Two manifests that name one connection differently never refresh it at once, and one model never."""

    async def main(folder: Path) -> None:
        staged = make_scenario(
            connections=[{"name": "wh"}],
            models=[
                {"id": uuid(n), "name": name, "connection": "wh", "duration": 30}
                for n, name in ((1, "One"), (2, "Two"))
            ],
        )
        async with Machine(folder, manifest_text(model(1, **mine)), staged) as machine:
            theirs = manifest_text(model(number, **{"name": "theirs", **yours}))
            nights = await asyncio.gather(machine.run(), machine.run(manifest=theirs))
            assert [set(night.statuses.values()) for night in nights] == [{Status.SUCCEEDED}] * 2
            assert overlaps(machine.calls, {uuid(1): "wh", uuid(2): "wh"}) == 0
            assert len(machine.started) == 2

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_what_was_learned_of_a_connection_is_known_later_without_a_call() -> None:
    """A run looked two models up: later runs that only say a label for each know that they are one connection."""

    async def main(folder: Path) -> None:
        staged = make_scenario(
            connections=[{"name": "wh"}],
            models=[{"id": uuid(n), "connection": "wh", "duration": 30} for n in (1, 2)],
        )
        async with Machine(
            folder, manifest_text(model(1, connection=None), model(2, connection=None)), staged
        ) as machine:
            await machine.run()
            texts = [manifest_text(model(1, connection="one")), manifest_text(model(2, connection="two"))]
            before = len(machine.calls)
            await asyncio.gather(*(machine.run(manifest=text) for text in texts))
            assert overlaps(machine.calls, {uuid(1): "wh", uuid(2): "wh"}) == 0
            assert len(machine.started) == 3
            assert not [c for c in machine.calls[before:] if c.path.endswith("/models")]

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_two_instances_of_a_manifest_at_one_address_are_one() -> None:
    """The same connection under two instances with one address: their refreshes follow one another."""

    async def main(folder: Path) -> None:
        text = manifest_text(
            model(1, connection="wh", instance="a"),
            model(2, connection="wh", instance="b"),
            instances={name: {"base_url": "http://127.0.0.1:1", "api_keys": ["${KEY_1}"]} for name in "ab"},
        )
        async with Machine(folder, text, make_scenario(default_model={"duration": 30})) as machine:
            night = await machine.run()
            assert set(night.statuses.values()) == {Status.SUCCEEDED}
            assert overlaps(machine.calls, {uuid(1): "wh", uuid(2): "wh"}) == 0

    with quick_folder() as folder:
        virtual.run(main(folder))


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


def test_a_call_without_a_waiting_run_holds_no_lane() -> None:
    """While one lane waits for another run, the other lanes use the whole budget."""

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
