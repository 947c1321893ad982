"""Answers about refreshes and jobs, read leniently: both casings of every field, both vocabularies, bare or wrapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.omni.answers import JobAnswer, JobState, RefreshAnswer
from orchestrator.omni.fields import UnreadableAnswer, as_object, read_object
from orchestrator.omni.vocabulary import job_state, shown_word

ID_CHARACTERS = 200
"""A job id longer than this is none."""

_WRAPPERS = ("job", "data", "result")
_STATUS_FIELDS = ("status", "jobstatus", "state")


def read_refresh(body: bytes) -> RefreshAnswer:
    """A 2xx answer to a refresh call: an empty body or any object means accepted, with or without a job id.

    Raises UnreadableAnswer for anything else: a page, a list, text: nobody knows who answered.
    """
    if not body.strip():
        return RefreshAnswer(job_id=None, state=JobState.RUNNING, word=None)
    levels = list(_levels(body))
    job_id = next((found for level in levels if (found := _job_id(level))), None)
    word = _status(levels)
    return RefreshAnswer(
        job_id=job_id,
        state=JobState.RUNNING if word is None else job_state(word),
        word=None if word is None else shown_word(word),
    )


def read_job(body: bytes) -> JobAnswer:
    """A 2xx answer to a poll. Raises UnreadableAnswer where it names no status in text."""
    word = _status(_levels(body))
    if word is None:
        raise UnreadableAnswer("the answer names no status")
    return JobAnswer(state=job_state(word), word=shown_word(word))


def _levels(body: bytes) -> Iterator[dict[str, object]]:
    """The object in `body` and those it wraps, each with its fields' names in one form: `jobId`, `job_id` -> `jobid`."""
    yield (top := _one_form(read_object(body)))
    for name in _WRAPPERS:
        fields = _one_form(as_object(top.get(name)))
        if name == "job":
            fields.setdefault("jobid", fields.get("id"))
        yield fields


def _one_form(value: dict[str, object]) -> dict[str, object]:
    return {name.replace("_", "").replace("-", "").lower(): field for name, field in value.items()}


def _job_id(fields: dict[str, object]) -> str | None:
    """The job's id as text: a number becomes its digits; blank, endless or unsendable ones are none."""
    found = fields.get("jobid")
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str):
        return None
    text = found.strip()
    return text if text and len(text) <= ID_CHARACTERS and text.isprintable() else None


def _status(levels: Iterable[dict[str, object]]) -> str | None:
    words = (level.get(name) for level in levels for name in _STATUS_FIELDS)
    return next((word for word in words if isinstance(word, str) and word.strip()), None)
