"""Why a target did not succeed: every `error.kind` with its hint, for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from orchestrator.engine.outcome import Failure, Outcome, Status
from orchestrator.omni.errors import CallError, CallErrorKind
from orchestrator.quota.rate_limiter import LimiterClosed, StopReason


class RunKind(StrEnum):
    """The kinds of failure that no single call explains. Those of calls are `orchestrator.omni.errors.CallErrorKind`."""

    JOB_FAILED = "job_failed"
    NO_EFFECT = "no_effect"
    TIMED_OUT = "timed_out"
    JOB_LOST = "job_lost"
    POLL_REFUSED = "poll_refused"
    POLL_FAILED = "poll_failed"
    UNRESOLVED = "unresolved"
    INSTANCE_DOWN = "instance_down"
    STOPPED = "stopped"
    FAIL_FAST = "fail_fast"
    DEADLINE = "deadline"
    LANE_CLOSED = "lane_closed"
    INTERNAL = "internal"


_HINTS: dict[str, str] = {
    CallErrorKind.DNS: "check base_url and this machine's name resolution",
    CallErrorKind.CONNECT: "check base_url, the network and the proxy settings; nothing was started",
    CallErrorKind.TLS: "nothing was started; correct this, then run again",
    CallErrorKind.PROXY: "check HTTPS_PROXY and NO_PROXY; nothing was started",
    CallErrorKind.REDIRECT: "set base_url to where the redirect points; redirects are not followed, so that the key goes to one address only",
    CallErrorKind.BAD_REQUEST: "the server rejected the request; correct the manifest's entry",
    CallErrorKind.FORBIDDEN: "the key needs Connection Admin, or Modeler if the connection has one shared model",
    CallErrorKind.NOT_FOUND: "check the model's id and the branch; a missing permission can look the same",
    CallErrorKind.CONFLICT: "another refresh seems to be running; check in Omni, then retry",
    CallErrorKind.URI_TOO_LONG: "shorten the scope, or refresh its schemas instead of its tables",
    CallErrorKind.REFUSED: "the server refused the call; its message says why",
    CallErrorKind.UNAVAILABLE: "the server is unavailable; retry later",
    CallErrorKind.THROTTLED: "something else uses this key's quota; use a separate key, or a longer deadline",
    CallErrorKind.KEY_REFUSED: "set it to a key that is valid at this address; Omni lists and makes keys under Settings, API keys",
    CallErrorKind.TIMEOUT: "the refresh may have started: check in Omni before you send it again, or raise request_timeout",
    CallErrorKind.CUT_OFF: "the refresh may have started: check in Omni before you send it again",
    CallErrorKind.SERVER_ERROR: "the refresh may have started: check in Omni before you send it again",
    CallErrorKind.UNREADABLE: "the answer does not say what was started: read the server's message, check base_url, and check in Omni whether a refresh is running",
    RunKind.JOB_FAILED: "the API gives no reason; Omni shows it under the connection's schema refreshes",
    RunKind.NO_EFFECT: "the server accepts names that match nothing: check the spelling, and whether the schema or table exists yet",
    RunKind.TIMED_OUT: "raise `timeout`, or run `omni-refresh retry`: it first checks whether the job has finished",
    RunKind.JOB_LOST: "the server no longer knows the job; check in Omni whether the refresh ended, then refresh again",
    RunKind.POLL_REFUSED: "this key may not read the job's status; the refresh itself was accepted",
    RunKind.POLL_FAILED: "the job could not be followed to its end; `omni-refresh retry` checks it first",
    RunKind.UNRESOLVED: "write the id",
    RunKind.INSTANCE_DOWN: "nothing was started for this target; retry when the instance answers",
    RunKind.STOPPED: "run `omni-refresh resume` to continue",
    RunKind.FAIL_FAST: "correct what failed, then retry",
    RunKind.DEADLINE: "run `omni-refresh resume` to continue, or use a longer deadline",
    RunKind.LANE_CLOSED: "retry after it has ended; Omni shows it under the connection's schema refreshes",
    RunKind.INTERNAL: "this is a bug in omni-refresh; please report it",
}

_REHEARSAL_HINTS: dict[str, str] = {
    CallErrorKind.CONFLICT: "another refresh seems to be running on this connection",
    CallErrorKind.UNAVAILABLE: "the server is unavailable",
    RunKind.TIMED_OUT: "raise `timeout`, or shorten the job in the scenario",
    RunKind.POLL_FAILED: "the job could not be followed to its end",
    RunKind.INSTANCE_DOWN: "nothing was started for this target: the instance did not answer for too long",
    RunKind.STOPPED: "a rehearsal that was stopped starts from the beginning",
    RunKind.FAIL_FAST: "correct what failed",
    RunKind.DEADLINE: "use a longer deadline",
    RunKind.LANE_CLOSED: "the result of the previous refresh of this connection is not known",
}
"""The hints in a simulated run, for kinds whose usual hint names commands that continue a real run."""

JOB_LEFT: str = "the job may still run; `resume` checks this job and does not start another"
"""The hint if a run was stopped while it followed a job."""

NO_DBT_SYNC: str = (
    "check the model and the branch; if both exist, this instance may not know the dbt sync: write `refresh: schema`"
)
"""The hint if the call for a dbt sync is not found."""

JOB_IN_THE_WAY: str = (
    "check the job in Omni; then retry after it has ended, wait for it with --on-overlap wait, or start the refresh"
    " anyway with --on-overlap proceed"
)
"""The hint if a job that an earlier run left blocks a refresh."""

_BRANCH_NEEDED = "branch_id is required"
_BRANCH_FORBIDDEN = "branch_id must not be provided", "branch_id is not allowed"


def make_failure(
    kind: str, message: str, *, http_status: int | None = None, last_status: str | None = None, hint: str | None = None
) -> Failure:
    """Return a failure with the hint of its kind, or the one for what the server said about branches."""
    if hint is None:
        hint = _HINTS.get(kind, "")
        if _BRANCH_NEEDED in message:
            hint = "this connection refreshes branches only: add `branch:` to the entry"
        elif any(words in message for words in _BRANCH_FORBIDDEN):
            hint = "this connection does not refresh branches: remove `branch:`; then the shared model is refreshed"
    return Failure(kind=kind, message=message, hint=hint, http_status=http_status, last_status=last_status)


_MISCONFIGURED: frozenset[str] = frozenset(
    {
        *(CallErrorKind.DNS, CallErrorKind.TLS, CallErrorKind.PROXY, CallErrorKind.REDIRECT, CallErrorKind.KEY_REFUSED),
        *(CallErrorKind.FORBIDDEN, CallErrorKind.BAD_REQUEST, CallErrorKind.NOT_FOUND, CallErrorKind.URI_TOO_LONG),
        *(CallErrorKind.REFUSED, RunKind.UNRESOLVED, RunKind.NO_EFFECT),
    }
)
_MISCONFIGURED_IF_UNANSWERED: frozenset[str] = frozenset(
    {CallErrorKind.CONNECT, CallErrorKind.TIMEOUT, RunKind.INSTANCE_DOWN}
)


def is_misconfigured(outcome: Outcome, outcomes: Sequence[Outcome]) -> bool:
    """Return whether a target failed because of the configuration: address, name, branch, scope, key, or request.

    An instance that did not answer counts if none of the run's `outcomes` shows an answer of it.
    """
    if outcome.error is None or outcome.status.end_unknown:
        return False
    if outcome.error.kind in _MISCONFIGURED_IF_UNANSWERED:
        return not any(other.instance == outcome.instance and _was_answered(other) for other in outcomes)
    return outcome.error.kind in _MISCONFIGURED


def _was_answered(outcome: Outcome) -> bool:
    return bool(outcome.job_ids) or (outcome.error is not None and outcome.error.http_status is not None)


def in_rehearsal(outcome: Outcome) -> Outcome:
    """Return the outcome of a simulated run: its hint names no command that would continue a real run."""
    error = outcome.error
    if error is None or error.kind not in _REHEARSAL_HINTS:
        return outcome
    return replace(outcome, error=replace(error, hint=_REHEARSAL_HINTS[error.kind]))


def failure_of_call(
    error: CallError, *, last_status: str | None = None, kind: str | None = None, keys: Sequence[str] = ()
) -> Failure:
    """Return the failure that one call's error explains. `keys` are the names of the keys that the call may have had."""
    failure = make_failure(kind or error.kind, error.message, http_status=error.http_status, last_status=last_status)
    names = ", ".join(filter(None, keys))
    if failure.hint != _HINTS[CallErrorKind.FORBIDDEN] or not names:
        return failure
    return replace(failure, hint=failure.hint.replace("the key", f"the key ({names})", 1))


