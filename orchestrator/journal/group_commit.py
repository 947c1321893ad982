"""Waiting for the disk without holding up everybody: those who wait at the same time share one wait.

What `PRAGMA synchronous = FULL` does at each commit, done here for many commits at once: the write-ahead log is forced to
the disk before any caller continues that depends on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from orchestrator.journal.database import JournalError


class GroupCommit:
    """Waits for the disk. `force` is called in another thread; it returns when what was committed before is on the disk."""

    def __init__(self, force: Callable[[], None]) -> None:
        self._force_now = force
        self._waiting: list[asyncio.Future[None]] = []
        self._work: asyncio.Task[None] | None = None
        self._is_due = False

    async def wait(self) -> None:
        """Wait until all that was committed so far is on the disk. Raises `JournalError` if that fails."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self.begin()
        await done

    def begin(self) -> None:
        """Begin to wait for the disk, if an event loop runs."""
        self._is_due = True
        if self._work is None:
            with contextlib.suppress(RuntimeError):
                self._work = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or self._is_due:
            batch, self._waiting, self._is_due = self._waiting, [], False
            error = await loop.run_in_executor(None, self._force)
            for done in batch:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
        self._work = None

    def _force(self) -> JournalError | None:
        try:
            self._force_now()
        except JournalError as error:
            return error
        return None
