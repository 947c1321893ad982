"""The report document: every field of docs/reference/report.md, its schema, and the way back."""

import json
from dataclasses import fields, replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from orchestrator import __version__
from orchestrator.engine.outcome import Failure, Outcome, Status, make_row, parse_row
from orchestrator.errors import UsageError
from orchestrator.report.as_csv import COLUMNS
from orchestrator.report.as_json import dump, render_json
from orchestrator.report.document import make_document, parse_document, report_json_schema
from orchestrator.report.report import Report
from orchestrator.values import format_stamp
from tests.report.reports import ANY_REPORT, HALF, START, make_evil_report, make_facts, make_outcome, make_report

VALIDATOR = Draft202012Validator(report_json_schema())


def test_a_document_is_what_the_contract_says() -> None:
    """The document has every field with its name and type, and no other field."""
    outcome = make_outcome(1, Status.REJECTED)
    report = Report(run=make_facts(12.3456), outcomes=(outcome,), exit_code=1)
    assert make_document(report) == {
        "schema_version": 1,
        "tool": {"name": "omni-refresh", "version": __version__},
        "run": {
            "id": "20261125T020000-7f3a",
            "trigger": "run",
            "manifest": {"path": "configs/nightly.yaml", "sha256": "9f" * 32, "identity": "configs/nightly.yaml"},
            "started_at": "2026-11-25T02:00:00.123Z",
            "finished_at": "2026-11-25T02:00:12.469Z",
            "duration_s": 12.346,
            "interrupted": False,
            "resumed_from": None,
            "retried_from": None,
            "simulated": False,
        },
        "summary": {
            "total": 1,
            **dict.fromkeys([status.value for status in Status], 0),
            "rejected": 1,
            "requests": 940,
            "polls": 612,
            "throttled": 3,
            "by_status": {**dict.fromkeys([status.value for status in Status], 0), "rejected": 1},
            "exit_code": 1,
        },
        "outcomes": [
            {
                "name": "model_0001",
                "instance": "prod",
                "model_id": outcome.model_id,
                "branch": None,
                "branch_id": None,
                "connection": "warehouse-1",
                "refresh": "schema",
                "mode": "hard",
                "schemas": [],
                "tables": [],
                "tags": ["nightly"],
                "status": "rejected",
                "covered_by": None,
                "job_ids": [],
                "job_status": None,
                "submitted_at": "2026-11-25T02:00:00.523Z",
                "finished_at": "2026-11-25T02:00:08.623Z",
                "duration_s": 8.1,
                "queued_s": 0.4,
                "attempts": 1,
                "polls": 0,
                "throttled": 0,
                "warnings": [],
                "promotion_pending": False,
                "verified": None,
                "validation": None,
                "previous_status": None,
                "error": {
                    "kind": "forbidden",
                    "http_status": 403,
                    "message": "You do not have permission to refresh the schema of this connection.",
                    "hint": "The key's user needs Connection Admin, or Modeler where the connection has one shared model.",
                    "last_status": None,
                },
                "calls": [],
                "usual_s": None,
                "failing_since": None,
                "usual_runs": 0,
                "recent": [],
                "content": None,
            }
        ],
    }


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    """A moment of another zone is written in UTC, to the millisecond, with a Z."""
    there = START.astimezone(timezone(timedelta(hours=-5)))
    assert format_stamp(there) == format_stamp(START) == "2026-11-25T02:00:00.123Z"
    assert format_stamp(START.replace(microsecond=0)) == "2026-11-25T02:00:00.000Z"


def test_an_error_message_is_cut() -> None:
    """The server's words end at 2,000 characters, whatever made the outcome."""
    failure = Failure(kind="bad_request", message="x" * 100_000, hint="")
    row = make_row(replace(make_outcome(1), error=failure))
    assert row["error"]["message"] == "x" * 2000


def test_a_signal_makes_a_run_interrupted() -> None:
    """`interrupted` is true if a signal stopped the run, and the signal's number comes back from the exit code."""
    report = Report(run=replace(make_facts(), signal=15), outcomes=(), exit_code=143)
    document = make_document(report)
    assert document["run"]["interrupted"] is True
    assert parse_document(document).run.signal == 15


