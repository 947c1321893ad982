"""A lane's gate: refreshes of one connection never overlap, not even those of other runs on this machine.

It is entered at the moment when a refresh call leaves, and left when the job has ended; nobody waits for it while holding
a turn at the door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from orchestrator.journal.owners import Holder
from orchestrator.journal.stored import Fate, LeftJob

_FIRST_LOOK_S = 0.1
_LONGEST_LOOK_S = 1.0


class Keeper(Protocol):
    """Who keeps the lanes' locks across runs, by instance (its name) and lane. None of the methods waits."""

    def take(self, instance: str, lane: str) -> Holder | None:
        """Take a lane; None where it is ours now, else who has it."""

    def give_back(self, instance: str, lane: str) -> None:
        """A lane is free for others again."""

    def holder(self, instance: str, lane: str) -> Holder | None:
        """Who else has a lane now."""

    def left_jobs(self, instance: str, lane: str) -> tuple[LeftJob, ...]:
        """Jobs that other runs left on a lane and that may still run."""

    def left_job_over(self, job: LeftJob, fate: Fate) -> None:
        """What became of such a job."""


class NoKeeper:
    """Every lane is free: for a run that is alone by its nature."""

    def take(self, instance: str, lane: str) -> Holder | None:
        """It is ours."""
        del instance, lane
        return None

    def give_back(self, instance: str, lane: str) -> None:
        """It is free."""

    def holder(self, instance: str, lane: str) -> Holder | None:
        """Nobody has it."""
        del instance, lane
        return None

    def left_jobs(self, instance: str, lane: str) -> tuple[LeftJob, ...]:
        """Nobody left any."""
        del instance, lane
        return ()

    def left_job_over(self, job: LeftJob, fate: Fate) -> None:
        """Nothing to keep."""


class GateShut(Exception):
    """Another run was quicker, or a job that another run left must be asked after first; the call has not left."""


class Gate:
    """One lane's gate in this run. `over` is set when nothing more is submitted; `waits` is told once whom it waits for."""

    def __init__(
        self, keeper: Keeper, *, instance: str, lane: str, over: asyncio.Event, waits: Callable[[Holder], None]
    ) -> None:
        self._keeper = keeper
        self._instance = instance
        self._lane = lane
        self._over = over
        self._waits = waits
        self._is_ours = False

    async def wait(self) -> tuple[LeftJob, ...]:
        """Wait until no other run has the lane, or nothing more is submitted anyway. The jobs that must be asked after
        before a refresh may leave; the lane is ours while that is done.
        """
        look_s, told = _FIRST_LOOK_S, False
        while not self._over.is_set():
            holder = None if self._is_ours else self._keeper.holder(self._instance, self._lane)
            if holder is None:
                left = self._keeper.left_jobs(self._instance, self._lane)
                if not left or self.try_enter():
                    return left
            elif not told:
                told = True
                self._waits(holder)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), look_s)
            look_s = min(_LONGEST_LOOK_S, look_s * 1.5)
        return ()

    def asked_after(self, job: LeftJob, fate: Fate) -> None:
        """What became of a job that another run left."""
        self._keeper.left_job_over(job, fate)

    def try_enter(self) -> bool:
        """Make the lane ours where it is free; whether it is ours."""
        if not self._is_ours:
            self._is_ours = self._keeper.take(self._instance, self._lane) is None
        return self._is_ours

    def enter(self, done: frozenset[int]) -> None:
        """A refresh call is about to leave. Raises `GateShut` where it may not; `done` are left jobs that were asked after."""
        was_ours = self._is_ours
        if not self.try_enter():
            raise GateShut
        if not was_ours and any(j.call not in done for j in self._keeper.left_jobs(self._instance, self._lane)):
            raise GateShut

    def leave(self) -> None:
        """Nothing of this run runs on the lane any more."""
        if self._is_ours:
            self._is_ours = False
            self._keeper.give_back(self._instance, self._lane)
