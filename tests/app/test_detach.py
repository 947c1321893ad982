"""A run that leaves its jobs to another process: nothing is lost, sent twice, or reported before its end."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.context import Context
from orchestrator.app.requests import EarlierRunRequest, RunOptions, RunRequest
from orchestrator.app.runs import NothingToDo, RunEnd, resume_run, start_run
from orchestrator.clock import Clock
from orchestrator.engine.events import Observer, RunEvent, RunProgress
from orchestrator.engine.run_context import Detach
from orchestrator.errors import LockedError, RunDetached
from orchestrator.manifest.load import make_manifest
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.app.contexts import make_context
from tests.machine import quick_folder
from tests.rehearsal import manifest_text, model, uuid

JOB_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A simulated instance and a state folder, in virtual time."""

    server: Simulator
    folder: Path
    text: str

    def context(self, watch: Observer | None = None) -> Context:
        """A context of a new process."""
        loop = asyncio.get_running_loop()
        clock = Clock(loop.time, virtual.utcnow_of(loop))
        context = make_context(self.folder / "state", {"KEY_1": "api-key-1"})
        return replace(context, clock=clock, observe=watch or context.observe)

    async def run(self, context: Context | None = None, **options: Any) -> RunEnd:
        """A run that leaves its jobs once all is submitted."""
        manifest = make_manifest(self.text, path="m.yaml", environ={"KEY_1": "api-key-1"})
        request = RunRequest(
            manifest=manifest,
            options=RunOptions(
                settings={"detach": Detach.SUBMITTED.value, **options}, report=(str(self.folder / "report.json"),)
            ),
        )
        return await start_run(request, context or self.context())

    async def resume(self, run_id: str, context: Context | None = None, **options: Any) -> RunEnd:
        """Follow a run that was left."""
        request = EarlierRunRequest(run=run_id, options=RunOptions(settings=options))
        return await resume_run(request, context or self.context())

    @property
    def posts(self) -> int:
        """How many refreshes were sent."""
        return sum(call.method == "POST" for call in self.server.calls)

    def report(self) -> dict[str, Any] | None:
        """The report's document; None if it is not there."""
        path = self.folder / "report.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def on_desk(
    work: Any, *numbers: int, models: Mapping[int, Mapping[str, Any]], defaults: Mapping[str, Any] | None = None
) -> None:
    """Do `work` with a desk whose instance has these models."""

    async def main(folder: Path) -> None:
        listed = [{"id": uuid(number), **said} for number, said in models.items()]
        utcnow = virtual.utcnow_of(asyncio.get_running_loop())
        async with Simulator(make_scenario(models=listed), utcnow=utcnow) as server:
            text = manifest_text(
                *(model(number) for number in numbers or models),
                instance={"base_url": server.url},
                defaults=dict(defaults or {}),
            )
            await work(Desk(server=server, folder=folder, text=text))

    with quick_folder() as folder:
        virtual.run(main(folder))


def test_a_run_leaves_its_jobs_and_another_follows_them() -> None:
    """It ends when all is submitted, without a report; `resume` polls the jobs, submits nothing, and reports all targets."""

    async def work(desk: Desk) -> None:
        clock = asyncio.get_running_loop()
        began_at = clock.time()
        with pytest.raises(RunDetached) as left:
            await desk.run()
        assert clock.time() - began_at < JOB_S / 10
        assert (desk.posts, desk.report()) == (3, None)
        end = await desk.resume(left.value.run_id)
        assert (desk.posts, end.report.exit_code) == (3, 1)
        statuses = {outcome.name: outcome.status.value for outcome in end.report.outcomes}
        assert statuses == {"m1": "succeeded", "m2": "failed", "m3": "succeeded"}
        assert all(outcome.attempts == 1 for outcome in end.report.outcomes)
        report = desk.report()
        assert report is not None
        assert report["run"]["resumed_from"] == left.value.run_id
        with pytest.raises(NothingToDo):
            await desk.resume(left.value.run_id)

    failing = {"duration": JOB_S, "result": "FAILED"}
    on_desk(work, models={1: {"duration": JOB_S}, 2: failing, 3: {"duration": 0}})


def test_a_run_that_is_done_first_reports_as_ever() -> None:
    """If no job is left when the last refresh was sent, the run reports like any other."""

    async def work(desk: Desk) -> None:
        end = await desk.run()
        assert end.report.exit_code == 0
        assert desk.report() is not None

    quick = {"poll": {"min": "20ms", "max": "50ms"}}
    on_desk(work, models={1: {"duration": 0}, 2: {"duration": 0}}, defaults=quick)


def test_a_run_stays_while_a_refresh_waits() -> None:
    """Refreshes of one connection follow one another: the run follows all jobs but the last, which it leaves."""

    async def work(desk: Desk) -> None:
        with pytest.raises(RunDetached) as left:
            await desk.run()
        assert desk.posts == 2
        end = await desk.resume(left.value.run_id)
        assert [outcome.status.value for outcome in end.report.outcomes] == ["succeeded", "succeeded"]
        assert desk.posts == 2

    models = {number: {"duration": JOB_S, "connection": "wh"} for number in (1, 2)}
    on_desk(work, models=models, defaults={"collapse": False})


def test_a_run_stays_for_what_only_it_knows() -> None:
    """Validation compares with what was read before the refresh, so such a run follows its job to the end."""

    async def work(desk: Desk) -> None:
        end = await desk.run()
        assert end.report.outcomes[0].validation is not None

    on_desk(work, models={1: {"duration": JOB_S}}, defaults={"verify": "validate"})


def test_a_stop_leaves_the_jobs_without_a_report() -> None:
    """A follower that is stopped reports nothing, the next one continues, and only the deadline is an end that is reported."""

    async def work(desk: Desk) -> None:
        with pytest.raises(RunDetached) as left:
            await desk.run()
        run_id, has_followed = left.value.run_id, asyncio.Event()

        def watch(event: RunEvent) -> None:
            if isinstance(event, RunProgress):
                has_followed.set()

        context = desk.context(watch)
        follower = asyncio.create_task(desk.resume(run_id, context, detach=Detach.STOPPED.value))
        await has_followed.wait()
        with pytest.raises(LockedError):
            await desk.resume(run_id)
        context.stop.request()
        with pytest.raises(RunDetached):
            await follower
        assert desk.report() is None
        end = await desk.resume(run_id, detach=Detach.STOPPED.value, deadline_s=60.0)
        assert end.report.outcomes[0].status.value == "interrupted"
        assert desk.report() is not None
        end = await desk.resume(run_id)
        assert end.report.outcomes[0].status.value == "succeeded"
        assert desk.posts == 1

    on_desk(work, models={1: {"duration": JOB_S}})


def test_a_stop_before_the_plan_leaves_the_run_to_be_resumed() -> None:
    """What was not sent when the run was stopped is sent by the one that resumes it, once."""

    async def work(desk: Desk) -> None:
        context = desk.context()
        context.stop.request()
        with pytest.raises(RunDetached) as left:
            await desk.run(context)
        assert desk.posts == 0
        end = await desk.resume(left.value.run_id)
        assert (end.report.exit_code, desk.posts) == (0, 1)

    on_desk(work, models={1: {"duration": 0}})
