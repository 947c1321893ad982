"""One key's exact budget for all processes that use one store: each call is counted in the store before it leaves.

The promise is that of a window in memory (`orchestrator.quota.window`): a call counts from the moment it leaves until one
window after its answer. In the store such a call is a slot (`orchestrator.journal.slots`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from orchestrator.journal.database import STORE_PATIENCE_S, Database, JournalError, Transaction
from orchestrator.journal.layout import close_keys
from orchestrator.journal.processes import OwnerLost
from orchestrator.journal.slots import BUSY_S, KeyState, News, OwnSlots, SlotRow, ask_key
from orchestrator.quota.limit_estimate import LimitEstimate
from orchestrator.quota.window import GRAIN_S, LedgerLost

# how often a process that waits for a key looks again, if it cannot know when there is room
_LOOK_AGAIN_S: Final = 0.1
_LONGEST_LOOK_S: Final = 1.0
# in a store on the network, as parts of a window: a process that has less than its part looks more often than one that has it
_LOOK_AGAIN_WINDOWS: Final = 1 / 60
_LONGEST_LOOK_WINDOWS: Final = 1 / 12
# how long a process that has had its part leaves room to others, in looks of theirs
_STAND_BACK_LOOKS: Final = 3
_REAP_EVERY_S: Final = 0.25
_WAITING_FOR_S: Final = 0.5
_LONGEST_MARK_S: Final = 60.0

_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 1.0
_REPORT_AFTER_S: Final = 5.0
_UNBROKEN_S: Final = 30.0

_ALIVE: Final = "SELECT 1 FROM owners WHERE token = ?"
# the first row holds how many slots this process owns; only those of other processes are read one by one
_SLOTS: Final = """
SELECT count(*), NULL, 1, NULL, NULL, NULL FROM slots WHERE key = ? AND owner = ?
UNION ALL
SELECT id, owner, weight, counts_s, ended_s, ended_mark FROM slots WHERE key IN (?, '') AND (owner IS NULL OR owner != ?)
"""
_OWN_SLOTS: Final = "SELECT id FROM slots WHERE key = ? AND owner = ?"
_WAITING: Final = "SELECT owner FROM waiting WHERE key = ? AND owner != ? AND until_s > ? AND until_s < ?"
_UNTIL: Final = (
    "INSERT INTO waiting (key, owner, until_s) VALUES (?, ?, ?)"
    " ON CONFLICT (key, owner) DO UPDATE SET until_s = excluded.until_s"
)


@dataclass(slots=True, kw_only=True)
class _Look:
    """What the store said: that there is room, or when to look again (None: when a call of this process has ended).

    `ends` are the moments when calls of other processes leave the window, by this process's clock; infinite if not known.
    `over` are slots without an owner that count no more. `sure_at` is when there is room for certain, if no other process
    takes it.
    """

    has_room: bool = False
    look_at: float | None = None
    hold_s: float = 0.0
    ends: list[float] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    full: bool = False
    sure_at: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the store answered. `mine` is the number of this process's slots, `others` are the slots of other processes.

    `waiting` are the other processes that want to send.
    """

    news: News
    is_alive: bool
    state: KeyState
    mine: int
    others: list[SlotRow]
    waiting: frozenset[str]


