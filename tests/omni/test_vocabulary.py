"""Words for a job's state: known ones in any spelling, unknown ones still run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.answers import JobState
from orchestrator.omni.vocabulary import WORD_CHARACTERS, job_state, shown_word


@pytest.mark.parametrize(
    "word",
    ["COMPLETED", "completed", " Complete ", "SUCCESS", "succeeded", "Done", "FINISHED", "completed_successfully"],
)
def test_success_in_any_spelling(word: str) -> None:
    """A word for success ends the job well, in any case and with any blanks."""
    assert job_state(word) is JobState.SUCCEEDED


@pytest.mark.parametrize(
    "word",
    [
        *("FAILED", "failed", "Error", "errored", "CANCELLED", "canceled", "Aborted", "TIMED_OUT", "timed-out"),
        *("timed out", "KILLED", "REJECTED", "COMPLETED_WITH_ERRORS", "Partially Failed", "expired"),
    ],
)
def test_failure_in_any_spelling(word: str) -> None:
    """A final word that is not success ends the job badly."""
    assert job_state(word) is JobState.FAILED


@pytest.mark.parametrize(
    "word", ["RUNNING", "IN_PROGRESS", "queued", "Pending", "CANCELLING", "COMPLETING", "WARMING_UP", "", "完成", "0"]
)
def test_anything_else_still_runs(word: str) -> None:
    """A word that nobody knows never ends a job."""
    assert job_state(word) is JobState.RUNNING


@given(st.text(max_size=300))
def test_any_text_has_a_state_and_a_short_word(word: str) -> None:
    """No text is too odd; what is kept of it is bounded and upper case."""
    assert job_state(word) in JobState
    shown = shown_word(word)
    assert len(shown) <= WORD_CHARACTERS
    assert shown_word(shown) == shown.strip()[:WORD_CHARACTERS].upper()[:WORD_CHARACTERS]


@given(st.sampled_from(["completed", "failed", "timed out", "in progress"]))
def test_spelling_changes_nothing(word: str) -> None:
    """Case, hyphens, underscores and blanks never change what a word means."""
    for separator in ("_", "-", " ", "  "):
        spelled = word.replace(" ", separator)
        assert {job_state(spelled), job_state(spelled.upper()), job_state(f"\t{spelled.title()}\n")} == {
            job_state(word)
        }
