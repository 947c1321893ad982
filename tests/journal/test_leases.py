"""Processes on several machines: who is dead, what may be sent, and what a store that forgets leads to."""

from typing import Any

import pytest

from orchestrator.journal.database import StoreUnreachable
from orchestrator.journal.locks import Locks
from orchestrator.quota.window import LedgerLost
from tests.journal.stores import HAS_POSTGRES, PostgresPlace, die
from tests.journal.test_process_records import AT, Moments
from tests.journal.test_shared_window import LIMIT, PER_S, Process, process, send

if not HAS_POSTGRES:
    # the list of stores says what runs here (`tests.journal.stores`)
    __test__ = False

SPAN_S = PER_S * 1.001


@pytest.fixture
def store(postgres_place: PostgresPlace) -> PostgresPlace:
    """An empty store."""
    postgres_place.empty()
    return postgres_place


def beat(one: Process) -> bool:
    """The process shows that it is alive."""
    owner: Any = one.owner
    return bool(owner.beat())


def wait(clock: Moments, seconds: float, *alive: Process) -> None:
    """Time passes, in which some processes show that they are alive."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 5
        for one in alive:
            assert beat(one)


def test_a_dead_workers_share_is_back_after_its_lease_and_a_window(store: PostgresPlace) -> None:
    """Its calls count until then, though it had no answer; its locks are free after the lease."""
    clock = Moments()
    dead, alive = process(store, clock), process(store, clock)
    assert all(send(dead, clock.now) for _ in range(LIMIT))
    assert Locks(dead.owner).take("x", since=AT) is None
    died_at = clock.now
    die(dead.owner)
    wait(clock, 25, alive)
    assert Locks(alive.owner).take("x", since=AT) is not None
    wait(clock, 10, alive)
    assert Locks(alive.owner).take("x", since=AT) is None
    while not send(alive, clock.now):
        wait(clock, 5, alive)
    assert 30 + SPAN_S <= clock.now - died_at <= 30 + SPAN_S + 15
    alive.owner.leave()


def test_the_end_of_a_lease_is_noticed_at_once(store: PostgresPlace) -> None:
    """The next heartbeat comes when another's lease ends, and not up to ten seconds later."""
    clock = Moments()
    dead, alive = process(store, clock), process(store, clock)
    owner: Any = alive.owner
    assert beat(dead)
    assert Locks(dead.owner).take("x", since=AT) is None
    clock.now += 4
    die(dead.owner)
    assert beat(alive)
    assert owner.pause_s() == 10
    for _ in range(2):
        clock.now += 10
        assert beat(alive)
    assert owner.pause_s() == pytest.approx(6)
    clock.now += owner.pause_s()
    assert beat(alive)
    assert Locks(alive.owner).take("x", since=AT) is None
    assert owner.pause_s() == 10
    alive.owner.leave()


def test_a_worker_that_was_suspended_sends_nothing_when_it_wakes(store: PostgresPlace) -> None:
    """Not after the fence, even if it had its permit; and nothing at all once the others count it as dead."""
    clock = Moments()
    zombie, alive = process(store, clock), process(store, clock)
    assert send(zombie, clock.now)
    assert zombie.window.may_send()
    wait(clock, 20, alive)
    assert not zombie.window.may_send()
    wait(clock, 20, alive)
    assert not send(zombie, clock.now)
    with pytest.raises(LedgerLost):
        zombie.window.when(clock.now, LIMIT)
    assert not beat(zombie)
    # that is no loss of the store's: the key stays open
    assert send(alive, clock.now)
    alive.owner.leave()
    zombie.owner.leave()


def test_a_store_that_forgot_a_call_closes_the_key_for_a_window(store: PostgresPlace) -> None:
    """One slot of its own is missing: it is not known how many of the others'."""
    clock = Moments()
    one, two = process(store, clock), process(store, clock)
    assert send(one, clock.now)
    store.sql("DELETE FROM slots")
    assert not send(one, clock.now)
    began = clock.now
    wait(clock, PER_S - 5, one, two)
    assert not send(two, clock.now)
    while not send(two, clock.now):
        wait(clock, 5, one, two)
    assert SPAN_S <= clock.now - began <= SPAN_S + 10
    one.owner.leave()
    two.owner.leave()


def test_a_failover_closes_every_key_for_a_window(store: PostgresPlace) -> None:
    """Another history of the server: a replica was promoted, and what it lacks is not known. Also for a new process."""
    clock = Moments()
    one = process(store, clock)
    assert send(one, clock.now)
    store.sql("UPDATE meta SET value = '7/00000001' WHERE name = 'history'")
    new = process(store, clock, key="other")
    assert not send(new, clock.now)
    assert not send(one, clock.now)
    clock.now += SPAN_S
    assert send(new, clock.now)
    one.owner.leave()
    new.owner.leave()


def test_a_store_that_was_restored_closes_every_key_for_a_window(store: PostgresPlace) -> None:
    """The table's file is a new one: also a process that has lost nothing of its own must wait."""
    clock = Moments()
    one = process(store, clock)
    store.sql("TRUNCATE slots")
    assert not send(one, clock.now)
    clock.now += SPAN_S
    assert send(one, clock.now)
    one.owner.leave()


