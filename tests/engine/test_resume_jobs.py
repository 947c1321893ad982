"""Resuming a job that is known: by whose clock its time is up, what its answer may be, and what is never sent again."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import Clock
from orchestrator.engine.outcome import Status
from orchestrator.engine.run import Run
from orchestrator.engine.run_context import RunSettings
from orchestrator.journal.database import JournalError
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.machine import Act, Death, Machine, Night, quick_folder, started_by_model
from tests.rehearsal import manifest_text, model, uuid

ACCEPTED = 4
"""The commit that keeps the answer to the only model's refresh call: after the run, its plan and the intent."""


def one(staged: Scenario, *, at: int, after: bool, asleep_s: float = 0.0, step_s: float = 0.0, **keys: Any) -> Any:
    """A run over one model that dies at its `at`-th commit, and what resuming it brings after `asleep_s` and after the
    wall clock was set by `step_s`: (machine, night).
    """

    async def main(folder: Path) -> tuple[Machine, Night]:
        boot = keys.pop("boot", "")
        async with Machine(folder, manifest_text(model(1, **keys)), staged) as machine:
            night = await machine.run(death=Death(at=at, after=after), boot=boot)
            await asyncio.sleep(asleep_s)
            told = machine.clock.utcnow
            machine.clock = Clock(machine.clock.now, lambda: told() + timedelta(seconds=step_s))
            return machine, await machine.resume(night.root, boot=boot)

    with quick_folder() as folder:
        return virtual.run(main(folder))


def test_a_known_job_is_polled_and_not_submitted_again() -> None:
    """The call, the job's id and when it left are those of the run that was cut off."""
    machine, night = one(make_scenario(default_model={"duration": 30}), at=ACCEPTED, after=True, asleep_s=5)
    outcome = night.of("m1")
    assert (outcome.status, outcome.attempts) == (Status.SUCCEEDED, 1)
    assert len(machine.started) == 1
    assert outcome.job_ids == (machine.started[0].job_id,)
    assert outcome.submitted_at == virtual.START_AT + timedelta(seconds=machine.started[0].t_s)
    assert outcome.duration_s == pytest.approx(30, abs=8)
    assert outcome.queued_s == pytest.approx(0, abs=0.1)


def test_a_job_that_ended_meanwhile_has_succeeded_however_late_that_is_seen() -> None:
    """COMPLETED is `succeeded` though the machine was away for longer than the timeout."""
    staged = make_scenario(default_model={"duration": 30})
    machine, night = one(staged, at=ACCEPTED, after=True, asleep_s=86_000, timeout="1m")
    assert night.of("m1").status is Status.SUCCEEDED
    assert sum("/jobs/" in call.path for call in machine.calls) == 1


def test_a_job_is_timed_out_only_by_an_answer_after_its_time() -> None:
    """The timeout counts from the acceptance, over the break; the poll that decides is sent after it."""
    staged = make_scenario(default_model={"duration": 3000})
    machine, night = one(staged, at=ACCEPTED, after=True, asleep_s=50, timeout="1m")
    polls = [call for call in machine.calls if "/jobs/" in call.path]
    assert night.of("m1").status is Status.TIMED_OUT
    assert polls[-1].t_s >= 60
    assert night.result is not None
    assert night.result.duration_s == pytest.approx(10, abs=2)


def test_a_stepped_clock_times_no_job_out() -> None:
    """Within one boot of the machine the monotonic clock decides; the wall clock may be wrong by a year."""
    staged = make_scenario(default_model={"duration": 40})
    for step_s in (-3e7, 3e7):
        machine, night = one(staged, at=ACCEPTED, after=True, step_s=step_s, timeout="1m", boot="b")
        outcome = night.of("m1")
        assert outcome.status is Status.SUCCEEDED
        assert len(machine.started) == 1
        assert outcome.duration_s is not None
        assert outcome.duration_s >= 0


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    """After another start of the machine only the wall clock is left, and it may be wrong."""
    _, night = one(make_scenario(default_model={"duration": 4}), at=ACCEPTED, after=True, step_s=-5000)
    outcome = night.of("m1")
    assert (outcome.status, outcome.duration_s is not None and outcome.duration_s >= 0) == (Status.SUCCEEDED, True)


def test_a_job_that_the_server_forgot_is_unknown() -> None:
    """404 on a job that is not young: `unknown` after three polls, with the advice to refresh again."""
    staged = make_scenario(default_model={"duration": 30}, faults=[{"path": "/jobs/", "always": True, "status": 404}])
    machine, night = one(staged, at=ACCEPTED, after=True, asleep_s=600)
    outcome = night.of("m1")
    assert (outcome.status, outcome.error and outcome.error.kind) == (Status.UNKNOWN, "job_lost")
    assert outcome.error is not None
    assert "refresh again" in outcome.error.hint
    assert sum("/jobs/" in call.path for call in machine.calls) == 3


