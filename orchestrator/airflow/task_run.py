"""A run within an Airflow task: its key, its thread, its log lines, its result. Imports nothing of Airflow."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from orchestrator.engine import events as e
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.quota.rate_limiter import KeyHeld, KeySetAside
from orchestrator.report.causes import causes_of, short
from orchestrator.report.findings import bad_outcomes, count_statuses, headline
from orchestrator.report.report import Report
from orchestrator.report.wording import took

T = TypeVar("T")

NAMES_IN_RESULT: Final = 50
MOST_ASSET_EVENTS: Final = 500
_CAUSES: Final = 8
_NAMES_PER_CAUSE: Final = 3
_TEXT: Final = 200


class TaskInstance(Protocol):
    """The fields of a task instance that make a run's key."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    max_tries: int


def run_key(task: TaskInstance) -> str:
    """Return the key of a task's run. Every retry has the same one; clearing a task gives it a new one.

    Airflow counts a task's tries without end: clearing raises `max_tries`, retries leave it as it is.
    """
    return f"airflow/{task.dag_id}/{task.run_id}/{task.task_id}/{task.map_index}/{task.max_tries}"


class BackgroundRun(Generic[T]):
    """A run in the event loop of a thread of its own. `ended` has its result, or what it raised.

    Airflow handles signals in the main thread: there a handler may raise at any moment (`execution_timeout`), which an
    event loop does not survive in order. So the main thread only waits for events.
    """

    def __init__(self, start: Callable[[e.Observer], Awaitable[T]]) -> None:
        self._start = start
        self._events: queue.SimpleQueue[e.RunEvent | None] = queue.SimpleQueue()
        self._stopping = False
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="omni-refresh")
        self.ended = self._pool.submit(lambda: asyncio.run(self._main(started)))
        self.ended.add_done_callback(lambda _: self._events.put(None))
        self._loop, self._task = started.result()

    async def _main(self, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]]) -> T:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await self._start(self._events.put)

    def events(self) -> Iterator[e.RunEvent]:
        """Yield each event of the run that was not yet read, until the run has ended."""
        while (event := self._events.get()) is not None:
            yield event
        self._events.put(None)

    def stop(self) -> None:
        """Stop the run in order: grace, report, journal. For signal handlers; a second call changes nothing."""
        if not self._stopping and not self.ended.done():
            self._stopping = True
            self._loop.call_soon_threadsafe(self._task.cancel)

    def result(self) -> T:
        """Wait for the run's end and return its result. Raises `asyncio.CancelledError` if the run was stopped."""
        try:
            return self.ended.result()
        finally:
            self._pool.shutdown()


def log_event(log: logging.Logger, event: e.RunEvent) -> None:
    """Write an event to the task's log, if it is one that people read."""
    if line := _LINES.get(type(event)):
        level, text = line(event)
        log.log(level, "%s", short(text, 2 * _TEXT))


def _target(event: e.TargetFinished) -> tuple[int, str]:
    outcome = event.outcome
    if outcome.status.is_good:
        after = f" in {took(outcome.duration_s)}" if outcome.duration_s is not None else ""
        return logging.INFO, f"{outcome.name}: {outcome.status}{after}"
    error = outcome.error
    return logging.WARNING, f"{outcome.name}: {outcome.status}" + (
        f": {error.message} -> {error.hint}" if error else ""
    )


