"""Retrying: what did not succeed, a known job first, and never the good ones again."""

import asyncio
from pathlib import Path

from orchestrator.engine.outcome import Status
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from tests.machine import Death, Machine, quick_folder, started_by_model
from tests.rehearsal import manifest_text, model, uuid


def test_only_what_did_not_succeed_is_sent_again() -> None:
    """A refused target and one of unknown fate are sent again; those that succeeded or were skipped are not in the new run."""

    async def main(folder: Path) -> None:
        faults = [
            {"method": "POST", "path": uuid(2), "nth": [1], "status": 403},
            {"method": "POST", "path": uuid(4), "nth": [1], "status": 502},
        ]
        text = manifest_text(*(model(n) for n in range(1, 5)), model(5, enabled=False))
        async with Machine(folder, text, make_scenario(default_model={"duration": 4}, faults=faults)) as machine:
            night = await machine.run()
            assert [s.value for s in night.statuses.values()] == [
                "succeeded", "rejected", "succeeded", "unknown", "skipped",
            ]  # fmt: skip
            again = await machine.retry(night.root)
            assert again.statuses == {"m2": Status.SUCCEEDED, "m4": Status.SUCCEEDED}
            assert started_by_model(machine.calls) == {uuid(n): 1 for n in (1, 2, 3, 4)}

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_that_ended_meanwhile_is_not_sent_again() -> None:
    """A timed-out job is checked first; it has succeeded, and its whole group with it."""

    async def main(folder: Path) -> None:
        text = manifest_text(
            model(1, connection="c", timeout="10s"), model(2, connection="c", mode="soft", timeout="10s")
        )
        async with Machine(folder, text, make_scenario(default_model={"duration": 50})) as machine:
            night = await machine.run()
            assert set(night.statuses.values()) == {Status.TIMED_OUT}
            await asyncio.sleep(100)
            again = await machine.retry(night.root)
            assert set(again.statuses.values()) == {Status.SUCCEEDED}
            assert [o.covered_by for o in again.outcomes] == [None, "m1"]
            assert len(machine.started) == 1

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_that_still_runs_gets_its_whole_time_anew() -> None:
    """The retry waits for it rather than start a second refresh beside it."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, timeout="40s"))
        async with Machine(folder, text, make_scenario(default_model={"duration": 75})) as machine:
            night = await machine.run()
            again = await machine.retry(night.root)
            assert (night.of("m1").status, again.of("m1").status) == (Status.TIMED_OUT, Status.SUCCEEDED)
            assert len(machine.started) == 1

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_that_failed_meanwhile_is_sent_again() -> None:
    """The job is checked first, and because it did not succeed its refresh is sent once more."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, timeout="10s"))
        staged = make_scenario(models=[{"id": uuid(1), "duration": 20, "result": "FAILED"}])
        async with Machine(folder, text, staged) as machine:
            night = await machine.run()
            await asyncio.sleep(30)
            again = await machine.retry(night.root)
            kinds = ["POST" if c.method == "POST" else "poll" for c in machine.calls if c.t_s > 39]
            assert (night.of("m1").status, again.of("m1").status) == (Status.TIMED_OUT, Status.TIMED_OUT)
            assert kinds[:2] == ["poll", "POST"]
            assert len(again.of("m1").job_ids) == len(machine.started) == 2

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_job_that_the_server_forgot_is_sent_again() -> None:
    """Three 404: the result stays unknown, and a retry sends the refresh."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, timeout="10s"))
        staged = make_scenario(default_model={"duration": 20}, answers={"job_kept": 5})
        async with Machine(folder, text, staged) as machine:
            night = await machine.run()
            await asyncio.sleep(100)
            again = await machine.retry(night.root)
            assert (len(machine.started), again.of("m1").status) == (2, Status.TIMED_OUT)

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_retry_that_was_killed_can_be_resumed() -> None:
    """Killed anywhere, a retry is a run like any other: resumed, it starts nothing twice."""

    async def main(folder: Path, at: int) -> None:
        text = manifest_text(model(1, timeout="10s"), model(2))
        faults = [{"method": "POST", "path": uuid(2), "nth": [1], "status": 400}]
        async with Machine(folder, text, make_scenario(default_model={"duration": 15}, faults=faults)) as machine:
            night = await machine.run()
            again = await machine.retry(night.root, death=Death(at=at, after=True))
            if again.result is None:
                again = await machine.resume(again.root)
            assert set(started_by_model(machine.calls).values()) == {1}
            assert again.statuses["m1"] in (Status.SUCCEEDED, Status.TIMED_OUT)
            assert again.statuses["m2"] in (Status.SUCCEEDED, Status.UNKNOWN)

    for at in range(1, 10):
        with quick_folder() as folder:
            virtual.run(main(folder, at))


def test_a_retry_of_a_killed_retry_sends_nothing_again() -> None:
    """Whatever was killed in between, the newest knowledge decides: what the killed retry started is followed, not sent."""

    async def main(folder: Path, at: int) -> None:
        text = manifest_text(*(model(n, timeout="10s") for n in range(1, 4)))
        async with Machine(folder, text, make_scenario(default_model={"duration": 50})) as machine:
            night = await machine.run()
            assert set(night.statuses.values()) == {Status.TIMED_OUT}
            await machine.retry(night.root, death=Death(at=at, after=True))
            await asyncio.sleep(60)
            again = await machine.retry(night.root)
            assert set(again.statuses.values()) == {Status.SUCCEEDED}
            assert len(machine.started) == 3

    for at in (1, 2, 3, 5):
        with quick_folder() as folder:
            virtual.run(main(folder, at))


def test_what_a_later_retry_brought_to_success_is_not_retried() -> None:
    """`retry RUN1` after a retry of RUN1 that succeeded: there is nothing left, though RUN1's own outcomes say otherwise."""

    async def main(folder: Path) -> None:
        faults = [{"method": "POST", "path": uuid(n), "nth": [1], "status": 400} for n in (1, 2)]
        text = manifest_text(model(1), model(2))
        async with Machine(folder, text, make_scenario(default_model={"duration": 5}, faults=faults)) as machine:
            night = await machine.run()
            assert machine.wanted(night.root) == {0, 1}
            again = await machine.retry(night.root)
            assert set(again.statuses.values()) == {Status.SUCCEEDED}
            assert machine.wanted(night.root) == frozenset()

    with quick_folder() as folder:
        virtual.run(main(folder))
