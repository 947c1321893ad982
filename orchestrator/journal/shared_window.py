"""One key's budget, shared by all processes that use one store, exactly: each call is counted for everybody before it leaves.

The promise is that of a window in memory (`orchestrator.quota.window`): a call counts from the moment it leaves until one
window after its answer. In the store a call that counts is a row, a slot. Its owner inserts it before the call leaves and
takes it out when it is over, by its own monotonic clock. No time in the store decides that, so no clock that is set can make
a window look emptier than it is. A dead process's slots count for one window after its death was noticed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from orchestrator.journal.database import STORE_PATIENCE_S, Database, JournalError, Row, Transaction
from orchestrator.journal.processes import OwnerLost, ProcessRecord, close_keys
from orchestrator.quota.limit_estimate import LimitEstimate
from orchestrator.quota.window import GRAIN_S, LedgerLost, MemoryWindow, span_s

_LOOK_AGAIN_S: Final = 0.1
_LONGEST_LOOK_S: Final = 1.0
# the more wait for a key, the less often each of them looks: together some forty times a second
_LOOK_AGAIN_EACH_S: Final = 0.025
_STAND_BACK_S: Final = 0.1
_REAP_EVERY_S: Final = 0.25
_WAITING_FOR_S: Final = 0.5
_LONGEST_MARK_S: Final = 60.0
_LONGEST_WINDOW_S: Final = 7 * 86_400.0
"""A slot without its own time counts for a window; only the manifest knows how long that is, and it is not longer."""

# a short wait for another writer: the rate limiter tries again, and the loop must not stand still meanwhile
_BUSY_S: Final = 0.05
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 1.0
_REPORT_AFTER_S: Final = 5.0
_UNBROKEN_S: Final = 30.0

_UNTIL: Final = (
    "INSERT INTO waiting (key, owner, until_s) VALUES (?, ?, ?)"
    " ON CONFLICT (key, owner) DO UPDATE SET until_s = excluded.until_s"
)


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
        if not self.busy.acquire(blocking=False):
            return
        try:
            with database.write(shared=True, soon=True, busy_s=_BUSY_S) as transaction:
                state = read_key(transaction, self.key)
                written = self.write_news(transaction, state, self.owner.now())
            self.was_written(written)
        except JournalError:
            return
        finally:
            self.busy.release()

    def write_news(self, transaction: Transaction, state: KeyState, now: float) -> News:
        """Write what others should know, in a transaction that holds the key's row."""
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
        if news.hold is not None and news.hold - now > self.hold_left_s(state, now):
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


@dataclass(slots=True, kw_only=True)
class _Look:
    """What the store said: the slot that was taken, or when to look again (None: when a call of this process has ended).

    `ends` are the moments when calls of others leave the window, by this process's clock; infinite if not known.
    """

    slot: int | None = None
    look_at: float | None = None
    hold_s: float = 0.0
    ends: list[float] = field(default_factory=list)
    full: bool = False
    has_room: bool = False


def read_key(transaction: Transaction, key: str, *, lock: bool = True) -> KeyState:
    """Return a key's row, and lock it. Raises `OwnerLost` if it is gone: the store was emptied."""
    sql = "SELECT hold_s, held_s, held_mark, learned, taught FROM keys WHERE key = ?"
    row = transaction.execute(f"{sql} FOR UPDATE" if lock else sql, (key,)).fetchone()
    if row is None:
        raise OwnerLost("the state store was emptied while it was in use")
    hold_s, held_s, held_mark, learned, taught = row
    return KeyState(hold_s=hold_s, held_s=held_s, held_mark=held_mark, learned=learned, taught=taught)


