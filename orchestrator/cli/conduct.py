"""Conducts one run: from a manifest and a selection to reports and an exit code. `run` and its kin differ in what they
hand in.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random

from orchestrator import __version__
from orchestrator.cli.console import Console, print_result
from orchestrator.cli.narrator import Narrator
from orchestrator.clock import Clock, real_clock
from orchestrator.errors import UsageError
from orchestrator.log import Event, Redactor, bound, get_logger
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, Manifest, RateLimit
from orchestrator.omni.address import UnsendableName, request_target_bytes
from orchestrator.omni.answers import RefreshAsk
from orchestrator.omni.client import OmniClient
from orchestrator.quota.window import Ledger, Window
from orchestrator.report.as_jsonl import JsonLines
from orchestrator.report.exit_code import exit_code
from orchestrator.report.formats import Format, format_of, render
from orchestrator.report.report import Report, RunFacts, Trigger
from orchestrator.report.summary import render_summary
from orchestrator.report.writer import ReportError, append_step_summary, check_writable, write_report
from orchestrator.run.outcome import Outcome
from orchestrator.run.recorder import SilentRecorder
from orchestrator.run.run import Run, RunResult, Surroundings
from orchestrator.run.settings import Settings

DEFAULT_REPORT = "omni-refresh-report.json"
SIGN_OF_LIFE_S = 30.0
USER_AGENT = f"omni-refresh/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a command wants conducted. `scenario` None is the real instance, an empty text the manifest's own models."""

    manifest: Manifest
    selected: Sequence[Entry]
    settings: Settings
    reports: Sequence[str]
    as_json: bool
    rate: int | None
    scenario: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """When a run began, by which clock, and the signals that have come since."""

    at: datetime
    clock: Clock
    signals: Sequence[int]


def conduct(order: Order, *, console: Console, redactor: Redactor) -> int:
    """Run to the end, write the reports, print the result; the exit code."""
    paths = _report_paths(order.reports)
    return asyncio.run(_conduct(order, paths, console, redactor))


def _report_paths(wanted: Sequence[str]) -> list[str]:
    """Where reports go. A path that cannot be written is found before the first call; the default one only warns."""
    for path in wanted:
        format_of(path)
        check_writable(path)
    if wanted:
        return list(wanted)
    try:
        check_writable(DEFAULT_REPORT)
    except UsageError as error:
        get_logger().warning(Event.REPORT_FAILED, path=DEFAULT_REPORT, error=str(error))
        return []
    return [DEFAULT_REPORT]


async def _conduct(order: Order, paths: Sequence[str], console: Console, redactor: Redactor) -> int:
    clock = real_clock()
    log = get_logger()
    run_id = f"{clock.utcnow():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    growing = [JsonLines(path) for path in paths if format_of(path) is Format.JSONL]
    narrator = Narrator(_grow(growing))
    async with AsyncExitStack() as stack:
        with bound(run_id=run_id):
            manifest = order.manifest
            if order.scenario is not None:
                from orchestrator.cli.simulation import enter_simulation

                manifest = await enter_simulation(stack, order.scenario, manifest, clock)
            if order.rate is not None:
                manifest = _with_rate(manifest, order.rate)
            surroundings = _surroundings(manifest, clock, narrator, redactor, direct=order.scenario is not None)
            run = Run(manifest, order.selected, order.settings, surroundings)
            began = Began(at=clock.utcnow(), clock=clock, signals=_catch_signals(run))
            log.info(Event.RUN_STARTED, manifest=manifest.path, targets=len(order.selected), version=__version__)
            life = asyncio.create_task(_signs_of_life(narrator, clock))
            try:
                result = await run.run()
            finally:
                life.cancel()
            report = _make_report(order, result, run_id, began)
            return _deliver(report, order, paths, growing, console)


def _grow(growing: Sequence[JsonLines]) -> Callable[[Outcome], None]:
    def append(outcome: Outcome) -> None:
        for lines in growing:
            try:
                lines.append(outcome)
            except ReportError as error:
                get_logger().warning(Event.REPORT_FAILED, error=str(error))

    return append


