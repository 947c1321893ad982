"""Why a target did not succeed, in words for programs and for people: every `error.kind` and its hint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from orchestrator.engine.outcome import Failure, Outcome, Status
from orchestrator.omni.errors import CallError, CallErrorKind
from orchestrator.quota.rate_limiter import LimiterClosed, StopReason

MESSAGE_LIMIT = 2000


class RunKind(StrEnum):
    """The kinds of failure that no single call explains; those of calls are `orchestrator.omni.errors.CallErrorKind`."""

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
    CallErrorKind.TLS: "trust a private authority with the instance's ca_file or with SSL_CERT_FILE; nothing was started",
    CallErrorKind.PROXY: "check HTTPS_PROXY and NO_PROXY; nothing was started",
    CallErrorKind.REDIRECT: "set base_url to where the redirect points; redirects are not followed, so that the key stays at home",
    CallErrorKind.BAD_REQUEST: "the server did not take the call as it is; correct the manifest's entry",
    CallErrorKind.FORBIDDEN: "the key needs Connection Admin, or Modeler where the connection has one shared model",
    CallErrorKind.NOT_FOUND: "check the model's id and the branch; a missing permission can look the same",
    CallErrorKind.CONFLICT: "another refresh seems to run; look in Omni, then retry",
    CallErrorKind.URI_TOO_LONG: "shorten the scope, or refresh its schemas instead of its tables",
    CallErrorKind.REFUSED: "the server refused the call; its words say why",
    CallErrorKind.UNAVAILABLE: "the server said that it is unavailable; retry later",
    CallErrorKind.THROTTLED: "something else uses this key's quota; give the run its own key or a longer deadline",
    CallErrorKind.KEY_REFUSED: "renew the API key; nothing more was sent with it",
    CallErrorKind.TIMEOUT: "the refresh may have been started: look in Omni before it is sent again, or raise request_timeout",
    CallErrorKind.CUT_OFF: "the refresh may have been started: look in Omni before it is sent again",
    CallErrorKind.SERVER_ERROR: "the refresh may have been started: look in Omni before it is sent again",
    CallErrorKind.UNREADABLE: "the answer does not say what was started: read the server's words, check base_url, and look in Omni whether a refresh runs",
    RunKind.JOB_FAILED: "the API gives no reason; Omni shows it under the connection's schema refreshes",
    RunKind.NO_EFFECT: "a name that matches nothing is no error to the server: check how it is written, and whether it is there yet",
    RunKind.TIMED_OUT: "the job may still run; look in Omni, raise `timeout`, or retry: a retry asks after the job first",
    RunKind.JOB_LOST: "the server does not know the job any more; look in Omni whether the refresh ended, then refresh again",
    RunKind.POLL_REFUSED: "the server does not let this key follow the job; the refresh itself was accepted",
    RunKind.POLL_FAILED: "the job could not be followed to its end; a retry asks after it first",
    RunKind.UNRESOLVED: "write the id",
    RunKind.INSTANCE_DOWN: "nothing was started for this target; retry when the instance answers",
    RunKind.STOPPED: "resume goes on with it",
    RunKind.FAIL_FAST: "mend what failed, then retry",
    RunKind.DEADLINE: "resume goes on with it; a longer deadline lets a run end by itself",
    RunKind.LANE_CLOSED: "retry when it has ended; Omni shows it under the connection's schema refreshes",
    RunKind.INTERNAL: "this is a fault of omni-refresh itself; please report it",
}

_REHEARSAL_HINTS: dict[str, str] = {
    CallErrorKind.CONFLICT: "another refresh seems to run on this connection",
    CallErrorKind.UNAVAILABLE: "the server said that it is unavailable",
    RunKind.TIMED_OUT: "the job did not end in time: raise `timeout`, or let the scenario's job take less",
    RunKind.POLL_FAILED: "the job could not be followed to its end",
    RunKind.INSTANCE_DOWN: "nothing was started for this target: the instance did not answer for too long",
    RunKind.STOPPED: "a rehearsal that was stopped begins anew",
    RunKind.FAIL_FAST: "correct what failed",
    RunKind.DEADLINE: "a longer deadline lets a run end by itself",
    RunKind.LANE_CLOSED: "what became of the refresh before it on this connection is not known",
}
"""The hints in a simulated run, of those kinds whose hint names commands that continue a real one."""

JOB_LEFT: str = "the job may still run; resume asks after it and starts no other"
"""The hint where a run was stopped while it followed a job."""

JOB_IN_THE_WAY: str = (
    "look at the job in Omni; retry when it has ended, wait for it with --on-overlap wait, or start the refresh beside it"
    " with --on-overlap proceed"
)
"""The hint if a job that an earlier run left is in the way of a refresh."""

_BRANCH_NEEDED = "branch_id is required"
_BRANCH_FORBIDDEN = "branch_id must not be provided", "branch_id is not allowed"


def make_failure(
    kind: str, message: str, *, http_status: int | None = None, last_status: str | None = None, hint: str | None = None
) -> Failure:
    """A failure with the hint that belongs to its kind, or to what the server said about branches."""
    if hint is None:
        hint = _HINTS.get(kind, "")
        if _BRANCH_NEEDED in message:
            hint = "this connection refreshes branches only: add `branch:` to the entry"
        elif any(words in message for words in _BRANCH_FORBIDDEN):
            hint = "this connection does not refresh branches: remove `branch:`, and know that the shared model is refreshed"
    return Failure(
        kind=kind, message=message[:MESSAGE_LIMIT], hint=hint, http_status=http_status, last_status=last_status
    )


_MISCONFIGURED: frozenset[str] = frozenset(
    {
        *(
            CallErrorKind.DNS,
            CallErrorKind.TLS,
            CallErrorKind.PROXY,
            CallErrorKind.REDIRECT,
            CallErrorKind.KEY_REFUSED,
            CallErrorKind.FORBIDDEN,
            CallErrorKind.BAD_REQUEST,
        ),
        *(
            CallErrorKind.NOT_FOUND,
            CallErrorKind.URI_TOO_LONG,
            CallErrorKind.REFUSED,
            RunKind.UNRESOLVED,
            RunKind.NO_EFFECT,
        ),
    }
)
_MISCONFIGURED_IF_UNANSWERED: frozenset[str] = frozenset(
    {CallErrorKind.CONNECT, CallErrorKind.TIMEOUT, RunKind.INSTANCE_DOWN}
)
_NOTHING_RUNS: frozenset[Status] = frozenset({Status.REJECTED, Status.ERROR, Status.NOT_STARTED, Status.NO_EFFECT})


def is_misconfigured(outcome: Outcome, outcomes: Sequence[Outcome]) -> bool:
    """Whether a target failed because of the configuration: address, name, branch, scope, key, or a refused request.

    An instance that did not answer counts if none of the run's `outcomes` shows an answer of it.
    """
    if outcome.error is None or outcome.status not in _NOTHING_RUNS:
        return False
    if outcome.error.kind in _MISCONFIGURED_IF_UNANSWERED:
        return not any(other.instance == outcome.instance and _was_answered(other) for other in outcomes)
    return outcome.error.kind in _MISCONFIGURED


def _was_answered(outcome: Outcome) -> bool:
    return bool(outcome.job_ids) or (outcome.error is not None and outcome.error.http_status is not None)


def in_rehearsal(outcome: Outcome) -> Outcome:
    """The outcome of a simulated run: its hint names no command that would continue a real run."""
    error = outcome.error
    if error is None or error.kind not in _REHEARSAL_HINTS:
        return outcome
    return replace(outcome, error=replace(error, hint=_REHEARSAL_HINTS[error.kind]))


def failure_of_call(error: CallError, *, last_status: str | None = None, kind: str | None = None) -> Failure:
    """The failure that one call's error explains."""
    return make_failure(kind or error.kind, error.message, http_status=error.http_status, last_status=last_status)


