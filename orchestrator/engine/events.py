"""What a run reports while it works. The log, the live display and users of the Python API observe these events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.engine.outcome import Outcome, Status
from orchestrator.quota.rate_limiter import KeyHeld, KeySetAside, LimitChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run started over `targets` selected models of `instances` instances. `simulated`: against the simulator."""

    run_id: str
    manifest: str
    targets: int
    instances: int = 1
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContinued:
    """A run resumes or retries the run `origin`, which has `targets` targets: `to_send` of them are sent now, `to_check` have
    a job that is polled first.
    """

    run_id: str
    origin: str
    trigger: str
    manifest: str
    targets: int
    to_send: int
    to_check: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWaiting:
    """The run waits for another run of the same manifest and selection."""

    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestChanged:
    """The manifest changed since the run was planned; the original plan is used."""

    manifest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlanned:
    """The look-ups are done. `remarks` are warnings about the change that the run follows."""

    targets: int
    lanes: int
    skipped: int
    unresolved: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far the run is, every 30 s: targets with an outcome by status, and the expected seconds left (None: unknown)."""

    elapsed_s: float
    done: int
    total: int
    left_s: float | None
    statuses: Mapping[Status, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFinished:
    """A target has its outcome."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitsEnded:
    """Nothing more is submitted to any instance; `reason` is one word, such as `stopped` or `deadline`."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopping:
    """A stop was requested: the `running` refreshes are followed for `grace_s` seconds. `again`: a second request, the run
    stops at once. `signal` is the number of the signal that caused it, if one did.
    """

    signal: int | None
    grace_s: float = 0.0
    running: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneFailed:
    """A fault of this program ended one lane; the others continue."""

    instance: str
    lane: str
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneClosed:
    """A refresh of the lane may still run; what follows in it waits."""

    instance: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneWaiting:
    """The lane waits for another run or for a refresh that an earlier run left, `at_most_s` seconds at most (None: until
    the other run is done).
    """

    instance: str
    lane: str
    holder: str
    at_most_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveLane:
    """A lane whose refresh is being sent or has a job that runs, for live displays.

    `target` sends the refresh, which `serves` so many targets; `behind` more targets of the lane wait. `age_s` is the time
    since the job was accepted (None before that), `usual_s` how long such a job usually takes (None: unknown).
    """

    instance: str
    target: str
    serves: int
    age_s: float | None
    usual_s: float | None
    behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A call ended after `took_s` seconds: `end` is its HTTP status (`2xx` for any success) or the kind of its error.

    `target` is the target that the call is for, or the name or id that is looked up; None for a list or a probe.
    """

    instance: str
    purpose: str
    end: str
    took_s: float
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSilent:
    """Five calls in a row got no usable answer: nothing more is submitted until a small read answers."""

    instance: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceAnswers:
    """The instance answers again; submitting continues."""

    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGivenUp:
    """The instance stayed silent or was never reached; its targets that were not sent end here. The last error says why."""

    instance: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFailed:
    """The state cannot be used. `what` is `journal` (nothing more is submitted), `budget` (calls wait) or `state` (the run has
    not begun, and waits for it).
    """

    what: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWritten:
    """A report, a metrics file or a job summary was written."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFailed:
    """A report, a metrics file or a job summary could not be written. `fatal` is False for one that was not asked for."""

    path: str
    message: str
    fatal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSent:
    """A notification was sent."""

    channel: str
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFailed:
    """A notification could not be sent; the run's result stays."""

    channel: str
    condition: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The run ended. `next_commands` finish what is left, in the order in which to use them."""

    run_id: str
    exit_code: int
    duration_s: float
    next_commands: tuple[str, ...] = ()


RunEvent = (
    RunStarted
    | RunContinued
    | RunWaiting
    | ManifestChanged
    | RunPlanned
    | RunProgress
    | TargetFinished
    | SubmitsEnded
    | RunStopping
    | LaneFailed
    | LaneClosed
    | LaneWaiting
    | CallEnded
    | InstanceSilent
    | InstanceAnswers
    | InstanceGivenUp
    | StateFailed
    | ReportWritten
    | ReportFailed
    | NotificationSent
    | NotificationFailed
    | RunFinished
    | KeyHeld
    | KeySetAside
    | LimitChanged
)
"""Everything that an observer may receive."""

Observer = Callable[[RunEvent], None]
"""Receives each event at once, in the order in which they happen. It must not block and should not raise."""
