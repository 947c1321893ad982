"""The exit code is a pure function of the outcomes (docs/reference/exit-codes.md)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.outcome import Status, Validation
from orchestrator.report.findings import exit_code
from tests.report.reports import make_outcome

GOOD = [Status.SUCCEEDED, Status.ACCEPTED, Status.SKIPPED]


def code_of(*statuses: Status, signal: int | None = None, refused: tuple[str, ...] = (), failed: bool = False) -> int:
    outcomes = [make_outcome(number, status) for number, status in enumerate(statuses)]
    return exit_code(outcomes, signal=signal, refused_instances=refused, report_failed=failed)


def test_all_good_is_0() -> None:
    """0 where every target succeeded, was accepted or skipped on purpose; also where there was none."""
    assert code_of(*GOOD) == 0
    assert code_of() == 0


@pytest.mark.parametrize("status", [status for status in Status if status not in GOOD])
def test_one_bad_target_is_1(status: Status) -> None:
    """1 where a single target did not succeed, whatever the word for it, and a report that failed besides changes nothing."""
    assert code_of(*GOOD, status) == 1
    assert code_of(status) == 1
    assert code_of(Status.SUCCEEDED, status, failed=True) == 1


def test_a_report_that_was_not_written_is_5() -> None:
    """5 where all went well but a report is missing."""
    assert code_of(Status.SUCCEEDED, failed=True) == 5


@pytest.mark.parametrize("signal, code", [(1, 129), (2, 130), (15, 143)])
def test_a_signal_is_128_and_its_number(signal: int, code: int) -> None:
    """129, 130 and 143 for SIGHUP, SIGINT and SIGTERM, before everything else."""
    assert code_of(Status.SUCCEEDED, signal=signal) == code
    assert code_of(Status.FAILED, signal=signal, refused=("prod",), failed=True) == code


def test_a_refused_key_is_3() -> None:
    """3 where an instance refused its keys, before failed targets and missing reports."""
    assert code_of(Status.SUCCEEDED, Status.NOT_STARTED, refused=("prod",)) == 3
    assert code_of(Status.FAILED, refused=("prod",), failed=True) == 3


def test_new_issues_fail_on_request_only() -> None:
    """A validation issue that a refresh brought makes it 1 with `--fail-on-new-issues`, and one that it mended does not."""
    brought = replace(make_outcome(1), validation=Validation(new=("view orders: no such column",)))
    mended = replace(make_outcome(2), validation=Validation(fixed=("view orders: no such column",)))
    for outcome, asked, code in ((brought, True, 1), (brought, False, 0), (mended, True, 0)):
        assert (
            exit_code([outcome], signal=None, refused_instances=(), report_failed=False, new_issues_fail=asked) == code
        )


@given(
    st.lists(st.sampled_from(Status), max_size=5),
    st.sampled_from([None, 1, 2, 15]),
    st.sampled_from([(), ("prod",)]),
    st.booleans(),
)
def test_0_means_that_all_is_well(
    statuses: list[Status], signal: int | None, refused: tuple[str, ...], failed: bool
) -> None:
    """0 exactly where nothing was wrong; every other code is one that the contract knows."""
    code = code_of(*statuses, signal=signal, refused=refused, failed=failed)
    fine = signal is None and not refused and not failed and all(status in GOOD for status in statuses)
    assert (code == 0) == fine
    assert code in {0, 1, 3, 5, 129, 130, 143}
