"""A lane's lock and the refreshes that other runs left on its connection: one transaction decides about both."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.clock import Clock
from orchestrator.engine.connection_lock import StoredConnectionLocks
from orchestrator.journal.journal import Journal
from orchestrator.journal.locks import Locks
from orchestrator.journal.processes import OwnerLost, ProcessRecord
from orchestrator.journal.records import CallStatus, NewRun, NewTarget, StoredRequest
from orchestrator.journal.steps import Steps
from orchestrator.planning.plan import Lane, Target
from tests.journal.stores import STORES, Place, PostgresPlace, die, enter_place, open_journal
from tests.quota.windows import at_once
from tests.rehearsal import manifest_text, model, read_manifest

START = datetime(2026, 3, 1, tzinfo=UTC)
# four models, of which the second and the third are on one connection
MANIFEST = read_manifest(manifest_text(model(1), model(2, connection="c"), model(3, connection="c"), model(4)))
URL = "http://127.0.0.1:1"


@dataclass
class Worker:
    """A process at work on a run over the manifest's models, each a lane of its own."""

    owner: ProcessRecord
    journal: Journal
    steps: Steps
    locks: StoredConnectionLocks
    lanes: tuple[Lane, ...]

    def send(self, place: int, job_id: str | None = None) -> int:
        """A refresh call leaves, and is answered with a job."""
        call = self.steps.intended(
            served=self.lanes[place].targets, scopes=[((), ())], part=0, attempt=1, base_url=URL, timeout_s=600,
            wait=True, queued_s=0.0,
        )  # fmt: skip
        if job_id is not None:
            self.steps.answered(call, job_id=job_id, word=None, fate=CallStatus.ACCEPTED)
        return call

    def die(self) -> None:
        """Killed."""
        self.steps.flush()
        self.journal.close()
        die(self.owner)


class World:
    """Workers on one store, and their clock."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.now_s = 100.0
        self.clock = Clock(lambda: self.now_s, lambda: START + timedelta(seconds=self.now_s))
        self.alive: list[Worker] = []

    def worker(self, run: str) -> Worker:
        """A process begins a run."""
        owner = enter_place(self.place, run=run, since=START, now=self.clock.now)
        journal = open_journal(self.place, self.clock)
        new = NewRun(
            id=run, root=run, origin=None, trigger="run", manifest_path=run, manifest_file=run, manifest_identity=run,
            manifest_sha256="0", lock=run, began_at=START,
        )  # fmt: skip
        targets = [NewTarget(position=e.index, name=e.name) for e in MANIFEST.entries]
        steps = journal.begin(new, StoredRequest(manifest=MANIFEST, selected=(0, 1, 2, 3)), targets)
        lanes = tuple(
            Lane(
                instance=entry.instance,
                key=f"connection {entry.connection} {entry.index}",
                targets=(
                    Target(entry=entry, model_id=str(entry.model_id), branch_id=None, connection=None, lane="lane"),
                ),
            )
            for entry in MANIFEST.entries
        )
        locks = StoredConnectionLocks(Locks(owner), steps, base_urls={"sim": URL}, clock=self.clock)
        self.alive.append(Worker(owner, journal, steps, locks, lanes))
        return self.alive[-1]

    def kill(self, worker: Worker) -> None:
        """The process is killed, and everybody has had the time to notice."""
        worker.die()
        self.alive.remove(worker)
        self.now_s += 31


@pytest.fixture
def world(place: Place) -> Iterator[World]:
    """An empty store of each kind."""
    world = World(place)
    yield world
    for worker in world.alive:
        worker.journal.close()
        worker.owner.leave()


def beat(owner: Any) -> bool:
    """The heartbeat's thread renews the lease; False if it is over."""
    return bool(owner.beat())


def test_a_lock_comes_with_what_is_left_on_its_connection(world: World) -> None:
    """The run that gets a dead process's lane learns in the same step of the job that may still run on it."""
    dead, alive = world.worker("r1"), world.worker("r2")
    assert at_once(dead.locks.take(dead.lanes[1])) == (None, ())
    dead.send(1, "job-1")
    holder, orphans = at_once(alive.locks.take(alive.lanes[2]))
    assert "run r1" in str(holder)
    assert orphans == ()
    world.kill(dead)
    # in PostgreSQL it must be seen silent for a lease
    at_once(alive.locks.take(alive.lanes[2]))
    world.now_s += 31
    holder, orphans = at_once(alive.locks.take(alive.lanes[2]))
    assert (holder, [one.job_id for one in orphans]) == (None, ["job-1"])


