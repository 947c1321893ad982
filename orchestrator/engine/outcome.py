"""What became of one target: the word, the facts behind it, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from orchestrator.manifest.manifest import Mode


class Status(StrEnum):
    """The word for an outcome, worst first, as reports list them (docs/reference/statuses-and-errors.md)."""

    UNKNOWN = "unknown"
    FAILED = "failed"
    NO_EFFECT = "no_effect"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    ERROR = "error"
    THROTTLED = "throttled"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not_started"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"

    @property
    def is_good(self) -> bool:
        """Whether a run with only such outcomes exits 0."""
        return self in (Status.SUCCEEDED, Status.ACCEPTED, Status.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a target did not succeed: `kind` for programs, the server's `message`, and a `hint` what to do.

    `message` is at most 2,000 characters. `last_status` is the job's last known word, where there was one.
    """

    kind: str
    message: str
    hint: str
    http_status: int | None = None
    last_status: str | None = None


WARNING: Final = "warning: "
"""How the line of a validation issue begins that is no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The model's validation issues that a refresh brought and those that it fixed, as one line of text each."""

    new: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    @property
    def has_new_errors(self) -> bool:
        """Whether the refresh brought an issue that is more than a warning."""
        return any(not line.startswith(WARNING) for line in self.new)


ANSWERED: Final = "answered"
"""How a call ended that was answered as it should be."""


class CallKind(StrEnum):
    """What a call was for."""

    REFRESH = "refresh"
    POLL = "poll"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMade:
    """One call. `number` counts all calls of the target, those that are not kept too. `end` is `answered` or the kind of
    failure (`orchestrator.omni.errors.Kind`), `word` the job's in the answer. `took_s` runs until its end (None: it was cut
    off), `wait_s` from there until the target's next call left (None: there was none).
    """

    number: int
    what: CallKind
    left_at: datetime
    end: str
    http_status: int | None = None
    word: str | None = None
    took_s: float | None = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one target. `attempts` and `polls` count calls that were not answered 429; `throttled` those that were.

    `submitted_at` is when the (first) refresh call left, `duration_s` runs from there until the end was seen, `queued_s`
    from the run's start until the call left; all None where nothing was sent. `covered_by` names the target whose refresh
    served this one. `calls` are this run's refresh calls and the polls that went wrong, the first few and the last.

    `usual_s` is the median of the model's earlier durations. `failing_since` is when the first run of the unbroken row
    began in which the target did not succeed, this one included; None where it did.
    """

    name: str
    instance: str
    model_id: str | None
    status: Status
    branch: str | None = None
    branch_id: str | None = None
    connection: str | None = None
    mode: Mode = Mode.HARD
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    covered_by: str | None = None
    job_ids: tuple[str, ...] = ()
    job_status: str | None = None
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    duration_s: float | None = None
    queued_s: float | None = None
    attempts: int = 0
    polls: int = 0
    throttled: int = 0
    warnings: tuple[str, ...] = ()
    promotion_pending: bool = False
    verified: bool | None = None
    validation: Validation | None = None
    previous_status: Status | None = None
    error: Failure | None = None
    calls: tuple[CallMade, ...] = ()
    usual_s: float | None = None
    failing_since: datetime | None = None
