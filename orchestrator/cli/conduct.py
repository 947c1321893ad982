"""Conducts one run: from what is to be done to reports and an exit code. `run`, `resume` and `retry` differ in what they
hand in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePath
from random import Random
from signal import Signals

from orchestrator import __version__
from orchestrator.cli.access import USER_AGENT, earlier_durations, make_ledgers, make_length, make_opener, with_rate
from orchestrator.cli.advice import next_commands
from orchestrator.cli.aftermath import tell_others, write_metrics
from orchestrator.cli.deliver import append_job_summary, grow, open_growing, print_report, write_reports
from orchestrator.cli.desk import Desk
from orchestrator.cli.live import quieter, show_live
from orchestrator.cli.narrator import Narrator
from orchestrator.cli.order import Begun, Order
from orchestrator.clock import Clock, real_clock
from orchestrator.errors import OmniRefreshError
from orchestrator.journal.database import JournalError
from orchestrator.journal.steps import Steps
from orchestrator.log import Event, bound, get_logger
from orchestrator.manifest.manifest import Manifest
from orchestrator.report.counts import count_statuses
from orchestrator.report.document import make_document, make_row
from orchestrator.report.exit_code import exit_code
from orchestrator.report.headline import SIMULATED
from orchestrator.report.report import Report, RunFacts, Trigger
from orchestrator.run.before import Past
from orchestrator.run.failure import in_rehearsal
from orchestrator.run.journal_recorder import JournalRecorder
from orchestrator.run.lane_keeper import LaneKeeper
from orchestrator.run.outcome import Status
from orchestrator.run.recall import is_open
from orchestrator.run.run import Run, RunResult, Surroundings

SIGN_OF_LIFE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What a run stands on while it goes on."""

    order: Order
    begun: Begun
    desk: Desk
    steps: Steps
    at: datetime
    clock: Clock


def conduct(order: Order, begun: Begun, desk: Desk, steps: Steps, paths: Sequence[str]) -> int:
    """Run to the end, write the reports to `paths`, print the result; the exit code."""
    return asyncio.run(_conduct(order, begun, desk, steps, paths))


async def _conduct(order: Order, begun: Begun, desk: Desk, steps: Steps, paths: Sequence[str]) -> int:
    clock = real_clock()
    stage = _Stage(order=order, begun=begun, desk=desk, steps=steps, at=clock.utcnow(), clock=clock)
    growing = open_growing(paths, tuple(begun.before.outcomes.values()), simulated=order.simulated)
    append = grow(growing)
    narrator = Narrator((lambda outcome: append(in_rehearsal(outcome))) if order.simulated else append)
    marks = {"note": SIMULATED} if order.simulated else {}
    async with AsyncExitStack() as stack:
        with bound(run_id=begun.run.id, **marks), quieter(desk.console):
            manifest = order.manifest
            if order.simulated:
                from orchestrator.cli.simulation import enter_simulation

                manifest = await enter_simulation(stack, order.scenario, manifest, clock)
            shared = with_rate(manifest, order.rate)
            recorder = JournalRecorder(
                steps,
                row=make_row,
                base_urls=_base_urls(manifest),
                clock=clock,
                began_at=clock.now(),
                calls=begun.recalled.calls,
                redact=desk.redactor.redact,
            )
            surroundings = _surroundings(stage, manifest, recorder, narrator)
            run = Run(shared, order.selected, order.settings, surroundings, begun.before, touched=order.touched)

            def stop(number: int) -> None:
                get_logger().warning(Event.RUN_STOPPED, signal=Signals(number).name)
                run.stop()

            stack.enter_context(desk.signals.handed_over(asyncio.get_running_loop(), stop))
            get_logger().info(
                Event.RUN_STARTED, manifest=manifest.path, targets=len(order.selected), version=__version__
            )
            life = asyncio.create_task(_signs_of_life(narrator, run, clock))
            title = f"omni-refresh {PurePath(manifest.path).name}{f' {SIMULATED}' if order.simulated else ''}"
            shown = show_live(desk.console, narrator, run, title=title, selected=len(order.selected), clock=clock)
            try:
                async with shown:
                    result = await run.run()
            finally:
                life.cancel()
            report = _make_report(stage, result, result.abort or recorder.broken)
            written = write_reports(report, paths, growing)
            if len(written) < len(paths):
                report = replace(report, exit_code=_code(report, order, report_failed=True))
            if order.metrics is not None and not write_metrics(
                order.metrics, report, manifest=order.manifest, tally=result.tally, doors=narrator.doors
            ):
                report = replace(report, exit_code=_code(report, order, report_failed=True))
            append_job_summary(report)
            commands = _finish(stage, report)
            command = "; ".join(commands) or None
            get_logger().info(
                Event.RUN_FINISHED,
                exit_code=report.exit_code,
                duration_s=round(report.run.duration_s, 3),
                **({} if command is None else {"next": command}),
            )
            print_report(report, as_json=order.as_json, console=desk.console, paths=written, next_commands=commands)
            await tell_others(report, order, desk, paths=written, next_command=command, user_agent=USER_AGENT)
            return report.exit_code


