"""What `history` tells of many runs: durations, courses, who alternates; at any width, coloured or not, drawn or not."""

import io
import re
import time
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from orchestrator.app.history import make_history
from orchestrator.app.state import State, open_state
from orchestrator.engine.outcome import Failure, Outcome, Status, make_row
from orchestrator.journal.records import NewRun, NewTarget
from orchestrator.log import LogOutput, render_json
from orchestrator.terminal.console import Console
from orchestrator.terminal.history_table import render_history
from tests.app.contexts import make_context
from tests.report.reports import EVIL

FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)
STYLE = re.compile(r"\x1b\[[0-9;]*m")
CUT = Failure(kind="cut_off", message="the connection broke", hint="")
WORDS = {".": Status.SUCCEEDED, "x": Status.FAILED, "-": Status.SKIPPED, "i": Status.INTERRUPTED}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with open_state(make_context(tmp_path / "state")) as opened:
        yield opened


def keep(state: State, courses: dict[str, str], *, took_s: float = 10.0, manifest: str = "/m.yaml") -> None:
    """A run a night; each target's course says how each ended: good, bad, skipped or interrupted; it takes longer each night."""
    for night in range(max(map(len, courses.values()))):
        run = f"{manifest[1:]}-{night}"
        began_at = FIRST + timedelta(days=night)
        new = NewRun(
            id=run,
            root=run,
            origin=None,
            trigger="run",
            manifest_path=manifest[1:],
            manifest_file=manifest,
            manifest_identity=manifest,
            manifest_sha256="",
            lock="",
            began_at=began_at,
        )
        targets = [NewTarget(position=n, name=name, model_id=f"id-{n}") for n, name in enumerate(courses)]
        steps = state.journal.begin(new, None, targets)
        rows = []
        for place, (name, course) in enumerate(courses.items()):
            if night < len(course):
                status = WORDS[course[night]]
                outcome = Outcome(
                    name=name,
                    instance="prod",
                    model_id=f"id-{place}",
                    status=status,
                    duration_s=took_s + night,
                    error=CUT if status is Status.FAILED else None,
                )
                rows.append((place, make_row(outcome)))
        steps.settled(rows)
        counts = {"succeeded": len(courses)}
        state.journal.finish(run, document={}, exit_code=0, unfinished=False, counts=counts)


def console(width: int = 120, *, color: bool = False) -> Console:
    log = LogOutput(io.StringIO(), render_json)
    return Console(color=color, width=width, quiet=True, color_err=False, live=False, log_is_text=False, log=log)


def told(
    state: State,
    width: int = 120,
    *,
    model: str | None = None,
    flaky: bool = False,
    color: bool = False,
    drawn: bool = True,
) -> str:
    history = make_history(state, model=model, limit=50, flaky=flaky)
    return render_history(history, console(width, color=color), model=model, flaky=flaky, drawn=drawn)


def test_a_models_course_is_a_chart(state: State) -> None:
    """The latest run first: its start, its status, a bar of its duration, and why it failed; the usual duration above."""
    keep(state, {"sales": "..x"}, took_s=9)
    assert told(state, model="sales") == told(state, model="id-0")
    head, *lines = told(state, 140, model="sales").splitlines()
    assert head == "sales: 3 runs; usually 9.5s, 9.0s to 10s"
    assert [line[:35].rstrip() for line in lines] == [
        "2026-11-03 02:00 +00:00  failed",
        "2026-11-02 02:00 +00:00  succeeded",
        "2026-11-01 02:00 +00:00  succeeded",
    ]
    assert [line.count("█") for line in lines] == [40, 36, 33]
    assert lines[0].endswith("   11s  the connection broke")
    assert set("█#") & set(told(state, model="sales", drawn=False)) == {"#"}
    assert "the connection broke" not in told(state, 80, model="sales")


