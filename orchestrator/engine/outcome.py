"""The outcome of one target: its status, the facts behind it, and what to do. One definition for every place that keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Mode, RefreshKind
from orchestrator.values import DataError, Presence, as_data, from_data


class StatusGroup(StrEnum):
    """What a status says about the refresh. Every status belongs to one group (`Status.group`)."""

    GOOD = "good"
    FAILED = "failed"
    END_UNKNOWN = "end_unknown"
    REFUSED = "refused"
    NOT_SENT = "not_sent"


class Status(StrEnum):
    """The status of an outcome, worst first, as reports list them (docs/reference/statuses-and-errors.md)."""

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
    def group(self) -> StatusGroup:
        """The group that the status belongs to."""
        return _GROUPS[self]

    @property
    def words(self) -> str:
        """The status for people, for example `timed out`."""
        return self.value.replace("_", " ")

    @property
    def is_good(self) -> bool:
        """Whether a run with only such outcomes exits 0."""
        return self.group is StatusGroup.GOOD

    @property
    def end_unknown(self) -> bool:
        """Whether a refresh may have started whose end was not seen."""
        return self.group is StatusGroup.END_UNKNOWN

    @property
    def was_not_sent(self) -> bool:
        """Whether the target waited until the end and no call of it was sent."""
        return self.group is StatusGroup.NOT_SENT

    @property
    def started_nothing(self) -> bool:
        """Whether no refresh was started, because no call was sent or because it was refused."""
        return self.group in (StatusGroup.NOT_SENT, StatusGroup.REFUSED)

    @property
    def was_refreshed(self) -> bool:
        """Whether the server accepted or finished a refresh and nothing is known to have gone wrong."""
        return self.is_good and not self.says_nothing

    @property
    def is_failure(self) -> bool:
        """Whether the server refused the refresh, or the refresh was seen to fail. Every other bad status is an error."""
        return self.group is StatusGroup.FAILED or self is Status.REJECTED

    @property
    def says_nothing(self) -> bool:
        """Whether the status is no result of the target: it was left out, or its run stopped before the end."""
        return self in (Status.SKIPPED, Status.INTERRUPTED, Status.NOT_STARTED)


_GROUPS: Final = {
    Status.UNKNOWN: StatusGroup.END_UNKNOWN,
    Status.FAILED: StatusGroup.FAILED,
    Status.NO_EFFECT: StatusGroup.FAILED,
    Status.TIMED_OUT: StatusGroup.END_UNKNOWN,
    Status.REJECTED: StatusGroup.REFUSED,
    Status.ERROR: StatusGroup.REFUSED,
    Status.THROTTLED: StatusGroup.NOT_SENT,
    Status.INTERRUPTED: StatusGroup.END_UNKNOWN,
    Status.NOT_STARTED: StatusGroup.NOT_SENT,
    Status.ACCEPTED: StatusGroup.GOOD,
    Status.SUCCEEDED: StatusGroup.GOOD,
    Status.SKIPPED: StatusGroup.GOOD,
}


_BY_WORD: Final = {status.value: status for status in Status}


def known_status(word: object) -> Status | None:
    """Return the status that a stored word names; None if there is none, or another version wrote it."""
    return _BY_WORD.get(word) if isinstance(word, str) else None


MESSAGE_LIMIT: Final = 2000
"""The most characters of a server's message that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a target did not succeed. A longer message is cut."""

    kind: Annotated[str, "One word for programs; see the reference."]
    http_status: Annotated[int | None, "The answer's HTTP status, if there was an answer."] = None
    message: Annotated[str, "The server's words.", {"maxLength": MESSAGE_LIMIT}]
    hint: Annotated[str, "What to do."]
    last_status: Annotated[str | None, "The job's last known word, if there was a job."] = None

    def __post_init__(self) -> None:
        if len(self.message) > MESSAGE_LIMIT:
            object.__setattr__(self, "message", self.message[:MESSAGE_LIMIT])


WARNING: Final = "warning: "
"""The prefix of a validation issue that is only a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The validation issues that a refresh introduced and those that it fixed, one line of text each."""

    new: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentIssues:
    """A document with the issues that a refresh introduced in it, or that it fixed."""

    name: Annotated[str, "The document's name; its identifier if it has none."]
    identifier: Annotated[str | None, "What identifies it in its address: `/w/IDENTIFIER` on the instance."] = None
    folder: Annotated[str | None, "The path of its folder."] = None
    issues: Annotated[tuple[str, ...], "One line each: the query or filter, and what is wrong."] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The issues, each with the document's name."""
        return tuple(f"{self.name}: {issue}" for issue in self.issues)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentChanges:
    """The documents that a refresh broke and those that it repaired. The counts include documents that are not listed."""

    new: tuple[DocumentIssues, ...] = ()
    fixed: tuple[DocumentIssues, ...] = ()
    new_documents: Annotated[int, "How many documents have new issues."] = 0
    fixed_documents: Annotated[int, "How many documents have fixed issues."] = 0