def test_changes_against_the_run_before_are_counted() -> None:
    """With a run before, the summary counts what newly fails and what has recovered; a skipped target did not recover."""
    failed, good = make_outcome(1, Status.FAILED), make_outcome(2)
    outcomes = (
        replace(failed, previous_status=Status.SUCCEEDED),
        replace(failed, previous_status=Status.UNKNOWN),
        failed,
        replace(good, previous_status=Status.FAILED),
        replace(good, previous_status=Status.SUCCEEDED),
        replace(good, status=Status.SKIPPED, previous_status=Status.FAILED),
    )
    summary = make_document(Report(run=make_facts(), outcomes=outcomes, exit_code=1))["summary"]
    assert (summary["new_failures"], summary["recovered"]) == (2, 1)


@HALF
@given(ANY_REPORT)
def test_any_report_goes_there_and_back(report: Report) -> None:
    """Any document is valid by the published schema, is strict JSON, and gives the same document when it is read back."""
    document = make_document(report)
    VALIDATOR.validate(document)
    text = render_json(report)
    read = json.loads(text.encode("utf-8"))
    VALIDATOR.validate(read)
    if report.run.signal is None:
        assert make_document(parse_document(document)) == document
        assert make_document(parse_document(read)) == read


@pytest.mark.parametrize("count", [0, 3, 300])
def test_whole_runs_are_valid(count: int) -> None:
    """Runs as they come are valid by the schema, and the summary's counts are the outcomes'."""
    report = make_report(count, budget=True)
    document = make_document(report)
    VALIDATOR.validate(document)
    counts = document["summary"]["by_status"]
    assert sum(counts.values()) == document["summary"]["total"] == len(document["outcomes"])
    assert counts["failed"] == sum(row["status"] == "failed" for row in document["outcomes"])
    assert parse_document(document).run.budget == report.run.budget


def test_the_schema_would_notice() -> None:
    """The schema is no empty promise: a missing field, a wrong word and a local time are all found."""
    document = make_document(Report(run=make_facts(), outcomes=(make_outcome(1, Status.FAILED),), exit_code=1))
    assert VALIDATOR.is_valid(document)
    row = document["outcomes"][0]
    summary = {name: count for name, count in document["summary"].items() if name != "not_started"}
    for wrong in (
        {"summary": summary},
        {"outcomes": [{**row, "status": "fine"}]},
        {"outcomes": [{**row, "error": {**row["error"], "message": "x" * 2001}}]},
        {"run": {**document["run"], "started_at": "2026-11-25T02:00:00.123+01:00"}},
    ):
        assert not VALIDATOR.is_valid({**document, **wrong})


def test_json_holds_nothing_that_steers() -> None:
    """Hostile texts come back from the JSON as they were, and none of it would steer a terminal when printed."""
    report = make_evil_report()
    for ascii_only in (False, True):
        text = render_json(report, ascii_only=ascii_only)
        assert not ascii_only or text.isascii()
        assert not {char for char in text if ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or char in "\u202e\u2028"} - {
            "\n"
        }
        rows = json.loads(text)["outcomes"]
        for outcome, row in zip(report.outcomes, rows, strict=True):
            assert row["name"] == outcome.name.replace("\ud800", "\\ud800")
    assert "日本 🎉 é" in render_json(report)


def test_escapes_of_the_wide_planes_are_pairs() -> None:
    """A character beyond U+FFFF is escaped as two units, as JSON wants it."""
    assert dump("🎉", ascii_only=True) == '"\\ud83c\\udf89"'
    assert json.loads(dump("\U000e0041")) == "\U000e0041"


def test_unknown_fields_are_passed_over() -> None:
    """A later version's optional fields do not keep this one from reading the report."""
    document = make_document(make_report(3))
    document["new"] = document["run"]["new"] = document["outcomes"][0]["new"] = {"deep": [1]}
    assert parse_document(document) == parse_document(make_document(make_report(3)))