def test_a_lock_that_the_store_has_lost_is_taken_again(store: PostgresPlace) -> None:
    """With the next heartbeat; one that was released stays free."""
    clock = Moments()
    one, two = process(store, clock), process(store, clock)
    mine, yours = Locks(one.owner), Locks(two.owner)
    for name in ("kept", "released"):
        assert mine.take(name, since=AT) is None
    mine.give_back_names(one.owner.database, ["released"])
    store.sql("DELETE FROM locks")
    assert beat(one)
    assert yours.take("kept", since=AT) is not None
    assert yours.take("released", since=AT) is None
    # the other one has it now: it is not taken from it
    store.sql("DELETE FROM locks")
    assert yours.take("kept", since=AT) is None
    assert beat(one)
    assert mine.holder("kept") is not None
    one.owner.leave()
    two.owner.leave()


def test_an_emptied_store_ends_those_at_work(store: PostgresPlace) -> None:
    """Nothing is sent beside a store that does not know the process."""
    clock = Moments()
    one = process(store, clock)
    assert send(one, clock.now)
    store.empty()
    assert not send(one, clock.now)
    with pytest.raises(LedgerLost):
        one.window.when(clock.now, LIMIT)
    one.owner.leave()


def test_what_ended_while_a_process_was_held_up_is_not_older_for_that(store: PostgresPlace) -> None:
    """A look with an old `now` gives a slot without an owner its whole window."""
    clock = Moments()
    one, two = process(store, clock), process(store, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    for call in one.on_wire:
        one.window.give_back(call, clock.now)
    ended = clock.now
    one.owner.leave()
    clock.now += 20
    assert not send(two, ended)
    clock.now = ended + PER_S - 1
    assert not send(two, clock.now)
    clock.now = ended + SPAN_S
    assert send(two, clock.now)
    two.owner.leave()


@pytest.mark.parametrize("shift_s", [86_400.0, -86_400.0, 60.0])
def test_a_clock_that_is_set_frees_nothing(shift_s: float, store: PostgresPlace) -> None:
    """The store's times of day jump; what counts and who is alive is as before."""
    clock = Moments()
    one, two = process(store, clock), process(store, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    store.sql(f"UPDATE owners SET beat_s = beat_s + ({shift_s})")
    store.sql(f"UPDATE slots SET ended_s = ended_s + ({shift_s})")
    wait(clock, 10, one, two)
    assert not send(two, clock.now)
    assert beat(one)
    one.owner.leave()
    two.owner.leave()


def test_a_slot_whose_commit_was_not_answered_counts(store: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call did not leave, but that cannot be known: the slot counts for a window, and the next look finds it."""
    from orchestrator.journal.postgres_link import Link

    clock = Moments()
    one = process(store, clock)
    one.window._own.register(one.owner.database)
    commit = Link.commit
    commits = 0

    def commit_and_hang_up(link: Link) -> None:
        nonlocal commits
        commits += 1
        commit(link)
        if commits == 1:
            raise StoreUnreachable("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(Link, "commit", commit_and_hang_up)
        assert not send(one, clock.now)
    assert store.sql("SELECT count(*) FROM slots") == "1"
    clock.now += 1
    assert [send(one, clock.now) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
    clock.now += SPAN_S
    assert send(one, clock.now)
    one.owner.leave()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One item for each time that the server is waited for."""
    from orchestrator.journal.postgres_link import LinkConnection

    seen: list[str] = []
    wait = LinkConnection.wait

    def counted(connection: LinkConnection, *arguments: Any, **options: Any) -> Any:
        seen.append("wait")
        return wait(connection, *arguments, **options)

    monkeypatch.setattr(LinkConnection, "wait", counted)
    return seen


def test_a_grant_is_two_messages_and_a_look_without_room_is_one(store: PostgresPlace, waits: list[str]) -> None:
    """What a server and a network cost is paid for each call, and by each process that waits."""
    clock = Moments()
    one, two = process(store, clock), process(store, clock)
    for each in (one, two):
        each.window._own.register(each.owner.database)
    for _ in range(LIMIT):
        waits.clear()
        assert send(one, clock.now)
        assert len(waits) == 2
    assert not send(two, clock.now)
    clock.now += 1.1
    waits.clear()
    assert not send(two, clock.now)
    assert len(waits) == 1
    one.owner.leave()
    two.owner.leave()


def test_a_process_that_has_its_part_looks_seldom(store: PostgresPlace) -> None:
    """It knows when its own calls make room; one that has less looks each sixtieth of a window."""
    clock = Moments()
    one, two = process(store, clock), process(store, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT - 1))
    assert send(two, clock.now)
    assert not send(two, clock.now)
    assert not send(one, clock.now)
    seldom, often = one.window.when(clock.now, LIMIT), two.window.when(clock.now, LIMIT)
    assert seldom is not None
    assert often is not None
    assert (round(seldom - clock.now), round(often - clock.now)) == (5, 1)
    one.window.give_back(one.on_wire[0], clock.now - PER_S + 2)
    freed = one.window.when(clock.now, LIMIT)
    assert freed is not None
    assert round(freed - clock.now) == 2
    one.owner.leave()
    two.owner.leave()
