"""A report as plain JSON data and back: the versioned document that people keep and other programs read.

The schema version changes only when a field goes away or changes its meaning; new optional fields do not change it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from orchestrator import __version__
from orchestrator.engine.outcome import CallMade, Failure, Outcome
from orchestrator.report.against import against_before
from orchestrator.report.counts import count_statuses
from orchestrator.report.report import Report, RunFacts

SCHEMA_VERSION: Final = 1
MESSAGE_LIMIT: Final = 2000


def format_stamp(moment: datetime) -> str:
    """A moment as every format writes it: UTC, to the millisecond, for example `2026-11-25T02:00:00.123Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def make_document(report: Report) -> dict[str, Any]:
    """The report as JSON data (docs/reference/report.md): durations in seconds to the millisecond, times in UTC."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "omni-refresh", "version": __version__},
        "run": _make_run(report.run),
        "summary": _make_summary(report),
        "outcomes": [make_row(outcome) for outcome in report.outcomes],
    }


def _make_run(run: RunFacts) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": run.id,
        "trigger": run.trigger.value,
        "manifest": {
            "path": run.manifest_path,
            "sha256": run.manifest_sha256,
            "identity": run.manifest_identity or run.manifest_path,
        },
        "started_at": format_stamp(run.started_at),
        "finished_at": format_stamp(run.finished_at),
        "duration_s": round(run.duration_s, 3),
        "interrupted": run.signal is not None,
        "resumed_from": run.resumed_from,
        "retried_from": run.retried_from,
        "simulated": run.simulated,
    }
    if run.new_issues_fail:
        document["new_issues_fail"] = True
    if run.quota:
        document["quota"] = {instance: dict(learned) for instance, learned in run.quota.items()}
    if run.refused_instances:
        document["refused_instances"] = list(run.refused_instances)
    if run.warnings:
        document["warnings"] = list(run.warnings)
    if run.budget:
        document["budget"] = [
            {"t_s": round(s.t_s, 3), "used": s.used, "requests": s.requests, "held": s.held} for s in run.budget
        ]
    return document


def _make_summary(report: Report) -> dict[str, Any]:
    """The counts. `throttled` is a status and a number of calls: at the top it counts calls answered 429, like its neighbours.

    `by_status` says the statuses without that clash.
    """
    counts = {status.value: count for status, count in count_statuses(report.outcomes).items()}
    calls = {"requests": report.run.requests, "polls": report.run.polls, "throttled": report.run.throttled}
    summary: dict[str, Any] = {"total": len(report.outcomes), **counts, **calls, "by_status": counts}
    against = against_before(report.outcomes)
    if against is not None:
        summary["new_failures"] = len(against.new)
        summary["still_failing"] = len(against.still)
        summary["recovered"] = len(against.recovered)
    summary["exit_code"] = report.exit_code
    return summary


def make_row(outcome: Outcome) -> dict[str, Any]:
    """One outcome as JSON data: an element of the document's `outcomes`, and a line of the `.jsonl` format."""
    validation, error = outcome.validation, outcome.error
    return {
        "name": outcome.name,
        "instance": outcome.instance,
        "model_id": outcome.model_id,
        "branch": outcome.branch,
        "branch_id": outcome.branch_id,
        "connection": outcome.connection,
        "mode": outcome.mode.value,
        "schemas": list(outcome.schemas),
        "tables": list(outcome.tables),
        "tags": list(outcome.tags),
        "status": outcome.status.value,
        "covered_by": outcome.covered_by,
        "job_ids": list(outcome.job_ids),
        "job_status": outcome.job_status,
        "submitted_at": outcome.submitted_at and format_stamp(outcome.submitted_at),
        "finished_at": outcome.finished_at and format_stamp(outcome.finished_at),
        "duration_s": _rounded(outcome.duration_s),
        "queued_s": _rounded(outcome.queued_s),
        "attempts": outcome.attempts,
        "polls": outcome.polls,
        "throttled": outcome.throttled,
        "warnings": list(outcome.warnings),
        "promotion_pending": outcome.promotion_pending,
        "verified": outcome.verified,
        "validation": validation and {"new": list(validation.new), "fixed": list(validation.fixed)},
        "previous_status": outcome.previous_status and outcome.previous_status.value,
        "error": error and _make_error(error),
        "calls": [_make_call(call) for call in outcome.calls],
        "usual_s": _rounded(outcome.usual_s),
        "failing_since": outcome.failing_since and format_stamp(outcome.failing_since),
    }


def _make_error(error: Failure) -> dict[str, Any]:
    return {
        "kind": error.kind,
        "http_status": error.http_status,
        "message": error.message[:MESSAGE_LIMIT],
        "hint": error.hint,
        "last_status": error.last_status,
    }


def _make_call(call: CallMade) -> dict[str, Any]:
    return {
        "number": call.number,
        "what": call.what.value,
        "left_at": format_stamp(call.left_at),
        "end": call.end,
        "http_status": call.http_status,
        "word": call.word,
        "took_s": _rounded(call.took_s),
        "wait_s": _rounded(call.wait_s),
    }


def _rounded(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s, 3)
