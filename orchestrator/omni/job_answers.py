"""Answers about refreshes and jobs: what a body says of the job itself, and nothing that its envelope says of the call.

The documented shapes are flat: `{jobId, modelId, status}` for a refresh, `{job_type, job_id, status}` for a poll. Both
spellings of each field are read, and objects that wrap these (`job`, `data`, `result` and the like). The innermost word is the
job's. An answer that contradicts itself, or whose words are about something else, ends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.manifest.manifest import RefreshKind
from orchestrator.omni.answers import JobAnswer, JobState, RefreshAnswer
from orchestrator.omni.fields import UnreadableAnswer, read_object
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


ID_CHARACTERS = 200
"""The most characters of a job id."""

Redact = Callable[[str], str]
"""Takes secrets out of a text."""

_JOB_WRAPPERS = ("job", "jobs")
_ENVELOPES = ("data", "response", "payload")
_WRAPPERS = (*_JOB_WRAPPERS, *_ENVELOPES, "result", "results")
_DEPTH = 4
_MOST_LAYERS = 50
_STATUS_FIELDS = ("jobstatus", "status", "state")
_ABOUT_A_JOB = ("jobid", "modelid", "jobtype")
_DECISIVE = frozenset({*_STATUS_FIELDS, *_ABOUT_A_JOB})
_FLAGS = ("success", "ok")
_ERRORS = ("error", "errors")
_CODES = ("status", "statuscode", "code")
_JOB_TYPES = {
    RefreshKind.SCHEMA: re.compile(r"refresh[ _-]?schema", re.IGNORECASE),
    RefreshKind.DBT_SYNC: re.compile(r"dbt[ _-]?sync", re.IGNORECASE),
}


def read_refresh(body: bytes, *, redact: Redact = str) -> RefreshAnswer:
    """Read a 2xx answer to a refresh call: a job id, a status that ends the job, or the documented status that it runs.

    A job id is enough: a poll says how the job ends. `word` is None if the answer's word is not for sure the job's; `redact`
    takes secrets out of it. Raises UnreadableAnswer for anything else, since then it is not known what was started.
    """
    if not body.strip():
        raise UnreadableAnswer("the answer is empty")
    layers = list(_layers(read_object(body)))
    ids = {found.lower(): found for layer in layers if (found := _usable_id(layer.job_id)) is not None}
    job_id = next(iter(ids.values())) if len(ids) == 1 else None
    word, is_running = _words_of_refresh(layers)
    if word is not None and len(ids) < 2:
        state = JobState.RUNNING if is_running else job_state(word)
        if job_id is not None or not is_running or says_running(word):
            return RefreshAnswer(job_id=job_id, state=state, word=shown_word(redact(word)))
    if job_id is not None:
        return RefreshAnswer(job_id=job_id, state=JobState.RUNNING, word=None)
    if len(ids) > 1:
        raise UnreadableAnswer("the answer names several jobs")
    if _is_error(layers):
        raise UnreadableAnswer("the answer is an error")
    raise UnreadableAnswer("the answer has no job id, and no status that says that the refresh runs or how it ended")


def read_job(
    body: bytes, *, job_id: str, kinds: Collection[RefreshKind] = (RefreshKind.SCHEMA,), redact: Redact = str
) -> JobAnswer:
    """Read a 2xx answer to a poll of `job_id`, which is a job of one of `kinds`.

    Raises UnreadableAnswer if the answer names another job, another type of job, or no status that is for sure the job's.
    """
    layers = list(_layers(read_object(body)))
    _require_ours(layers, job_id, kinds, redact)
    own, outer = _split(layers)
    words = own or [word for word in outer if says_running(word.text)]
    if not words:
        raise UnreadableAnswer("the answer names no status of the job")
    state = job_state(words[0].text)
    if _contradicts(state, words, outer, layers):
        raise UnreadableAnswer("the answer contradicts itself")
    if state is not JobState.RUNNING and any(_may_be_of_the_call(word) for word in words):
        raise UnreadableAnswer("the answer's status may be that of the call and not of the job")
    return JobAnswer(state=state, word=shown_word(redact(words[0].text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """An object of the answer: the whole one, or one that it wraps. `fields` have names in one form: `job_id` -> `jobid`.

    `job_id` is what the object calls its job's id, whatever that is; None if it names none.
    """

    fields: dict[str, object]
    depth: int
    job_id: object

    @property
    def is_about_a_job(self) -> bool:
        """Whether the object names a job, its model or its type, so that its status is not that of a call."""
        return self.job_id is not None or any(self.fields.get(name) for name in _ABOUT_A_JOB)

    @property
    def is_bare(self) -> bool:
        """Whether the object holds its status and nothing else."""
        return self.fields.keys() <= {*_STATUS_FIELDS, *_ABOUT_A_JOB}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """A status in text, with its layer; one field of a layer may be nearer to the job than another."""

    text: str
    layer: _Layer
    depth: float


def _layers(top: dict[str, object]) -> Iterator[_Layer]:
    """The answer's object and those that it wraps, outermost first."""
    waiting: list[tuple[dict[str, object], int, bool]] = [(top, 0, False)]
    for _ in range(_MOST_LAYERS):
        if not waiting:
            return
        value, depth, is_job = waiting.pop(0)
        fields = _one_form(value)
        job_id = _given(fields.get("jobid"))
        if job_id is None and is_job:
            job_id = _given(fields.get("id"))
        yield _Layer(fields=fields, depth=depth, job_id=job_id)
        if depth < _DEPTH:
            for name in _WRAPPERS:
                inner = fields.get(name)
                items = inner if isinstance(inner, list) else [inner]
                waiting.extend((item, depth + 1, name in _JOB_WRAPPERS) for item in items if isinstance(item, dict))
    if waiting:
        raise UnreadableAnswer("the answer is about too many things")


