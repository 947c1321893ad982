"""The live display: what it says at any width, that it is drawn without a trace, and when it is not drawn at all."""

import asyncio
import fcntl
import io
import os
import pty
import struct
import termios
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from orchestrator.engine.events import ActiveLane
from orchestrator.engine.outcome import Status
from orchestrator.quota.rate_limiter import StopReason
from orchestrator.simulator import virtual
from orchestrator.terminal.live import Pane, keep_drawing, terminal_size
from orchestrator.terminal.progress import BudgetUse, Progress, render_progress
from tests.cli.commands import call_on, write_manifest, write_scenario
from tests.cli.screen import Screen
from tests.rehearsal import uuid
from tests.report.reports import EVIL


def lane(
    target: str = "Quarterly Finance",
    age_s: float | None = 130.0,
    *,
    serves: int = 1,
    usual_s: float | None = None,
    behind: int = 0,
) -> ActiveLane:
    """A lane at work."""
    return ActiveLane(instance="prod", target=target, serves=serves, age_s=age_s, usual_s=usual_s, behind=behind)


MOMENT = Progress(
    title="omni-refresh nightly.yaml",
    elapsed_s=125.4,
    selected=300,
    total=300,
    settled={Status.SUCCEEDED: 180, Status.FAILED: 3, Status.SKIPPED: 2},
    left_s=240.0,
    budgets=(BudgetUse(instance="prod", used=52, calls=60, per_s=60.0, held_s=11.2),),
    lanes=(
        lane("Sales", 14.0, serves=2),
        lane("Quarterly Finance", 130.0, usual_s=65.0, behind=3),
        lane("New", None),
    ),
)


def shown(moment: Progress, width: int = 80, height: int = 24) -> list[str]:
    """The display's lines as text."""
    return [line.plain for line in render_progress(moment, width, height=height)]


def test_everything_at_eighty_columns() -> None:
    """Time and time left, the share that is done, targets by status, the budget with its pause, the longest jobs."""
    lines = shown(MOMENT)
    assert lines[0].startswith("omni-refresh nightly.yaml  ")
    assert lines[0].endswith("  2m05s, about 4 min left")
    assert lines[1].endswith(" 185 of 300")
    assert lines[2] == "3 failed, 180 succeeded, 2 skipped, 4 running, 111 waiting"
    assert lines[3] == "prod ▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▰▱▱ 52 of 60 calls in 60s, pauses 12s after a 429"
    assert [" ".join(line.split()) for line in lines[4:]] == [
        "longest running",
        "Quarterly Finance 2m10s usually 1m05s then 3 more",
        "Sales 14s",
        "New sending",
    ]


def test_narrow_terminals_lose_details_and_not_the_numbers() -> None:
    """At 60 and at 40 columns the counts, the budget and the jobs' times are still there; at 20 nothing breaks."""
    for width in (60, 40):
        text = "\n".join(shown(MOMENT, width))
        for word in (
            "2m05s, about 4 min left",
            "185 of 300",
            "3 failed",
            "111 waiting",
            "52 of 60",
            "pauses 12s",
            "2m10s",
        ):
            assert word in text, width
    assert "185 of 300" in "\n".join(shown(MOMENT, 20))


def test_before_the_plan() -> None:
    """During look-ups the display says what they wait for."""
    moment = Progress(title="omni-refresh m.yaml", elapsed_s=0.4, selected=1)
    assert shown(moment)[1] == "looking up 1 target"
    assert shown(moment)[0].endswith(" 0s")
    assert shown(replace(moment, selected=5000))[1] == "looking up 5,000 targets"
    prod = BudgetUse(instance="prod", used=60, calls=60, per_s=60.0)
    for budget, words in (
        (prod, "waiting for prod to answer"),
        (replace(prod, queued=3), "3 calls to prod must wait for the budget"),
        (replace(prod, used=1, queued=3), "waiting for prod to answer"),
        (replace(prod, held_s=11.2), "prod asked for a pause of 12s"),
        (replace(prod, is_silent=True), "prod does not answer"),
    ):
        assert shown(replace(moment, budgets=(budget,)))[1] == f"looking up 1 target: {words}"


def test_what_failed_is_named() -> None:
    """The display names what did not succeed, the latest first, as many as fit on one line."""
    names = tuple(f"Target {n}" for n in range(1, 21))
    assert shown(replace(MOMENT, failed=names[:2]))[3] == "not good: Target 2, Target 1"
    line = shown(replace(MOMENT, failed=names))[3]
    assert line.startswith("not good: Target 20, Target 19, ")
    assert line.endswith(" and 15 more")
    assert len(line) < 80


@pytest.mark.parametrize(
    "closing, words",
    [
        (StopReason.STOPPED, "2m05s, stopping: nothing more is submitted"),
        (StopReason.FAIL_FAST, "2m05s, too many failed: nothing more is submitted"),
        (StopReason.DEADLINE, "2m05s, deadline: nothing more is submitted"),
        (StopReason.LANES_CLOSED, "2m05s, ending: nothing more is submitted"),
    ],
)
def test_a_run_that_is_stopped_says_so(closing: StopReason, words: str) -> None:
    """Instead of the time left stands why nothing more is submitted."""
    assert shown(replace(MOMENT, ended=closing))[0].endswith(words)
    assert len(shown(replace(MOMENT, ended=closing), 40)[0]) < 40


