"""A process's slots of one key: its own calls that count for every process that shares the key.

A call that counts is a row in the store, a slot. Its owner inserts it before the call leaves (`orchestrator.journal.shared_window`)
and deletes it when it is over, by its own monotonic clock. No time in the store decides that, so a clock that is set cannot make
a window look emptier than it is. A dead process's slots count for one window after its death was noticed.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Final, NamedTuple

from orchestrator.journal.database import Database, JournalError, Transaction
from orchestrator.journal.processes import OwnerLost, ProcessRecord
from orchestrator.quota.limit_estimate import LimitEstimate
from orchestrator.quota.window import MemoryWindow, span_s

_LONGEST_WINDOW_S: Final = 7 * 86_400.0
"""A slot without its own time counts for a window. Only the manifest knows its length; it is at most this, in seconds."""

BUSY_S: Final = 0.05
"""How long to wait for another writer, in seconds: the rate limiter tries again, and the loop must not stand still meanwhile."""


def key_name(secret: str, salt: bytes) -> str:
    """Return the name of a key in the store: a salted hash, never the key itself."""
    return hmac.new(salt, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What this process must store about a key: slots that are over or were answered, a hold, a limit."""

    over: set[int]
    answered: dict[int, float]
    hold: float | None
    teaching: LimitEstimate | None


class KeyState(NamedTuple):
    """A key's row."""

    hold_s: float
    held_s: float | None
    held_mark: str | None
    learned: str | None
    taught: int


class SlotRow(NamedTuple):
    """A slot that this process does not own."""

    id: int
    owner: str | None
    weight: int
    counts_s: float | None
    ended_s: float | None
    ended_mark: str | None


def ask_key(transaction: Transaction, key: str, *, lock: bool = True) -> Callable[[], KeyState]:
    """Ask for a key's row, and lock it with `lock`; what is returned gives the row.

    It raises `OwnerLost` if the row is gone: the store was emptied.
    """
    sql = "SELECT hold_s, held_s, held_mark, learned, taught FROM keys WHERE key = ?"
    rows = transaction.execute(f"{sql} FOR UPDATE" if lock else sql, (key,))

    @cache
    def state() -> KeyState:
        row = rows.fetchone()
        if row is None:
            raise OwnerLost("the state store was emptied while it was in use")
        return KeyState(*row)

    return state


