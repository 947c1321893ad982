"""`OmniRunTrigger`: follows the jobs that a deferred task left, in Airflow's triggerer."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from orchestrator.airflow.hook import OmniHook, StateHook
from orchestrator.clock import real_clock

if TYPE_CHECKING:
    from orchestrator.engine.events import RunEvent

LOOK_EVERY_S: Final = 10.0


class OmniRunTrigger(BaseTrigger):
    """Follows the jobs of the run `run_id` to their end; submits nothing that the task did not leave.

    Airflow may start a trigger twice, stop it and start it elsewhere. Only one process works on a run: another copy waits,
    and continues if the first one dies. `deadline_at` is in seconds since the epoch. The event says that the run may have
    ended, or what prevented it; how it ended is in the state.
    """

    def __init__(
        self, *, run_id: str, state_conn_id: str, omni_conn_id: str | None, deadline_at: float | None = None
    ) -> None:
        super().__init__()
        self.run_id = run_id
        self.state_conn_id = state_conn_id
        self.omni_conn_id = omni_conn_id
        self.deadline_at = deadline_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments: plain values, which every version of Airflow can store."""
        arguments = {
            "run_id": self.run_id,
            "state_conn_id": self.state_conn_id,
            "omni_conn_id": self.omni_conn_id,
            "deadline_at": self.deadline_at,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the run has ended, or when this trigger can do nothing more for it."""
        from orchestrator.airflow.task_run import short_text
        from orchestrator.errors import LockedError, OmniRefreshError

        error = None
        waits = False
        while True:
            try:
                await self._follow()
                break
            except LockedError as locked:
                if not waits:
                    self.log.info("%s: this copy of the trigger waits", locked)
                waits = True
            except OmniRefreshError as failure:
                error = short_text(failure)
                break
            if self._left_s() == 0:
                error = "the deadline passed while another process worked on the run"
                break
            await asyncio.sleep(LOOK_EVERY_S)
        yield TriggerEvent({"run_id": self.run_id, "error": error})

    def _left_s(self) -> float | None:
        """Return the seconds until the deadline; None if there is none."""
        return None if self.deadline_at is None else max(0.0, self.deadline_at - real_clock().utcnow().timestamp())

    async def _follow(self) -> None:
        """Follow the run in a thread: nothing that it does can block the triggerer's loop. A cancellation leaves the jobs."""
        from orchestrator import api
        from orchestrator.airflow.task_run import BackgroundRun, log_event

        loop, here = asyncio.get_running_loop(), contextvars.copy_context()
        environ, state = await OmniHook.aenviron(self.omni_conn_id), await StateHook.aurl(self.state_conn_id)
        left_s = self._left_s()

        def observe(event: RunEvent) -> None:
            # in the loop's thread and with its context, which says whose log this is
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(log_event, self.log, event, context=here)

        run = BackgroundRun(
            lambda _: api.resume(
                self.run_id,
                # the reports are written where the task's worker is
                report=(),
                deadline=None if left_s is None else max(1.0, left_s),
                grace=0.1,
                detach="stopped",
                state=state,
                environ=environ,
                on_event=observe,
            )
        )
        try:
            await asyncio.shield(asyncio.wrap_future(run.ended))
        except asyncio.CancelledError:
            run.stop()
            # the lease is given back before another copy is started
            await asyncio.wait([asyncio.wrap_future(run.ended)])
            raise
