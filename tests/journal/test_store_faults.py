"""Whole runs over a PostgreSQL store that fails during them: no model is refreshed twice, no call is one too many.

A fault that passes costs time and nothing else. One that stays, or that took rows away, ends the run in order, with a report.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import pairwise

import pytest

from orchestrator import Report, load_manifest, run
from orchestrator.engine.connection_lock import StoredConnectionLocks
from orchestrator.engine.events import CallEnded, RunEvent
from orchestrator.journal.database import JournalError, Patience, StoreUnreachable
from orchestrator.journal.records import OrphanedRefresh
from orchestrator.planning.plan import Lane
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.cli.serving import serving
from tests.journal.postgres_server import find_program, pooler_before, replica_of
from tests.journal.stores import HAS_POSTGRES, PostgresPlace
from tests.journal.tcp_proxy import Proxy, proxy_to
from tests.rehearsal import manifest_text, model, uuid

if not HAS_POSTGRES:
    # the list of stores says what runs here (`tests.journal.stores`)
    __test__ = False

MODELS, LIMIT, PER_S = 6, 12, 0.5
ENVIRON = {"OMNI_BASE_URL": "http://127.0.0.1:1", "KEY_1": "api-key-1"}


class World:
    """A store behind a proxy, as a role that has no right too many sees it, and an instance."""

    def __init__(self, place: PostgresPlace, proxy: Proxy, simulator: Simulator) -> None:
        self.place = place
        self.proxy = proxy
        self.simulator = simulator
        self.timers: list[threading.Timer] = []
        database = place.url.rpartition("/")[2]
        self.url = place.server.url(database, user="worker", port=proxy.port)

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something after a while, whatever the run does."""
        self.timers.append(threading.Timer(seconds, act))
        self.timers[-1].start()

    def run(self, faults: Mapping[int, Callable[["World"], object]], *, patience: str = "5m") -> Report:
        """A run with faults; each occurs after this many refresh calls were answered."""
        answered = 0

        def watch(event: RunEvent) -> None:
            nonlocal answered
            if isinstance(event, CallEnded) and event.purpose == "submit":
                answered += 1
                if answered in faults:
                    faults[answered](self)

        limits = {"rate_limit": {"requests": LIMIT, "per": f"{PER_S}s"}, "request_timeout": "3s"}
        text = manifest_text(
            *(model(n) for n in range(1, MODELS + 1)),
            instance={"base_url": self.simulator.url, **limits},
            defaults={"poll": {"min": "50ms", "max": "200ms"}, "timeout": "30s"},
            workers=2,
        )
        manifest = load_manifest(text=text, environ=ENVIRON)
        return asyncio.run(
            run(manifest, state=self.url, state_patience=patience, grace="50ms", environ=ENVIRON, on_event=watch)
        )

    def check(self) -> None:
        """No model twice, and no call that the limit did not allow."""
        started = Counter(call.model_id for call in self.simulator.calls if call.accepted)
        assert max(started.values()) == 1, started
        assert not [call for call in self.simulator.calls if call.limited]


# as long as the server: the tests of this module may reach a process in several parts
@pytest.fixture(scope="session")
def worker_place(postgres_place: PostgresPlace) -> PostgresPlace:
    """The store, with a role that has the rights that `docs/how-to/several-machines.md` names."""
    postgres_place.sql(
        "CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA omni_refresh TO worker;"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA omni_refresh TO worker"
    )
    return postgres_place