def test_times_are_local_with_their_offset(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a zone an hour east of Greenwich a run of 02:00 UTC is shown at 03:00 +01:00."""
    keep(state, {"sales": "."})
    monkeypatch.setenv("TZ", "XYZ-1")
    time.tzset()
    try:
        assert "2026-11-01 03:00 +01:00" in told(state)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_only_a_manifests_runs_or_the_latest(state: State) -> None:
    """`manifest` leaves the runs of one manifest, by its path or name; `since` those that began at that moment or later."""
    keep(state, {"sales": "..."})
    days = [run["started_at"][:10] for run in make_history(state, model=None, limit=50)["runs"]]
    assert days == ["2026-11-03", "2026-11-02", "2026-11-01"]
    since = FIRST + timedelta(days=1)
    found = make_history(state, model=None, limit=50, since=since)
    assert [run["started_at"][:10] for run in found["runs"]] == days[:2]
    assert found["models"][0]["runs"] == 2
    identity = state.journal.runs()[0].manifest_identity
    assert len(make_history(state, model=None, limit=50, manifest=identity)["runs"]) == 3
    assert make_history(state, model=None, limit=50, manifest="/another.yaml")["runs"] == []


def test_covered_targets_name_their_refresh(state: State) -> None:
    """A target that another's refresh served says so, and its duration is not its own."""
    keep(state, {"sales": "."})
    outcome = Outcome(
        name="sales", instance="prod", model_id="id-0", status=Status.SUCCEEDED, duration_s=3.0, covered_by="orders"
    )
    record = state.journal.runs()[0]
    state.journal.steps(record).settled([(0, make_row(outcome))])
    text = told(state, 140, model="sales")
    assert text.startswith("sales: 1 run\n")
    assert "by the refresh of orders" in text


def test_flaky_targets_are_those_that_alternate(state: State) -> None:
    """Most flips first; a target that broke once and stays so, or that was skipped now and then, is not among them."""
    keep(state, {"steady": "......", "broke": "...xxx", "once": "..x...", "often": ".x.x.x", "left out": ".-.i.-"})
    history = make_history(state, model=None, limit=50, flaky=True)
    assert [(m["name"], m["flips"], m["bad"]) for m in history["models"]] == [("often", 5, 3), ("once", 2, 1)]
    lines = told(state, flaky=True).splitlines()
    assert lines[0].split() == ["MODEL", "FLIPS", "BAD", "LAST", "COURSE", "WHY"]
    assert lines[1].split() == ["often", "5", "3", "of", "6", "failed", ".x.x.x", "cut_off", "(3)"]
    assert lines[2].split()[-2:] == ["..x...", "cut_off"]
    assert told(state, 60, flaky=True).splitlines()[1].split() == ["often", "5", "3", "of", "6", ".x.x.x"]
    assert told(state, model="left out").count("skipped") == 2


def test_one_name_in_two_manifests_is_two_targets(state: State) -> None:
    """Targets of different manifests do not mix their durations."""
    keep(state, {"sales": ".."}, took_s=1, manifest="/a.yaml")
    keep(state, {"sales": "."}, took_s=100, manifest="/b.yaml")
    models = make_history(state, model="sales", limit=50)["models"]
    assert [(m["manifest"], m["runs"], m["median_s"]) for m in models] == [("b.yaml", 1, 100.0), ("a.yaml", 2, 1.5)]


def test_the_trend_is_the_last_ten(state: State) -> None:
    """A row of blocks for the durations, the latest last; left out where they cannot be printed."""
    keep(state, {"sales": "." * 12})
    assert told(state).splitlines()[-1].endswith("▁▂▃▃▄▅▆▆▇█")
    assert "TREND" not in told(state, drawn=False)
    assert told(state, drawn=False).isascii()


def test_durations_that_are_all_alike_have_a_level_trend(state: State) -> None:
    """One duration is a block of middle height, none are none."""
    keep(state, {"sales": "."})
    keep(state, {"other": "x"}, manifest="/o.yaml")
    lines = told(state).splitlines()
    assert lines[-2].endswith("▄")
    assert lines[-1].split() == ["other", "1", "failed", "-", "-", "-"]


@pytest.mark.parametrize("width", [20, 40, 60, 71, 72, 99, 100, 200])
@pytest.mark.parametrize("color", [True, False])
def test_it_fits_and_is_harmless(width: int, color: bool, state: State) -> None:
    """From 40 columns on no line is wider than the terminal, whatever targets are called, and nothing steers it."""
    names = [f"{n} {text[:300]}" for n, text in enumerate(EVIL)]
    keep(state, dict.fromkeys(names, ".x.x"), took_s=100)
    texts = (
        told(state, width, color=color),
        told(state, width, color=color, flaky=True),
        *(told(state, width, color=color, model=name) for name in names[:8]),
    )
    for text in texts:
        bare = STYLE.sub("", text)
        assert color or bare == text
        assert not [char for char in bare if unicodedata.category(char) in {"Cc", "Cs"} and char != "\n"]
        if width >= 60:
            assert max(map(cell_len, bare.splitlines())) <= width
