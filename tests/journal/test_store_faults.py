"""Whole runs over a PostgreSQL store that fails during them: no model is refreshed twice, no call is one too many.

A fault that passes costs time and nothing else. One that stays, or that took rows away, ends the run in order, with a report.
"""

import asyncio
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest

from orchestrator import Report, check, discover, doctor, load_manifest, plan, run
from orchestrator.engine.connection_lock import StoredConnectionLocks
from orchestrator.engine.events import (
    CallEnded,
    RunEvent,
    StateFailed,
    TargetFinished,
)
from orchestrator.errors import OmniRefreshError
from orchestrator.journal.database import Database
from orchestrator.manifest.manifest import Manifest
from orchestrator.planning.plan import Lane
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.cli.serving import serving
from tests.journal.postgres_server import find_program, pooler_before, replica_of
from tests.journal.stores import HAS_POSTGRES, PostgresPlace
from tests.journal.tcp_proxy import Proxy, proxy_to
from tests.rehearsal import manifest_text, model, uuid

if HAS_POSTGRES:
    from orchestrator.journal.postgres_link import LinkConnection
else:
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
        self.is_away = threading.Event()
        database = place.url.rpartition("/")[2]
        self.url = place.server.url(database, user="worker", port=proxy.port)

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something after a while, whatever the run does."""
        self.timers.append(threading.Timer(seconds, act))
        self.timers[-1].start()

    def run(
        self,
        faults: Mapping[int, Callable[["World"], object]],
        *,
        patience: str = "5m",
        on_event: Callable[[RunEvent], object] = id,
    ) -> Report:
        """A run with faults; each occurs after this many refresh calls were answered."""
        answered = 0

        def watch(event: RunEvent) -> None:
            nonlocal answered
            on_event(event)
            if isinstance(event, CallEnded) and event.purpose == "submit":
                answered += 1
                if answered in faults:
                    faults[answered](self)

        manifest = self.manifest()
        return asyncio.run(
            run(manifest, state=self.url, state_patience=patience, grace="50ms", environ=ENVIRON, on_event=watch)
        )

    def manifest(self) -> Manifest:
        """The manifest of the instance's models."""
        limits = {"rate_limit": {"requests": LIMIT, "per": f"{PER_S}s"}, "request_timeout": "3s"}
        text = manifest_text(
            *(model(n) for n in range(1, MODELS + 1)),
            instance={"base_url": self.simulator.url, **limits},
            defaults={"poll": {"min": "50ms", "max": "200ms"}, "timeout": "30s"},
            workers=2,
        )
        return load_manifest(text=text, environ=ENVIRON)

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
    from orchestrator.app import state
    from orchestrator.journal import postgres, postgres_link

    # a server that does not answer is given up soon
    monkeypatch.setattr(postgres_link, "STATEMENT_S", 0.3)
    monkeypatch.setattr(state, "_BUSY_S", 0.3)
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


