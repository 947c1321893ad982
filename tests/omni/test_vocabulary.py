"""Words for a job's state: known ones in any spelling, unknown ones still run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.answers import JobState
from orchestrator.omni.job_answers import WORD_CHARACTERS, job_state, shown_word


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
    """An unknown word never ends a job."""
    assert job_state(word) is JobState.RUNNING


@pytest.mark.parametrize("word", ["COMPLETED", "success", "FAILED", "timed out"])
@pytest.mark.parametrize(
    "dress",
    [
        *(
            "!{}",
            "{}!",
            "{}.",
            "'{}'",
            "\u200b{}",
            "{}\u200b",
            "\ufeff{}",
            "{}\u2060",
            "_{}",
            "-{}",
            "{}\0",
            "\u202e{}",
        ),
        *("(un){}", "{}?", "NOT {}", "{}:", "{}%"),
    ],
)
def test_a_decorated_word_is_another_one(word: str, dress: str) -> None:
    """Only the word itself ends a job; one with anything added is not known."""
    assert job_state(dress.format(word)) is JobState.RUNNING


@pytest.mark.parametrize("word", ["ﬁnished", "ſuccess", "ＣＯＭＰＬＥＴＥＤ", "COMPLETEÐ", "COM_PLETED", "dOne\u0301"])
def test_a_word_that_only_looks_like_one_is_another_one(word: str) -> None:
    """Letters that only look like the word, or become it in upper case, do not end a job: neither as sent nor as kept."""
    assert job_state(word) is job_state(shown_word(word)) is JobState.RUNNING


@given(
    st.text(max_size=300)
    | st.sampled_from(["completed", "Failed"]).flatmap(lambda w: st.text(max_size=300).map(w.__add__))
)
def test_any_text_has_a_state_and_a_short_word(word: str) -> None:
    """Of any text a short line is kept, which means the same."""
    shown = shown_word(word)
    assert job_state(shown) is job_state(word)
    assert len(shown) <= WORD_CHARACTERS
    assert "\n" not in shown
    assert "\u200b" not in shown


@given(st.sampled_from(["completed", "failed", "timed out", "in progress"]))
def test_spelling_changes_nothing(word: str) -> None:
    """Case, hyphens, underscores and blanks between two words never change what they mean."""
    for separator in ("_", "-", " ", "  "):
        spelled = word.replace(" ", separator)
        assert {job_state(spelled), job_state(spelled.upper()), job_state(f"\t{spelled.title()}\n")} == {
            job_state(word)
        }
