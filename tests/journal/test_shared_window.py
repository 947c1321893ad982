"""One key, many processes: together they never send more than the limit in any window, and what dies frees its part."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.journal.database import JournalError
from orchestrator.journal.owners import Owner
from orchestrator.journal.shared_window import SharedWindow, key_name
from orchestrator.quota.window import Window
from tests.journal.test_owners import Moments, die, enter
from tests.machine import quick_folder

LIMIT, PER_S = 5, 60.0


@dataclass(slots=True)
class Process:
    """A process that shares the key: its window, and its calls on the wire."""

    owner: Owner
    window: SharedWindow
    broke: list[JournalError]
    on_wire: list[int] = field(default_factory=list)


def process(
    folder: Path, clock: Moments, *, key: str = "k", limit: int = LIMIT, shared: bool = False, boot: str = "b"
) -> Process:
    """Another process on this machine."""
    broke: list[JournalError] = []
    owner = enter(folder, "run", clock, boot)
    window = SharedWindow(
        owner, key=key, requests=limit, per_s=PER_S, shared=shared, own=Window(PER_S), broke=broke.append
    )
    return Process(owner, window, broke)


@contextmanager
def processes(folder: Path, clock: Moments, count: int, **options: object) -> Iterator[list[Process]]:
    """Several of them, which leave in order."""
    mine = [process(folder, clock) for _ in range(count)]
    yield mine
    for one in mine:
        one.owner.leave()


def send(one: Process, now: float, limit: int = LIMIT) -> bool:
    """One call leaves, where it may."""
    at = one.window.room_at(now, limit)
    if at is None or at > now:
        return False
    call = one.window.leave(now, limit)
    if call is not None:
        one.on_wire.append(call)
    return call is not None


def test_what_one_sends_counts_for_all(tmp_path: Path) -> None:
    """The window is the key's: a call of one process leaves less room for the others, until a window after its answer."""
    clock = Moments()
    with processes(tmp_path, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        assert not send(one, clock.now)
        assert not send(two, clock.now)
        assert two.window.counted(clock.now) == LIMIT
        for call in one.on_wire:
            clock.now += 1
            one.window.answered(call, clock.now)
        at = two.window.room_at(clock.now, LIMIT)
        assert at is not None
        # it looks again before that moment, since the other's calls may turn out otherwise, but never later
        assert at <= clock.now - LIMIT + 1 + PER_S * 1.001
        clock.now += PER_S - LIMIT + 1.1
        assert [send(two, clock.now) for _ in range(2)] == [True, False]


def test_what_never_left_does_not_count(tmp_path: Path) -> None:
    """A call that is proven unsent is free for everybody at once."""
    clock = Moments()
    with processes(tmp_path, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        one.window.unsent(one.on_wire.pop())
        assert [send(two, clock.now), send(two, clock.now)] == [True, False]


def test_only_own_answers_can_make_room(tmp_path: Path) -> None:
    """Where nobody else has anything on the wire there is no moment to wait for; else there is one, soon."""
    clock = Moments()
    with processes(tmp_path, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        assert one.window.room_at(clock.now, LIMIT) is None
        at = two.window.room_at(clock.now, LIMIT)
        assert at is not None
        assert 0 < at - clock.now <= 1


def test_other_keys_have_windows_of_their_own(tmp_path: Path) -> None:
    """Known by a hash with a salt, which is worth nothing elsewhere and never shows the key."""
    clock = Moments()
    one, two = process(tmp_path, clock, key="k"), process(tmp_path, clock, key="l")
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
    one.window.answered(one.on_wire[0], clock.now)
    die(one.owner)
    clock.now += 10
    assert not send(two, clock.now)
    clock.now += PER_S - 9.9
    assert [send(two, clock.now), send(two, clock.now)] == [True, False]
    clock.now += 11
    assert [send(two, clock.now) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
    two.owner.leave()


def test_what_a_run_that_ended_had_sent_stays_too(tmp_path: Path) -> None:
    """The window outlives the process that filled it."""
    clock = Moments()
    one = process(tmp_path, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    one.window.answered(one.on_wire[0], clock.now)
    one.owner.leave()
    clock.now += 30
    two = process(tmp_path, clock)
    assert not send(two, clock.now)
    clock.now += 31
    assert send(two, clock.now)
    two.owner.leave()


def test_another_start_of_the_machine_begins_a_window_anew(tmp_path: Path) -> None:
    """The monotonic clock began again, and nobody knows how long ago the calls were: they count from now."""
    clock = Moments()
    one = process(tmp_path, clock)
    assert all(send(one, clock.now) for _ in range(LIMIT))
    for call in one.on_wire:
        one.window.answered(call, clock.now)
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


def test_a_share_is_ones_own_and_the_limit_everybodys(tmp_path: Path) -> None:
    """With `--rate` a run keeps to its part; what others send counts against the key's limit and not against that part."""
    clock = Moments()
    whole, part = process(tmp_path, clock), process(tmp_path, clock, shared=True)
    assert all(send(whole, clock.now) for _ in range(2))
    assert [send(part, clock.now, 2) for _ in range(3)] == [True, True, False]
    assert [send(whole, clock.now) for _ in range(2)] == [True, False]
    for call in part.on_wire:
        part.window.answered(call, clock.now)
    at = part.window.room_at(clock.now, 2)
    assert at is not None
    assert at > clock.now
    whole.owner.leave()
    part.owner.leave()


def test_nobody_takes_more_than_a_part_while_others_wait(tmp_path: Path) -> None:
    """Two that always want more get about half each, though one of them began with the whole window."""
    clock = Moments()
    with processes(tmp_path, clock, 2) as mine:
        sent = [0, 0]
        picks = random.Random(1)
        while clock.now < 100 + 12 * PER_S:
            for k in picks.sample((0, 1), 2):
                one = mine[k]
                while send(one, clock.now):
                    sent[k] += 1
                    one.window.answered(one.on_wire.pop(), clock.now)
            clock.now += 0.2
        assert sum(sent) >= 0.95 * 12 * LIMIT
        assert min(sent) >= 0.4 * sum(sent)


def test_a_share_that_nobody_takes_is_not_wasted(tmp_path: Path) -> None:
    """Room that the one who waits does not take goes to the other a moment later."""
    clock = Moments()
    with processes(tmp_path, clock, 2) as (one, two):
        assert all(send(one, clock.now) for _ in range(LIMIT))
        assert not send(two, clock.now)
        one.window.unsent(one.on_wire.pop())
        one.window.unsent(one.on_wire.pop())
        assert not send(one, clock.now)
        clock.now += 0.11
        assert send(one, clock.now)


def test_where_the_file_gives_way_the_run_goes_on_alone(tmp_path: Path) -> None:
    """A full disk costs the sharing and not the run: told once, and its own calls still keep to the limit."""
    clock = Moments()
    one = process(tmp_path, clock)
    assert send(one, clock.now)
    one.owner.database.read("PRAGMA query_only = ON")
    assert [send(one, clock.now) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
    assert len(one.broke) == 1
    assert one.window.counted(clock.now) == LIMIT
    for call in one.on_wire:
        one.window.answered(call, clock.now)
    assert one.window.room_at(clock.now, LIMIT) is not None
    clock.now += PER_S * 1.01
    assert send(one, clock.now)
    one.window.unsent(one.on_wire.pop())
    assert one.window.counted(clock.now) == 0
    one.owner.database.read("PRAGMA query_only = OFF")
    one.owner.leave()


def test_a_file_that_gives_way_at_an_answer_or_a_look(tmp_path: Path) -> None:
    """Whichever question meets the fault first, the answer comes from memory."""
    clock = Moments()
    for ask in ("counted", "room_at", "answered"):
        one = process(tmp_path, clock)
        assert send(one, clock.now)
        one.owner.database._connection.close()
        if ask == "counted":
            assert one.window.counted(clock.now) == 1
        elif ask == "room_at":
            assert one.window.room_at(clock.now, LIMIT) == clock.now
        else:
            one.window.answered(one.on_wire[0], clock.now)
        assert len(one.broke) == 1
        die(one.owner)


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
                one.window.answered(call, clock.now)
                ended[life[k], call] = clock.now
            elif act == "unsent" and one.on_wire:
                call = one.on_wire.pop(0)
                one.window.unsent(call)
                del left[life[k], call]
            elif act == "die":
                for call in one.on_wire:
                    ended[life[k], call] = clock.now
                die(one.owner)
                life[k] = max(life) + 1
                mine[k] = process(folder, clock)
        for one in mine:
            one.owner.leave()