class SharedWindow:
    """A `CallWindow` over a store. `requests` a window belong to the key as a whole; with `is_share` a smaller limit that a
    caller names is this process's own share of them.

    If the store cannot be used, no call leaves, because the other processes would not know of it: `broke` hears of it once,
    calls wait, and after `patience_s` `when` raises `LedgerLost`. It does so at once if the others count this process as
    dead.
    """

    def __init__(
        self,
        own: OwnSlots,
        *,
        requests: int,
        is_share: bool,
        broke: Callable[[JournalError], None],
        patience_s: float = STORE_PATIENCE_S,
    ) -> None:
        self._own = own
        self._owner = own.owner
        self._requests = requests
        self._is_share = is_share
        self._broke = broke
        self._patience_s = patience_s
        self._others: list[float] = []
        self._look_at: float | None = float("-inf")
        self._looked_for = 0
        self._stood_back_since: float | None = None
        self._mark_at = float("-inf")
        self._lost_since: float | None = None
        self._lost: JournalError | None = None
        self._failed_at = float("-inf")
        self._retry_at = float("-inf")
        self._retry_s = _FIRST_RETRY_S
        self._is_reported = False
        own.freed.append(self._freed)

    def when(self, now: float, limit: int) -> float | None:
        """Return when `take` is worth a try, by the store's last answer and what ended here since."""
        if self._lost is not None:
            raise LedgerLost(str(self._lost))
        if self._lost_since is not None and self._failed_at - self._lost_since > self._patience_s:
            raise LedgerLost("the log of calls that runs share could not be used for too long")
        if now < self._retry_at:
            return self._retry_at
        return now if limit > self._looked_for else self._look_at

    async def take(self, now: float, limit: int) -> int | None:
        """Count a call for everybody before it leaves."""
        if now < self._retry_at or self._lost is not None:
            return None
        try:
            look = await self._owner.ask(lambda database: self._look(database, now, limit))
            if look.full and self._owner.shares_clock and self._owner.reap_dead(every_s=_REAP_EVERY_S, busy_s=_BUSY_S):
                look = await self._owner.ask(lambda database: self._look(database, now, limit))
        except OwnerLost as error:
            self._lost = error
            self._broke(error)
            return None
        except JournalError as error:
            self._failed(self._owner.now(), error)
            return None
        self._worked()
        self._others = look.ends
        if look.hold_s > 0:
            self._own.window.hold(now + look.hold_s, now)
        self._look_at, self._looked_for = look.look_at, limit
        return None if look.slot is None else self._own.took(look.slot)

    def may_send(self) -> bool:
        """Return whether no other process can count this one as dead."""
        return self._owner.may_send()

    def give_back(self, call: int, answered_at: float | None) -> None:
        """End a call: it counts for one window after its answer, or not at all."""
        self._own.give_back(call, answered_at)

    def counted(self, now: float) -> int:
        """Return how many calls count now: those of this process, and the others' by the store's last answer."""
        return self._own.window.counted(now) + sum(at > now for at in self._others)

    def hold(self, until: float, now: float) -> None:
        """Let no call of the key leave before `until`, in any process."""
        self._own.hold(until, now)

    def held_until(self, now: float) -> float:
        """Return the moment before which no call may leave, as far as this process knows."""
        return self._own.window.held_until(now)

    def teach(self, estimate: LimitEstimate) -> None:
        """Let every process know what the limit was seen to be."""
        self._own.teach(estimate)

    def taught(self) -> LimitEstimate | None:
        """Return what another process has taught since the last call."""
        taught, self._own.taught_by_others = self._own.taught_by_others, None
        return taught

    def _freed(self, at: float) -> None:
        self._look_at = at if self._look_at is None else min(self._look_at, at)

    def _look(self, database: Database, now: float, limit: int) -> _Look:
        """Take a slot if there is room, in one transaction that holds the key's row.

        In a store on the network a look without that lock comes first: most looks find no room, and the lock has to be written
        to the disk.
        """
        if self._owner.shares_clock:
            return self._attempt(database, now, limit, may_take=True)
        look = self._attempt(database, now, limit, may_take=False)
        return self._attempt(database, now, limit, may_take=True) if look.has_room else look

    def _attempt(self, database: Database, now: float, limit: int, *, may_take: bool) -> _Look:
        own = self._own
        with own.busy:
            with database.write(shared=True, soon=not may_take, busy_s=_BUSY_S) as transaction:
                state = read_key(transaction, own.key, lock=may_take)
                news = own.write_news(transaction, state, now)
                rows = [
                    SlotRow(*row)
                    for row in transaction.execute(
                        "SELECT id, owner, weight, counts_s, ended_s, ended_mark FROM slots WHERE key IN (?, '')",
                        (own.key,),
                    ).fetchall()
                ]
                sql = "SELECT 1 FROM owners WHERE token = ?"
                alive: Row | None = transaction.execute(
                    f"{sql} FOR KEY SHARE" if may_take else sql, (self._owner.token,)
                ).fetchone()
                missing = own.expected(news) - {row.id for row in rows}
                if missing and (alive is not None or not self._owner.was_away()):
                    # the store has forgotten calls: how many of other processes is not known
                    close_keys(transaction, own.key, self._owner.moment(), counts_s=own.closed_s)
                look = _Look(look_at=now + _LOOK_AGAIN_S, full=True)
                if alive is not None and not missing:
                    look = self._decide(transaction, state, rows, now, limit, may_take=may_take)
                    if look.slot is None and look.full:
                        self._mark_waiting(transaction, look)
            own.was_written(news)
            own.lost(missing)
            if look.slot is not None:
                own.is_known(look.slot)
            own.adopt({row.id for row in rows if row.owner == self._owner.token} - own.expected(news), now)
            own.hear(state)
            own.forget_unseen(rows)
        if alive is None:
            raise OwnerLost("the other processes count this one as dead: it was not at work for too long")
        return look

    def _decide(
        self,
        transaction: Transaction,
        state: KeyState,
        rows: list[SlotRow],
        now: float,
        limit: int,
        *,
        may_take: bool,
    ) -> _Look:
        own, mine, count = self._own, 0, 0
        ends: list[float] = []
        own_ends: list[float] = []
        for row in rows:
            if row.owner == self._owner.token:
                at = own.over_at(row.id)
                own_ends.append(float("inf") if at is None else at)
                mine += 1
                count += row.weight
                continue
            left_s = own.left_s(row, now)
            if left_s is not None and left_s <= 0:
                if row.owner is None:
                    transaction.execute("DELETE FROM slots WHERE id = ? AND owner IS NULL", (row.id,))
                continue
            ends += [float("inf") if left_s is None else now + left_s] * min(row.weight, self._requests)
            count += row.weight
        hold_s = own.hold_left_s(state, now)
        if hold_s > 0:
            return _Look(look_at=now + hold_s, hold_s=hold_s, ends=ends)
        whole = self._requests if self._is_share else limit
        if count >= whole or (self._is_share and mine >= limit):
            ended = sorted(ends + own_ends)
            at = now
            if count >= whole:
                at = ended[max(0, len(ended) - whole)] if whole else float("inf")
            if self._is_share and mine >= limit:
                at = max(at, sorted(own_ends)[mine - limit])
            if ends:
                # calls of others may end sooner than is known here, or turn out not to have left
                at = min(at, now + self._look_again_s(transaction, is_known=at < float("inf")))
            return _Look(look_at=None if at == float("inf") else max(at, now + GRAIN_S), ends=ends, full=True)
        wait_s = self._stand_back_s(transaction, mine, now)
        if wait_s > 0:
            return _Look(look_at=now + wait_s, ends=ends)
        if not may_take:
            return _Look(ends=ends, has_room=True)
        self._stood_back_since = None
        slot = transaction.insert("INSERT INTO slots (key, owner) VALUES (?, ?)", (own.key, self._owner.token))
        return _Look(slot=slot, look_at=float("-inf"), ends=ends)

    def _look_again_s(self, transaction: Transaction, *, is_known: bool) -> float:
        if self._owner.shares_clock:
            return _LONGEST_LOOK_S if is_known else _LOOK_AGAIN_S
        return min(_LONGEST_LOOK_S, max(_LOOK_AGAIN_S, _LOOK_AGAIN_EACH_S * (1 + self._others_waiting(transaction))))

    def _others_waiting(self, transaction: Transaction) -> int:
        """How many other processes want to send with the key. A mark far ahead is one that a clock's step left."""
        at_s = self._owner.moment().at_s
        return int(
            transaction.execute(
                "SELECT count(*) FROM waiting WHERE key = ? AND owner != ? AND until_s > ? AND until_s < ?",
                (self._own.key, self._owner.token, at_s, at_s + _LONGEST_MARK_S),
            ).fetchone()[0]
        )

    def _mark_waiting(self, transaction: Transaction, look: _Look) -> None:
        """Let others know that this process wants a turn, so that they take no more than their part."""
        (others,) = transaction.execute("SELECT count(*) FROM owners WHERE token != ?", (self._owner.token,)).fetchone()
        if others and look.look_at is not None and self._owner.now() >= self._mark_at:
            self._mark_at = self._owner.now() + _WAITING_FOR_S / 2
            until_s = self._owner.moment().at_s + max(0.0, look.look_at - self._owner.now()) + _WAITING_FOR_S
            transaction.execute(_UNTIL, (self._own.key, self._owner.token, until_s))

    def _stand_back_s(self, transaction: Transaction, mine: int, now: float) -> float:
        """Return how long to wait because this process has had its part and another one waits.

        Room that the other does not take meanwhile is not wasted.
        """
        waiting = self._others_waiting(transaction)
        if not waiting or mine < math.ceil(self._requests / (1 + waiting)):
            self._stood_back_since = None
            return 0.0
        if self._stood_back_since is None:
            self._stood_back_since = now
        # longer than the others wait until they look again
        longest_s = _STAND_BACK_S
        if not self._owner.shares_clock:
            longest_s = 3 * max(_LOOK_AGAIN_S, _LOOK_AGAIN_EACH_S * (1 + waiting))
        return self._stood_back_since + longest_s - now

    def _failed(self, now: float, error: JournalError) -> None:
        if self._lost_since is None or now - self._failed_at > _UNBROKEN_S:
            self._lost_since = now
        self._failed_at = now
        self._retry_at = now + self._retry_s
        self._retry_s = min(_LONGEST_RETRY_S, 2 * self._retry_s)
        if now - self._lost_since >= _REPORT_AFTER_S and not self._is_reported:
            self._is_reported = True
            self._broke(error)

    def _worked(self) -> None:
        self._lost_since, self._retry_s, self._is_reported = None, _FIRST_RETRY_S, False


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