def _one_form(value: dict[str, object]) -> dict[str, object]:
    """The fields with names in one form. Raises UnreadableAnswer if two spellings of a decisive name disagree."""
    fields: dict[str, object] = {}
    for spelled, field in value.items():
        name = spelled.replace("_", "").replace("-", "").lower()
        before = _given(fields.get(name))
        if before is None:
            fields[name] = field
        elif name in _DECISIVE and _given(field) not in (None, before):
            raise UnreadableAnswer("the answer contradicts itself")
    return fields


def _given(value: object) -> object:
    """The value, or None for blank text."""
    return None if isinstance(value, str) and not value.strip() else value


def _split(layers: Sequence[_Layer]) -> tuple[list[_Word], list[_Word]]:
    """The words of the innermost layer that speaks of the job, and all that stand further out.

    A word outside the object that names the job is the envelope's, and so is one beside `data` if no job is named at all.
    """
    words = sorted((word for layer in layers for word in _words(layer)), key=lambda word: -word.depth)
    named = [layer.depth for layer in layers if layer.job_id is not None or _given(layer.fields.get("jobtype"))]
    enveloped = [layer.depth + 1 for layer in layers if _is_envelope(layer)]
    from_depth = max(named or enveloped or [0])
    innermost = words[0].depth if words and words[0].depth >= from_depth else None
    return [w for w in words if w.depth == innermost], [w for w in words if w.depth != innermost]


def _is_envelope(layer: _Layer) -> bool:
    wraps_a_job = any(isinstance(layer.fields.get(name), dict | list) for name in _JOB_WRAPPERS)
    return wraps_a_job or any(name in layer.fields for name in _ENVELOPES)


def _words(layer: _Layer) -> Iterator[_Word]:
    for name in _STATUS_FIELDS:
        text = layer.fields.get(name)
        if isinstance(text, str) and text.strip() and not text.strip().isdigit():
            yield _Word(text=text, layer=layer, depth=layer.depth + (0.5 if name == "jobstatus" else 0.0))


def _words_of_refresh(layers: Sequence[_Layer]) -> tuple[str | None, bool]:
    """The job's word in the answer to a refresh call, None if none is for sure the job's; and whether the job runs by it."""
    own, outer = _split(layers)
    if not own:
        return None, True
    text = own[0].text
    state = job_state(text)
    if _contradicts(state, own, outer, layers):
        return None, True
    if state is JobState.RUNNING:
        return (None, True) if _is_error(layers) else (text, True)
    is_named = any(layer.job_id is not None for layer in layers)
    about = is_named or all(word.layer.is_about_a_job or word.layer.is_bare for word in own)
    return (text, False) if about and not may_be_of_the_call(text) else (None, True)


def _contradicts(state: JobState, own: Sequence[_Word], outer: Sequence[_Word], layers: Sequence[_Layer]) -> bool:
    """Whether words as near to the job mean something else, or success stands beside anything that is none."""
    if any(job_state(word.text) is not state for word in own):
        return True
    if state is not JobState.SUCCEEDED:
        return False
    return _is_error(layers) or any(job_state(w.text) is JobState.FAILED or says_running(w.text) for w in outer)


def _is_error(layers: Sequence[_Layer]) -> bool:
    """Whether the answer says that something went wrong: an error, a flag that denies success, or an HTTP status from 400."""
    for layer in layers:
        codes = (layer.fields.get(name) for name in _CODES)
        if (
            any(layer.fields.get(name) for name in _ERRORS)
            or any(layer.fields.get(name) is False for name in _FLAGS)
            or any(_is_http_error(code) for code in codes)
        ):
            return True
    return False


def _is_http_error(code: object) -> bool:
    text = str(code).strip() if isinstance(code, int | str) and not isinstance(code, bool) else ""
    return text.isascii() and text.isdigit() and len(text) == 3 and text[0] in "45"


def _may_be_of_the_call(word: _Word) -> bool:
    """Whether a word that APIs say of calls stands where it may be meant so: beside other things, and beside no job."""
    return may_be_of_the_call(word.text) and not (word.layer.is_about_a_job or word.layer.is_bare)


def _usable_id(value: object) -> str | None:
    """A job's id as text: a number becomes its digits; blank, endless or unsendable ones are none."""
    text = _id_text(value)
    return text if text and len(text) <= ID_CHARACTERS and text.isprintable() else None


def _id_text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else None


def _require_ours(layers: Sequence[_Layer], job_id: str, kinds: Collection[RefreshKind], redact: Redact) -> None:
    """Raise UnreadableAnswer if the answer is about another job, or about a job of another type.

    If no job is named, an `id` beside a status counts as the job's.
    """
    ids = [layer.job_id for layer in layers if layer.job_id is not None]
    if not ids:
        ids = [
            found for layer in layers if any(_words(layer)) and (found := _given(layer.fields.get("id"))) is not None
        ]
    for found in ids:
        if (_id_text(found) or "").lower() != job_id.strip().lower():
            raise UnreadableAnswer(f"the answer is about another job, {_shown(redact(str(found)))}")
    for layer in layers:
        job_type = _given(layer.fields.get("jobtype"))
        text = job_type.strip() if isinstance(job_type, str) else ""
        if job_type is not None and not any(_JOB_TYPES[kind].fullmatch(text) for kind in kinds):
            raise UnreadableAnswer(f"the answer is about a job of another type, {_shown(redact(str(job_type)))}")


def _shown(text: str) -> str:
    return repr(clean(text[:ID_CHARACTERS]))
