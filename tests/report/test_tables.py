"""CSV and JSON lines: one row a target, whatever stands in it."""

import csv
import io
import json
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from orchestrator.engine.outcome import Status, make_row, parse_row
from orchestrator.report.as_csv import COLUMNS, render_csv
from orchestrator.report.as_json import JsonLines, render_jsonl
from orchestrator.report.files import ReportError
from orchestrator.report.report import Report
from tests.report.reports import ANY_REPORT, EVIL, HALF, make_evil_report, make_outcome, make_report

NUMBERS = ("duration_s", "queued_s", "attempts", "polls", "throttled", "new_issues", "fixed_issues", "http_status")


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows by a strict reader; each has as many cells as there are columns."""
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(header) == COLUMNS
    assert {len(row) for row in rows} <= {len(COLUMNS)}
    return [dict(zip(header, row, strict=True)) for row in rows]


def rows_of(path: Path) -> list[str]:
    """The names in a `.jsonl` file; every line is whole."""
    return [json.loads(line)["name"] for line in path.read_text(encoding="utf-8").splitlines()]


@HALF
@given(ANY_REPORT)
def test_any_csv_is_whole_and_harmless(report: Report) -> None:
    """One line and one row a target, no cell a formula, each number a number, no control character anywhere."""
    text = render_csv(report.outcomes)
    assert text.count("\r\n") == text.count("\n") == text.count("\r") == len(report.outcomes) + 1
    text.encode("utf-8")
    for outcome, row in zip(report.outcomes, read_csv(text), strict=True):
        assert row["status"] == outcome.status
        for column in NUMBERS:
            assert row[column] == "" or float(row[column]) >= 0
        assert not [cell for cell in row.values() if cell.lstrip().startswith(tuple("=+-@\t＝＋－＠"))]


def test_formulas_are_disarmed_and_readable() -> None:
    """A text that a spreadsheet would run has an apostrophe before it; other text stays as it is."""
    names = ["=1+1", " =1", "@x", "-1", "+1", "\t=1", "＝1", "plain - text", "ok |\n## x"]
    rows = read_csv(render_csv(replace(make_outcome(1), name=name) for name in names))
    assert [row["name"] for row in rows] == [
        "'=1+1",
        "' =1",
        "'@x",
        "'-1",
        "'+1",
        "' =1",
        "'＝1",
        "plain - text",
        "ok | ## x",
    ]


def test_csv_has_all_that_an_outcome_has() -> None:
    """Lists are joined by commas, flags are words, unknown values are empty, and an error has its columns."""
    outcome = replace(
        make_outcome(3, Status.TIMED_OUT),
        tables=("finance.a", "finance.b"),
        warnings=("one", "two"),
        verified=False,
        previous_status=Status.FAILED,
    )
    (row,) = read_csv(render_csv([outcome]))
    assert row["tables"] == "finance.a,finance.b"
    assert row["warnings"] == "one | two"
    assert (row["verified"], row["promotion_pending"], row["new_issues"]) == ("false", "false", "")
    assert (row["error_kind"], row["previous_status"], row["duration_s"]) == ("timed_out", "failed", "8.1")
    assert row["message"].startswith("Not finished after 30m")
    assert row["submitted_at"].endswith("Z")


@HALF
@given(ANY_REPORT)
def test_any_jsonl_is_one_line_a_target(report: Report) -> None:
    """Each line is one strict JSON object, the row of the report document."""
    lines = render_jsonl(report.outcomes).encode("utf-8").split(b"\n")
    assert lines.pop() == b""
    assert [make_row(parse_row(json.loads(line))) for line in lines] == [json.loads(line) for line in lines]
    assert [json.loads(line)["status"] for line in lines] == [outcome.status for outcome in report.outcomes]


def test_lines_come_as_targets_end(tmp_path: Path) -> None:
    """After each target its line is in the file, whole; the old file is gone from the start."""
    path = tmp_path / "r.jsonl"
    path.write_text("old\n")
    report = make_report(5)
    lines = JsonLines(path)
    assert path.read_text() == ""
    for number, outcome in enumerate(report.outcomes[:3], 1):
        lines.append(outcome)
        assert rows_of(path) == [outcome.name for outcome in report.outcomes[:number]]
    lines.close(report.outcomes)
    assert rows_of(path) == [outcome.name for outcome in report.outcomes]


def test_a_target_has_one_line(tmp_path: Path) -> None:
    """A target that has its line gets no second one."""
    path = tmp_path / "r.jsonl"
    with JsonLines(path) as lines:
        lines.append(make_outcome(1))
        lines.append(make_outcome(1))
    assert rows_of(path) == ["model_0001"]


def test_a_resumed_run_keeps_what_had_ended(tmp_path: Path) -> None:
    """On resume the file begins with the outcomes that were known, each once, and grows on."""
    path = tmp_path / "r.jsonl"
    path.write_text('{"name": "model_0001"}\n{"na')
    with JsonLines(path, [make_outcome(1), make_outcome(2)]) as lines:
        assert rows_of(path) == ["model_0001", "model_0002"]
        lines.append(make_outcome(2))
        lines.append(make_outcome(3))
    assert rows_of(path) == ["model_0001", "model_0002", "model_0003"]


def test_hostile_texts_stay_on_their_line(tmp_path: Path) -> None:
    """Line separators of all kinds within a text do not end a line."""
    path = tmp_path / "r.jsonl"
    with JsonLines(path) as lines:
        for outcome in make_evil_report().outcomes:
            lines.append(outcome)
    assert len(rows_of(path)) == len(EVIL) + 1


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file of this process may grow beyond 4,000 bytes: a disk that is full, for real."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    yield 4000
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path, small_files: int) -> None:
    """Where the disk is full in the middle of a line, the file still holds whole lines only, and the reason is told."""
    path = tmp_path / "r.jsonl"
    lines = JsonLines(path)
    with pytest.raises(ReportError, match=r"r\.jsonl was not written: "):
        lines.close(make_report(100).outcomes)
    names = rows_of(path)
    assert 0 < len(names) < 100
    assert names == [outcome.name for outcome in make_report(100).outcomes[: len(names)]]


def test_a_file_that_cannot_be_opened_again_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file can be made but not opened for growing, or not synced at the end, it is a report error."""
    path = tmp_path / "r.jsonl"
    lines = JsonLines(path)

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(ReportError, match="Input/output error"):
            lines.close()
    monkeypatch.setattr("orchestrator.report.as_json.write_report", lambda *_: None)
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(ReportError, match="Input/output error"):
        JsonLines(path)