@pytest.mark.parametrize("place", STORES[1:], indirect=True)
def test_taking_a_lane_is_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lanes the run holds, and whatever is left: no round trips for each of them."""
    from orchestrator.journal.postgres_link import Link, LinkConnection, LinkTransaction

    dead, alive = world.worker("r1"), world.worker("r2")
    for place in (0, 3):
        dead.send(place, f"job-{place}")
        assert at_once(alive.locks.take(alive.lanes[place]))[0] is None
    seen: list[str] = []
    begin, wait = Link.begin, LinkConnection.wait

    def counted_begin(link: Link, **options: bool) -> LinkTransaction:
        seen.append("transaction")
        return begin(link, **options)

    def counted_wait(connection: LinkConnection, *arguments: Any, **options: Any) -> Any:
        seen.append("wait")
        return wait(connection, *arguments, **options)

    monkeypatch.setattr(Link, "begin", counted_begin)
    monkeypatch.setattr(LinkConnection, "wait", counted_wait)
    for act in (alive.locks.look, alive.locks.take):
        seen.clear()
        assert at_once(act(alive.lanes[1])) == (None, ())
        assert seen.count("transaction") == 1
        assert seen.count("wait") <= 8, seen


class Unwalked(dict[Any, Any]):
    """A mapping whose entries are found by their key alone."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("all lanes were walked through")

    def items(self) -> Any:
        raise AssertionError("all lanes were walked through")


def test_a_look_costs_the_same_however_many_lanes_are_held(world: World) -> None:
    """Only the lanes that have one of its names are looked at."""
    worker = world.worker("r1")
    worker.locks._held = Unwalked()
    for place in (0, 1, 3):
        assert at_once(worker.locks.take(worker.lanes[place])) == (None, ())
    assert at_once(worker.locks.look(worker.lanes[2]))[0] == "another lane of this run"


@pytest.mark.parametrize("place", STORES[1:], indirect=True)
def test_an_owner_that_returns_after_its_lease_holds_no_lock(world: World) -> None:
    """It was suspended, and another process took the lane: it may not send on it, and it gets no lock any more."""
    first, second = world.worker("r1"), world.worker("r2")
    assert at_once(first.locks.take(first.lanes[1])) == (None, ())
    assert first.locks.holds(first.lanes[1])
    assert second.owner.reap_dead() is False
    world.now_s += 31
    assert beat(second.owner)
    assert not first.locks.holds(first.lanes[1])
    assert at_once(second.locks.take(second.lanes[2])) == (None, ())
    assert "run r2" in str(at_once(first.locks.take(first.lanes[1]))[0])
    second.locks.release(second.lanes[2])
    assert not beat(first.owner)
    with pytest.raises(OwnerLost):
        at_once(first.locks.take(first.lanes[1]))
    assert not first.locks.holds(first.lanes[1])


@pytest.mark.parametrize("place", STORES[1:], indirect=True)
def test_a_lock_that_the_store_lost_is_taken_anew(world: World) -> None:
    """A lock is gone from the store, and another process took it: its first owner learns that with its next heartbeat."""
    first, second = world.worker("r1"), world.worker("r2")
    for lane in (0, 1):
        assert at_once(first.locks.take(first.lanes[lane])) == (None, ())
    assert isinstance(world.place, PostgresPlace)
    world.place.sql("DELETE FROM locks")
    assert at_once(second.locks.take(second.lanes[2])) == (None, ())
    assert beat(first.owner)
    assert not first.locks.holds(first.lanes[0])
    assert at_once(first.locks.take(first.lanes[0])) == (None, ())
    assert first.locks.holds(first.lanes[0])
    assert "run r2" in str(at_once(first.locks.take(first.lanes[1]))[0])
    second.locks.release(second.lanes[2])
    assert at_once(first.locks.take(first.lanes[1])) == (None, ())
    assert first.locks.holds(first.lanes[1])
    assert "run r1" in str(at_once(second.locks.take(second.lanes[2]))[0])
