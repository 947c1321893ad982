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
from orchestrator.journal.owners import Owner
from orchestrator.quota.window import GRAIN_S, Ledger, span_s

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


def key_name(secret: str, salt: bytes) -> str:
    """What a key is known by in the state folder: a salted hash, never itself."""
    return hmac.new(salt, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


class SharedWindow:
    """A ledger over the state folder's file. `requests` a window of `per_s` seconds belong to the key as a whole; a smaller
    limit that a caller names is then its own share of them.

    `own` counts this process's calls with the key, all of them: where the file gives way `broke` is told once, and the run
    goes on with what it knows itself.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        key: str,
        requests: int,
        per_s: float,
        shared: bool,
        own: Ledger,
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
        self._is_broken = False
        self._rows: dict[int, int] = {}
        self._calls = 0
        self._stood_back_since: float | None = None
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO keys (key, longest_s) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET"
                " longest_s = max(longest_s, excluded.longest_s)",
                (key, self._span_s),
            )

    def room_at(self, now: float, limit: int) -> float | None:
        """When the next call may leave, as far as can be told; None: that depends on an answer of ours."""
        if self._is_broken:
            return self._own.room_at(now, limit)
        try:
            return self._room_at(now, limit)
        except JournalError as error:
            self._give_up(error)
            return self._own.room_at(now, limit)

    def leave(self, now: float, limit: int) -> int | None:
        """A call leaves now; its number, or None where another process was quicker and there is no room any more."""
        if self._is_broken:
            return self._own.leave(now, limit)
        try:
            row = self._leave(now, limit)
        except JournalError as error:
            self._give_up(error)
            return self._own.leave(now, limit)
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
            self._try(
                "UPDATE calls SET state = ?, answered_s = ?, boot = ? WHERE id = ?",
                (_ANSWERED, now, self._owner.boot, row),
            )

    def unsent(self, call: int) -> None:
        """The call never left: it does not count."""
        self._own.unsent(call)
        row = self._rows.pop(call, None)
        if row is not None:
            self._try("DELETE FROM calls WHERE id = ?", (row,))

    def counted(self, now: float) -> int:
        """How many calls count now, those of other runs among them."""
        if self._is_broken:
            return self._own.counted(now)
        try:
            return self._count(now)[0]
        except JournalError as error:
            self._give_up(error)
            return self._own.counted(now)

    def _count(self, now: float) -> tuple[int, int]:
        """How many calls count for the key, and how many of them are ours: those are not read again, however many there are."""
        own = self._own.counted(now)
        whose = (self._key, self._owner.token, now - self._span_s)
        ((others,),) = self._database.read(_OTHERS, (*whose, *whose))
        return own + int(others), own

    def _room_at(self, now: float, limit: int) -> float | None:
        every, own = self._count(now)
        if not self._has_room(every, own, limit):
            if not self._owner.bury_the_dead(every_s=_BURY_EVERY_S):
                return self._full_until(now, limit)
            every, own = self._count(now)
            if not self._has_room(every, own, limit):
                return self._full_until(now, limit)
        return self._fair_at(now, own)

    def _leave(self, now: float, limit: int) -> int | None:
        """Count the call for everybody, before it leaves."""
        self._calls += 1
        with self._database.write() as connection:
            every, own = self._count(now)
            if not self._has_room(every, own, limit):
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
            self._database.change("INSERT OR REPLACE INTO waiting (key, owner, until_s) VALUES (?, ?, ?)", mark)

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

    def _try(self, sql: str, values: tuple[object, ...]) -> None:
        if self._is_broken:
            return
        try:
            self._database.change(sql, values)
        except JournalError as error:
            self._give_up(error)

    def _give_up(self, error: JournalError) -> None:
        if not self._is_broken:
            self._is_broken = True
            self._broke(error)