_LINES: Final[dict[type, Callable[[Any], tuple[int, str]]]] = {
    e.RunStarted: lambda x: (logging.INFO, f"run {x.run_id}: {x.targets} targets of {x.manifest}"),
    e.RunContinued: lambda x: (
        logging.INFO,
        f"run {x.run_id} continues {x.origin} ({x.trigger}): {x.to_send} targets to send, {x.to_check} jobs to check",
    ),
    e.RunWaiting: lambda x: (logging.INFO, f"waiting for {x.holder}"),
    e.ManifestChanged: lambda x: (logging.WARNING, f"{x.manifest} changed since the run was planned: the plan stays"),
    e.RunProgress: lambda x: (logging.INFO, f"{x.done} of {x.total} targets done after {took(x.elapsed_s)}"),
    e.TargetFinished: _target,
    e.SubmitsEnded: lambda x: (logging.WARNING, f"nothing more is submitted: {x.reason}"),
    e.LaneFailed: lambda x: (logging.ERROR, f"a fault of omni-refresh ended {x.lane}: {x.error!r}"),
    e.LaneWaiting: lambda x: (logging.INFO, f"{x.lane} waits for {x.holder}"),
    e.InstanceSilent: lambda x: (logging.WARNING, f"{x.instance} does not answer: {x.message}"),
    e.InstanceAnswers: lambda x: (logging.INFO, f"{x.instance} answers again"),
    e.InstanceGivenUp: lambda x: (logging.ERROR, f"{x.instance} was given up: {x.message}"),
    e.StateFailed: lambda x: (logging.ERROR, f"the {x.what} cannot be used: {x.message}"),
    e.ReportWritten: lambda x: (logging.INFO, f"report: {x.path}"),
    e.ReportFailed: lambda x: (logging.ERROR, f"the report {x.path} was not written: {x.message}"),
    e.NotificationFailed: lambda x: (logging.WARNING, f"the notification to {x.channel} was not sent: {x.message}"),
    KeyHeld: lambda x: (logging.WARNING, f"{x.instance} answered 429: {x.key} pauses for {took(x.wait_s)}"),
    KeySetAside: lambda x: (logging.ERROR, f"{x.instance} refused {x.key}; {x.keys_left} keys are left"),
}


def newest_outcomes(reports: Iterable[Report]) -> tuple[Outcome, ...]:
    """Return each target's outcome from the last report that has one: a retry reports only what it sent."""
    newest: dict[str, Outcome] = {}
    for report in reports:
        newest.update({outcome.name: outcome for outcome in report.outcomes})
    return tuple(newest.values())


def make_result(report: Report, outcomes: tuple[Outcome, ...], paths: Iterable[str]) -> dict[str, Any]:
    """Return what other tasks may read: JSON of bounded size, however many targets there are."""
    counts = count_statuses(outcomes)
    return {
        "run_id": report.run.id,
        "exit_code": report.exit_code,
        "counts": {status.value: count for status, count in counts.items() if count},
        "not_good": [outcome.name for outcome in bad_outcomes(outcomes)[:NAMES_IN_RESULT]],
        "reports": list(paths),
    }


def failure_text(report: Report) -> str:
    """Return why a run did not succeed in at most ten lines, worst first."""
    lines = [f"{headline(report)} (run {report.run.id})"]
    causes = causes_of(report)
    for cause in causes[:_CAUSES]:
        names = ", ".join(short(outcome.name, 60) for outcome in cause.outcomes[:_NAMES_PER_CAUSE])
        left = len(cause.outcomes) - _NAMES_PER_CAUSE
        more = f" and {left} more" if left > 0 else ""
        hint = f" -> {short(cause.failure.hint, _TEXT)}" if cause.failure.hint else ""
        lines.append(f"{cause.status}: {names}{more}: {short(cause.words, _TEXT)}{hint}")
    if len(causes) > _CAUSES:
        lines.append(f"and {sum(len(cause.outcomes) for cause in causes[_CAUSES:])} more targets")
    return "\n".join(lines)


def short_text(error: Exception) -> str:
    """Return an error's text in at most ten lines."""
    lines = str(error).splitlines()
    return "\n".join(lines if len(lines) <= 10 else [*lines[:9], f"and {len(lines) - 9} more lines"])


def asset_events(
    outcomes: Iterable[Outcome], addresses: Mapping[str, str], run_id: str
) -> list[tuple[str, dict[str, Any]]]:
    """Return the URI and the details of an asset event for each target that was refreshed. `addresses` are base URLs.

    Returns none if there are more than 500: each would be a row that the scheduler looks through.
    """
    events = []
    for outcome in outcomes:
        if outcome.status is Status.SUCCEEDED and outcome.model_id is not None and outcome.instance in addresses:
            parts = [outcome.model_id, *([outcome.branch] if outcome.branch is not None else [])]
            host = urlsplit(addresses[outcome.instance]).netloc
            details = {
                "target": outcome.name,
                "run_id": run_id,
                "mode": outcome.mode.value,
                "job_ids": list(outcome.job_ids),
                "covered_by": outcome.covered_by,
            }
            events.append(("/".join(["omni:/", host, *(quote(part, safe="") for part in parts)]), details))
    return events if len(events) <= MOST_ASSET_EVENTS else []
