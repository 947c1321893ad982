"""CSV for spreadsheets (RFC 4180): one row per target, numbers as numbers, and no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from orchestrator.engine.outcome import Outcome, make_row
from orchestrator.report.findings import SIMULATED
from orchestrator.text import clean

_INSTEAD: Final[dict[str, tuple[str, ...]]] = {
    "validation": ("new_issues", "fixed_issues"),
    "error": ("error_kind", "http_status", "message", "hint", "warnings"),
    "warnings": (),
    "calls": (),
    "usual_runs": (),
    "recent": (),
    "content": ("broken_documents",),
}
"""The columns that replace a field which has parts, has another place, or is of no use in a spreadsheet."""

COLUMNS: Final = (
    *(column for field in fields(Outcome) for column in _INSTEAD.get(field.name, (field.name,))),
    *("simulated", "counts_as_failed"),
)
"""The fields of an outcome in their order, and what the run adds."""

# Spreadsheets treat a cell with such a start as a formula. East Asian input methods type the wide forms.
_FORMULA_STARTS: Final = tuple("=+-@＝＋－＠")
_LIST_LIMIT: Final = 30_000


def render_csv(outcomes: Iterable[Outcome], *, simulated: bool = False, new_issues_fail: bool = False) -> str:
    """Return a header and one row for each outcome.

    Lists are joined by commas, warnings and documents by ` | `. Unknown values are empty. `counts_as_failed` is true for a
    target that makes the run's exit code 1; with `new_issues_fail` this includes targets with new issues.
    """
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    for outcome in outcomes:
        cells = _cells(outcome)
        cells["simulated"] = SIMULATED if simulated else None
        cells["counts_as_failed"] = not outcome.status.is_good or (new_issues_fail and outcome.has_new_errors)
        rows.writerow([_cell(cells[column]) for column in COLUMNS])
    return out.getvalue()


def _cells(outcome: Outcome) -> dict[str, Any]:
    row = make_row(outcome)
    error = row["error"] or {}
    is_compared = outcome.validation is not None or outcome.content is not None
    return {
        **{name: ",".join(value) if _is_list(value) else value for name, value in row.items()},
        **{name: error.get(name) for name in ("http_status", "message", "hint")},
        "error_kind": error.get("kind"),
        "new_issues": len(outcome.new_issues) if is_compared else None,
        "fixed_issues": len(outcome.fixed_issues) if is_compared else None,
        "broken_documents": " | ".join(document.name for document in outcome.content.new) if outcome.content else None,
        "warnings": " | ".join(row["warnings"]),
    }


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _cell(value: str | float | bool | None) -> str | float:
    """Return a cell: a number, or text on one line that no spreadsheet treats as a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    shown = clean(value or "")[:_LIST_LIMIT]
    return "'" + shown if shown.lstrip().startswith(_FORMULA_STARTS) else shown
