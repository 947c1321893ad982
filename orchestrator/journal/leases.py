"""The running processes of several machines: each has a lease in the store, which a thread renews.

A process that has not renewed its lease for 20 s sends nothing (the fence). One that was silent for 30 s counts as dead for
the others: then its locks are free, and its calls count for one window more. Between the two lies what a call may need to
reach the server. The observer's own monotonic clock measures how long another process was silent; the time before it first
looked counts only if two clocks agree on it (`orchestrator.journal.moments`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, Self

from orchestrator.journal.database import NO_PATIENCE, Database, JournalError, Patience, StoreUnreachable, T
from orchestrator.journal.layout import SHARED
from orchestrator.journal.moments import StoreMoment
from orchestrator.journal.postgres import PostgresDatabase
from orchestrator.journal.postgres_link import StoreClock
from orchestrator.journal.processes import OwnerLost, ProcessRecord

BEAT_S: Final = 10.0
FENCE_S: Final = 20.0
LEASE_S: Final = 30.0
RETURN_S: Final = 5.0
"""How long other processes have to come back after the store was away, before a silent one counts as dead."""

_RETRY_S: Final = 1.0
_THREADS: Final = 4


class LeasedProcess(ProcessRecord):
    """A process that shares a PostgreSQL store with others, on several machines.

    `ask` and `soon` use threads, each with a connection of its own. So does the heartbeat, which also writes which calls are
    over and notices dead processes.
    """

    shares_clock = False

    def __init__(self, url: str, *, now: Callable[[], float], patience: Patience, clock: StoreClock) -> None:
        self._url = url
        self._patience = patience
        self._clock = clock
        self._main = self._open(patience)
        super().__init__(self._main, token=secrets.token_hex(8), now=now)
        self._opened: list[PostgresDatabase] = []
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="omni-refresh-state")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._renewed_s = self._contact_s = clock.uptime()
        self._is_lost = False
        self._away_since: float | None = None
        self._first_seen: dict[tuple[str, int], float] = {}

    @classmethod
    def enter(
        cls,
        url: str,
        *,
        run: str,
        since: datetime,
        now: Callable[[], float],
        patience: Patience = NO_PATIENCE,
        clock: StoreClock | None = None,
        beats: bool = True,
    ) -> Self:
        """Register this process as at work on `run`. With `beats` a thread renews its lease. Raises `JournalError`."""
        self = cls(url, now=now, patience=patience, clock=clock or StoreClock())
        try:
            self._register(run, since)
            if self._silent(self._main):
                # if the store was away, they come back within moments; if they are dead, that is certain then
                waited_s = 0.0
                while waited_s < RETURN_S and not patience.stopped():
                    patience.sleep(0.25)
                    waited_s += 0.25
                self._contact_s = self._clock.uptime() - RETURN_S
                self.reap_dead()
        except BaseException:
            self._close()
            raise
        if beats:
            self._thread = threading.Thread(target=self._beat_on, name="omni-refresh-heartbeat", daemon=True)
            self._thread.start()
        return self

    @property
    def losses(self) -> int:
        """Count changes of the server's history, too: rows may be lost then."""
        return self.lost_rows + self._clock.changes

    def moment(self) -> StoreMoment:
        """Return the present moment: the store's clock at the last contact, and the time since then."""
        return self._clock.moment()

    async def ask(self, question: Callable[[Database], T]) -> T:
        """Answer in a thread: the store may be slow."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)

    def _answer(self, question: Callable[[Database], T]) -> T:
        if self._is_lost:
            raise OwnerLost
        try:
            answer = question(self._database())
        except StoreUnreachable as error:
            now = self._clock.uptime()
            self._away_since = now if self._away_since is None else self._away_since
            if now - self._away_since >= self._patience.store_s:
                raise JournalError(
                    f"{self._main.name} could not be used for {self._patience.store_s:g} s", code=error.code
                ) from None
            raise
        self._away_since = None
        return answer

    def soon(self, act: Callable[[Database], None]) -> None:
        """Do `act` in a thread."""

        def do() -> None:
            with contextlib.suppress(JournalError):
                act(self._database())

        with contextlib.suppress(RuntimeError):
            self._threads.submit(do)

    def may_send(self) -> bool:
        """Return whether the lease was renewed within the fence."""
        return not self._is_lost and self._clock.uptime() - self._renewed_s < FENCE_S

    def was_away(self) -> bool:
        """Return whether the lease was not renewed in time."""
        return self._clock.uptime() - self._renewed_s >= LEASE_S

    def beat(self) -> bool:
        """Renew the lease, write what others should know, and free what the dead held; False if the lease is lost.

        Raises `JournalError` if the store cannot be used.
        """
        database, asked_s = self._database(), self._clock.uptime()
        with database.write(shared=True) as transaction:
            moment = self.moment()
            sql = "UPDATE owners SET beats = beats + 1, beat_s = ?, beat_mark = ? WHERE token = ?"
            self._is_lost = not transaction.execute(sql, (moment.at_s, moment.mark, self.token)).rowcount
        if self._is_lost:
            return False
        self._renewed_s = asked_s
        for act in self.on_beat:
            act(database)
        self.reap_dead(database=database)
        return True

    def leave(self) -> None:
        """Give everything back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._give_everything_back()
        self._close()

    def _close(self) -> None:
        for database in (self._main, *self._opened):
            database.close()

    def _open(self, patience: Patience) -> PostgresDatabase:
        """Open a connection. The caller of a thread retries what fails there, so a thread has no patience of its own."""
        return PostgresDatabase.open(self._url, SHARED, patience, self._clock)

    def _database(self) -> PostgresDatabase:
        """Return this thread's own connection."""
        database: PostgresDatabase | None = getattr(self._local, "database", None)
        if database is None:
            database = self._local.database = self._open(NO_PATIENCE)
            self._opened.append(database)
        return database

    def _beat_on(self) -> None:
        wait_s, has_failed = self.pause_s(), False
        while not self._stop.wait(wait_s):
            try:
                if not self.beat():
                    return
            except JournalError:
                wait_s, has_failed = _RETRY_S, True
                continue
            if has_failed:
                self._contact_s, has_failed = self._clock.uptime(), False
            wait_s = self.pause_s()

    def pause_s(self) -> float:
        """Return the time until the next heartbeat. It comes early if a lease ends before, so that its death is noticed then."""
        up_s = self._clock.uptime()
        left = (first_s + LEASE_S - up_s for first_s in self._first_seen.values())
        return max(_RETRY_S, min([BEAT_S, *(left_s for left_s in left if left_s > 0)]))

    def _dead(self, database: Database) -> list[tuple[str, int]]:
        if self._clock.uptime() - self._contact_s < RETURN_S:
            return []
        return self._silent(database)

    def _silent(self, database: Database) -> list[tuple[str, int]]:
        """Return the other processes that have not shown for the length of a lease that they are alive."""
        rows = database.read("SELECT token, beats, beat_s, beat_mark FROM owners WHERE token != ?", (self.token,))
        moment, up_s = self.moment(), self._clock.uptime()
        seen = {}
        silent = []
        for token, beats, beat_s, mark in rows:
            first_s = self._first_seen.get((token, beats), up_s - (moment.age_s(beat_s, mark) or 0.0))
            seen[token, beats] = first_s
            if up_s - first_s >= LEASE_S:
                silent.append((token, beats))
        self._first_seen = seen
        return silent
