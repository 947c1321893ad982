"""Runs a use case that ends in a report: signals, the live display, the result on stdout, the exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import PurePath

from orchestrator.app.after_run import send_notifications
from orchestrator.app.context import Context
from orchestrator.app.runs import NothingToDo, RunEnd, StoppedWhileWaiting
from orchestrator.cli.ci_log import CiLog
from orchestrator.cli.command_setup import CommandSetup
from orchestrator.cli.console import Console, print_json, print_result
from orchestrator.cli.errors import say
from orchestrator.cli.live import show_live
from orchestrator.cli.signals import stop_on_signals
from orchestrator.engine.run import Run
from orchestrator.report.document import make_document
from orchestrator.report.findings import SIGNAL_BASE, SIMULATED
from orchestrator.report.report import Report
from orchestrator.report.summary import render_summary


def execute(setup: CommandSetup, work: Callable[[Context], Awaitable[RunEnd]], *, as_json: bool) -> int:
    """Run `work`, print its report, send its notifications; return the exit code."""

    def around(run: Run) -> AbstractAsyncContextManager[None]:
        simulated = f" {SIMULATED}" if setup.log.simulated else ""
        title = f"omni-refresh {PurePath(run.manifest.path).name}{simulated}"
        return show_live(setup.console, setup.log, run, title=title, clock=setup.context.clock)

    async def main(context: Context) -> int:
        try:
            end = await work(context)
        finally:
            marks.close()
        marks.annotate(end.report, end.manifest)
        print_report(end.report, as_json=as_json, console=setup.console, paths=end.reports)
        await send_notifications(end.report, end.manifest, context, reports=end.reports)
        return end.report.exit_code

    marks = CiLog(setup.console, setup.context.environ, setup.context.clock)
    context = replace(setup.context, around=around, observe=marks.observing(setup.context.observe))
    stop_on_signals(context.stop)
    try:
        return asyncio.run(main(context))
    except NothingToDo as nothing:
        say(f"omni-refresh: {nothing}")
        return 0
    except StoppedWhileWaiting as stopped:
        say(f"omni-refresh: {stopped}")
        return 1 if stopped.signal is None else SIGNAL_BASE + stopped.signal


def print_report(report: Report, *, as_json: bool, console: Console, paths: Sequence[str] = ()) -> None:
    """Print the result on stdout: the summary, or exactly one JSON document."""
    if as_json:
        print_json(make_document(report))
    else:
        print_result(render_summary(report, width=console.width, color=console.color, report_paths=paths))
