"""A run's exit code, computed from what came of it; nothing else decides it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from orchestrator.engine.outcome import Outcome

OK: Final = 0
SOME_FAILED: Final = 1
KEY_REFUSED: Final = 3
REPORT_FAILED: Final = 5
SIGNAL_BASE: Final = 128


def exit_code(
    outcomes: Iterable[Outcome],
    *,
    signal: int | None,
    refused_instances: Sequence[str],
    report_failed: bool,
    new_issues_fail: bool = False,
) -> int:
    """The exit code of a run that came to its end (docs/reference/exit-codes.md); if several apply: signal, 3, 1, 5, 0.

    `signal` is the number of the signal that stopped the run. `new_issues_fail` counts a validation error that a refresh
    brought as a target that did not succeed (`--fail-on-new-issues`). 2 and 4 belong to runs that never began.
    """
    if signal is not None:
        return SIGNAL_BASE + signal
    if refused_instances:
        return KEY_REFUSED
    if any(not outcome.status.is_good or (new_issues_fail and _has_new_issues(outcome)) for outcome in outcomes):
        return SOME_FAILED
    return REPORT_FAILED if report_failed else OK


def _has_new_issues(outcome: Outcome) -> bool:
    return outcome.validation is not None and outcome.validation.has_new_errors