def _base_urls(manifest: Manifest) -> dict[str, str]:
    return {name: instance.base_url for name, instance in manifest.instances.items()}


def _surroundings(stage: _Stage, manifest: Manifest, recorder: JournalRecorder, narrator: Narrator) -> Surroundings:
    state, order, clock = stage.desk.state, stage.order, stage.clock
    return Surroundings(
        clock=clock,
        rng=Random(),
        watcher=narrator,
        recorder=recorder,
        open_client=make_opener(clock, direct=order.simulated),
        ledger=make_ledgers(state, manifest.instances),
        length=make_length(manifest),
        redact=stage.desk.redactor.redact,
        history=earlier_durations(state.journal, manifest, order.selected),
        keeper=LaneKeeper(
            state.locks,
            stage.steps,
            base_urls=_base_urls(manifest),
            clock=clock,
            taken=stage.begun.recalled.calls.values(),
        ),
        past=_past(stage),
    )


def _past(stage: _Stage) -> Past:
    run, journal = stage.begun.run, stage.desk.state.journal
    earlier = journal.earlier(run.manifest_identity, before=run.root, names=[e.name for e in stage.order.selected])
    known = {status.value: status for status in Status}
    return Past(
        statuses={name: known[past.status] for name, past in earlier.items() if past.status in known},
        failing_since={name: past.failing_since for name, past in earlier.items() if past.failing_since is not None},
        began_at=journal.run(run.root).began_at,
    )


async def _signs_of_life(narrator: Narrator, run: Run, clock: Clock) -> None:
    began_at = clock.now()
    while True:
        await asyncio.sleep(SIGN_OF_LIFE_S)
        narrator.progress(clock.now() - began_at, run.time_left_s())


def _make_report(stage: _Stage, result: RunResult, broken: OmniRefreshError | None) -> Report:
    order, run = stage.order, stage.begun.run
    root = stage.desk.state.journal.run(run.root)
    warnings, caught = order.warnings + result.plan.remarks, stage.desk.signals.caught
    if broken is not None:
        warnings += (f"the journal gave way, so that nothing more was sent: {broken}",)
    facts = RunFacts(
        id=run.id,
        trigger=order.trigger,
        manifest_path=order.manifest.path,
        manifest_sha256=order.manifest.sha256,
        manifest_identity=run.manifest_identity,
        started_at=stage.at,
        finished_at=stage.clock.utcnow(),
        # as the document keeps it: a report that is rendered again says the same
        duration_s=round(result.duration_s, 3),
        signal=caught[0] if caught else None,
        resumed_from=run.root if run.root != run.id else None,
        simulated=order.simulated,
        new_issues_fail=order.settings.fail_on_new_issues,
        retried_from=root.origin if root.trigger == Trigger.RETRY else None,
        requests=result.tally.requests,
        polls=result.tally.polls,
        throttled=result.tally.throttled,
        refused_instances=result.refused_instances,
        quota=result.quota or None,
        budget=result.budget,
        warnings=tuple(map(stage.desk.redactor.redact, warnings)),
    )
    outcomes = tuple(map(in_rehearsal, result.outcomes)) if order.simulated else result.outcomes
    report = Report(run=facts, outcomes=outcomes, exit_code=0)
    return replace(report, exit_code=_code(report, order, report_failed=False))


def _code(report: Report, order: Order, *, report_failed: bool) -> int:
    return exit_code(
        report.outcomes,
        signal=report.run.signal,
        refused_instances=report.run.refused_instances,
        report_failed=report_failed,
        new_issues_fail=order.settings.fail_on_new_issues,
    )


def _finish(stage: _Stage, report: Report) -> tuple[str, ...]:
    """Keep how the run ended; the commands that come next."""
    unfinished = any(map(is_open, report.outcomes))
    counts = {status.value: count for status, count in count_statuses(report.outcomes).items() if count}
    journal = stage.desk.state.journal
    try:
        journal.finish(
            stage.begun.run.id,
            document=make_document(report),
            exit_code=report.exit_code,
            unfinished=unfinished,
            counts=counts,
        )
        stage.desk.state.prune()
    except JournalError as error:
        get_logger().error(Event.JOURNAL_BROKE, error=str(error))
    if stage.order.simulated:
        # its state goes with it
        return ()
    return next_commands(stage.begun.run, report.outcomes, selection=stage.order.selection)
