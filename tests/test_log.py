"""The log: outputs, one redaction, lines that steer no terminal and no CI system; silent until it is set up."""

import io
import json
import logging
import re
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.log import (
    Event,
    Logger,
    LogOutput,
    LogRecordValues,
    Redactor,
    render_json,
    set_up_logging,
)
from orchestrator.manifest.manifest import Secret
from orchestrator.terminal.log_lines import LogLines

AT = datetime(2026, 11, 25, 2, 0, 0, 123456, tzinfo=UTC)
HOSTILE = "a\n::error::x\r ##vso[task] ##[group] \x1b[31m \u202e \x9b SECRETKEY123"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    logging.captureWarnings(False)
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    structlog.reset_defaults()


FORMATS = (LogLines(), render_json)
Render = Callable[[LogRecordValues], Iterable[str]]


def _set_up(render: Render = render_json, level: int = logging.INFO, stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    redactor = Redactor([Secret("SECRETKEY123")])
    set_up_logging([LogOutput(stream, render, level=level)], utcnow=lambda: AT, redactor=redactor)
    return stream


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_silent_until_set_up(capfd: pytest.CaptureFixture[str]) -> None:
    """Before the set-up nothing is written anywhere, least of all to stdout."""
    Logger().error(Event.RUN_STARTED, a=1)
    assert capfd.readouterr() == ("", "")


def test_one_line_an_event() -> None:
    """An event is one JSON object: when, how loud, what, then its values."""
    stream = _set_up()
    Logger().info(Event.TARGET_SETTLED, duration_s=1.5, status="succeeded", target="sales")
    Logger().warning(Event.KEY_HELD)
    Logger().error(Event.RUN_STOPPED)
    Logger().debug(Event.CALL_ENDED)
    first, second, third = _lines(stream)
    assert first == {
        "timestamp": "2026-11-25T02:00:00.123Z",
        "level": "info",
        "event": "target_settled",
        "target": "sales",
        "duration_s": 1.5,
        "status": "succeeded",
    }
    assert list(first)[:3] == ["timestamp", "level", "event"]
    assert (second["event"], second["level"]) == ("key_held", "warning")
    assert third["event"] == "run_stopped"


@pytest.mark.parametrize("render", FORMATS)
def test_text_steers_no_terminal(render: Render) -> None:
    """Whatever a value holds: one line, no control character, no workflow command, no secret."""
    stream = _set_up(render)
    Logger().error(Event.JOURNAL_BROKE, error=HOSTILE, deep={"x": [HOSTILE]}, why=ValueError(HOSTILE))
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert line.isprintable()
    assert not any(word in line for word in ("##", "SECRETKEY123"))
    assert not line.startswith("::")


@pytest.mark.parametrize("render", FORMATS)
def test_a_traceback_keeps_its_lines(render: Render) -> None:
    """For people a traceback is printed line by line, each harmless; for machines it is one value."""
    stream = _set_up(render)
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        Logger().error(Event.LANE_BROKE, instance="i", lane="l", exc_info=error)
    text = stream.getvalue()
    assert "RuntimeError: a" in text
    assert "SECRETKEY123" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    assert (text.count("\n") > 3) is (render is not render_json)


def test_values_that_json_does_not_know() -> None:
    """Not a number, the infinities, lone surrogates and any object become text: each line parses strictly."""
    stream = _set_up()
    odd = float("nan")
    Logger().info(Event.KEY_HELD, a=odd, b=[float("inf"), {"c": odd}], d="\ud800", e=AT, f=(1, 2))
    text = stream.getvalue()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = json.loads(text, parse_constant=refuse)
    assert (line["a"], line["b"], line["f"]) == ("nan", ["inf", {"c": "nan"}], [1, 2])


def test_several_outputs() -> None:
    """Each output has its own format and level; a borrower gets the lines of one of them for a while."""
    people, machine, borrowed = io.StringIO(), io.StringIO(), list[str]()
    shown = LogOutput(people, LogLines(), level=logging.WARNING)
    set_up_logging(
        [shown, LogOutput(machine, render_json, level=logging.DEBUG)], utcnow=lambda: AT, redactor=Redactor()
    )
    Logger().debug(Event.CALL_ENDED, instance="i", purpose="poll", end="2xx", took_s=0.1)
    Logger().error(Event.JOURNAL_BROKE, error="full")
    with shown.borrowed(borrowed.append):
        Logger().error(Event.JOURNAL_BROKE, error="again")
    assert [line["event"] for line in _lines(machine)] == ["call_ended", "journal_broke", "journal_broke"]
    assert people.getvalue().endswith("the journal cannot be used: full\n")
    assert [line.endswith("again") for line in borrowed] == [True]


def test_other_libraries_go_the_same_way() -> None:
    """What asyncio, aiohttp and Python itself have to say is redacted and rendered like our own events."""
    stream = _set_up()
    logging.getLogger("aiohttp.client").warning("key %s", "SECRETKEY123")
    logging.getLogger("aiohttp.client").info("not this")
    logging.getLogger("odd").error("%d", "no number")
    try:
        raise ValueError("SECRETKEY123")
    except ValueError:
        logging.getLogger("asyncio").exception("lost")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("SECRETKEY123 is old", DeprecationWarning, stacklevel=1)
    first, second, third, fourth = _lines(stream)
    assert (first["event"], first["logger"], first["level"]) == ("key [redacted]", "aiohttp.client", "warning")
    assert second["event"] == "%d"
    assert "ValueError: [redacted]" in str(third["exception"])
    assert "[redacted] is old" in str(fourth["event"])


def test_a_second_set_up_replaces_the_first() -> None:
    """Setting up again leaves one way out, not two."""
    first = _set_up()
    second = _set_up(level=logging.DEBUG)
    Logger().debug(Event.CALL_ENDED)
    logging.getLogger("aiohttp").info("from a library")
    assert first.getvalue() == ""
    assert [line["event"] for line in _lines(second)] == ["call_ended", "from a library"]


def test_a_stream_that_cannot_say_it() -> None:
    """A stream with a small alphabet gets the rest spelled out."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    set_up_logging([LogOutput(stream, LogLines())], utcnow=lambda: AT, redactor=Redactor())
    Logger().warning(Event.CHANGE_NOTED, remark="Ünï")
    assert b"warn   \\xdcn\\xef" in raw.getvalue()


def test_a_broken_stream_is_no_error() -> None:
    """A closed stream, a closed pipe and a full disk stop no program."""

    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed):
        set_up_logging([LogOutput(stream, render_json)], utcnow=lambda: AT, redactor=Redactor())
        Logger().info(Event.RUN_STARTED)
        logging.getLogger("x").error("y")


def test_a_closed_pipe_in_earnest() -> None:
    """A program whose stderr is a pipe without a reader completes with exit code 0."""
    code = (
        "import os, sys; from datetime import UTC, datetime; from orchestrator.log import *\n"
        "r, w = os.pipe(); os.dup2(w, 2); os.close(r); os.close(w)\n"
        "log = LogOutput(sys.stderr, render_json)\n"
        "set_up_logging([log], utcnow=lambda: datetime(2026, 1, 1, tzinfo=UTC), redactor=Redactor())\n"
        "for _ in range(3): Logger().info(Event.RUN_STARTED)\n"
        "print('done')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert (ran.returncode, ran.stdout) == (0, "done\n")


def test_events_have_one_form() -> None:
    """Event names are two words or more in snake_case, and each is its member's name."""
    for event in Event:
        assert event.value == event.name.lower()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", event.value)


@given(st.text(), st.sampled_from(FORMATS))
def test_any_text_is_one_line(text: str, render: Render) -> None:
    """No text breaks a line in two or brings a control character or half a character along."""
    stream = _set_up(render)
    Logger().warning(Event.CHANGE_NOTED, remark=text)
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert not {unicodedata.category(character) for character in line} & {"Cc", "Cs", "Zl", "Zp"}
