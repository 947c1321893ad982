"""The log of a run as lines for people: what each event says, what is grouped, and what a quiet log leaves out."""

import io
import json
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import structlog

from orchestrator.engine import events as e
from orchestrator.engine.outcome import Failure, Outcome, Status
from orchestrator.log import Event, LogOutput, Redactor, render_json, set_up_logging
from orchestrator.quota.rate_limiter import KeyHeld, KeySetAside
from orchestrator.terminal.log_lines import DETAILS, SUMMARIZED, LogLines, say_left
from orchestrator.terminal.log_observer import LogObserver
from tests.docs.test_reference import EVENTS
from tests.report.reports import EVIL

START = datetime(2026, 11, 30, 18, 24, 6, tzinfo=UTC)
STOPPED = Failure(kind="stopped", message="the run was stopped", hint="resume the run")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    handlers, raising = list(logging.getLogger().handlers), logging.raiseExceptions
    yield
    logging.captureWarnings(False)
    logging.getLogger().handlers[:], logging.raiseExceptions = handlers, raising
    structlog.reset_defaults()


def lines(events: Iterable[e.RunEvent], **settings: Any) -> list[str]:
    """What the log says of these events."""
    stream = io.StringIO()
    settings = {"zone": UTC, "without": DETAILS, **settings}
    log = LogOutput(stream, LogLines(**settings), level=logging.DEBUG)
    set_up_logging([log], utcnow=lambda: START, redactor=Redactor(()))
    observe = LogObserver()
    for event in events:
        observe(event)
    return stream.getvalue().splitlines()


def ended(name: str, status: Status = Status.SUCCEEDED, error: Failure | None = None, **facts: Any) -> e.TargetFinished:
    """A target's end."""
    return e.TargetFinished(
        outcome=Outcome(name=name, instance="prod", model_id=None, status=status, error=error, **facts)
    )


STARTED = e.RunStarted(run_id="20261130T182405-633493", manifest="configs/demo.yaml", targets=41)
PLANNED = e.RunPlanned(targets=41, lanes=28, skipped=1, unresolved=2)
FINISHED = e.RunFinished(run_id="r", exit_code=1, duration_s=12.0)


def test_a_run_reads_like_this() -> None:
    """One line that starts, one for each target that ended, one every 30 seconds; each begins with the time."""
    near = Failure(kind="unresolved", message="no branch 'nightly/shema'", hint="did you mean 'nightly/schema'?")
    progress = e.RunProgress(elapsed_s=30, done=28, total=41, left_s=20.4, statuses={Status.FAILED: 1, Status.ERROR: 1})
    told = lines(
        [
            STARTED,
            ended("Newsletter", Status.REJECTED, near),
            PLANNED,
            ended("Purchase Orders", duration_s=4.02),
            ended("Returns", duration_s=4.02, covered_by="Orders"),
            ended("Late", Status.ACCEPTED),
            progress,
        ]
    )
    assert told == [
        "18:24:06 start  configs/demo.yaml: 41 models on 1 instance, run 20261130T182405-633493",
        "18:24:06 FAIL   Newsletter: no branch 'nightly/shema' (did you mean 'nightly/schema'?)",
        "18:24:06 ok     Purchase Orders 4.0s (2 of 41)",
        "18:24:06 ok     Returns 4.0s by the refresh of Orders (3 of 41)",
        "18:24:06 ok     Late accepted, its job is not followed (4 of 41)",
        "18:24:06 ...    28 of 41 done, 2 failed, about 20 s left",
    ]


def test_a_failure_says_what_the_server_said() -> None:
    """The HTTP status, the words, the advice, how long it took; a status that the words do not imply is named."""
    refused = Failure(kind="refused", message="Insufficient permissions", hint="ask an admin", http_status=403)
    lost = Failure(kind="cut_off", message="connection reset", hint="")
    told = lines([ended("a", Status.REJECTED, refused, duration_s=0.08), ended("b", Status.UNKNOWN, lost), FINISHED])
    assert told == [
        "18:24:06 FAIL   a 80ms: 403 Insufficient permissions (ask an admin)",
        "18:24:06 FAIL   b: unknown: connection reset",
    ]


def test_what_ends_together_is_one_line() -> None:
    """A stop ends two hundred targets with a line for each reason, not with two hundred; so do skipped targets."""
    cut = Failure(kind="stopped", message="cut off", hint="")
    unsent = [ended(f"m{n}", Status.NOT_STARTED, STOPPED) for n in range(200)]
    unsent.insert(7, ended("running", Status.INTERRUPTED, cut))
    skipped = [ended(f"s{n}", Status.SKIPPED, Failure(kind="skipped", message="not touched", hint="")) for n in (1, 2)]
    stopping = e.RunStopping(signal=2, grace_s=3.0, running=12)
    stopped = (
        "Ctrl-C: nothing more is sent; 12 running refreshes are followed for 3.0s, then the report is written; "
        "press Ctrl-C again to stop at once"
    )
    told = lines([*skipped, stopping, e.SubmitsEnded(reason="stopped"), *unsent, ended("last"), FINISHED])
    assert told == [
        "18:24:06 skip   s1, s2: not touched",
        f"18:24:06 stop   {stopped}",
        "18:24:06 FAIL   200 targets: m0, m1, m2, m3, m4 and 195 more: not started: the run was stopped (resume the run)",
        "18:24:06 FAIL   running: interrupted: cut off",
        "18:24:06 ok     last",
    ]


