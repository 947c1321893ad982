"""CSV for spreadsheets (RFC 4180): one row a target, numbers as numbers, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

from orchestrator.engine.outcome import Outcome
from orchestrator.report.document import MESSAGE_LIMIT, format_stamp
from orchestrator.report.headline import SIMULATED
from orchestrator.text import clean

COLUMNS: Final = (
    *("name", "instance", "model_id", "branch", "branch_id", "connection", "mode", "schemas", "tables", "tags"),
    *("status", "covered_by", "job_ids", "job_status", "submitted_at", "finished_at", "duration_s", "queued_s"),
    *("attempts", "polls", "throttled", "promotion_pending", "verified", "new_issues", "fixed_issues"),
    *("previous_status", "error_kind", "http_status", "message", "hint", "warnings", "usual_s", "failing_since"),
    *("simulated", "counts_as_failed"),
)

# A spreadsheet takes a cell that begins so for a formula; the wide forms are what East Asian input methods type.
_FORMULA_STARTS: Final = tuple("=+-@＝＋－＠")
_LIST_LIMIT: Final = 30_000


def render_csv(outcomes: Iterable[Outcome], *, simulated: bool = False, new_issues_fail: bool = False) -> str:
    """A header and one row for each outcome. Lists are joined by commas, warnings by ` | `; unknown values are empty.

    `simulated` holds the word SIMULATED in a rehearsal's rows, and else nothing. `counts_as_failed` is true for what makes
    the run's exit code 1: with `new_issues_fail` also for a target with new validation issues.
    """
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    for outcome in outcomes:
        has_new = outcome.validation is not None and bool(outcome.validation.new)
        failed = not outcome.status.is_good or (new_issues_fail and has_new)
        cells = (*_values(outcome), SIMULATED if simulated else None, _word(failed))
        rows.writerow([value if isinstance(value, int | float) else _cell(value) for value in cells])
    return out.getvalue()


def _values(outcome: Outcome) -> tuple[str | int | float | None, ...]:
    error, issues = outcome.error, outcome.validation
    return (
        outcome.name,
        outcome.instance,
        outcome.model_id,
        outcome.branch,
        outcome.branch_id,
        outcome.connection,
        outcome.mode,
        ",".join(outcome.schemas),
        ",".join(outcome.tables),
        ",".join(outcome.tags),
        outcome.status,
        outcome.covered_by,
        ",".join(outcome.job_ids),
        outcome.job_status,
        format_stamp(outcome.submitted_at) if outcome.submitted_at else None,
        format_stamp(outcome.finished_at) if outcome.finished_at else None,
        None if outcome.duration_s is None else round(outcome.duration_s, 3),
        None if outcome.queued_s is None else round(outcome.queued_s, 3),
        outcome.attempts,
        outcome.polls,
        outcome.throttled,
        _word(outcome.promotion_pending),
        _word(outcome.verified),
        len(issues.new) if issues else None,
        len(issues.fixed) if issues else None,
        outcome.previous_status,
        error.kind if error else None,
        error.http_status if error else None,
        error.message[:MESSAGE_LIMIT] if error else None,
        error.hint if error else None,
        " | ".join(outcome.warnings),
        None if outcome.usual_s is None else round(outcome.usual_s, 3),
        format_stamp(outcome.failing_since) if outcome.failing_since else None,
    )


def _word(flag: bool | None) -> str | None:
    return None if flag is None else str(flag).lower()


def _cell(text: str | None) -> str:
    """Text that stays text: on one line, and with an apostrophe before what would otherwise be a formula."""
    shown = clean(text or "")[:_LIST_LIMIT]
    return "'" + shown if shown.lstrip().startswith(_FORMULA_STARTS) else shown