@pytest.fixture
def world(worker_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty store behind a proxy, and an instance."""
    from orchestrator.journal import postgres, postgres_link

    # a server that does not answer is given up soon
    monkeypatch.setattr(postgres_link, "STATEMENT_S", 0.3)
    monkeypatch.setattr(postgres, "_LONGEST_PAUSE_S", 0.4)
    worker_place.empty()
    with ExitStack() as stack:
        proxy = stack.enter_context(proxy_to(worker_place.server.port))
        models = [{"id": uuid(n), "duration": 0.05} for n in range(1, MODELS + 1)]
        limit = {"kind": "sliding", "requests": LIMIT, "per": PER_S, "count_refused": True}
        simulator = stack.enter_context(serving(make_scenario(models=models, limit=limit)))
        world = World(worker_place, proxy, simulator)
        yield world
        for timer in world.timers:
            timer.join()


def restart(world: World) -> None:
    """The server crashes and comes back."""
    world.place.server.stop("immediate")
    world.place.server.start()


def swallow_answers(world: World) -> None:
    """Queries arrive, and what they change is committed; the answers are lost, for a while."""
    world.proxy.swallows_answers = True

    def end() -> None:
        world.proxy.cut()
        world.proxy.swallows_answers = False

    world.later(0.6, end)


def exhaust(world: World) -> None:
    """No connection is free, for a while."""
    world.place.sql("ALTER ROLE worker CONNECTION LIMIT 0")
    world.place.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'")
    world.later(0.6, lambda: world.place.sql("ALTER ROLE worker CONNECTION LIMIT -1"))


def fill_disk(world: World) -> None:
    """Nothing can be written, for a while."""
    world.place.sql(
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END$$;"
        " CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON calls EXECUTE FUNCTION fill();"
        " CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON slots EXECUTE FUNCTION fill()"
    )
    world.later(0.6, lambda: world.place.sql("LOCK TABLE meta; DROP FUNCTION fill CASCADE"))


def slow(world: World) -> None:
    """Each answer takes its time from now on."""
    world.proxy.delay_s = 0.01


@pytest.mark.parametrize("fault", [restart, swallow_answers, exhaust, fill_disk, slow])
def test_a_fault_that_passes_costs_only_time(fault: Callable[[World], object], world: World) -> None:
    """The run waits, and goes on where it was."""
    report = world.run({3: fault})
    world.check()
    assert [outcome.status.value for outcome in report.outcomes] == ["succeeded"] * MODELS
    assert report.exit_code == 0


def test_what_a_run_costs_the_store(world: World) -> None:
    """The figures of `docs/how-to/several-machines.md`: connections of a process, and transactions of an API call."""
    database = world.place.url.rpartition("/")[2]
    committed = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'"
    connections: list[int] = []

    def count(world: World) -> None:
        connections.append(int(world.place.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker'")))

    before = int(world.place.server.sql(committed))
    world.run({MODELS: count})
    world.check()
    calls = len(world.simulator.calls)
    transactions = int(world.place.server.sql(committed)) - before
    assert connections[0] <= 8
    assert transactions <= 6 * calls + 40


@pytest.mark.parametrize("program", [name for name in ["pgbouncer"] if find_program(name)])
def test_a_run_behind_a_transaction_pooler(program: str, world: World) -> None:
    """Each transaction may meet another connection of the server: nothing that the run needs outlives one."""
    del program
    with pooler_before(world.place.server) as port:
        world.url = world.place.server.url(world.place.url.rpartition("/")[2], port=port)
        report = world.run({})
    world.check()
    assert [outcome.status.value for outcome in report.outcomes] == ["succeeded"] * MODELS


def test_a_replica_that_lagged_behind_costs_a_window(world: World) -> None:
    """What was committed last is gone: slots, locks and steps of the run. The run knows them, and nothing is sent twice."""
    primary = world.place.server
    with replica_of(primary) as replica:
        database = world.place.url.rpartition("/")[2]
        world.url = f"postgresql://worker@127.0.0.1:{primary.port},127.0.0.1:{replica.port}/{database}"

        counts: list[int] = []
        count = "SELECT sum(steps) FROM omni_refresh.runs"

        def lag(world: World) -> None:
            """The replica receives nothing more."""
            replica.sql("ALTER SYSTEM SET primary_conninfo = ''")
            replica.sql("SELECT pg_reload_conf()")

        def promote(world: World) -> None:
            """The replica takes over."""
            counts.extend(int(server.sql(count, database)) for server in (primary, replica))
            primary.stop()
            replica.run("pg_ctl", "-D", str(replica.data), "promote")

        try:
            report = world.run({2: lag, 4: promote})
        finally:
            primary.start()
        calls = replica.sql("SELECT count(*), count(DISTINCT job_id) FROM omni_refresh.calls", database)
    world.check()
    assert counts[1] < counts[0]
    assert [outcome.status.value for outcome in report.outcomes] == ["succeeded"] * MODELS
    assert calls == f"{MODELS}|{MODELS}"
    # nothing left for a window after the rows were lost
    posts = sorted(call.t_s for call in world.simulator.calls if call.method == "POST")
    assert max(later - earlier for earlier, later in pairwise(posts)) >= PER_S


def stay_away(world: World) -> None:
    """The store does not come back."""
    world.proxy.refuses = True
    world.proxy.cut()


def empty(world: World) -> None:
    """All rows are gone."""
    world.place.empty()


def drop(world: World) -> None:
    """All tables are gone."""
    world.place.sql("ALTER SCHEMA omni_refresh RENAME TO elsewhere")


def test_lanes_that_wait_for_a_lock_end_with_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is away while a lane looks who has its connection's lock: it waits no longer than the run does."""
    look = StoredConnectionLocks.look

    def look_in_vain(locks: StoredConnectionLocks, lane: Lane) -> tuple[str | None, tuple[OrphanedRefresh, ...]]:
        # this lane has not got so far when the state goes away, however fast the machine is
        return ("the state is away", ()) if lane.targets[0].entry.name == f"m{MODELS}" else look(locks, lane)

    monkeypatch.setattr(StoredConnectionLocks, "look", look_in_vain)
    report = world.run({3: stay_away}, patience="1s")
    world.check()
    assert report.outcomes[-1].status.value == "not_started"
    assert report.exit_code == 1


@pytest.mark.parametrize("fault", [stay_away, empty, drop])
def test_a_fault_that_stays_ends_the_run_in_order(fault: Callable[[World], object], world: World) -> None:
    """Nothing is sent beside the store; what was sent is reported, and so is what was not."""
    try:
        report = world.run({3: fault}, patience="1s")
    finally:
        if fault is drop:
            world.place.sql("ALTER SCHEMA elsewhere RENAME TO omni_refresh")
    world.check()
    counts = Counter(outcome.status.value for outcome in report.outcomes)
    assert set(counts) <= {"succeeded", "interrupted", "not_started"}
    assert counts["not_started"] >= 1
    assert report.exit_code == 1
    assert any("journal" in warning or "state" in warning for warning in report.run.warnings)


def test_the_event_loop_waits_once_for_a_store_that_is_away(worker_place: PostgresPlace) -> None:
    """Then its questions fail at once, until a thread has found that the store is back: timers and polls go on meanwhile."""
    from orchestrator.journal.layout import JOURNAL
    from orchestrator.journal.postgres import PostgresDatabase

    slept: list[float] = []
    patience = Patience(sleep=slept.append, busy_s=2.0)

    async def main() -> None:
        with proxy_to(worker_place.server.port) as proxy:
            url = worker_place.server.url(worker_place.url.rpartition("/")[2], port=proxy.port)
            database = PostgresDatabase.open(url, JOURNAL, patience)
            proxy.refuses = True
            proxy.cut()
            for _ in range(3):
                with pytest.raises(StoreUnreachable):
                    database.read("SELECT 1")
            assert 2.0 <= sum(slept) < 4.0
            proxy.refuses = False
            until = time.monotonic() + 20
            while True:
                with suppress(StoreUnreachable):
                    assert database.read("SELECT 1") == [(1,)]
                    break
                assert time.monotonic() < until
                await asyncio.sleep(0.05)
            assert sum(slept) < 4.0
            database.close()

    asyncio.run(main())


def test_those_that_only_wait_for_a_store_end_with_its_patience(
    worker_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that waits for its lock posts nothing that could fail; it learns of the end of the patience."""
    from orchestrator.journal import postgres
    from orchestrator.journal.layout import SHARED

    monkeypatch.setattr(postgres, "_LONGEST_PAUSE_S", 0.05)

    async def main() -> None:
        with proxy_to(worker_place.server.port) as proxy:
            url = worker_place.server.url(worker_place.url.rpartition("/")[2], port=proxy.port)
            database = postgres.PostgresDatabase.open(url, SHARED, Patience(busy_s=0.0, store_s=0.2))
            proxy.refuses = True
            proxy.cut()
            until, seen = time.monotonic() + 20, ""
            while "could not be used for 0.2 s" not in seen:
                assert time.monotonic() < until, seen
                await asyncio.sleep(0.05)
                with pytest.raises(JournalError) as raised:
                    database.read("SELECT 1")
                seen = str(raised.value)
            with pytest.raises(JournalError, match="could not be used"):
                database.flush()
            database.close()

    asyncio.run(main())