class SharedWindow:
    """A `CallWindow` over a store. `requests` a window belong to the key as a whole; with `is_share` a smaller limit that a
    caller names is this process's own share of them.

    If the store cannot be used, no call leaves, because the other processes would not know of it: `broke` is called once,
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
        self._sure_at = float("-inf")
        self._stood_back_since: float | None = None
        self._marked_until = float("-inf")
        self._lost_since: float | None = None
        self._lost: JournalError | None = None
        self._failed_at = float("-inf")
        self._retry_at = float("-inf")
        self._retry_s = _FIRST_RETRY_S
        self._is_reported = False
        self._short_look_s, self._longest_look_s = _LOOK_AGAIN_S, _LONGEST_LOOK_S
        if not self._owner.shares_clock:
            self._short_look_s = min(_LONGEST_LOOK_S, max(_LOOK_AGAIN_S, _LOOK_AGAIN_WINDOWS * own.counts_s))
            self._longest_look_s = max(self._short_look_s, _LONGEST_LOOK_WINDOWS * own.counts_s)
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
        """Count a call in the store before it leaves."""
        if now < self._retry_at or self._lost is not None:
            return None
        try:
            look, slot = await self._owner.ask(lambda database: self._look(database, now, limit))
            if look.full and self._owner.shares_clock and self._owner.reap_dead(every_s=_REAP_EVERY_S, busy_s=BUSY_S):
                look, slot = await self._owner.ask(lambda database: self._look(database, now, limit))
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
        self._look_at, self._looked_for, self._sure_at = look.look_at, limit, look.sure_at
        return None if slot is None else self._own.took(slot)

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
        self._sure_at = min(self._sure_at, at)

    def _look(self, database: Database, now: float, limit: int) -> tuple[_Look, int | None]:
        """Take a slot if there is room; return what the store said, and the slot.

        In a store on the network a look that locks nothing comes first, unless an own call has made room: most looks find no
        room, and a lock has to be written to the disk.
        """
        if not self._owner.shares_clock and now < self._sure_at:
            look = self._peek(database, now, limit)
            if look is not None and not look.has_room:
                return look, None
        return self._take(database, now, limit)

    def _peek(self, database: Database, now: float, limit: int) -> _Look | None:
        """Look without a lock, in one message; None if what is found needs a lock to deal with."""
        own = self._own
        with own.busy:
            own.register(database)
            with database.write(shared=True, soon=True, busy_s=BUSY_S) as transaction:
                answer = self._ask(transaction, now, lock=False)
                # a look counts as waiting: others then take no more than their part
                self._mark_waiting(transaction, now + self._longest_look_s)
            seen = answer()
            if not seen.is_alive or seen.mine != own.expected_count(seen.news):
                own.was_written(seen.news)
                return None
            self._keep(seen)
        return self._decide(seen, now, limit)

    def _take(self, database: Database, now: float, limit: int) -> tuple[_Look, int | None]:
        """Take a slot if there is room, in a transaction that holds the key's row."""
        own = self._own
        with own.busy:
            own.register(database)
            was_sure, own.is_sure = own.is_sure, False
            slot, missing, unknown = None, set[int](), set[int]()
            with database.write(shared=True, busy_s=BUSY_S) as transaction:
                seen = self._ask(transaction, now, lock=True)()
                if not was_sure or seen.mine != own.expected_count(seen.news):
                    there = {number for (number,) in transaction.read(_OWN_SLOTS, (own.key, self._owner.token))}
                    expected = own.expected(seen.news)
                    missing, unknown = expected - there, there - expected
                if missing and (seen.is_alive or not self._owner.was_away()):
                    # the store has forgotten calls: it is not known how many of other processes
                    close_keys(transaction, self._owner.moment(), key=own.key, counts_s=own.closed_s)
                look = _Look(look_at=now + _LOOK_AGAIN_S, full=True)
                if seen.is_alive and not missing:
                    look = self._decide(seen, now, limit)
                    transaction.executemany(
                        "DELETE FROM slots WHERE id = ? AND owner IS NULL", [(over,) for over in look.over]
                    )
                if look.has_room:
                    self._stood_back_since = None
                    inserted = transaction.insert(
                        "INSERT INTO slots (key, owner) VALUES (?, ?)", (own.key, self._owner.token)
                    )
                elif look.full and look.look_at is not None:
                    self._mark_waiting(transaction, look.look_at)
            self._keep(seen)
            self._owner.lost_rows += bool(missing)
            if missing or unknown:
                own.correct(missing, unknown, now)
            if look.has_room:
                slot = inserted()
                own.is_known(slot)
            own.is_sure = True
        if not seen.is_alive:
            raise OwnerLost
        return look, slot

    def _ask(self, transaction: Transaction, now: float, *, lock: bool) -> Callable[[], _Seen]:
        """Ask for all that decides about a call, and write what others should know. Rows are locked in this order.

        Returns what waits for the answers.
        """
        own, token, at_s = self._own, self._owner.token, self._owner.moment().at_s
        alive = transaction.execute(f"{_ALIVE} FOR KEY SHARE" if lock else _ALIVE, (token,))
        read_key = ask_key(transaction, own.key, lock=lock)
        news = own.write_news(transaction, read_key, now)
        slots = transaction.execute(_SLOTS, (own.key, token, own.key, token))
        # a mark far ahead is one that a clock's step left
        waiting = transaction.execute(_WAITING, (own.key, token, at_s, at_s + _LONGEST_MARK_S))

        def answer() -> _Seen:
            (mine, *_), *others = slots.fetchall()
            return _Seen(
                news=news,
                is_alive=bool(alive.fetchall()),
                state=read_key(),
                mine=mine,
                others=[SlotRow(*row) for row in others],
                waiting=frozenset(owner for (owner,) in waiting.fetchall()),
            )

        return answer

    def _keep(self, seen: _Seen) -> None:
        """Keep what the store answered, after the commit."""
        self._own.was_written(seen.news)
        self._own.hear(seen.state)
        self._own.forget_unseen(seen.others)

    def _decide(self, seen: _Seen, now: float, limit: int) -> _Look:
        own, mine = self._own, seen.mine
        count = mine
        ends: list[float] = []
        over: list[int] = []
        for row in seen.others:
            left_s = own.left_s(row, now)
            if left_s is not None and left_s <= 0:
                if row.owner is None:
                    over.append(row.id)
                continue
            ends += [float("inf") if left_s is None else now + left_s] * min(row.weight, self._requests)
            count += row.weight
        hold_s = own.hold_left_s(seen.state, now)
        if hold_s > 0:
            return _Look(look_at=now + hold_s, hold_s=hold_s, ends=ends, over=over)
        whole = self._requests if self._is_share else limit
        if count >= whole or (self._is_share and mine >= limit):
            self._stood_back_since = None
            own_ends = sorted(own.ends(seen.news))
            own_ends += [float("inf")] * (mine - len(own_ends))
            at = now
            if count >= whole:
                ended = sorted(ends + own_ends)
                at = ended[max(0, len(ended) - whole)] if whole else float("inf")
            if self._is_share and mine >= limit:
                at = max(at, own_ends[mine - limit])
            sure_at = at
            if ends:
                # calls of others may end sooner than is known here, or turn out not to have left
                # what ends is in the rows if the processes share a clock
                has_part = mine >= whole // (1 + len(seen.waiting))
                is_patient = at < float("inf") if self._owner.shares_clock else has_part
                at = min(at, now + (self._longest_look_s if is_patient else self._short_look_s))
            look_at = None if at == float("inf") else max(at, now + GRAIN_S)
            return _Look(look_at=look_at, ends=ends, over=over, full=True, sure_at=sure_at)
        has = Counter(row.owner for row in seen.others)
        wait_s = self._stand_back_s(mine, [has[owner] for owner in seen.waiting], whole, now)
        if wait_s > 0:
            return _Look(look_at=now + wait_s, ends=ends, over=over)
        sure_at = now if count + 1 < whole else float("inf")
        return _Look(has_room=True, look_at=float("-inf"), ends=ends, over=over, sure_at=sure_at)

    def _mark_waiting(self, transaction: Transaction, until: float) -> None:
        """Store that this process waits until a moment: then others take no more than their part."""
        now = self._owner.now()
        if self._marked_until < until + _WAITING_FOR_S / 2:
            self._marked_until = until + _WAITING_FOR_S
            until_s = self._owner.moment().at_s + max(0.0, until - now) + _WAITING_FOR_S
            transaction.execute(_UNTIL, (self._own.key, self._owner.token, until_s))

    def _stand_back_s(self, mine: int, others: list[int], whole: int, now: float) -> float:
        """Return how long to wait because this process has had its part and another one, that has less, waits.

        `others` are the numbers of slots of those that wait. Room that they do not take meanwhile is not wasted.
        """
        if (
            not others
            or mine < math.ceil(whole / (1 + len(others)))
            or (not self._owner.shares_clock and mine <= min(others))
        ):
            return 0.0
        if self._stood_back_since is None:
            self._stood_back_since = now
        # longer than the others wait until they look again
        looks = 1 if self._owner.shares_clock else _STAND_BACK_LOOKS
        return self._stood_back_since + looks * self._short_look_s - now

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