@pytest.mark.parametrize("policy, started, status", [("report", 0, Status.UNKNOWN), ("resend", 1, Status.SUCCEEDED)])
def test_an_intent_without_an_answer(policy: str, started: int, status: Status) -> None:
    """It is unknown whether the call arrived: it is sent again only if the manifest says so."""
    machine, night = one(make_scenario(default_model={"duration": 5}), at=3, after=True, on_ambiguous=policy)
    assert (night.of("m1").status, len(machine.started)) == (status, started)


def test_a_refused_call_is_no_intent_without_an_answer() -> None:
    """Killed while it waited after a 429: the call is known to have started nothing, and is sent."""
    staged = make_scenario(
        default_model={"duration": 5},
        faults=[{"method": "POST", "path": "/refresh$", "nth": [1], "status": 429, "headers": {"Retry-After": "30"}}],
    )
    machine, night = one(staged, at=4, after=True)
    assert (night.of("m1").status, len(machine.started)) == (Status.SUCCEEDED, 1)


def test_an_answer_without_an_id_stays_accepted() -> None:
    """Killed after the answer was kept: `accepted` with a warning, and no second call."""
    staged = make_scenario(default_model={"duration": 5}, answers={"job_id": False})
    machine, night = one(staged, at=ACCEPTED, after=True)
    outcome = night.of("m1")
    assert (outcome.status, len([c for c in machine.calls if c.method == "POST"])) == (Status.ACCEPTED, 1)
    assert any("no job id" in warning for warning in outcome.warnings)


@pytest.mark.parametrize("result, status", [("COMPLETED", Status.SUCCEEDED), ("FAILED", Status.FAILED)])
def test_an_end_that_was_seen_but_not_settled(result: str, status: Status) -> None:
    """Killed between the last poll and the outcome: the outcome follows from the journal, without a call."""
    staged = make_scenario(default_model={"duration": 0.5, "result": result})
    machine, night = one(staged, at=ACCEPTED + 1, after=True)
    before = len(machine.calls)
    assert (night.of("m1").status, night.of("m1").job_status) == (status, result)
    assert night.result is not None
    assert night.result.stats.requests == 0
    assert before == len(machine.calls)


