"""How use cases reach instances."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.app.instances import make_ledgers
from orchestrator.app.state import open_state
from orchestrator.clock import Clock
from orchestrator.engine.events import StateFailed
from orchestrator.journal.processes import FILE
from orchestrator.journal.records import NewRun
from orchestrator.manifest.load import make_manifest
from orchestrator.quota.window import CallWindow, LedgerLost
from tests.app.contexts import Events, make_context
from tests.quota.windows import at_once

MANIFEST = """
instances:
  one: {base_url: "https://one.omniapp.co", api_keys: ["${K}"]}
  two: {base_url: "https://two.omniapp.co", api_keys: ["${K}", "${L}"]}
models:
  - {instance: one, id: 3c90c3cc-0d44-4b50-8888-8dd25736052a}
  - {instance: two, id: 3c90c3cc-0d44-4b50-8888-8dd25736052b}
"""


@pytest.mark.parametrize("with_state", [True, False], ids=["state folder", "none"])
def test_a_key_that_two_instances_name_has_one_budget(tmp_path: Path, *, with_state: bool) -> None:
    """Sixty calls a minute belong to the key, however many instances of the manifest use it; another key has its own."""
    instances = make_manifest(MANIFEST, path="m.yaml", environ={"K": "key-1", "L": "key-2"}).instances
    context = make_context(tmp_path)
    with open_state(context) if with_state else nullcontext() as state:
        ledger = make_ledgers(context, state, instances)
        one, two = instances["one"], instances["two"]
        first, same, other = ledger(one, one.keys[0]), ledger(two, two.keys[0]), ledger(two, two.keys[1])
        now = state.clock.now() if state is not None else 0.0
        for ours in (first, same):
            assert all(at_once(ours.take(now, 60)) is not None for _ in range(30))
        assert [each.counted(now) for each in (first, same, other)] == [60, 60, 0]
        assert at_once(first.take(now, 60)) is None
        assert at_once(same.take(now, 60)) is None
        assert at_once(other.take(now, 60)) is not None


BEGAN = datetime(2026, 11, 25, tzinfo=UTC)
TIMEOUT_S, WINDOW_S = 30.0, 60.0


class Runs:
    """Runs that share a state folder, one after another or at once, on a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.events = Events()
        self.instance = make_manifest(MANIFEST, path="m.yaml", environ={"K": "key-1", "L": "key-2"}).instances["one"]
        assert (self.instance.rate_limit.per_s, self.instance.request_timeout_s) == (WINDOW_S, TIMEOUT_S)

    @contextmanager
    def run(self) -> Iterator[CallWindow]:
        """A run in the journal; yields how the calls of its key are counted."""
        clock = Clock(lambda: self.now, lambda: BEGAN + timedelta(seconds=self.now))
        context = replace(make_context(self.folder, events=self.events), clock=clock)
        with open_state(context) as state:
            new = NewRun(
                id=state.run,
                root=state.run,
                origin=None,
                trigger="run",
                manifest_path="m.yaml",
                manifest_file="/m.yaml",
                manifest_identity="/m.yaml",
                manifest_sha256="",
                lock="",
                began_at=clock.utcnow(),
            )
            state.journal.begin(new, None, [])
            yield make_ledgers(context, state, {"one": self.instance})(self.instance, self.instance.keys[0])

    def sends(self, window: CallWindow, after_s: float = 0.0) -> bool:
        """Whether a call may leave after some time; it is answered at once."""
        self.now += after_s
        at = window.when(self.now, 60)
        call = at_once(window.take(self.now, 60)) if at is not None and at <= self.now else None
        if call is not None:
            window.give_back(call, self.now)
        return call is not None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another process keeps the file of the calls locked."""
        holder = sqlite3.connect(self.folder / FILE, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            holder.close()


def test_calls_wait_while_the_budget_is_locked(tmp_path: Path) -> None:
    """A lock of some seconds is waited for and not mentioned; a longer one is reported once; then calls leave again."""
    runs = Runs(tmp_path)
    with runs.run() as window:
        with runs.locked():
            assert not any(runs.sends(window, after_s) for after_s in (0, 2, 2))
            assert runs.events.seen == []
            assert not any(runs.sends(window, after_s) for after_s in (2, 2, 2))
        (event,) = runs.events.seen
        assert isinstance(event, StateFailed)
        assert event.what == "budget"
        assert "locked" in event.message
        assert runs.sends(window, 2)


def test_a_budget_that_stays_locked_ends_the_run(tmp_path: Path) -> None:
    """After five minutes no call leaves any more, even if the lock is gone; the next run sends."""
    runs = Runs(tmp_path)
    with runs.run() as window:
        with runs.locked():
            assert not any(runs.sends(window, 10) for _ in range(32))
            assert [event.what for event in runs.events.seen if isinstance(event, StateFailed)] == ["budget"]
        with pytest.raises(LedgerLost):
            runs.sends(window, 10)
    with runs.run() as window:
        assert runs.sends(window)


def test_a_budget_that_forgot_calls_closes_the_key(tmp_path: Path) -> None:
    """Calls vanish from the file: for a window and the time of a request nothing leaves, in this run and in the next."""
    runs = Runs(tmp_path)
    with runs.run() as window:
        assert runs.sends(window)
        with sqlite3.connect(tmp_path / FILE) as other:
            other.execute("DELETE FROM slots")
        other.close()
        assert not runs.sends(window)
        assert not runs.sends(window, 1)
        with runs.run() as beside:
            assert not runs.sends(beside)
    with runs.run() as window:
        assert not runs.sends(window, WINDOW_S + TIMEOUT_S - 3)
        assert runs.sends(window, 5)


def test_a_budget_that_is_gone_closes_the_key(tmp_path: Path) -> None:
    """The file is removed: this run sends nothing more, and the next one waits. A first run does not wait."""
    runs = Runs(tmp_path)
    with runs.run() as window:
        assert runs.sends(window)
        for path in tmp_path.glob(f"{FILE}*"):
            path.unlink()
        assert not any(runs.sends(window, 2) for _ in range(5))
        assert [event.what for event in runs.events.seen if isinstance(event, StateFailed)] == ["budget"]
    with runs.run() as window:
        assert not runs.sends(window)
        assert not runs.sends(window, WINDOW_S + TIMEOUT_S - 1)
        assert runs.sends(window, 2)
