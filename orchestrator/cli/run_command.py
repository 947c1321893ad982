"""Runs a use case that ends in a report: signals, the live display, the result on stdout, the exit code."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import PurePath
from types import FrameType
from typing import Final

from orchestrator.app.after_run import send_notifications
from orchestrator.app.context import Context, StopRequests
from orchestrator.app.runs import NothingToDo, RunEnd, StoppedWhileWaiting
from orchestrator.cli.command_setup import CommandSetup
from orchestrator.cli.errors import say
from orchestrator.engine.run import Run
from orchestrator.report.document import make_document
from orchestrator.report.findings import SIGNAL_BASE, SIMULATED
from orchestrator.report.report import Report
from orchestrator.terminal.ci_log import CiLog
from orchestrator.terminal.console import Console, print_json, print_result
from orchestrator.terminal.live import show_live
from orchestrator.terminal.streams import end_result_when

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PATIENCE_S: Final = 2.0
"""How long after a signal to wait for a program to read the result."""


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
        from orchestrator.report.summary import render_summary

        print_result(render_summary(report, width=console.width, color=console.color, report_paths=paths))


def stop_on_signals(stop: StopRequests) -> None:
    """Make SIGINT, SIGTERM and SIGHUP request a stop until the process ends.

    A signal after the end of the run thus does not change its exit code. A signal that was ignored at the start (`nohup`)
    stays ignored.
    """
    signalled_at_s = float("inf")

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal signalled_at_s
        del frame
        signalled_at_s = time.monotonic()
        stop.request(number)

    end_result_when(lambda: time.monotonic() - signalled_at_s > PATIENCE_S)
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, request)