CLOSED_WORDS: dict[StopReason, tuple[str, str]] = {
    StopReason.KEYS_REFUSED: (CallErrorKind.KEY_REFUSED, "the instance refused every key"),
    StopReason.THROTTLED: (CallErrorKind.THROTTLED, "every key got nothing but 429 for half an hour"),
    StopReason.DOWN: (RunKind.INSTANCE_DOWN, "the instance did not answer"),
    StopReason.UNREACHABLE: (CallErrorKind.CONNECT, "no call ever reached the instance"),
    StopReason.STOPPED: (RunKind.STOPPED, "the run was stopped"),
    StopReason.STATE_LOST: (
        RunKind.STOPPED,
        "the state folder could not be used for 5 minutes, so that no call could be counted",
    ),
    StopReason.FAIL_FAST: (RunKind.FAIL_FAST, "the run stopped submitting after failures"),
    StopReason.DEADLINE: (RunKind.DEADLINE, "the run's deadline came"),
    StopReason.LANES_CLOSED: (RunKind.LANE_CLOSED, "an earlier refresh of the same connection may still run"),
}


def closed_words(closed: LimiterClosed) -> tuple[str, str]:
    """The kind and the message for what a closed door kept from being sent."""
    kind, message = CLOSED_WORDS[closed.reason]
    return closed.kind or kind, f"{message}: {closed.detail}" if closed.detail else message
