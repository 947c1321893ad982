"""Tells the log what happens in a run: stable events, one canonical line for each target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from orchestrator.log import Event, get_logger
from orchestrator.manifest.manifest import Instance
from orchestrator.omni.errors import CallError
from orchestrator.plan.plan import Lane, Plan
from orchestrator.quota.choice import Purpose
from orchestrator.quota.door import Closing, Door
from orchestrator.quota.key import KeyQuota
from orchestrator.run.outcome import Outcome, Status


class Narrator:
    """A run's watcher. `on_settled` is told of each outcome as well (a report that grows)."""

    def __init__(self, on_settled: Callable[[Outcome], None] | None = None) -> None:
        self._log = get_logger()
        self._on_settled = on_settled
        self.doors: dict[str, Door] = {}
        self.settled: Counter[Status] = Counter()
        self.total = 0
        self.ended: Closing | None = None

    def door_opened(self, instance: Instance, door: Door) -> None:
        """Calls to an instance go through this door."""
        self.doors[instance.name] = door

    def door_watcher(self, instance: Instance) -> DoorNarrator:
        """Who is told of what happens at an instance's door."""
        return DoorNarrator(instance.name)

    def planned(self, plan: Plan) -> None:
        """Look-ups are done."""
        self.total = len(plan.entries)
        self._log.info(
            Event.RUN_PLANNED,
            targets=len(plan.entries),
            lanes=len(plan.lanes),
            skipped=len(plan.skips),
            unresolved=len(plan.unresolved),
        )
        for remark in plan.remarks:
            self._log.warning(Event.CHANGE_NOTED, remark=remark)

    def target_settled(self, outcome: Outcome) -> None:
        """The canonical line of one target."""
        self.settled[outcome.status] += 1
        say = self._log.info if outcome.status.is_good else self._log.warning
        error = outcome.error
        say(
            Event.TARGET_SETTLED,
            target=outcome.name,
            instance=outcome.instance,
            model_id=outcome.model_id,
            branch=outcome.branch,
            status=outcome.status.value,
            covered_by=outcome.covered_by,
            job_ids=list(outcome.job_ids),
            queued_s=outcome.queued_s and round(outcome.queued_s, 3),
            duration_s=outcome.duration_s and round(outcome.duration_s, 3),
            attempts=outcome.attempts,
            polls=outcome.polls,
            throttled=outcome.throttled,
            **({} if error is None else {"kind": error.kind, "http_status": error.http_status, "error": error.message}),
        )
        if self._on_settled is not None:
            self._on_settled(outcome)

    def submits_ended(self, reason: Closing) -> None:
        """Nothing more is submitted."""
        self.ended = self.ended or reason
        self._log.warning(Event.SUBMITS_ENDED, reason=reason.value)

    def lane_broke(self, lane: Lane, error: BaseException) -> None:
        """A fault of this program."""
        self._log.error(Event.LANE_BROKE, instance=lane.instance, lane=lane.key, exc_info=error)

    def lane_waits(self, lane: Lane, what: str, at_most_s: float | None) -> None:
        """Another run of this machine has the lane, or left a refresh there that may still run."""
        self._log.info(
            Event.LANE_WAITED,
            instance=lane.instance,
            lane=lane.key,
            holder=what,
            **({} if at_most_s is None else {"at_most_s": round(at_most_s)}),
        )

    def call_ended(self, instance: str, purpose: Purpose, end: str, took_s: float) -> None:
        """One call, for whoever looks for a fault."""
        self._log.debug(
            Event.CALL_ENDED, instance=instance, purpose=purpose.name.lower(), end=end, took_s=round(took_s, 3)
        )

    def lane_closed(self, lane: Lane) -> None:
        """What follows in the lane waits."""
        self._log.info(Event.LANE_CLOSED, instance=lane.instance, lane=lane.key)

    def instance_silent(self, instance: str, error: CallError) -> None:
        """The breaker opened."""
        self._log.warning(Event.INSTANCE_LOST, instance=instance, kind=error.kind.value, error=error.message)

    def instance_answers(self, instance: str) -> None:
        """The breaker closed."""
        self._log.info(Event.INSTANCE_FOUND, instance=instance)

    def instance_given_up(self, instance: str, error: CallError) -> None:
        """The instance is silent for too long, or was never reached; `error` was heard last."""
        self._log.error(Event.INSTANCE_GIVEN_UP, instance=instance, kind=error.kind.value, error=error.message)

    def progress(self, elapsed_s: float, left_s: float | None = None) -> None:
        """A sign of life, with what is believed of the time left."""
        self._log.info(
            Event.RUN_PROGRESSED,
            elapsed_s=round(elapsed_s, 1),
            settled=self.settled.total(),
            total=self.total,
            **({} if left_s is None else {"left_s": round(left_s)}),
            **{status.value: self.settled[status] for status in Status if self.settled[status]},
        )


class DoorNarrator:
    """Tells what happens at one instance's door."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._log = get_logger()

    def key_held(self, key: KeyQuota, wait_s: float) -> None:
        """A 429."""
        self._log.warning(Event.KEY_HELD, instance=self._instance, key=key.label, wait_s=round(wait_s, 3))

    def key_refused(self, key: KeyQuota, *, left: int) -> None:
        """A 401."""
        say = self._log.warning if left else self._log.error
        say(Event.KEY_REFUSED, instance=self._instance, key=key.label, keys_left=left)

    def limit_learned(self, key: KeyQuota) -> None:
        """The server gives less than it was said to, or more again."""
        now = key.learned
        self._log.info(
            Event.LIMIT_LEARNED,
            instance=self._instance,
            key=key.label,
            told=now.told,
            learned=now.limit,
            burst=now.burst,
        )
