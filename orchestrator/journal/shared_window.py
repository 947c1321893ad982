"""One key's window, shared by all runs of this machine, exactly: each call is counted for everybody before it leaves.

The promise is that of a window in memory (`orchestrator.quota.window`): a call counts from the moment it leaves until one
window after its answer. Here it counts for every process. Moments are the machine's monotonic clock, the same for all.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import sys
from collections.abc import Callable
from typing import Final

from orchestrator.journal.database import JournalError
from orchestrator.journal.processes import ProcessRecord
from orchestrator.quota.window import GRAIN_S, CallWindow, LedgerLost, span_s

# the states of a call
_LEFT, _ANSWERED = 1, 2

_OTHERS: Final = (
    "SELECT (SELECT count(*) FROM calls WHERE key = ? AND owner < ? AND (state < 2 OR answered_s > ?))"
    " + (SELECT count(*) FROM calls WHERE key = ? AND owner > ? AND (state < 2 OR answered_s > ?))"
)
_LOOK_AGAIN_S: Final = 0.1
_LONGEST_LOOK_S: Final = 1.0
_BURY_EVERY_S: Final = 0.25
_STAND_BACK_S: Final = 0.1
_WAITING_FOR_S: Final = 0.5
_SWEEP_EVERY: Final = 64

PATIENCE_S: Final = 300.0
"""How long calls wait for a file that cannot be used, in seconds."""

# a short wait for another writer: whoever asks does so again, and the loop must not stand still meanwhile
_BUSY_S: Final = 0.05
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 1.0
_TELL_AFTER_S: Final = 5.0
_UNBROKEN_S: Final = 30.0


def key_name(secret: str, salt: bytes) -> str:
    """What a key is known by in the state folder: a salted hash, never itself."""
    return hmac.new(salt, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


class SharedWindow:
    """A ledger over the state folder's file. `requests` a window of `per_s` seconds belong to the key as a whole; a smaller
    limit that a caller names is then its own share of them.

    `own` counts the calls of this process with the key. If the file cannot be used (locked, full disk), no call leaves,
    because the other runs would not know of it: `broke` hears of it once, calls wait, and after `PATIENCE_S` `room_at`
    raises `LedgerLost`. Answers that come meanwhile are written when the file can be used again.
    """

    def __init__(
        self,
        owner: ProcessRecord,
        *,
        key: str,
        requests: int,
        per_s: float,
        shared: bool,
        own: CallWindow,
        broke: Callable[[JournalError], None],
    ) -> None:
        self._owner = owner
        self._database = owner.database
        self._key = key
        self._requests = requests
        self._span_s = span_s(per_s)
        self._shared = shared
        self._own = own
        self._broke = broke
        self._rows: dict[int, int] = {}
        self._calls = 0
        self._stood_back_since: float | None = None
        self._backlog: list[tuple[str, tuple[object, ...]]] = []
        self._lost_since: float | None = None
        self._failed_at = float("-inf")
        self._retry_at = float("-inf")
        self._retry_s = _FIRST_RETRY_S
        self._is_told = False
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO keys (key, longest_s) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET"
                " longest_s = max(longest_s, excluded.longest_s)",
                (key, self._span_s),
            )

    def room_at(self, now: float, limit: int) -> float | None:
        """Return when the next call may leave, as far as that is known; None if it depends on an answer to this process."""
        if self._lost_since is not None and self._failed_at - self._lost_since > PATIENCE_S:
            raise LedgerLost("the log of calls that runs of this machine share cannot be used")
        if now < self._retry_at:
            return self._retry_at
        try:
            self._write_backlog()
            return self._room_at(now, limit)
        except JournalError as error:
            self._failed(now, error)
            return self._retry_at

    def leave(self, now: float, limit: int) -> int | None:
        """Count a call that leaves now; its number, or None if there is no room any more or it cannot be counted."""
        if now < self._retry_at:
            return None
        try:
            self._write_backlog()
            row = self._leave(now, limit)
        except JournalError as error:
            self._failed(now, error)
            return None
        self._worked()
        if row is None:
            return None
        call = self._own.leave(now, sys.maxsize)
        if call is not None:
            self._rows[call] = row
        return call

    def answered(self, call: int, now: float) -> None:
        """The call was answered or given up now; it counts for one window more."""
        self._own.answered(call, now)
        row = self._rows.pop(call, None)
        if row is not None:
            sql = "UPDATE calls SET state = ?, answered_s = ?, boot = ? WHERE id = ?"
            self._write(sql, (_ANSWERED, now, self._owner.boot, row))

    def unsent(self, call: int) -> None:
        """The call never left: it does not count."""
        self._own.unsent(call)
        row = self._rows.pop(call, None)
        if row is not None:
            self._write("DELETE FROM calls WHERE id = ?", (row,))

    def counted(self, now: float) -> int:
        """Return how many calls count now, those of other runs included as far as they can be read."""
        try:
            return self._count(now)[0]
        except JournalError:
            return self._own.counted(now)

    def hold(self, until: float, now: float) -> None:
        """No call of the key may leave before `until`, in no run of this machine."""
        self._own.hold(until, now)
        self._write(
            "INSERT INTO holds (key, until_s, wait_s, boot) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
            " until_s = excluded.until_s, wait_s = excluded.wait_s, boot = excluded.boot"
            " WHERE excluded.until_s > holds.until_s",
            (self._key, until, until - now, self._owner.boot),
        )

    def held_until(self, now: float) -> float:
        """Return the moment before which no call of the key may leave, whichever run it was that heard so."""
        try:
            return max(self._own.held_until(now), self._held_until())
        except JournalError:
            return self._own.held_until(now)

    def _held_until(self) -> float:
        ((held_until, gap_s),) = self._database.read(
            "SELECT (SELECT until_s FROM holds WHERE key = ?), (SELECT max(at_s) FROM gaps)", (self._key,)
        )
        at = float("-inf") if held_until is None else float(held_until)
        return at if gap_s is None else max(at, float(gap_s) + self._span_s)

    def _count(self, now: float) -> tuple[int, int]:
        """How many calls count for the key, and how many of them are ours: those are not read again, however many there are."""
        own = self._own.counted(now)
        whose = (self._key, self._owner.token, now - self._span_s)
        ((others,),) = self._database.read(_OTHERS, (*whose, *whose))
        return own + int(others), own

    def _room_at(self, now: float, limit: int) -> float | None:
        every, own = self._count(now)
        if not self._has_room(every, own, limit):
            if not self._owner.reap_dead(every_s=_BURY_EVERY_S, busy_s=_BUSY_S):
                return self._full_until(now, limit)
            every, own = self._count(now)
            if not self._has_room(every, own, limit):
                return self._full_until(now, limit)
        return self._fair_at(now, own)

    def _leave(self, now: float, limit: int) -> int | None:
        """Count the call for everybody, before it leaves."""
        self._calls += 1
        with self._database.write(busy_s=_BUSY_S) as connection:
            every, own = self._count(now)
            if not self._has_room(every, own, limit) or self._held_until() > now:
                return None
            made = connection.execute(
                "INSERT INTO calls (key, owner, state, boot) VALUES (?, ?, ?, ?)",
                (self._key, self._owner.token, _LEFT, self._owner.boot),
            )
            if self._calls % _SWEEP_EVERY == 0:
                connection.execute(
                    "DELETE FROM calls WHERE key = ? AND state = ? AND answered_s <= ?"
                    " - (SELECT longest_s FROM keys WHERE keys.key = calls.key)",
                    (self._key, _ANSWERED, now),
                )
        self._stood_back_since = None
        return made.lastrowid

    def _has_room(self, every: int, own: int, limit: int) -> bool:
        return own < limit and every < self._requests if self._shared else every < limit

    def _full_until(self, now: float, limit: int) -> float | None:
        """When a call's leaving the window makes room, as far as that is known; else soon, or None where only our own
        answers matter.
        """
        moments = [self._free_at(now, self._requests if self._shared else limit, own=False)]
        if self._shared:
            moments.append(self._free_at(now, limit, own=True))
        if any(at is None for at in moments) and not self._others_matter():
            return None
        at = max(now + _LOOK_AGAIN_S if at is None else at for at in moments)
        if self._others_matter():
            # another run's call may turn out not to have left
            at = min(at, now + _LONGEST_LOOK_S)
        at = max(at, now + GRAIN_S)
        self._mark_waiting(at)
        return at

    def _free_at(self, now: float, limit: int, *, own: bool) -> float | None:
        """When fewer than `limit` calls count, if no other leaves until then."""
        whose = self._owner.token if own else ""
        since_s = now - self._span_s
        ((count,),) = self._database.read(
            "SELECT count(*) FROM calls WHERE key = ? AND ? IN ('', owner) AND (state < 2 OR answered_s > ?)",
            (self._key, whose, since_s),
        )
        if count < limit:
            return now
        rows = self._database.read(
            "SELECT answered_s FROM calls WHERE key = ? AND ? IN ('', owner) AND state = 2 AND answered_s > ?"
            " ORDER BY answered_s LIMIT 1 OFFSET ?",
            (self._key, whose, since_s, count - limit),
        )
        return float(rows[0][0]) + self._span_s if rows else None

    def _others_matter(self) -> bool:
        rows = self._database.read(
            "SELECT 1 FROM calls WHERE key = ? AND owner != ? AND state < 2 LIMIT 1", (self._key, self._owner.token)
        )
        return bool(rows)

    def _mark_waiting(self, until_s: float) -> None:
        """Let others know that somebody else wants a turn, so that they take no more than their part."""
        if not self._owner.others():
            return
        mark = (self._key, self._owner.token, until_s + _WAITING_FOR_S)
        rows = self._database.read(
            "SELECT until_s FROM waiting WHERE key = ? AND owner = ?", (self._key, self._owner.token)
        )
        if not rows or rows[0][0] < until_s:
            self._database.change(
                "INSERT OR REPLACE INTO waiting (key, owner, until_s) VALUES (?, ?, ?)", mark, busy_s=_BUSY_S
            )

    def _fair_at(self, now: float, own: int) -> float:
        """`now`, or a little later where this run has had its part and another one waits: room that the other does not
        take is not wasted.
        """
        ((waiting,),) = self._database.read(
            "SELECT count(*) FROM waiting WHERE key = ? AND owner != ? AND until_s > ?",
            (self._key, self._owner.token, now),
        )
        if not waiting or own < math.ceil(self._requests / (1 + waiting)):
            self._stood_back_since = None
            return now
        if self._stood_back_since is None:
            self._stood_back_since = now
        return max(now, self._stood_back_since + _STAND_BACK_S)

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        """Write a statement now, or as soon as the file can be used again."""
        self._backlog.append((sql, values))
        now = self._owner.now()
        if now < self._retry_at:
            return
        try:
            self._write_backlog()
        except JournalError as error:
            self._failed(now, error)

    def _write_backlog(self) -> None:
        if not self._backlog:
            return
        with self._database.write(busy_s=_BUSY_S) as connection:
            for sql, values in self._backlog:
                connection.execute(sql, values)
        self._backlog.clear()
        self._worked()

    def _failed(self, now: float, error: JournalError) -> None:
        if self._lost_since is None or now - self._failed_at > _UNBROKEN_S:
            self._lost_since = now
        self._failed_at = now
        self._retry_at = now + self._retry_s
        self._retry_s = min(_LONGEST_RETRY_S, 2 * self._retry_s)
        if now - self._lost_since >= _TELL_AFTER_S and not self._is_told:
            self._is_told = True
            self._broke(error)

    def _worked(self) -> None:
        self._lost_since, self._retry_s, self._is_told = None, _FIRST_RETRY_S, False
