"""A process's slots of one key: the calls of its own that count for everybody who shares the key.

A call that counts is a row in the store, a slot. Its owner inserts it before the call leaves (`orchestrator.journal.shared_window`)
and deletes it when it is over, by its own monotonic clock. No time in the store decides that, so no clock that is set can make
a window look emptier than it is. A dead process's slots count for one window after its death was noticed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from orchestrator.journal.database import Database, JournalError, Rows, Transaction
from orchestrator.journal.processes import OwnerLost, ProcessRecord
from orchestrator.quota.limit_estimate import LimitEstimate
from orchestrator.quota.window import MemoryWindow, span_s

_LONGEST_WINDOW_S: Final = 7 * 86_400.0
"""A slot without its own time counts for a window; only the manifest knows how long that is, and it is not longer."""

BUSY_S: Final = 0.05
"""A short wait for another writer: the rate limiter tries again, and the loop must not stand still meanwhile."""


def key_name(secret: str, salt: bytes) -> str:
    """Return what a key is known by in the store: a salted hash, never the key itself."""
    return hmac.new(salt, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


class OwnSlots:
    """The slots of one key that this process owns, and what it knows of the others'.

    `busy` is held by the thread that talks to the store about the key. Everything else is guarded by `guard` and never waits.
    `counts_s` is how long a slot counts after its end, `closed_s` how long the key is closed after the store lost a slot.
    """

    def __init__(self, owner: ProcessRecord, key: str, per_s: float, *, late_s: float = 0.0) -> None:
        self.owner = owner
        self.key = key
        self.window = MemoryWindow(per_s)
        self.counts_s = span_s(per_s)
        self.closed_s = self.counts_s + late_s
        self.busy = threading.Lock()
        self.guard = threading.Lock()
        self.freed: list[Callable[[float], None]] = []
        self.taught_by_others: LimitEstimate | None = None
        self._slots: dict[int, int] = {}
        self._known: set[int] = set()
        self._over_at: dict[int, float] = {}
        self._over: set[int] = set()
        self._answered: dict[int, float] = {}
        self._teaching: LimitEstimate | None = None
        self._hold_until: float | None = None
        self._taught = 0
        # when slots without an owner ended, and a hold began, by this process's clock
        self._seen: dict[tuple[int | None, float], float] = {}
        with owner.database.write() as transaction:
            transaction.execute("INSERT INTO keys (key) VALUES (?) ON CONFLICT (key) DO NOTHING", (key,))
        owner.at_end.append(self._surrender)
        owner.on_beat.append(self.flush)

    def took(self, slot: int) -> int:
        """A call leaves with a slot; return its number."""
        call = self.window.add()
        self._slots[call] = slot
        return call

    def give_back(self, call: int, answered_at: float | None) -> None:
        """End a call: its slot is over one window after `answered_at`; None: now."""
        self.window.give_back(call, answered_at)
        slot = self._slots.pop(call, None)
        if slot is None:
            return
        with self.guard:
            if answered_at is None:
                self._over.add(slot)
            else:
                self._over_at[slot] = answered_at + self.counts_s
                if self.owner.shares_clock:
                    self._answered[slot] = answered_at
        for heard in self.freed:
            heard(float("-inf") if answered_at is None else answered_at + self.counts_s)
        if answered_at is None or self.owner.shares_clock:
            self.owner.soon(self.flush)

    def hold(self, until: float, now: float) -> None:
        """Pause the key for everybody."""
        self.window.hold(until, now)
        with self.guard:
            self._hold_until = max(until, self._hold_until or until)
        self.owner.soon(self.flush)

    def teach(self, estimate: LimitEstimate) -> None:
        """Let everybody know what the limit was seen to be."""
        with self.guard:
            self._teaching = estimate
        self.owner.soon(self.flush)

    def flush(self, database: Database) -> None:
        """Write what others should know; what cannot be written now is written with the next call."""
        if not self._has_news(self.owner.now()) or not self.busy.acquire(blocking=False):
            return
        try:
            with database.write(shared=True, soon=True, busy_s=BUSY_S) as transaction:
                written = self.write_news(transaction, ask_key(transaction, self.key), self.owner.now())
            self.was_written(written)
        except JournalError:
            return
        finally:
            self.busy.release()

    def _has_news(self, now: float) -> bool:
        with self.guard:
            is_over = self._over or any(at <= now for at in self._over_at.values())
            return bool(is_over or self._answered or self._hold_until is not None or self._teaching is not None)

    def write_news(self, transaction: Transaction, key: AskedKey, now: float) -> News:
        """Write what others should know, in a transaction that asked for the key's row."""
        with self.guard:
            over = {slot for slot, at in self._over_at.items() if at <= now} | self._over
            news = News(over=over, answered=dict(self._answered), hold=self._hold_until, teaching=self._teaching)
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
        if news.hold is not None and news.hold - now > self.hold_left_s(key.state(), now):
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
            for slot in news.over:
                self._over_at.pop(slot, None)
            for slot in news.answered:
                self._answered.pop(slot, None)
            self._hold_until = None if self._hold_until == news.hold else self._hold_until
            self._teaching = None if self._teaching is news.teaching else self._teaching

    def expected(self, news: News) -> set[int]:
        """Return the slots that the store must hold for this process."""
        with self.guard:
            return self._known - news.over

    def is_known(self, slot: int) -> None:
        """A slot was inserted for this process."""
        with self.guard:
            self._known.add(slot)

    def lost(self, slots: set[int]) -> None:
        """The store has forgotten slots."""
        with self.guard:
            self._known -= slots
            for slot in slots:
                self._over_at.pop(slot, None)
                self._answered.pop(slot, None)

    def adopt(self, slots: set[int], now: float) -> None:
        """Slots of this process whose insertion it was not told of: they count for one window."""
        with self.guard:
            self._known |= slots
            self._over_at.update(dict.fromkeys(slots, now + self.counts_s))

    def over_at(self, slot: int) -> float | None:
        """Return when an own slot is over; None while its call is on the wire."""
        with self.guard:
            return self._over_at.get(slot)

    def left_s(self, row: SlotRow, now: float) -> float | None:
        """Return how long a slot of another process still counts; None if that is not known yet."""
        if row.ended_s is None or row.ended_mark is None:
            return None
        usual_s = self.counts_s if row.weight == 1 else self.closed_s
        counts_s = usual_s if row.counts_s is None else row.counts_s
        return counts_s - (now - self._since(row.id, row.ended_s, row.ended_mark))

    def hold_left_s(self, state: KeyState, now: float) -> float:
        """Return how long the key still pauses, for whichever process it was that heard so."""
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
        """The process ends: its slots count on, each from its answer."""
        now = self.owner.now()
        moment = self.owner.moment()
        with self.guard:
            over, ends = list(self._over), dict(self._over_at)
        transaction.executemany("DELETE FROM slots WHERE id = ? AND owner = ?", [(s, self.owner.token) for s in over])
        answered = [(moment.before(now - (at - self.counts_s)), slot) for slot, at in ends.items()]
        transaction.executemany(
            "UPDATE slots SET counts_s = ?, ended_s = ?, ended_mark = ? WHERE id = ? AND owner = ?",
            [(self.counts_s, m.at_s, m.mark, slot, self.owner.token) for m, slot in answered],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a process has to tell the others about a key: slots that are over or were answered, a hold, a limit."""

    over: set[int]
    answered: dict[int, float]
    hold: float | None
    teaching: LimitEstimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """A key's row."""

    hold_s: float
    held_s: float | None
    held_mark: str | None
    learned: str | None
    taught: int


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A slot as it is stored."""

    id: int
    owner: str | None
    weight: int
    counts_s: float | None
    ended_s: float | None
    ended_mark: str | None


class AskedKey:
    """A key's row, that a transaction has asked for."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._state: KeyState | None = None

    def state(self) -> KeyState:
        """Return the row. Raises `OwnerLost` if it is gone: the store was emptied."""
        if self._state is None:
            rows = self._rows.fetchall()
            if not rows:
                raise OwnerLost("the state store was emptied while it was in use")
            ((hold_s, held_s, held_mark, learned, taught),) = rows
            self._state = KeyState(hold_s=hold_s, held_s=held_s, held_mark=held_mark, learned=learned, taught=taught)
        return self._state


def ask_key(transaction: Transaction, key: str, *, lock: bool = True) -> AskedKey:
    """Ask for a key's row, and lock it."""
    sql = "SELECT hold_s, held_s, held_mark, learned, taught FROM keys WHERE key = ?"
    return AskedKey(transaction.execute(f"{sql} FOR UPDATE" if lock else sql, (key,)))


def prune_slots(owner: ProcessRecord) -> None:
    """Delete the slots of ended processes that are over for certain, also those of keys that no run uses any more.

    A run deletes those of its own keys by itself.
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