def test_many_instances_leave_room() -> None:
    """Of many instances those are shown whose budget is scarcest; the others are counted."""
    budgets = tuple(BudgetUse(instance=f"i{n}", used=n, calls=60, per_s=60.0) for n in range(9))
    lines = shown(replace(MOMENT, budgets=budgets, lanes=()))
    assert [line.split()[0] for line in lines[3:]] == ["i5", "i6", "i7", "i8", "and"]
    assert lines[-1] == "and 5 more instances"


def test_low_terminals_keep_the_first_lines() -> None:
    """On a terminal of few rows the jobs go first, and the headline stays."""
    assert len(shown(MOMENT, height=6)) == 6
    assert shown(MOMENT, height=1) == shown(MOMENT)[:1]


def test_a_terminal_without_blocks() -> None:
    """Where only ASCII can be shown, only ASCII is."""
    lines = render_progress(MOMENT, 50, ascii_only=True)
    assert "".join(line.plain for line in lines).isascii()


TEXTS = st.one_of(st.text(max_size=80), st.sampled_from(EVIL))


@given(
    width=st.integers(1, 200),
    height=st.integers(1, 40),
    names=st.lists(TEXTS, max_size=8),
    counts=st.dictionaries(st.sampled_from(list(Status)), st.integers(0, 10**6)),
    more=st.integers(0, 10**6),
    ended=st.sampled_from([None, *StopReason]),
)
def test_any_moment_fits_any_terminal(
    *, width: int, height: int, names: list[str], counts: dict[Status, int], more: int, ended: StopReason | None
) -> None:
    """No line is as wide as the terminal, none too many, none holds a control character, and no bar is full too early."""
    total = sum(counts.values()) + more
    moment = Progress(
        title=names[0] if names else "x",
        elapsed_s=1e5,
        selected=total,
        total=total,
        settled=counts,
        left_s=2e4,
        budgets=tuple(BudgetUse(instance=n, used=70, calls=len(n), per_s=0.5, held_s=3.0) for n in names),
        lanes=tuple(lane(name, float(n), behind=n) for n, name in enumerate(names)),
        failed=tuple(names),
        ended=ended,
    )
    lines = render_progress(moment, width, height=height)
    assert 1 <= len(lines) <= height
    for line in lines:
        assert line.cell_len < max(width, 20)
        assert not any(ord(char) < 32 or char in "\x7f\x9b\u202e" for char in line.plain)


class Terminal:
    """A pane on a screen whose width can change."""

    def __init__(self, columns: int = 40, *, color: bool = False) -> None:
        self.screen = Screen(columns)
        self.stream = io.StringIO()
        self.pane = Pane(self.stream, color=color, size=lambda: (self.screen.columns, 24))

    def rows(self) -> list[str]:
        """What the screen shows by now."""
        self.screen.feed(self.stream.getvalue())
        self.stream.seek(0)
        self.stream.truncate()
        return self.screen.rows


def test_a_pane_is_drawn_in_its_place() -> None:
    """New lines take the place of the old ones, more or fewer; whole lines are written above; in the end none is left."""
    terminal = Terminal()
    terminal.pane.draw([Text("one"), Text("two"), Text("three")])
    assert terminal.rows() == ["one", "two", "three"]
    terminal.pane.write_above("a warning that is longer than the terminal is wide")
    terminal.pane.draw([Text("four")])
    terminal.pane.write_above("another")
    rows = ["a warning that is longer than the termin", "al is wide", "another", "four"]
    assert terminal.rows() == rows
    terminal.pane.close()
    assert terminal.rows() == [*rows[:-1], ""]
    terminal.pane.close()
    assert terminal.rows() == [*rows[:-1], ""]


def test_a_window_that_becomes_narrower_leaves_no_trace() -> None:
    """What the terminal wrapped is taken away whole, and nothing above it."""
    terminal = Terminal(40)
    terminal.pane.write_above("log")
    terminal.pane.draw([Text("x" * 39), Text("y" * 30)])
    terminal.rows()
    terminal.screen.narrow(12)
    assert terminal.rows() == ["log", "x" * 12, "x" * 12, "x" * 12, "xxx", "y" * 12, "y" * 12, "y" * 6]
    terminal.pane.draw([Text("z" * 11)])
    assert terminal.rows() == ["log", "z" * 11]


def test_colours_are_for_those_who_want_them() -> None:
    """With colour there are styles; without there are none."""
    for color in (True, False):
        terminal = Terminal(color=color)
        terminal.pane.draw([Text("bad", style="red")])
        assert terminal.rows() == ["bad"]
        assert terminal.screen.styled is color