ANSWERED: Final = "answered"
"""The end of a call that was answered as it should be."""


class CallKind(StrEnum):
    """What a call was for."""

    REFRESH = "refresh"
    POLL = "poll"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMade:
    """One call for a target."""

    number: Annotated[int, "Its place among all calls for the target, including those that are not listed."]
    what: CallKind
    left_at: datetime
    end: Annotated[str, "`answered`, or a kind as in an error."]
    http_status: Annotated[int | None, "The HTTP status of a call that went wrong."] = None
    word: Annotated[str | None, "The job's word in the answer."] = None
    took_s: Annotated[float | None, "Until its end; null if it was cut off."] = None
    wait_s: Annotated[float | None, "From its end until the target's next call; null if there was none."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one target.

    This is the only definition of an outcome: the journal's row, the report's document, its JSON Schema and the CSV are
    derived from it. A new field needs a default and `Presence.LATER`.
    """

    name: Annotated[str, "The target's label, unique in its manifest."]
    instance: str
    model_id: Annotated[str | None, "Null if the name was not found."]
    branch: Annotated[str | None, "The branch as the manifest names it."] = None
    branch_id: Annotated[str | None, "The branch's id as it was sent."] = None
    connection: Annotated[str | None, "The connection's id, or the label that the manifest gives it."] = None
    mode: Mode = Mode.HARD
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    status: Status
    covered_by: Annotated[str | None, "The name of the target whose refresh served this one."] = None
    job_ids: tuple[str, ...] = ()
    job_status: Annotated[str | None, "The job's last known word, as the server wrote it."] = None
    submitted_at: Annotated[datetime | None, "When the (first) refresh call left; null if none did."] = None
    finished_at: Annotated[datetime | None, "When the run saw the end."] = None
    duration_s: Annotated[float | None, "From submitted_at until the run saw the end."] = None
    queued_s: Annotated[float | None, "From the run's start until the refresh call left."] = None
    attempts: Annotated[int, "Refresh calls that were not answered 429."] = 0
    polls: Annotated[int, "Polls of the job that were not answered 429."] = 0
    throttled: Annotated[int, "Calls for this target that were answered 429."] = 0
    warnings: tuple[str, ...] = ()
    promotion_pending: Annotated[bool, "Whether the refreshed branch must still be promoted."] = False
    verified: Annotated[
        bool | None, "Whether the requested scope was seen in the model; null if it was not checked or is not known."
    ] = None
    validation: Annotated[Validation | None, "The validation issues that the refresh added and removed."] = None
    previous_status: Annotated[Status | None, "The status in the manifest's previous run."] = None
    error: Annotated[Failure | None, "Null if the target succeeded."] = None
    calls: Annotated[
        tuple[CallMade, ...],
        Presence.LATER,
        "This run's refresh calls and the polls that went wrong: the first few and the last.",
    ] = ()
    usual_s: Annotated[
        float | None, Presence.LATER, "The median duration of the model's refreshes in earlier runs."
    ] = None
    failing_since: Annotated[
        datetime | None, Presence.LATER, "Start of the first run in the current streak of failures."
    ] = None
    usual_runs: Annotated[int, Presence.LATER, "How many earlier durations usual_s is the median of."] = 0
    refresh: Annotated[RefreshKind, Presence.LATER, "What was refreshed: the schema, or only the metadata of dbt."] = (
        RefreshKind.SCHEMA
    )
    recent: Annotated[
        tuple[Status, ...], Presence.LATER, "The target's last ten results in earlier runs, oldest first."
    ] = ()
    content: Annotated[
        ContentChanges | None,
        Presence.LATER,
        "The documents that the refresh broke and repaired; null if they were not read, or are not known.",
    ] = None

    @property
    def new_issues(self) -> tuple[str, ...]:
        """The issues that the refresh introduced, one line each, whatever was verified."""
        found = self.validation.new if self.validation is not None else ()
        return (*found, *(line for document in self.content.new for line in document.lines)) if self.content else found

    @property
    def fixed_issues(self) -> tuple[str, ...]:
        """The issues that the refresh fixed, one line each, whatever was verified."""
        found = self.validation.fixed if self.validation is not None else ()
        return (
            (*found, *(line for document in self.content.fixed for line in document.lines)) if self.content else found
        )

    @property
    def has_new_errors(self) -> bool:
        """Whether the refresh introduced an issue that is more than a warning."""
        return any(not line.startswith(WARNING) for line in self.new_issues)


def make_row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON data: an element of the report's `outcomes`, a line of `.jsonl`, a row of the journal."""
    row: dict[str, Any] = as_data(outcome, decimals=3)
    return row


def parse_row(row: object) -> Outcome:
    """Return the outcome that a row stands for. Raises UsageError with what is wrong."""
    try:
        return from_data(Outcome, row)
    except DataError as error:
        raise UsageError(f"not an outcome: {error}", code="unreadable-report") from None