@pytest.fixture
def waits_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stacks of waits for the store that were in the main thread, whose event loop then stands still."""
    waits: list[str] = []
    connect, wait = LinkConnection.connect, LinkConnection.wait

    def note() -> None:
        if threading.current_thread() is threading.main_thread():
            waits.append("".join(traceback.format_stack(limit=12)))

    def noted_connect(*arguments: Any, **options: Any) -> Any:
        note()
        return connect(*arguments, **options)

    def noted_wait(*arguments: Any, **options: Any) -> Any:
        note()
        return wait(*arguments, **options)

    monkeypatch.setattr(LinkConnection, "connect", noted_connect)
    monkeypatch.setattr(LinkConnection, "wait", noted_wait)
    return waits


def test_no_statement_of_a_run_holds_up_the_event_loop(world: World, waits_in_the_loop: list[str]) -> None:
    """From its first to its last statement, the store is waited for in threads."""
    world.proxy.delay_s = 0.01
    report = world.run({})
    assert not waits_in_the_loop, waits_in_the_loop[0]
    assert report.exit_code == 0


def test_no_other_command_holds_up_the_event_loop(world: World, waits_in_the_loop: list[str]) -> None:
    """Plan, check, discover and doctor, too, open a shared state in a thread, and leave it there."""
    manifest = world.manifest()
    by_name = load_manifest(
        text=manifest_text({"model": "Model 1"}, instance={"base_url": world.simulator.url}), environ=ENVIRON
    )
    options: dict[str, Any] = {"state": world.url, "environ": ENVIRON}

    async def main() -> None:
        await plan(manifest, **options)
        await plan(by_name, **options)
        await check(manifest, online=True, **options)
        await discover(manifest, **options)
        await doctor(manifest, **options)

    asyncio.run(main())
    assert not waits_in_the_loop, waits_in_the_loop[0]
    assert world.simulator.calls


def test_a_lane_that_waits_for_the_store_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow answer about one lane's lock: meanwhile the others refresh to their ends."""
    look, others, done = StoredConnectionLocks._look, threading.Event(), 0

    def slow_look(locks: StoredConnectionLocks, lane: Lane, database: Database) -> Any:
        assert lane.targets[0].entry.name != "m1" or others.wait(30)
        return look(locks, lane, database)

    def watch(event: RunEvent) -> None:
        nonlocal done
        done += isinstance(event, TargetFinished)
        if done == MODELS - 1:
            others.set()

    monkeypatch.setattr(StoredConnectionLocks, "_look", slow_look)
    report = world.run({}, on_event=watch)
    world.check()
    assert [outcome.status.value for outcome in report.outcomes] == ["succeeded"] * MODELS


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


def back_up(world: World) -> None:
    """Write a backup of the store."""
    server, database = world.place.server, world.place.url.rpartition("/")[2]
    where = ["-h", str(server.folder), "-p", str(server.port), "-U", "postgres"]
    server.run("pg_dump", *where, "-n", "omni_refresh", "--clean", "-f", str(server.folder / "backup.sql"), database)


def restore(world: World) -> None:
    """The store is what it was when the backup was written."""
    server, database = world.place.server, world.place.url.rpartition("/")[2]
    where = ["-h", str(server.folder), "-p", str(server.port), "-U", "postgres", "-d", database]
    # most transactions read `meta` first: with its lock, this one deadlocks with none of them
    lock, file = ["-c", "LOCK TABLE omni_refresh.meta"], ["-f", str(server.folder / "backup.sql")]
    server.run("psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", *where, *lock, *file)


def test_a_backup_of_the_run_that_is_restored_costs_a_window(world: World) -> None:
    """Calls, locks and steps that came after it are gone. The run knows them, and nothing is sent twice."""
    restored_at: list[float] = []

    def watch(world: World) -> None:
        restore(world)
        restored_at.append(max(call.t_s for call in world.simulator.calls))

    report = world.run({2: back_up, 4: watch})
    world.check()
    assert [outcome.status.value for outcome in report.outcomes] == ["succeeded"] * MODELS
    stored = world.place.sql("SELECT count(*), count(DISTINCT job_id), count(*) FILTER (WHERE may_run = 0) FROM calls")
    assert stored == f"{MODELS}|{MODELS}|{MODELS}"
    posts = sorted(call.t_s for call in world.simulator.calls if call.method == "POST")
    # a call that had its place before the restore may still leave
    assert sum(restored_at[0] < at < restored_at[0] + PER_S for at in posts) <= 2
    assert max(later - earlier for earlier, later in pairwise(posts)) >= PER_S


def test_a_run_that_a_restored_backup_does_not_know_ends(world: World) -> None:
    """What it sent is not known to the store: it sends nothing more, and reports what it knows."""
    back_up(world)
    report = world.run({3: restore})
    world.check()
    counts = Counter(outcome.status.value for outcome in report.outcomes)
    assert set(counts) <= {"succeeded", "interrupted", "not_started"}
    assert counts["not_started"] >= 1
    assert report.exit_code == 1


def refuse(world: World) -> None:
    """Connections are cut off."""
    world.proxy.refuses = True


def start_up(world: World) -> None:
    """The server takes no connections yet."""
    fields = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"
    world.proxy.says = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


def stop_server(world: World) -> None:
    """Nothing listens."""
    world.url = world.place.server.url(world.place.url.rpartition("/")[2], user="worker")
    world.place.server.stop()