def _with_rate(manifest: Manifest, rate: int) -> Manifest:
    """The manifest with at most `rate` calls a window for each key."""

    def share(limit: RateLimit) -> RateLimit:
        return replace(limit, requests=min(limit.requests, rate))

    instances = {name: replace(i, rate_limit=share(i.rate_limit)) for name, i in manifest.instances.items()}
    return replace(manifest, instances=instances)


def _surroundings(
    manifest: Manifest, clock: Clock, narrator: Narrator, redactor: Redactor, *, direct: bool
) -> Surroundings:
    def length(instance: str, ask: RefreshAsk) -> int:
        try:
            return request_target_bytes(manifest.instances[instance], ask)
        except UnsendableName:
            # it will be refused when it is to be sent, and say so in its own outcome
            return 0

    def ledger(instance: Instance, _: ApiKey) -> Ledger:
        return Window(instance.rate_limit.per_s)

    return Surroundings(
        clock=clock,
        rng=Random(),
        watcher=narrator,
        recorder=SilentRecorder(),
        open_client=lambda i: OmniClient(i, utcnow=clock.utcnow, user_agent=USER_AGENT, direct=direct),
        ledger=ledger,
        length=length,
        redact=redactor.redact,
    )


def _catch_signals(run: Run) -> list[int]:
    """Let signals stop the run in order; the list holds the first one that came."""
    caught: list[int] = []
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        caught.append(number)
        get_logger().warning(Event.RUN_STOPPED, signal=signal.Signals(number).name)
        run.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    return caught


async def _signs_of_life(narrator: Narrator, clock: Clock) -> None:
    began_at = clock.now()
    while True:
        await asyncio.sleep(SIGN_OF_LIFE_S)
        narrator.progress(clock.now() - began_at)


def _make_report(order: Order, result: RunResult, run_id: str, began: Began) -> Report:
    facts = RunFacts(
        id=run_id,
        trigger=Trigger.RUN,
        manifest_path=order.manifest.path,
        manifest_sha256=order.manifest.sha256,
        started_at=began.at,
        finished_at=began.clock.utcnow(),
        duration_s=result.duration_s,
        signal=began.signals[0] if began.signals else None,
        requests=result.tally.requests,
        polls=result.tally.polls,
        throttled=result.tally.throttled,
        refused_instances=result.refused_instances,
        quota=result.quota or None,
    )
    code = exit_code(
        result.outcomes, signal=facts.signal, refused_instances=facts.refused_instances, report_failed=False
    )
    return Report(run=facts, outcomes=result.outcomes, exit_code=code)


def _deliver(report: Report, order: Order, paths: Sequence[str], growing: Sequence[JsonLines], console: Console) -> int:
    """Write every report that can be written, then print the result, which is never lost; the exit code."""
    log = get_logger()
    failed = False
    for lines in growing:
        failed |= not _try(partial(lines.close, report.outcomes), lines.path)
    for path in paths:
        wanted = format_of(path)
        if wanted is not Format.JSONL:
            failed |= not _try(partial(_write, report, path, wanted), path)
    if failed and order.reports:
        code = exit_code(
            report.outcomes,
            signal=report.run.signal,
            refused_instances=report.run.refused_instances,
            report_failed=True,
        )
        report = replace(report, exit_code=code)
    summary_path = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary_path:
        _try(partial(append_step_summary, summary_path, render(report, Format.MARKDOWN)), summary_path)
    log.info(Event.RUN_FINISHED, exit_code=report.exit_code, duration_s=round(report.run.duration_s, 3))
    if order.as_json:
        print_result(render(report, Format.JSON))
    else:
        print_result(render_summary(report, width=console.width, color=console.color, report_paths=paths))
    return report.exit_code


def _write(report: Report, path: str, wanted: Format) -> None:
    write_report(path, render(report, wanted))


def _try(write: Callable[[], None], path: str | Path) -> bool:
    try:
        write()
    except ReportError as error:
        get_logger().error(Event.REPORT_FAILED, path=str(path), error=str(error))
        return False
    get_logger().info(Event.REPORT_WRITTEN, path=str(path))
    return True
