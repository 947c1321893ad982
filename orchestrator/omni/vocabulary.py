"""What the server's words for a job's state mean; documentation, specification and live servers each use their own."""

from __future__ import annotations

import re

from orchestrator.omni.answers import JobState

WORD_CHARACTERS = 100
"""A status word is kept up to this length."""

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")

_SUCCEEDED = frozenset(
    {
        "COMPLETE",
        "COMPLETED",
        "COMPLETEDSUCCESSFULLY",
        "COMPLETEDWITHWARNINGS",
        "DONE",
        "FINISHED",
        "SUCCEED",
        "SUCCEEDED",
        "SUCCESS",
        "SUCCESSFUL",
        "SUCCESSFULLYCOMPLETED",
    }
)

_FAILED = frozenset(
    {
        "ABANDONED",
        "ABORT",
        "ABORTED",
        "CANCELED",
        "CANCELLED",
        "COMPLETEDWITHERRORS",
        "COMPLETEDWITHFAILURES",
        "CRASHED",
        "DEAD",
        "ERROR",
        "ERRORED",
        "EXPIRED",
        "FAIL",
        "FAILED",
        "FAILURE",
        "INTERRUPTED",
        "KILLED",
        "PARTIALLYFAILED",
        "REJECTED",
        "STOPPED",
        "TERMINATED",
        "TIMEDOUT",
        "TIMEOUT",
        "UNSUCCESSFUL",
    }
)


def job_state(word: str) -> JobState:
    """The state that `word` names, in any case, with any blanks, hyphens or underscores; unknown words still run."""
    letters = _NOT_ALPHANUMERIC.sub("", word).upper()
    if letters in _SUCCEEDED:
        return JobState.SUCCEEDED
    if letters in _FAILED:
        return JobState.FAILED
    return JobState.RUNNING


def shown_word(word: str) -> str:
    """The server's own word as answers keep it: upper case, without outer blanks, at most 100 characters."""
    return word.strip()[:WORD_CHARACTERS].upper()[:WORD_CHARACTERS]