CLOSED_WORDS: dict[StopReason, tuple[str, str]] = {
    StopReason.KEYS_REFUSED: (CallErrorKind.KEY_REFUSED, "the instance refused every key"),
    StopReason.THROTTLED: (CallErrorKind.THROTTLED, "every key got only 429 for half an hour"),
    StopReason.DOWN: (RunKind.INSTANCE_DOWN, "the instance did not answer"),
    StopReason.UNREACHABLE: (CallErrorKind.CONNECT, "no call ever reached the instance"),
    StopReason.STOPPED: (RunKind.STOPPED, "the run was stopped"),
    StopReason.STATE_LOST: (RunKind.STOPPED, "calls could not be counted any more"),
    StopReason.FAIL_FAST: (RunKind.FAIL_FAST, "the run stopped submitting after failures"),
    StopReason.DEADLINE: (RunKind.DEADLINE, "the run's deadline passed"),
    StopReason.LANES_CLOSED: (RunKind.LANE_CLOSED, "an earlier refresh of the same connection may still run"),
}


def closed_words(closed: LimiterClosed) -> tuple[str, str]:
    """Return the kind and the message of what was not sent because the rate limiter closed."""
    kind, message = CLOSED_WORDS[closed.reason]
    return closed.kind or kind, f"{message}: {closed.detail}" if closed.detail else message


def status_if_closed(reason: StopReason) -> Status:
    """Return the status of a target that was not sent because the rate limiter closed for this reason."""
    if reason is StopReason.THROTTLED:
        return Status.THROTTLED
    if reason in (StopReason.DOWN, StopReason.UNREACHABLE):
        return Status.ERROR
    return Status.NOT_STARTED