def test_a_terminal_that_is_gone_is_no_error() -> None:
    """Once nothing can be written any more nothing is."""

    class Gone(io.StringIO):
        tries = 0

        def write(self, _: str) -> int:
            self.tries += 1
            raise BrokenPipeError

    stream = Gone()
    pane = Pane(stream, color=True, size=lambda: (80, 24))
    for _ in range(3):
        pane.draw([Text("x")])
        pane.write_above("y")
    assert stream.tries == 1


def test_a_small_alphabet_spells_out() -> None:
    """A stream that cannot encode a name shows it spelled out."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Pane(stream, color=False, size=lambda: (80, 24)).draw([Text("Ünï")])
    assert raw.getvalue() == b"\\xdcn\\xef"


def test_an_unknown_size() -> None:
    """Where there is no terminal, or it does not know its size, 80 by 24 is assumed."""
    reading, writing = os.pipe()
    assert terminal_size(reading) == (80, 24)
    os.close(reading)
    os.close(writing)
    master, slave = pty.openpty()
    assert terminal_size(slave) == (80, 24)
    os.close(master)
    os.close(slave)


def test_it_is_drawn_four_times_a_second_at_most() -> None:
    """Ten seconds of a run are at most forty drawings."""
    terminal = Terminal()
    drawn: list[Progress] = []

    def look() -> Progress:
        drawn.append(MOMENT)
        return MOMENT

    async def main() -> None:
        drawing = asyncio.create_task(keep_drawing(terminal.pane, look, ascii_only=False))
        await asyncio.sleep(10)
        drawing.cancel()

    virtual.run(main(), debug=True)
    assert 30 <= len(drawn) <= 41
    assert terminal.rows()[1].endswith("185 of 300")


def watch(
    *args: str, columns: int = 80, environ: dict[str, str] | None = None, encoding: str = "utf-8"
) -> tuple[str, object]:
    """What a terminal gets of a run's stderr, and the exit code."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    got = bytearray()

    def read() -> None:
        # a terminal that nothing has open any more is an error to its reader
        with suppress(OSError):
            while part := os.read(master, 1 << 16):
                got.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    with Path(os.devnull).open("w") as nowhere, pytest.MonkeyPatch.context() as patch:
        for name, value in {"TERM": "xterm", "CI": "", **(environ or {})}.items():
            patch.setenv(name, value)
        code = call_on("run", *args, "--simulate", stdout=nowhere.fileno(), stderr=slave, encoding=encoding)
    os.close(slave)
    reader.join(10)
    os.close(master)
    return got.decode(), code


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    """Three models, one of which is refused."""
    faults = [{"method": "POST", "path": uuid(2), "always": True, "status": 400, "message": "no, never"}]
    path = write_manifest(tmp_path)
    write_scenario(tmp_path, name="m.scenario.yaml", faults=faults, default_model={"duration": 0.4})
    return path


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_a_run_on_a_terminal(manifest: str, columns: int) -> None:
    """The run is shown and taken away again; above it stays the same log as in a file."""
    text, code = watch(manifest, columns=columns)
    assert code == 1
    assert " of 3" in text
    screen = Screen(columns)
    screen.feed(text)
    left = "".join(screen.rows)
    assert "start  " in left
    assert "FAIL   m2" in left
    assert "no, never" in left
    assert left.count("ok     ") == 2
    assert "█" not in left
    assert screen.rows[-1] == ""
    assert screen.styled


@pytest.mark.parametrize(
    "args, environ, live",
    [
        ((), {"NO_COLOR": "1"}, True),
        (("--no-color",), {}, True),
        (("--progress", "off"), {}, False),
        (("-q",), {}, False),
        (("-q", "--progress", "on"), {}, True),
        (("--log-format", "json"), {}, False),
        ((), {"CI": "true"}, False),
        (("--progress", "on"), {"CI": "true"}, True),
        (("--progress", "on"), {"TERM": "dumb"}, False),
        (("-v",), {}, True),
    ],
)
def test_who_gets_it(manifest: str, args: tuple[str, ...], environ: dict[str, str], live: bool) -> None:
    """A terminal shows it, except with -q, a JSON log or `off`, on a dumb terminal, and in CI; `on` overrules."""
    text, _ = watch(manifest, *args, environ=environ)
    assert ("\x1b[J" in text) is live
    screen = Screen(80)
    screen.feed(text)
    if "NO_COLOR" in environ or "--no-color" in args or environ.get("TERM") == "dumb":
        assert not screen.styled
    assert ("sim: submit m2: 400 in" in "".join(screen.rows)) is ("-v" in args)


def test_a_terminal_of_small_letters_and_a_longer_run(manifest: str, tmp_path: Path) -> None:
    """A stream that knows only ASCII gets a bar of ASCII; while jobs run the time left is told, and their names."""
    write_scenario(tmp_path, name="m.scenario.yaml", default_model={"duration": 2.2})
    text, code = watch(manifest, encoding="ascii")
    assert code == 0
    assert "█" not in text
    assert "-----" in text
    assert " left" in text
    assert "longest running" in text
    assert "3 running" in text
