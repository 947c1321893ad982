"""Executes a prepared run, up to its reports and its exit code. `run`, `resume` and `retry` only prepare it differently."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from orchestrator.app.after_run import next_commands as next_commands_of
from orchestrator.app.after_run import write_metrics
from orchestrator.app.context import Context
from orchestrator.app.deliver import append_job_summary, close_growing, grow, open_growing, write_reports
from orchestrator.app.instances import earlier_durations, make_ledgers, make_opener, with_rate
from orchestrator.app.runs import PreparedRun, RunEnd
from orchestrator.app.state import State
from orchestrator.clock import Clock
from orchestrator.engine.connection_lock import StoredConnectionLocks
from orchestrator.engine.events import (
    Observer,
    RunEvent,
    RunFinished,
    RunPlanned,
    RunProgress,
    RunStarted,
    RunStopping,
    StateFailed,
    TargetFinished,
)
from orchestrator.engine.failure import in_rehearsal
from orchestrator.engine.outcome import Outcome, Status, known_status
from orchestrator.engine.recorder import JournalRecorder
from orchestrator.engine.restore import EarlierResults, is_open
from orchestrator.engine.run import Run, RunResult
from orchestrator.engine.run_context import Detach, RunContext, RunSettings
from orchestrator.errors import OmniRefreshError, RunDetached
from orchestrator.journal.database import JournalError
from orchestrator.journal.records import RunRecord
from orchestrator.journal.steps import Steps
from orchestrator.manifest.manifest import Manifest
from orchestrator.quota.rate_limiter import StopReason
from orchestrator.report.document import make_document
from orchestrator.report.findings import count_statuses, exit_code
from orchestrator.report.report import Report, RunFacts, Trigger

PROGRESS_EVERY_S: Final = 30.0
RECENT_RESULTS: Final = 10


async def execute(
    prepared: PreparedRun, steps: Steps, reports: Sequence[str], context: Context, state: State
) -> RunEnd:
    """Run to the end and write the reports to the paths `reports`.

    Returns how the run ended. Raises `RunDetached` if it left its jobs to `resume`: then nothing is reported yet.
    """
    clock, started_at = context.clock, context.clock.utcnow()
    # before the run: at its end, the state may be unusable, and the report is written anyway
    root = await state.call(lambda: state.journal.run(prepared.record.root))
    growing = open_growing(
        reports,
        tuple(prepared.restored.prior.outcomes.values()),
        context.observe,
        simulated=prepared.simulated,
    )
    progress = _Progress(context.observe, grow(growing, context.observe), simulated=prepared.simulated)
    async with AsyncExitStack() as stack:
        manifest = prepared.manifest
        if prepared.simulated:
            from orchestrator.app.simulation import enter_simulation

            manifest = await enter_simulation(stack, prepared.scenario, manifest, clock)
        recorder = JournalRecorder(
            steps,
            base_urls=_base_urls(manifest),
            clock=clock,
            began_at=clock.now(),
            calls=prepared.restored.calls,
            redact=context.redactor.redact,
            observe=context.observe,
        )
        make_context = partial(
            _run_context, prepared, manifest, recorder, steps=steps, progress=progress, context=context, state=state
        )
        run = Run(
            with_rate(manifest, prepared.rate),
            prepared.selected,
            await state.call(make_context),
            prepared.restored.prior,
            change=prepared.followed,
            selector=prepared.selector,
        )

        stops = 0

        def stop() -> None:
            nonlocal stops
            context.observe(
                RunStopping(
                    signal=context.stop.signals[min(stops, len(context.stop.signals) - 1)],
                    grace_s=prepared.settings.grace_s,
                    running=sum(lane.serves for lane in run.active_lanes()),
                    again=stops > 0,
                )
            )
            stops += 1
            run.stop()

        context.observe(
            RunStarted(
                run_id=prepared.record.id,
                manifest=manifest.path,
                targets=len(prepared.selected),
                instances=len({entry.instance for entry in prepared.selected}),
                simulated=prepared.simulated,
            )
        )
        stack.enter_context(context.stop.connected(stop))
        reporting = asyncio.create_task(_report_progress(progress, run, clock))
        try:
            async with context.around(run):
                result = await run.run()
        finally:
            reporting.cancel()
    broken = result.abort or recorder.broken
    if result.detached or (broken is None and _is_left(prepared.settings, result)):
        close_growing(growing, context.observe)
        raise RunDetached(prepared.record.id)
    report = _make_report(
        prepared,
        result,
        broken=broken,
        started_at=started_at,
        root=root,
        context=context,
        state=state,
    )
    written = write_reports(report, reports, context.observe, growing)
    if len(written) < len(reports):
        report = replace(report, exit_code=_code(report, prepared, report_failed=True))
    if prepared.metrics is not None and not write_metrics(
        prepared.metrics, report, context.observe, manifest=prepared.manifest, result=result
    ):
        report = replace(report, exit_code=_code(report, prepared, report_failed=True))
    append_job_summary(report, context.environ, context.observe)
    try:
        await state.call(lambda: _finish(prepared, report, state))
    except JournalError as error:
        context.observe(StateFailed(what="journal", message=str(error)))
    context.observe(
        RunFinished(
            run_id=prepared.record.id,
            exit_code=report.exit_code,
            duration_s=report.run.duration_s,
            next_commands=report.run.next_commands,
        )
    )
    return RunEnd(report=report, manifest=prepared.manifest, reports=written)


def _is_left(settings: RunSettings, result: RunResult) -> bool:
    """Return whether a run that was stopped leaves what it did not finish to `resume`, without a report."""
    is_stopped = settings.detach is not Detach.NEVER and result.ended is StopReason.STOPPED
    return is_stopped and any(map(is_open, result.outcomes))


class _Progress:
    """Counts outcomes, passes events on, and adds each outcome to the growing reports with `append`.

    If `simulated`, the outcomes get the advice of a simulated run.
    """

    def __init__(self, observe: Observer, append: Callable[[Outcome], None], *, simulated: bool) -> None:
        self._observe = observe
        self._append = append
        self._simulated = simulated
        self.total = 0
        self.statuses: Counter[Status] = Counter()

    def observe(self, event: RunEvent) -> None:
        """Count an event and pass it on."""
        if isinstance(event, TargetFinished) and self._simulated:
            event = TargetFinished(outcome=in_rehearsal(event.outcome))
        if isinstance(event, RunPlanned):
            self.total = event.targets
        elif isinstance(event, TargetFinished):
            self.statuses[event.outcome.status] += 1
        self._observe(event)
        if isinstance(event, TargetFinished):
            self._append(event.outcome)

    def report(self, elapsed_s: float, left_s: float | None) -> None:
        """Report how far the run is."""
        self._observe(
            RunProgress(
                elapsed_s=elapsed_s,
                done=self.statuses.total(),
                total=self.total,
                left_s=left_s,
                statuses=dict(self.statuses),
            )
        )


def _base_urls(manifest: Manifest) -> dict[str, str]:
    return {name: instance.base_url for name, instance in manifest.instances.items()}


def _run_context(
    prepared: PreparedRun,
    manifest: Manifest,
    recorder: JournalRecorder,
    *,
    steps: Steps,
    progress: _Progress,
    context: Context,
    state: State,
) -> RunContext:
    return RunContext(
        clock=context.clock,
        rng=context.rng,
        observer=progress.observe,
        recorder=recorder,
        open_client=make_opener(context, direct=prepared.simulated),
        ledger=make_ledgers(context, state, manifest.instances),
        redact=context.redactor.redact,
        history=earlier_durations(state.journal, manifest, prepared.selected),
        settings=prepared.settings,
        locks=StoredConnectionLocks(
            state.locks,
            steps,
            base_urls=_base_urls(manifest),
            clock=context.clock,
            taken=prepared.restored.calls.values(),
        ),
        past=_past(prepared, state, [entry.name for entry in prepared.selected]),
        read_past=lambda names: state.call(lambda: _past(prepared, state, names)),
    )


def _past(prepared: PreparedRun, state: State, names: Sequence[str]) -> EarlierResults:
    run, journal = prepared.record, state.journal
    earlier = journal.earlier(
        run.manifest_identity,
        before=run.root,
        names=names,
        good=[status for status in Status if status.was_refreshed],
        silent=[status for status in Status if status.says_nothing],
    )
    recent = journal.recent(run.manifest_identity, before=run.root, names=names, count=RECENT_RESULTS)
    return EarlierResults(
        statuses={name: status for name, past in earlier.items() if (status := known_status(past.status)) is not None},
        failing_since={name: past.failing_since for name, past in earlier.items() if past.failing_since is not None},
        began_at=journal.run(run.root).began_at,
        recent={name: tuple(filter(None, map(known_status, words))) for name, words in recent.items()},
    )


async def _report_progress(progress: _Progress, run: Run, clock: Clock) -> None:
    began_at = clock.now()
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        progress.report(clock.now() - began_at, run.time_left_s())


def _make_report(
    prepared: PreparedRun,
    result: RunResult,
    *,
    broken: OmniRefreshError | None,
    started_at: datetime,
    root: RunRecord,
    context: Context,
    state: State,
) -> Report:
    run = prepared.record
    warnings = prepared.warnings + result.plan.remarks
    if broken is not None:
        warnings += (f"the journal could not be written any more, so nothing more was sent: {broken}",)
    facts = RunFacts(
        id=run.id,
        trigger=Trigger(run.trigger),
        manifest_path=prepared.manifest.path,
        manifest_sha256=prepared.manifest.sha256,
        manifest_identity=run.manifest_identity,
        started_at=started_at,
        finished_at=context.clock.utcnow(),
        # as the document keeps it
        duration_s=round(result.duration_s, 3),
        signal=context.stop.signals[0] if context.stop.requested else None,
        resumed_from=run.root if run.root != run.id else None,
        simulated=prepared.simulated,
        new_issues_fail=prepared.settings.fail_on_new_issues,
        retried_from=root.origin if root.trigger == Trigger.RETRY else None,
        requests=result.stats.requests,
        polls=result.stats.polls,
        throttled=result.stats.throttled,
        refused_instances=result.refused_instances,
        quota=result.quota or None,
        budget=result.budget,
        warnings=tuple(map(context.redactor.redact, warnings)),
        # a simulated run sent nothing to these addresses, and its state is removed with it
        instances={} if prepared.simulated else _base_urls(prepared.manifest),
        next_commands=()
        if prepared.simulated
        else tuple(
            map(
                context.redactor.redact,
                next_commands_of(run, result.outcomes, stated=prepared.stated, state=state.option),
            )
        ),
    )
    outcomes = tuple(map(in_rehearsal, result.outcomes)) if prepared.simulated else result.outcomes
    report = Report(run=facts, outcomes=outcomes, exit_code=0)
    return replace(report, exit_code=_code(report, prepared, report_failed=False))


def _code(report: Report, prepared: PreparedRun, *, report_failed: bool) -> int:
    return exit_code(
        report.outcomes,
        signal=report.run.signal,
        refused_instances=report.run.refused_instances,
        report_failed=report_failed,
        new_issues_fail=prepared.settings.fail_on_new_issues,
    )


def _finish(prepared: PreparedRun, report: Report, state: State) -> None:
    """Write to the journal how the run ended. Raises `JournalError`."""
    state.journal.finish(
        prepared.record.id,
        document=make_document(report),
        exit_code=report.exit_code,
        unfinished=any(map(is_open, report.outcomes)),
        counts={status.value: count for status, count in count_statuses(report.outcomes).items() if count},
    )
    state.prune()
