"""The state folder as use cases use it: the journal, the processes at work, and the locks."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app.context import Context
from orchestrator.clock import Clock
from orchestrator.errors import LockedError
from orchestrator.journal.database import Patience
from orchestrator.journal.journal import KEPT_RUNS, Journal
from orchestrator.journal.locks import Locks, root_lock
from orchestrator.journal.moments import boot_id
from orchestrator.journal.processes import Holder, LocalProcess, ProcessRecord
from orchestrator.journal.state_folder import find_state_folder, open_state_folder, read_salt


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An open state folder. `run` is the id under which this process is at work."""

    folder: Path
    run: str
    clock: Clock
    journal: Journal
    owner: ProcessRecord
    locks: Locks

    @property
    def salt(self) -> bytes:
        """What makes keys' hashes worthless elsewhere."""
        return read_salt(self.folder)

    def prune(self, *, keep_runs: int = KEPT_RUNS, keep_days: int | None = None) -> int:
        """Forget old runs, but none that is at work; return how many. See `Journal.prune`."""
        return self.journal.prune(keep_runs=keep_runs, keep_days=keep_days, at_work=self.locks.locked_roots)

    def is_at_work(self, root: str) -> Holder | None:
        """Who is at work on a run's plan now."""
        return self.locks.holder(root_lock(root))


@contextmanager
def open_state(context: Context, named: str | None = None, *, simulated: bool = False) -> Iterator[State]:
    """Open the state folder and register as at work.

    `named` is the folder; None means the one of the environment. A simulated run has a folder of its own, which is removed
    at the end. Once a stop is requested, locks of other processes are hardly waited for. Raises `JournalError` (exit code
    2) if the folder cannot be used.
    """
    clock = context.clock
    patience = Patience(sleep=time.sleep, stopped=lambda: context.stop.requested)
    with ExitStack() as stack:
        if simulated:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="omni-refresh-")))
        elif named is not None:
            folder = Path(named).absolute()
        else:
            folder = find_state_folder(context.environ)
        open_state_folder(folder)
        run = f"{clock.utcnow():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        boot = boot_id()
        journal = Journal.open(folder, clock=clock, boot=boot, patience=patience)
        stack.callback(journal.close)
        owner = LocalProcess.enter(folder, run=run, since=clock.utcnow(), now=clock.now, boot=boot, patience=patience)
        stack.callback(owner.leave)
        yield State(folder=folder, run=run, clock=clock, journal=journal, owner=owner, locks=Locks(owner))


def take_root(state: State, root: str) -> None:
    """Be the only one who works on a run's plan. Raises `LockedError` that names who else is."""
    holder = state.locks.take(root_lock(root), since=state.clock.utcnow())
    if holder is not None:
        raise LockedError(f"{holder} is still at work on this run; nothing was sent")