class OwnSlots:
    """The slots of one key that this process owns, and what it knows of the others'.

    `busy` is held by the thread that talks to the store about the key; `guard` guards everything else and never waits.
    `counts_s` is how long a slot counts after its end, `closed_s` how long the key is closed after the store lost a slot.
    `is_sure` is False if a slot may be in the store that this process does not know, because a commit was not answered.
    """

    def __init__(self, owner: ProcessRecord, key: str, per_s: float, *, late_s: float = 0.0) -> None:
        self.owner = owner
        self.key = key
        self.window = MemoryWindow(per_s)
        self.counts_s = span_s(per_s)
        self.closed_s = self.counts_s + late_s
        self.busy = threading.Lock()
        self.guard = threading.Lock()
        self.is_sure = True
        self.freed: list[Callable[[float], None]] = []
        self.taught_by_others: LimitEstimate | None = None
        self._slots: dict[int, int] = {}
        self._known: set[int] = set()
        # a heap of the slots of ended calls, by when they are over; the calls of the other slots are on the wire
        self._ends: list[tuple[float, int]] = []
        self._over: set[int] = set()
        self._answered: dict[int, float] = {}
        self._teaching: LimitEstimate | None = None
        self._hold_until: float | None = None
        self._taught = 0
        # when slots without an owner ended, and a hold began, by this process's clock
        self._seen: dict[tuple[int | None, float], float] = {}
        self._is_registered = False
        owner.at_end.append(self._surrender)
        owner.on_beat.append(self.flush)

    def register(self, database: Database) -> None:
        """Make sure that the key has a row; to be called while `busy` is held."""
        if not self._is_registered:
            sql = "INSERT INTO keys (key) VALUES (?) ON CONFLICT (key) DO NOTHING"
            with database.write(shared=True, busy_s=BUSY_S) as transaction:
                transaction.execute(sql, (self.key,))
            self._is_registered = True

    def took(self, slot: int) -> int:
        """Count a call that leaves with a slot; return the call's number."""
        call = self.window.add()
        self._slots[call] = slot
        return call

    def give_back(self, call: int, answered_at: float | None) -> None:
        """End a call: its slot is over one window after `answered_at`; None: now."""
        self.window.give_back(call, answered_at)
        slot = self._slots.pop(call, None)
        if slot is None:
            return
        over_at = float("-inf") if answered_at is None else answered_at + self.counts_s
        with self.guard:
            if slot in self._known:
                heapq.heappush(self._ends, (over_at, slot))
                if answered_at is not None and self.owner.shares_clock:
                    self._answered[slot] = answered_at
        for heard in self.freed:
            heard(over_at)
        if answered_at is None or self.owner.shares_clock:
            self.owner.soon(self.flush)

    def hold(self, until: float, now: float) -> None:
        """Pause the key in every process."""
        self.window.hold(until, now)
        with self.guard:
            self._hold_until = max(until, self._hold_until or until)
        self.owner.soon(self.flush)

    def teach(self, estimate: LimitEstimate) -> None:
        """Let every process know what the limit was seen to be."""
        with self.guard:
            self._teaching = estimate
        self.owner.soon(self.flush)

    def flush(self, database: Database) -> None:
        """Write what others should know; what cannot be written now is written with the next call."""
        if not self._has_news(self.owner.now()) or not self.busy.acquire(blocking=False):
            return
        try:
            self.register(database)
            with database.write(shared=True, soon=True, busy_s=BUSY_S) as transaction:
                written = self.write_news(transaction, ask_key(transaction, self.key), self.owner.now())
            self.was_written(written)
        except JournalError:
            return
        finally:
            self.busy.release()

    def _has_news(self, now: float) -> bool:
        with self.guard:
            is_over = self._over or (self._ends and self._ends[0][0] <= now)
            return bool(is_over or self._answered or self._hold_until is not None or self._teaching is not None)

    def write_news(self, transaction: Transaction, read_key: Callable[[], KeyState], now: float) -> News:
        """Write what others should know, in a transaction that reads the key's row."""
        with self.guard:
            while self._ends and self._ends[0][0] <= now:
                self._over.add(heapq.heappop(self._ends)[1])
            news = News(
                over=set(self._over), answered=dict(self._answered), hold=self._hold_until, teaching=self._teaching
            )
        moment = self.owner.moment()
        if news.over:
            transaction.execute(
                "DELETE FROM slots WHERE owner = ? AND id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))",
                (self.owner.token, json.dumps(sorted(news.over))),
            )
        if news.answered:
            transaction.executemany(
                "UPDATE slots SET ended_s = ?, ended_mark = ? WHERE id = ?",
                [(moment.before(now - at).at_s, moment.mark, slot) for slot, at in news.answered.items()],
            )
        if news.hold is not None and news.hold - now > self.hold_left_s(read_key(), now):
            transaction.execute(
                "UPDATE keys SET hold_s = ?, held_s = ?, held_mark = ? WHERE key = ?",
                (news.hold - now, moment.at_s, moment.mark, self.key),
            )
        if news.teaching is not None:
            packed = json.dumps({"by": self.owner.token, **asdict(news.teaching)})
            transaction.execute("UPDATE keys SET learned = ?, taught = taught + 1 WHERE key = ?", (packed, self.key))
        return news

    def was_written(self, news: News) -> None:
        """Forget what has been written."""
        with self.guard:
            self._known -= news.over
            self._over -= news.over
            for slot in news.answered:
                self._answered.pop(slot, None)
            self._hold_until = None if self._hold_until == news.hold else self._hold_until
            self._teaching = None if self._teaching is news.teaching else self._teaching

    def expected_count(self, news: News) -> int:
        """Return how many slots the store must hold for this process."""
        with self.guard:
            return len(self._known) - len(news.over)

    def expected(self, news: News) -> set[int]:
        """Return the slots that the store must hold for this process: O(n)."""
        with self.guard:
            return self._known - news.over

    def is_known(self, slot: int) -> None:
        """Keep that a slot was inserted for this process."""
        with self.guard:
            self._known.add(slot)

    def correct(self, lost: set[int], unknown: set[int], now: float) -> None:
        """Forget slots that the store has `lost`; count those that were `unknown`, from unanswered commits, for one window."""
        with self.guard:
            self._known = (self._known - lost) | unknown
            self._over -= lost
            for slot in lost:
                self._answered.pop(slot, None)
            ends = [(at, slot) for at, slot in self._ends if slot not in lost]
            self._ends = [*ends, *((now + self.counts_s, slot) for slot in unknown)]
            heapq.heapify(self._ends)

    def ends(self, news: News) -> list[float]:
        """Return when the own slots that are left beside `news` are over; infinite while their calls are on the wire."""
        with self.guard:
            on_wire = len(self._known) - len(self._ends) - len(self._over)
            over = len(self._over - news.over)
            return [*(at for at, _ in self._ends), *[float("inf")] * on_wire, *[float("-inf")] * over]

    def left_s(self, row: SlotRow, now: float) -> float | None:
        """Return how long a slot of another process still counts; None if that is not known yet."""
        if row.ended_s is None or row.ended_mark is None:
            return None
        usual_s = self.counts_s if row.weight == 1 else self.closed_s
        counts_s = usual_s if row.counts_s is None else row.counts_s
        return counts_s - (now - self._since(row.id, row.ended_s, row.ended_mark))

    def hold_left_s(self, state: KeyState, now: float) -> float:
        """Return how long the key still pauses, in seconds."""
        if state.held_s is None or state.held_mark is None:
            return 0.0
        return state.hold_s - (now - self._since(None, state.held_s, state.held_mark))

    def forget_unseen(self, rows: list[SlotRow]) -> None:
        """Forget the moments of slots that are gone."""
        there = {row.id for row in rows}
        self._seen = {key: at for key, at in self._seen.items() if key[0] is None or key[0] in there}

    def hear(self, state: KeyState) -> None:
        """Keep what another process has taught."""
        if state.taught == self._taught or state.learned is None:
            return
        self._taught = state.taught
        learned = json.loads(state.learned)
        if learned.pop("by", None) != self.owner.token:
            self.taught_by_others = LimitEstimate(**learned)

    def _since(self, slot: int | None, at_s: float, mark: str) -> float:
        """Return a stored moment by this process's clock: as old as is certain when it is first seen, then by this clock."""
        if (slot, at_s) not in self._seen:
            # the age first: a thread that is held up between the two makes a slot younger, never older
            age_s = self.owner.moment().age_s(at_s, mark) or 0.0
            self._seen[slot, at_s] = self.owner.now() - age_s
        return self._seen[slot, at_s]

    def _surrender(self, transaction: Transaction) -> None:
        """End the process: its slots still count for one window after their answers."""
        now, moment = self.owner.now(), self.owner.moment()
        with self.guard:
            over = [*self._over, *(slot for at, slot in self._ends if at == float("-inf"))]
            ends = [(at, slot) for at, slot in self._ends if at > float("-inf")]
        transaction.executemany("DELETE FROM slots WHERE id = ? AND owner = ?", [(s, self.owner.token) for s in over])
        answered = [(moment.before(now - (at - self.counts_s)), slot) for at, slot in ends]
        transaction.executemany(
            "UPDATE slots SET counts_s = ?, ended_s = ?, ended_mark = ? WHERE id = ? AND owner = ?",
            [(self.counts_s, m.at_s, m.mark, slot, self.owner.token) for m, slot in answered],
        )


def prune_slots(owner: ProcessRecord) -> None:
    """Delete the slots of ended processes that are over for certain, also those of keys that no run uses any more.

    A run deletes the slots of its own keys.
    """
    rows = owner.database.read(
        "SELECT id, coalesce(counts_s, ?), ended_s, ended_mark FROM slots WHERE owner IS NULL AND ended_s IS NOT NULL",
        (_LONGEST_WINDOW_S,),
    )
    moment = owner.moment()
    ages = [(slot, counts_s, moment.age_s(ended_s, mark)) for slot, counts_s, ended_s, mark in rows]
    over = [(slot,) for slot, counts_s, age_s in ages if age_s is not None and age_s > counts_s]
    if over:
        with owner.database.write() as transaction:
            transaction.executemany("DELETE FROM slots WHERE id = ? AND owner IS NULL", over)