@pytest.mark.parametrize("fault", [refuse, start_up, stop_server])
def test_a_run_waits_for_a_store_that_restarts(fault: Callable[[World], object], world: World) -> None:
    """It says so once, and begins when the store is back."""
    told: list[str] = []

    def watch(event: RunEvent) -> None:
        if isinstance(event, StateFailed):
            told.append(f"{event.what}: {event.message}")
            world.later(0.6, come_back)

    def come_back() -> None:
        world.proxy.refuses, world.proxy.says = False, b""
        if fault is stop_server:
            world.place.server.start()

    world.url += "?sslmode=disable&gssencmode=disable"
    fault(world)
    report = world.run({}, on_event=watch)
    world.check()
    assert report.exit_code == 0
    assert len(told) == 1, told
    assert told[0].startswith("state: postgresql://127.0.0.1:")


def test_a_run_waits_no_longer_than_its_patience(world: World) -> None:
    """Then it ends before it began."""
    refuse(world)
    with pytest.raises(OmniRefreshError, match="cannot be used") as raised:
        world.run({}, patience="500ms")
    assert raised.value.code == "state-unreachable"
    assert not world.simulator.calls


@pytest.mark.parametrize("wrong", ["user", "database", "host", "sslmode"])
def test_a_wrong_address_of_the_store_ends_at_once(wrong: str, world: World) -> None:
    """Waiting cannot cure it."""
    seen: list[RunEvent] = []
    server, database = world.place.server, world.place.url.rpartition("/")[2]
    world.url = {
        "user": server.url(database, user="stranger"),
        "database": server.url("nowhere"),
        "host": f"postgresql://worker@nowhere.invalid/{database}",
        "sslmode": server.url(database) + "?sslmode=require",
    }[wrong]
    with pytest.raises(OmniRefreshError, match="cannot be used"):
        world.run({}, on_event=seen.append)
    assert not seen


def stay_away(world: World) -> None:
    """The store does not come back."""
    world.proxy.refuses = True
    world.proxy.cut()
    world.is_away.set()


def empty(world: World) -> None:
    """All rows are gone."""
    world.place.empty()


def drop(world: World) -> None:
    """All tables are gone."""
    world.place.sql("ALTER SCHEMA omni_refresh RENAME TO elsewhere")


def test_lanes_that_wait_for_a_lock_end_with_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is away while a lane looks who has its connection's lock: it waits no longer than the run does."""
    look = StoredConnectionLocks._look

    def look_late(locks: StoredConnectionLocks, lane: Lane, database: Database) -> Any:
        # this lane looks only when the state has gone away, however fast the machine is
        if lane.targets[0].entry.name == f"m{MODELS}":
            assert world.is_away.wait(20)
        return look(locks, lane, database)

    monkeypatch.setattr(StoredConnectionLocks, "_look", look_late)
    report = world.run({3: stay_away}, patience="500ms")
    world.check()
    assert report.outcomes[-1].status.value == "not_started"
    assert report.exit_code == 1


def end_lease(world: World) -> None:
    """Another process counts this one as dead, and has its locks and calls."""
    world.place.sql(
        "LOCK TABLE meta; DELETE FROM owners; DELETE FROM locks; UPDATE slots SET owner = NULL, ended_s = 0, ended_mark = ''"
    )


@pytest.mark.parametrize("fault", [stay_away, empty, drop, end_lease])
def test_a_fault_that_stays_ends_the_run_in_order(fault: Callable[[World], object], world: World) -> None:
    """Nothing is sent beside the store; what was sent is reported, and so is what was not."""
    try:
        report = world.run({3: fault}, patience="500ms")
    finally:
        if fault is drop:
            world.place.sql("ALTER SCHEMA elsewhere RENAME TO omni_refresh")
    world.check()
    counts = Counter(outcome.status.value for outcome in report.outcomes)
    assert set(counts) <= {"succeeded", "interrupted", "not_started"}
    assert counts["not_started"] >= 1
    assert report.exit_code == 1
    words = [*report.run.warnings, *(o.error.message for o in report.outcomes if o.error is not None)]
    assert any("journal" in text or "state" in text or "count this one as dead" in text for text in words), words