def test_one_definition_makes_row_schema_and_csv() -> None:
    """The fields of `Outcome` are those of the row, in the same order, and of the schema; each has a column, or columns."""
    names = [field.name for field in fields(Outcome)]
    assert list(make_row(make_outcome(1))) == names
    schema = report_json_schema()["$defs"]["outcome"]
    assert list(schema["properties"]) == names
    assert set(names) - set(COLUMNS) == {"validation", "error", "calls", "usual_runs", "recent", "content"}
    assert set(COLUMNS) - set(names) == {
        *("new_issues", "fixed_issues", "error_kind", "http_status", "message", "hint"),
        *("simulated", "counts_as_failed", "broken_documents"),
    }


def test_a_report_of_an_earlier_version_is_read() -> None:
    """Fields that the first release did not write may be missing, from the document and from a row of the journal."""
    report = make_report(3)
    document = make_document(report)
    for row in document["outcomes"]:
        for name in set(row) - set(report_json_schema()["$defs"]["outcome"]["required"]):
            del row[name]
    run = report_json_schema()["properties"]["run"]
    document["run"] = {name: value for name, value in document["run"].items() if name in run["required"]}
    del document["run"]["manifest"]["identity"]
    VALIDATOR.validate(document)
    read = parse_document(document)
    assert [outcome.status for outcome in read.outcomes] == [outcome.status for outcome in report.outcomes]
    assert read.run.id == report.run.id
    assert parse_row(document["outcomes"][0]).calls == ()


def _without_outcomes(document: dict[str, Any]) -> None:
    del document["outcomes"]


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda d: d.update(schema_version=2), "schema version 2, this program reads 1"),
        (lambda d: d.pop("schema_version"), "schema_version is missing"),
        (lambda d: d.update(schema_version=True), "schema_version must be a number, it is 'True'"),
        (_without_outcomes, "outcomes is missing"),
        (lambda d: d.update(run=[]), "run must be an object, it is '[]'"),
        (lambda d: d["run"].update(id=3), "run.id must be text, it is '3'"),
        (lambda d: d["run"].update(trigger="cron"), "run.trigger must be one of run, resume, retry, change"),
        (lambda d: d["run"].update(started_at="yesterday"), "run.started_at must be a time like"),
        (lambda d: d["run"].update(started_at="2026-13-25T02:00:00Z"), "run.started_at must be a time like"),
        (lambda d: d["run"].update(interrupted="no"), "run.interrupted must be true or false"),
        (lambda d: d["run"].update(quota={"prod": 3}), "run.quota.prod must be an object"),
        (lambda d: d["summary"].update(exit_code="0"), "summary.exit_code must be a whole number"),
        (lambda d: d["outcomes"][2].update(status="fine"), "outcomes[2].status must be one of unknown, failed"),
        (lambda d: d["outcomes"][1].update(tags="a"), "outcomes[1].tags must be a list"),
        (lambda d: d["outcomes"].append(3), "outcomes[3] must be an object"),
    ],
)
def test_what_is_no_report_is_recognised(spoil: Any, told: str) -> None:
    """A document that is none is refused with the place and what should stand there."""
    document = make_document(make_report(3))
    spoil(document)
    with pytest.raises(UsageError) as caught:
        parse_document(document)
    assert told in str(caught.value)
    assert caught.value.code == "unreadable-report"


def test_a_row_is_an_outcome() -> None:
    """A line of the `.jsonl` format reads back as its outcome."""
    outcome = make_outcome(4, Status.TIMED_OUT)
    assert make_row(parse_row(make_row(outcome))) == make_row(outcome)
    with pytest.raises(UsageError, match="must be an object"):
        parse_row([])


def test_the_published_schema_is_the_programs_own() -> None:
    """The file under `docs/` is what the program prints, and is a schema by its own rules."""
    published = Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == report_json_schema()
    Draft202012Validator.check_schema(report_json_schema())


def test_what_was_learned_about_a_limit_comes_back() -> None:
    """The limit that an instance really gave is in the document where something was learned, and reads back."""
    learned = {"prod": {"told": 60, "learned": 40, "hint": "shared with others"}}
    report = Report(run=replace(make_facts(), quota=learned, refused_instances=("test",)), outcomes=(), exit_code=3)
    document = make_document(report)
    assert document["run"]["quota"] == learned
    assert parse_document(document).run.quota == learned
    assert parse_document(document).run.refused_instances == ("test",)
