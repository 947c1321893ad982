"""Keeps the lanes' locks across the runs of this machine, and knows what other runs left on them."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.clock import Clock
from orchestrator.journal.locks import Locks, lane_lock
from orchestrator.journal.owners import Holder
from orchestrator.journal.steps import Steps
from orchestrator.journal.stored import Fate, LeftJob


class LaneKeeper:
    """A run's keeper. `base_urls` are those of the instances: the same connection has the same lock in every manifest."""

    def __init__(self, locks: Locks, steps: Steps, *, base_urls: Mapping[str, str], clock: Clock) -> None:
        self._locks = locks
        self._steps = steps
        self._base_urls = base_urls
        self._clock = clock

    def take(self, instance: str, lane: str) -> Holder | None:
        """Take a lane; None where it is ours now, else who has it."""
        return self._locks.take(self._name(instance, lane), since=self._clock.utcnow())

    def give_back(self, instance: str, lane: str) -> None:
        """A lane is free for others again."""
        self._locks.give_back(self._name(instance, lane))

    def holder(self, instance: str, lane: str) -> Holder | None:
        """Who else has a lane now."""
        return self._locks.holder(self._name(instance, lane))

    def left_jobs(self, instance: str, lane: str) -> tuple[LeftJob, ...]:
        """Jobs that other runs left on a lane less than a day ago and that may still run."""
        return self._steps.left_jobs(self._base_urls[instance], lane)

    def left_job_over(self, job: LeftJob, fate: Fate) -> None:
        """What became of such a job."""
        self._steps.left_job_over(job.call, fate)

    def _name(self, instance: str, lane: str) -> str:
        return lane_lock(self._base_urls[instance], lane)