def test_a_group_stays_a_group() -> None:
    """Which refresh covers which target is kept: one job, and each covered target gets its result."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, connection="c"), model(2, connection="c"), model(3, connection="c", mode="soft"))
        async with Machine(folder, text, make_scenario(default_model={"duration": 20})) as machine:
            night = await machine.run(death=Death(at=ACCEPTED, after=True))
            night = await machine.resume(night.root)
            assert [o.covered_by for o in night.outcomes] == [None, "m1", "m1"]
            assert {o.job_ids for o in night.outcomes} == {(machine.started[0].job_id,)}
            assert set(night.statuses.values()) == {Status.SUCCEEDED}

    with quick_folder() as folder:
        virtual.run(main(folder))


LATER = {"method": "POST", "path": "/refresh$", "nth": [2], "status": 503, "headers": {"Retry-After": "5"}}


@pytest.mark.parametrize("faults", [[], [LATER]], ids=["smooth", "the second is refused for now"])
def test_a_scope_of_several_calls_continues_with_the_next(faults: list[dict[str, Any]]) -> None:
    """Parts that have succeeded are not sent again; the outcome has the jobs of all."""

    async def main(folder: Path, at: int) -> None:
        text = manifest_text(model(1, schemas=["s"], tables=[f"s.{n:0490d}" for n in range(40)]))
        async with Machine(folder, text, make_scenario(default_model={"duration": 3}, faults=faults)) as machine:
            night = await machine.run(death=Death(at=at, after=True))
            night = await machine.resume(night.root)
            outcome = night.of("m1")
            if outcome.status is Status.UNKNOWN:
                return
            tables = [table for call in machine.started for table in call.query["tables"].split(",")]
            assert sorted(tables) == sorted(set(tables))
            assert len(tables) == 40
            assert outcome.status is Status.SUCCEEDED
            assert list(outcome.job_ids) == [call.job_id for call in machine.started]

    for at in range(2, 14):
        with quick_folder() as folder:
            virtual.run(main(folder, at))


@pytest.mark.parametrize("at", [2, 3, 4, 5, 6])
def test_a_journal_that_fails_during_a_run(at: int) -> None:
    """From then on nothing is sent; active jobs are followed to their end, and every target has its outcome."""

    async def main(folder: Path) -> None:
        death = Death(at=at, gives_way=True)
        text = manifest_text(*(model(n) for n in range(1, 5)), workers=1)
        async with Machine(folder, text, make_scenario(default_model={"duration": 9})) as machine:
            if at == 2:
                with pytest.raises(JournalError):
                    await machine.run(death=death)
                assert machine.started == []
                return
            night = await machine.run(death=death)
            assert night.result is not None
            assert isinstance(night.result.abort, JournalError)
            counts = Counter(night.statuses.values())
            assert counts[Status.SUCCEEDED] == len(machine.started) == (at - 2) // 2
            assert counts[Status.NOT_STARTED] == 4 - len(machine.started)

    with quick_folder() as folder:
        virtual.run(main(folder))


def stopped(reason: str) -> tuple[RunSettings, Any]:
    """How a run of ten models is cut off: its settings, and what acts beside it."""
    if reason == "deadline":
        return RunSettings(deadline_s=5), None
    if reason == "fail_fast":
        return RunSettings(max_failures=1), None
    return RunSettings(grace_s=1), lambda run: asyncio.get_running_loop().call_later(5, run.stop)


@pytest.mark.parametrize("reason, goes_on", [("signal", True), ("deadline", True), ("fail_fast", False)])
def test_what_a_resumed_run_continues_with(reason: str, goes_on: bool) -> None:
    """A signal or a deadline cuts a run off; what it decided not to send itself is for `retry`."""

    async def main(folder: Path) -> None:
        text = manifest_text(*(model(n) for n in range(1, 11)), instance={"rate_limit": {"requests": 5, "per": "60s"}})
        faults = [{"method": "POST", "path": uuid(1), "always": True, "status": 400}] if reason == "fail_fast" else []
        staged = make_scenario(default_model={"duration": 20}, faults=faults)
        async with Machine(folder, text, staged) as machine:
            settings, act = stopped(reason)
            night = await machine.run(settings=settings, act=act)
            assert Status.NOT_STARTED in night.statuses.values()
            sent = len([c for c in machine.calls if c.method == "POST"])
            again = await machine.resume(night.root)
            posts = [c for c in machine.calls if c.method == "POST"]
            assert (len(posts) == 10) is goes_on
            assert (len(posts) == sent) is not goes_on
            assert set(started_by_model(machine.calls).values()) == {1}
            assert (set(again.statuses.values()) == {Status.SUCCEEDED}) is goes_on
            kept = [o for o in night.outcomes if o.status is Status.SUCCEEDED]
            assert all(again.of(o.name).finished_at == o.finished_at for o in kept)

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_look_ups_that_were_done_are_not_done_again() -> None:
    """The journal's plan knows what entries resolved to; only those that were not planned yet are looked up."""

    async def main(folder: Path) -> None:
        staged = make_scenario(models=[{"id": uuid(1), "name": "Sales", "duration": 5}])
        async with Machine(folder, manifest_text({"model": "Sales"}), staged) as machine:
            night = await machine.run(death=Death(at=ACCEPTED, after=True))
            reads = len([c for c in machine.calls if c.path == "/api/v1/models"])
            night = await machine.resume(night.root)
            assert reads == len([c for c in machine.calls if c.path == "/api/v1/models"])
            assert night.of("Sales").model_id == uuid(1)
            assert night.of("Sales").status is Status.SUCCEEDED

    with quick_folder() as folder:
        virtual.run(main(folder))


def stop_at_once(after_s: float) -> Act:
    """Two signals, one right after the other."""

    def act(run: Run) -> None:
        for _ in range(2):
            asyncio.get_running_loop().call_later(after_s, run.stop)

    return act


def test_a_stop_during_the_look_ups_ends_at_once() -> None:
    """Two signals before there is a plan: nothing is waited for, every target is `not_started`, and resume sends all."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, connection=None), model(2, connection=None))
        staged = make_scenario(default_model={"duration": 5}, faults=[{"path": "/models$", "nth": [1], "delay": 20}])
        async with Machine(folder, text, staged) as machine:
            night = await machine.run(act=stop_at_once(1))
            assert night.result is not None
            assert night.result.duration_s < 2
            assert set(night.statuses.values()) == {Status.NOT_STARTED}
            again = await machine.resume(night.root)
            assert set(again.statuses.values()) == {Status.SUCCEEDED}
            assert set(started_by_model(machine.calls).values()) == {1}

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_stop_during_the_look_ups_keeps_the_known_jobs() -> None:
    """An active job is `interrupted` with its id, and not forgotten because something else was looked up."""

    async def main(folder: Path) -> None:
        text = manifest_text(model(1, timeout="10s"), {"model": "No such"})
        staged = make_scenario(
            default_model={"duration": 500}, faults=[{"path": "/models$", "from": 15, "until": 90, "delay": 20}]
        )
        async with Machine(folder, text, staged) as machine:
            night = await machine.run()
            assert list(night.statuses.values()) == [Status.TIMED_OUT, Status.REJECTED]
            await asyncio.sleep(20)
            again = await machine.retry(night.root, act=stop_at_once(1))
            assert list(again.statuses.values()) == [Status.INTERRUPTED, Status.NOT_STARTED]
            assert again.of("m1").job_ids == (machine.started[0].job_id,)
            await asyncio.sleep(600)
            last = await machine.resume(again.root)
            assert last.of("m1").status is Status.SUCCEEDED
            assert len(machine.started) == 1

    with quick_folder() as folder:
        virtual.run(main(folder))
