"""What the server's words for a job's state mean; documentation, specification and live servers each use their own."""

from __future__ import annotations

import re

from orchestrator.omni.answers import JobState
from orchestrator.text import clean

WORD_CHARACTERS = 100
"""A status word is kept up to this length."""

_SEPARATORS = re.compile(r"[\s_-]+")


def _spellings(*phrases: str) -> frozenset[str]:
    """Each phrase with underscores between its words, and without any separator."""
    return frozenset(p.replace(" ", separator) for p in phrases for separator in ("", "_"))


_SUCCEEDED = _spellings(
    *("COMPLETE", "COMPLETED", "COMPLETED SUCCESSFULLY", "COMPLETED WITH WARNINGS", "SUCCESSFULLY COMPLETED"),
    *("DONE", "FINISHED", "SUCCEED", "SUCCEEDED", "SUCCESS", "SUCCESSFUL"),
)

_FAILED = _spellings(
    *("COMPLETED WITH ERRORS", "COMPLETED WITH FAILURES", "PARTIALLY FAILED", "TIMED OUT", "TIMEOUT", "UNSUCCESSFUL"),
    *("ABANDONED", "ABORT", "ABORTED", "CANCELED", "CANCELLED", "CRASHED", "DEAD", "ERROR", "ERRORED", "EXPIRED"),
    *("FAIL", "FAILED", "FAILURE", "INTERRUPTED", "KILLED", "REJECTED", "STOPPED", "TERMINATED"),
)

_RUNNING = _spellings(
    *("RUNNING", "IN PROGRESS", "QUEUED", "PENDING", "STARTED", "STARTING", "PROCESSING", "SCHEDULED", "WAITING"),
)

_OF_CALLS = frozenset({"SUCCESS", "SUCCESSFUL", "SUCCEEDED", "DONE", "ERROR", "FAIL", "FAILURE", "REJECTED"})


def job_state(word: str) -> JobState:
    """Return the state that `word` names; a word that is not known means that the job still runs.

    Case, outer blanks and the separator between two words do not matter. Anything else that is added to a word makes it
    another one: `!COMPLETED` is not known.
    """
    plain = _plain(word)
    if plain in _SUCCEEDED:
        return JobState.SUCCEEDED
    if plain in _FAILED:
        return JobState.FAILED
    return JobState.RUNNING


def says_running(word: str) -> bool:
    """Return whether `word` is a known word for a job that has not ended."""
    return _plain(word) in _RUNNING


def may_be_of_the_call(word: str) -> bool:
    """Return whether APIs use `word` for the result of a call, so that it is not for sure a job's.

    The vendor's specification knows `running`, `completed` and `failed` in the answer to a refresh call.
    """
    return _plain(word) in _OF_CALLS


def shown_word(word: str) -> str:
    """Return the server's word as answers keep it: one line, at most 100 characters, in upper case if it is ASCII.

    It names the same state as `word`: a word that is cut ends with an ellipsis, and the upper case of other letters may be a
    known word that `word` is not.
    """
    text = clean(word.strip()[: 10 * WORD_CHARACTERS])
    if len(text) > WORD_CHARACTERS:
        text = text[: WORD_CHARACTERS - 1] + "…"
    return text.upper() if text.isascii() else text


def _plain(word: str) -> str:
    """The word as the sets above spell it; empty if it is not ASCII."""
    text = word.strip()
    return _SEPARATORS.sub("_", text).upper() if text.isascii() else ""
