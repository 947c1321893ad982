"""What each status means to the rest of the program: every status has an answer to every question."""

import pytest

from orchestrator.engine.outcome import Outcome, Status, StatusGroup, known_status
from orchestrator.engine.restore import is_open
from orchestrator.report.findings import exit_code


@pytest.mark.parametrize("status", list(Status))
def test_every_status_belongs_to_one_group(status: Status) -> None:
    """A status without a group fails here and not silently in a report, a retry or an exit code."""
    assert status.group in StatusGroup
    answers = (status.is_good, status.end_unknown, status.started_nothing, status.group is StatusGroup.FAILED)
    assert answers.count(True) == 1
    assert not status.was_not_sent or status.started_nothing


@pytest.mark.parametrize("status", list(Status))
def test_every_status_decides_the_exit_code(status: Status) -> None:
    """A run of one target exits 0 if its status is good, else 1; without an error kind nothing is resumed."""
    outcome = Outcome(name="m", instance="sim", model_id="1", status=status)
    code = exit_code([outcome], signal=None, refused_instances=(), report_failed=False, new_issues_fail=False)
    assert code == (0 if status.is_good else 1)
    assert not is_open(outcome)


def test_the_groups_are_these() -> None:
    """Which statuses started nothing, and of which a refresh may still run: what `retry` and lanes rely on."""
    assert {s for s in Status if s.started_nothing} == {
        *(Status.NOT_STARTED, Status.THROTTLED, Status.REJECTED, Status.ERROR),
    }
    assert {s for s in Status if s.end_unknown} == {Status.TIMED_OUT, Status.INTERRUPTED, Status.UNKNOWN}
    assert {s for s in Status if s.is_good} == {Status.SUCCEEDED, Status.ACCEPTED, Status.SKIPPED}
    assert {s for s in Status if s.was_refreshed} == {Status.SUCCEEDED, Status.ACCEPTED}
    assert {s for s in Status if s.says_nothing} == {Status.SKIPPED, Status.INTERRUPTED, Status.NOT_STARTED}
    assert {s for s in Status if s.is_failure} == {Status.FAILED, Status.NO_EFFECT, Status.REJECTED}


@pytest.mark.parametrize("word", ["", "melted", None, 7, *Status])
def test_a_stored_word_is_a_status_or_none(word: object) -> None:
    """The words that the journal holds are read as statuses; one that another version wrote is none."""
    assert known_status(word) == (word if word in list(Status) else None)