@pytest.mark.parametrize(
    "event, words",
    [
        (
            e.RunStopping(signal=15, running=1, grace_s=0.5),
            "SIGTERM: nothing more is sent; 1 running refresh is followed",
        ),
        (
            e.RunStopping(signal=None),
            "a stop was requested: nothing more is sent; the report is written; a second signal",
        ),
        (e.RunStopping(signal=2, again=True), "second request: the run stops at once"),
    ],
)
def test_a_stop_says_what_happens_now(event: e.RunStopping, words: str) -> None:
    """What is followed, for how long, and what a second signal does."""
    (line,) = lines([event])
    assert line.startswith(f"18:24:06 stop   {words}")


def test_short_pauses_are_not_news() -> None:
    """A pause after a 429 is a line if it is long; the reasons of a slow start are no lines of their own."""
    told = lines(
        [KeyHeld(instance="i", key="key 1 of 1", wait_s=2.0), KeyHeld(instance="i", key="key 1 of 1", wait_s=30)]
    )
    assert told == ["18:24:06 wait   i: 429 Too Many Requests: key 1 of 1 pauses for 30s"]


def test_quiet_says_what_the_summary_does_not() -> None:
    """A quiet log holds what went wrong; if a summary follows in the same place, nothing that the summary repeats."""
    events: list[e.RunEvent] = [
        STARTED,
        PLANNED,
        ended("a"),
        ended("b", Status.NOT_STARTED, STOPPED),
        KeySetAside(instance="i", key="OMNI_KEY", keys_left=1),
        e.ReportFailed(path="r.html", message="disk full"),
        e.ReportWritten(path="r.json"),
        FINISHED,
    ]
    alone = lines(events, level=logging.WARNING)
    assert alone == [
        "18:24:06 FAIL   b: not started: the run was stopped (resume the run)",
        "18:24:06 warn   i: the server refused OMNI_KEY; 1 other key continues",
        "18:24:06 error  r.html was not written: disk full",
    ]
    assert lines(events, level=logging.WARNING, without=DETAILS | SUMMARIZED) == alone[1:]


def test_a_call_names_its_target() -> None:
    """With `-v` each call has its purpose and its target, or the name that is looked up; a list and a probe have none."""
    calls = [
        e.CallEnded(instance="prod", purpose=purpose, end="2xx", took_s=0.2, target=target)
        for purpose, target in (("submit", "Sales"), ("look_up", "x\x1b[31m"), ("look_up", None))
    ]
    assert lines(calls, level=logging.DEBUG, without=()) == [
        "18:24:06 call   prod: submit Sales: 2xx in 0.2s",
        "18:24:06 call   prod: look-up x\\x1b[31m: 2xx in 0.2s",
        "18:24:06 call   prod: look-up: 2xx in 0.2s",
    ]


def test_every_event_has_words() -> None:
    """Each event is a line or belongs to one; hostile values break none of them and bring no escape."""
    told = lines(EVENTS, level=logging.DEBUG, without=())
    assert len(told) >= len(EVENTS) - 2
    names = {event.value for event in Event}
    assert not [line for line in told if names & set(line.split())]
    hostile = [ended(text, Status.FAILED, Failure(kind="k", message=text, hint=text)) for text in EVIL]
    for line in lines([*hostile, FINISHED]):
        assert line.startswith("18:24:06 FAIL   ")
        assert line.isprintable()


def test_times_are_local_and_colours_are_asked_for() -> None:
    """Times are those of the machine's zone; words are coloured only if the terminal may be."""
    (line,) = lines([STARTED], zone=timezone(timedelta(hours=5, minutes=30)))
    assert line.startswith("23:54:06 start")
    (line,) = lines(
        [
            ended("a"),
        ],
        color=True,
    )
    assert "\x1b[32mok" in line


def test_a_progress_line_has_the_time_left() -> None:
    """As JSON a progress line says how far the run is and what is left, if that is known."""
    stream = io.StringIO()
    set_up_logging([LogOutput(stream, render_json)], utcnow=lambda: START, redactor=Redactor(()))
    observe = LogObserver()
    observe(e.RunProgress(elapsed_s=60.04, done=2, total=9, left_s=20.4, statuses={Status.FAILED: 2}))
    observe(e.RunProgress(elapsed_s=90.0, done=2, total=9, left_s=None))
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["elapsed_s"], first["settled"], first["failed"]) == ("run_progressed", 60.0, 2, 2)
    assert first["left_s"] == 20
    assert "left_s" not in second


@pytest.mark.parametrize(
    "left_s, words",
    [
        (0.2, "nearly done"),
        (40.0, "about 40 s left"),
        (180.0, "about 3 min left"),
        (7000.0, "about 2 h left"),
        (12000.0, "about 3 h 20 min left"),
    ],
)
def test_the_time_left_is_rounded(left_s: float, words: str) -> None:
    """The time left is shown no finer than it is known."""
    assert say_left(left_s) == words
