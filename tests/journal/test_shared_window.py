"""One key, many processes: together they never send more than the limit in any window, and what dies frees its part."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.journal.database import JournalError
from orchestrator.journal.processes import FILE, LocalProcess, ProcessRecord, record_gap
from orchestrator.journal.shared_window import SharedWindow
from orchestrator.journal.slots import OwnSlots, SlotRow, key_name, prune_slots
from orchestrator.manifest.manifest import RateLimit, Secret
from orchestrator.quota.key import KeyQuota
from orchestrator.quota.limit_estimate import LimitEstimate
from orchestrator.quota.window import LedgerLost
from orchestrator.simulator import virtual
from tests.journal.stores import Place, die
from tests.journal.test_process_records import Moments, enter
from tests.machine import quick_folder
from tests.quota.windows import at_once

LIMIT, PER_S = 5, 60.0


@dataclass(slots=True)
class Process:
    """A process that shares the key: its window, and its calls on the wire."""

    owner: ProcessRecord
    window: SharedWindow
    broke: list[JournalError]
    on_wire: list[int] = field(default_factory=list)


def process(
    folder: Place, clock: Moments, *, key: str = "k", limit: int = LIMIT, shared: bool = False, boot: str = "b"
) -> Process:
    """Another process on this machine."""
    broke: list[JournalError] = []
    owner = enter(folder, "run", clock, boot)
    window = SharedWindow(OwnSlots(owner, key, PER_S), requests=limit, is_share=shared, broke=broke.append)
    return Process(owner, window, broke)


@contextmanager
def processes(folder: Place, clock: Moments, count: int, limit: int = LIMIT) -> Iterator[list[Process]]:
    """Several of them, which leave in order."""
    mine = [process(folder, clock, limit=limit) for _ in range(count)]
    try:
        yield mine
    finally:
        for one in mine:
            one.owner.leave()


def send(one: Process, now: float, limit: int = LIMIT) -> bool:
    """One call leaves, where it may."""
    at = one.window.when(now, limit)
    if at is None or at > now:
        return False
    call = at_once(one.window.take(now, limit))
    if call is not None:
        one.on_wire.append(call)
    return call is not None


def test_what_one_sends_counts_for_all(place: Place) -> None:
    """The window is the key's: a call of one process leaves less room for the others, until a window after its answer."""
    clock = Moments()
    with processes(place, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        assert not send(one, clock.now)
        assert not send(two, clock.now)
        assert seen_by(two, clock.now) == LIMIT
        for call in one.on_wire:
            clock.now += 1
            one.window.give_back(call, clock.now)
        at = two.window.when(clock.now, LIMIT)
        assert at is not None
        # it looks again before that moment, since the other's calls may turn out otherwise, but never later
        assert at <= clock.now - LIMIT + 1 + PER_S * 1.001
        clock.now += PER_S - LIMIT + 1.1
        tell(one)
        assert [send(two, clock.now) for _ in range(2)] == [True, False]


def test_what_never_left_does_not_count(place: Place) -> None:
    """A call that is proven unsent is free for everybody at once."""
    clock = Moments()
    with processes(place, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        one.window.give_back(one.on_wire.pop(), None)
        assert [send(two, clock.now), send(two, clock.now)] == [True, False]


def test_only_own_answers_can_make_room(place: Place) -> None:
    """If no other process has a call on the wire there is no moment to wait for; else there is one, soon."""
    clock = Moments()
    with processes(place, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        assert not send(one, clock.now)
        assert one.window.when(clock.now, LIMIT) is None
        assert not send(two, clock.now)
        at = two.window.when(clock.now, LIMIT)
        assert at is not None
        assert 0 < at - clock.now <= 1


def test_other_keys_have_windows_of_their_own(place: Place) -> None:
    """Known by a hash with a salt, which is worth nothing elsewhere and never shows the key."""
    clock = Moments()
    one, two = process(place, clock, key="k"), process(place, clock, key="l")
    assert all(send(one, clock.now) for _ in range(LIMIT))
    assert send(two, clock.now)
    assert key_name("secret", b"1") == key_name("secret", b"1")
    assert len({key_name("secret", b"1"), key_name("secret", b"2"), key_name("other", b"1")}) == 3
    assert "secret" not in key_name("secret", b"1")
    one.owner.leave()
    two.owner.leave()


def test_what_a_killed_run_had_sent_stays_in_the_window(tmp_path: Path) -> None:
    """Its calls without an answer count until a window after its death was seen; its locks are free at once."""
    clock = Moments()
    one, two = process(tmp_path, clock), process(tmp_path, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    one.window.give_back(one.on_wire[0], clock.now)
    die(one.owner)
    clock.now += 10
    assert not send(two, clock.now)
    clock.now += PER_S - 9.9
    assert [send(two, clock.now), send(two, clock.now)] == [True, False]
    clock.now += 11
    assert [send(two, clock.now) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
    two.owner.leave()


def test_what_a_run_that_ended_had_sent_stays_too(place: Place) -> None:
    """The window outlives the process that filled it."""
    clock = Moments()
    one = process(place, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    one.window.give_back(one.on_wire[0], clock.now)
    one.owner.leave()
    clock.now += 30
    two = process(place, clock)
    assert not send(two, clock.now)
    clock.now += 31
    assert send(two, clock.now)
    two.owner.leave()


def test_another_start_of_the_machine_begins_a_window_anew(tmp_path: Path) -> None:
    """The monotonic clock began again, and the age of the calls is unknown: they count from now."""
    clock = Moments()
    one = process(tmp_path, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    for call in one.on_wire:
        one.window.give_back(call, clock.now)
    one.owner.leave()
    for boot, now in (("b2", 5.0), ("b2", 1.0)):
        clock.now = now
        two = process(tmp_path, clock, boot=boot)
        assert not send(two, clock.now)
        clock.now += PER_S - 1
        assert not send(two, clock.now)
        two.owner.leave()
        clock.now = now
    clock.now = 1.0 + PER_S * 1.01
    two = process(tmp_path, clock, boot="b2")
    assert send(two, clock.now)
    two.owner.leave()


def test_a_share_is_ones_own_and_the_limit_everybodys(place: Place) -> None:
    """With `--rate` a run keeps to its part; what others send counts against the key's limit and not against that part."""
    clock = Moments()
    whole, part = process(place, clock), process(place, clock, shared=True)
    assert all(send(whole, clock.now) for _ in range(2))
    assert [send(part, clock.now, 2) for _ in range(3)] == [True, True, False]
    assert [send(whole, clock.now) for _ in range(2)] == [True, False]
    for call in part.on_wire:
        part.window.give_back(call, clock.now)
    at = part.window.when(clock.now, 2)
    assert at is not None
    assert at > clock.now
    whole.owner.leave()
    part.owner.leave()


def test_no_process_takes_more_than_a_part_while_others_wait(place: Place) -> None:
    """Two that always want more get about half each, though one of them began with the whole window."""
    clock, limit = Moments(), 6
    with processes(place, clock, 2, limit=limit) as mine:
        sent = [0, 0]
        picks = random.Random(1)
        windows, step_s = (12, 0.2) if mine[0].owner.shares_clock else (8, 2.0)
        while clock.now < 100 + windows * PER_S:
            for k in picks.sample((0, 1), 2):
                one = mine[k]
                while send(one, clock.now, limit):
                    sent[k] += 1
                    one.window.give_back(one.on_wire.pop(), clock.now)
            clock.now += step_s
        assert sum(sent) >= 0.9 * windows * limit
        assert min(sent) >= 0.4 * sum(sent)


def test_an_unused_share_is_not_wasted(place: Place) -> None:
    """Room that the one who waits does not take goes to the other a moment later."""
    clock = Moments()
    with processes(place, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        assert not send(two, clock.now)
        one.window.give_back(one.on_wire.pop(), None)
        one.window.give_back(one.on_wire.pop(), None)
        assert not send(one, clock.now)
        clock.now += 0.11 if one.owner.shares_clock else 3.1
        assert send(one, clock.now)


def tell(one: Process) -> None:
    """Without a clock that all share, a process tells the others now and then which of its calls are over."""
    if isinstance(one.owner, LocalProcess):
        return
    for act in one.owner.on_beat:
        act(one.owner.database)


def seen_by(one: Process, now: float) -> int:
    """How many calls count, as the store says."""
    assert at_once(one.window.take(now, 0)) is None
    return one.window.counted(now)


def read_only(one: Process, *, on: bool) -> None:
    """Let the process's own connection write nothing, as a full disk would."""
    one.owner.database.read(f"PRAGMA query_only = {'ON' if on else 'OFF'}")


def test_a_file_that_cannot_be_written_lets_no_call_leave(tmp_path: Path) -> None:
    """Other runs would not know of the call: calls wait, that is reported once, and go on exactly where they were."""
    clock = Moments()
    with processes(tmp_path, clock, 2) as (one, two):
        assert send(one, clock.now)
        read_only(one, on=True)
        for _ in range(100):
            assert not send(one, clock.now)
            clock.now += 0.1
        assert len(one.broke) == 1
        assert one.window.counted(clock.now) == 1
        one.window.give_back(one.on_wire.pop(), clock.now)
        assert seen_by(two, clock.now) == 1
        read_only(one, on=False)
        clock.now += 1
        assert [send(one, clock.now) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
        assert seen_by(two, clock.now) == LIMIT
        # the answer that came meanwhile has been written: its call leaves the window one window after it
        clock.now += PER_S - 0.9
        assert seen_by(two, clock.now) == LIMIT - 1
        read_only(one, on=True)
        send(one, clock.now)
        clock.now += 6
        send(one, clock.now)
        assert len(one.broke) == 2
        read_only(one, on=False)


def test_after_five_minutes_calls_are_given_up(tmp_path: Path) -> None:
    """A file that never comes back ends the run in order instead of leaving it to wait for ever."""
    clock = Moments()
    one = process(tmp_path, clock)
    read_only(one, on=True)
    for _ in range(299):
        assert not send(one, clock.now)
        clock.now += 1
    clock.now += 2
    assert not send(one, clock.now)
    with pytest.raises(LedgerLost):
        send(one, clock.now)
    die(one.owner)


def test_what_a_run_sent_before_the_file_was_locked_counts_for_the_next_one(tmp_path: Path) -> None:
    """Answers that could not be written count from when the next run notices: its window does not begin empty."""
    clock = Moments()
    one = process(tmp_path, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for call in one.on_wire:
        one.window.give_back(call, clock.now)
    one.owner.leave()
    holder.execute("ROLLBACK")
    holder.close()
    clock.now += PER_S * 2
    two = process(tmp_path, clock)
    assert not send(two, clock.now)
    clock.now += PER_S * 1.01
    assert send(two, clock.now)
    two.owner.leave()


def test_a_hold_is_everybodys(tmp_path: Path) -> None:
    """After one run's 429 no run of the machine sends with the key until then, also one that begins later; other keys do."""
    clock = Moments()
    with processes(tmp_path, clock, 2) as (one, two):
        one.window.hold(clock.now + 30, clock.now)
        # a shorter one does not shorten it
        two.window.hold(clock.now + 5, clock.now)
        assert at_once(two.window.take(clock.now, LIMIT)) is None
        assert two.window.held_until(clock.now) == clock.now + 30
        late, other = process(tmp_path, clock), process(tmp_path, clock, key="l")
        assert not send(late, clock.now)
        assert late.window.held_until(clock.now) == clock.now + 30
        assert send(other, clock.now)
        clock.now += 30.1
        assert send(two, clock.now)
        late.owner.leave()
        other.owner.leave()
    # after the machine's start its moment means nothing: the whole wait begins anew
    clock.now = 1.0
    after = process(tmp_path, clock, boot="b2")
    assert not send(after, clock.now)
    assert after.window.held_until(clock.now) == 31.0
    after.owner.leave()


def test_a_hold_and_a_learned_limit_reach_another_process(place: Place) -> None:
    """With its next look at the store: it pauses as long as the one that heard the 429, and continues with the limit seen."""
    clock = Moments()
    seen = LimitEstimate(configured=5, limit=3, burst=2)
    with processes(place, clock, 2) as (one, two):
        one.window.hold(clock.now + 30, clock.now)
        one.window.teach(seen)
        assert not send(two, clock.now)
        assert two.window.held_until(clock.now) == pytest.approx(clock.now + 30)
        assert two.window.taught() == seen
        assert two.window.taught() is None
        clock.now += 30.1
        assert send(two, clock.now)


def test_slots_that_are_over_are_pruned(place: Place) -> None:
    """Also those of a key that no run uses any more; what may still count stays."""
    clock = Moments()
    ended, dead = process(place, clock, key="old"), process(place, clock, key="old")
    assert send(ended, clock.now)
    assert send(ended, clock.now)
    assert send(dead, clock.now)
    ended.window.give_back(ended.on_wire[0], clock.now)
    ended.owner.leave()
    die(dead.owner)
    after = process(place, clock)

    def slots() -> int:
        prune_slots(after.owner)
        ((count,),) = after.owner.database.read("SELECT count(*) FROM slots")
        return int(count)

    assert slots() == 3
    clock.now += PER_S + 1
    # the one that was answered; for the others only the manifest knows the window
    assert slots() == 2
    after.owner.reap_dead()
    clock.now += 31
    after.owner.reap_dead()
    clock.now += 8 * 86_400
    assert slots() == 0
    after.owner.leave()


def test_after_a_gap_each_key_waits_for_a_window(tmp_path: Path) -> None:
    """Where state was moved aside nothing is known of the calls before: they may all still count."""
    clock = Moments()
    record_gap(tmp_path, now=clock.now, boot="b")
    one = process(tmp_path, clock)
    assert at_once(one.window.take(clock.now, LIMIT)) is None
    clock.now += PER_S - 1
    assert at_once(one.window.take(clock.now, LIMIT)) is None
    clock.now += PER_S * 0.02
    assert send(one, clock.now)
    one.owner.leave()


def test_keys_of_two_runs_pause_together_and_start_gently(place: Place) -> None:
    """A 429 with Retry-After that one run gets: the other sends nothing until then, and then one call and not a burst."""

    async def main() -> None:
        clock = Moments()
        with processes(place, clock, 2) as mine:
            one, two = (
                KeyQuota(
                    label="k",
                    secret=Secret("k"),
                    limit=RateLimit(requests=LIMIT, per_s=PER_S),
                    ledger=each.window,
                    rng=random.Random(0),
                )
                for each in mine
            )
            call = await one.leave(clock.now)
            assert call is not None
            assert two.ready_at(clock.now) <= clock.now
            assert one.throttled(call, clock.now, clock.now + 1, 30.0)
            clock.now += 2
            # it hears of the hold when it asks for a place
            assert await two.leave(clock.now) is None
            assert two.ready_at(clock.now) == one.ready_at(clock.now) == clock.now + 29
            assert two.holds == 0
            clock.now += 29
            assert two.ready_at(clock.now) <= clock.now
            assert await two.leave(clock.now) is not None
            assert two.ready_at(clock.now) > clock.now

    virtual.run(main())


ACTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["send", "send", "send", "answer", "unsent", "die"]), st.floats(0, 9)),
    max_size=60,
)


@settings(max_examples=60)
@given(acts=ACTS)
def test_no_window_ever_holds_more_than_the_limit(acts: list[tuple[int, str, float]]) -> None:
    """Whatever three processes do, die and come back: calls that may have reached the server, counted from the moment they
    left until a window after their answer (or their sender's death), are never more than the limit.
    """
    clock = Moments()
    left: dict[tuple[int, int], float] = {}
    ended: dict[tuple[int, int], float] = {}
    with quick_folder() as folder:
        mine = [process(folder, clock) for _ in range(3)]
        life = [0, 1, 2]
        for k, act, wait_s in acts:
            clock.now += wait_s
            one = mine[k]
            if act == "send" and send(one, clock.now):
                left[life[k], one.on_wire[-1]] = clock.now
                counting = [c for c in left if ended.get(c, clock.now) + PER_S > clock.now]
                assert len(counting) <= LIMIT
            elif act == "answer" and one.on_wire:
                call = one.on_wire.pop(0)
                one.window.give_back(call, clock.now)
                ended[life[k], call] = clock.now
            elif act == "unsent" and one.on_wire:
                call = one.on_wire.pop(0)
                one.window.give_back(call, None)
                del left[life[k], call]
            elif act == "die":
                for call in one.on_wire:
                    ended[life[k], call] = clock.now
                die(one.owner)
                life[k] = max(life) + 1
                mine[k] = process(folder, clock)
        for one in mine:
            one.owner.leave()


class Unwalked(set[int]):
    """A set that may be asked and changed, but not walked through."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("all slots were walked through")

    def __sub__(self, other: object) -> set[int]:
        raise AssertionError("all slots were walked through")


def test_a_call_costs_the_same_however_many_the_process_has_sent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own slots are counted in the store; only those of other processes are read."""
    read: list[SlotRow] = []

    def make_row(*values: Any) -> SlotRow:
        read.append(SlotRow(*values))
        return read[-1]

    monkeypatch.setattr("orchestrator.journal.shared_window.SlotRow", make_row)
    clock, limit = Moments(), 1000
    with processes(place, clock, 2, limit) as (one, two):
        assert send(two, clock.now, limit)
        slots = one.window._own
        slots._known = Unwalked()
        for _ in range(20):
            assert send(one, clock.now, limit)
            one.window.give_back(one.on_wire.pop(), clock.now)
        assert len(read) == 20
        slots._known = set()
