"""Waiting for the disk without holding up everybody: those who wait at the same time share one wait.

What `PRAGMA synchronous = FULL` does at each commit, done here for many commits at once: the write-ahead log is forced to
the disk before anybody goes on who depends on it. A checkpoint in between has forced it there already.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from orchestrator.journal.database import JournalError


class Syncing:
    """Forces one database's write-ahead log to the disk."""

    def __init__(self, database: Path) -> None:
        self._log = database.with_name(f"{database.name}-wal")
        self._database = database
        self._waiting: list[asyncio.Future[None]] = []
        self._work: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Until all that was committed so far is on the disk. Raises `JournalError` where that cannot be had."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._work is None:
            self._work = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
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
            descriptor = os.open(self._log if self._log.exists() else self._database, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            return JournalError(f"{self._database} cannot be forced to the disk: {error.strerror or error}")
        return None
