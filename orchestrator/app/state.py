"""The state as use cases use it: the journal, the processes at work, and the locks; in a folder or in PostgreSQL."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Final

from orchestrator.app.context import Context
from orchestrator.clock import Clock
from orchestrator.errors import LockedError, UsageError
from orchestrator.journal.database import JournalError, Patience, T
from orchestrator.journal.journal import KEPT_RUNS, Journal
from orchestrator.journal.layout import JOURNAL
from orchestrator.journal.locks import Locks, root_lock
from orchestrator.journal.moments import boot_id
from orchestrator.journal.processes import FILE as SHARED_FILE
from orchestrator.journal.processes import Holder, LocalProcess, ProcessRecord, record_gap
from orchestrator.journal.slots import prune_slots
from orchestrator.journal.state_folder import find_state_folder, open_state_folder, read_salt
from orchestrator.manifest.manifest import Manifest, Secret

_BUSY_S: Final = 2.0
"""How long the event loop may wait for a shared store at most, in seconds."""
VARIABLE: Final = "OMNI_REFRESH_STATE"
_SCHEMES: Final = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateOption:
    """How another command finds a state: `place` is what its `--state` must say, if anything, with the password if it has one.
    `is_from_manifest`: only the manifest says where the state is, so that the command must name it.
    """

    place: str | None = None
    is_from_manifest: bool = False


HERE: Final = StateOption()
"""The state that every command finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An open state. `run` is the id of this process, `folder` is None for a shared store, `option` is how it is found.

    `read_salt` returns what makes keys' hashes worthless elsewhere.
    """

    folder: Path | None
    run: str
    clock: Clock
    journal: Journal
    owner: ProcessRecord
    locks: Locks
    read_salt: Callable[[], bytes]
    option: StateOption = HERE

    async def call(self, act: Callable[[], T]) -> T:
        """Return what `act` returns. A thread waits for a shared store, which may be slow, so the event loop continues."""
        return act() if self.folder is not None else await asyncio.to_thread(act)

    def prune(self, *, keep_runs: int = KEPT_RUNS, keep_days: int | None = None) -> int:
        """Delete old runs, but no active one, and calls that count no more; return how many runs. See `Journal.prune`."""
        prune_slots(self.owner)
        return self.journal.prune(keep_runs=keep_runs, keep_days=keep_days, at_work=self.locks.locked_roots)

    def is_at_work(self, root: str) -> Holder | None:
        """Return the process that works on a run's plan now, or None."""
        return self.locks.holder(root_lock(root))


def is_shared(place: str) -> bool:
    """Return whether a place of state is a store that machines share. Raises `UsageError` for another kind of address."""
    if place.startswith(_SCHEMES):
        return True
    if "://" in place:
        raise UsageError(
            f"state is a folder or a postgresql:// address, not {place.partition('://')[0]}://", code="invalid-state"
        )
    return False


def find_state(context: Context, named: str | None = None, manifest: Manifest | None = None) -> str | None:
    """Return where the state is: what is named, else what the command line, the environment or the manifest says.

    None means the user's state folder.
    """
    said = manifest.state.reveal() if manifest is not None and manifest.state is not None else None
    return named or context.state or context.environ.get(VARIABLE, "").strip() or said


def find_folder(context: Context) -> Path | None:
    """Return the folder that a command without a manifest keeps its state in; None if it is in a shared store."""
    place = find_state(context)
    return None if place is not None and is_shared(place) else _folder(place, context)


def _folder(place: str | None, context: Context) -> Path:
    return find_state_folder(context.environ) if place is None else Path(place).expanduser().absolute()


@contextmanager
def open_state(
    context: Context, named: str | None = None, *, simulated: bool = False, manifest: Manifest | None = None
) -> Iterator[State]:
    """Open the state and register as at work.

    `named` is a folder or an address; `find_state` says what None means. A simulated run has a folder of its own, which is
    removed at the end. Once a stop is requested, other processes are hardly waited for. Raises `JournalError` (exit code 2)
    if the state cannot be used.
    """
    clock = context.clock
    patience = Patience(sleep=time.sleep, stopped=lambda: context.stop.requested, store_s=context.state_patience_s)
    run = f"{clock.utcnow():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    with ExitStack() as stack:
        place = None if simulated else find_state(context, named, manifest)
        if place is not None and is_shared(place):
            state = _open_store(stack, place, run, context, patience)
            yield replace(state, option=_find_option(context, named, place))
            return
        if simulated:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="omni-refresh-")))
        else:
            folder = _folder(place, context)
        open_state_folder(folder)
        boot = boot_id()
        journal = Journal.open(folder, clock=clock, boot=boot, patience=patience)
        stack.callback(journal.close)
        if _has_lost_calls(folder, journal):
            record_gap(folder, now=clock.now(), boot=boot)
        owner = LocalProcess.enter(folder, run=run, since=clock.utcnow(), now=clock.now, boot=boot, patience=patience)
        stack.callback(owner.leave)
        yield State(
            folder=folder,
            run=run,
            clock=clock,
            journal=journal,
            owner=owner,
            locks=Locks(owner),
            read_salt=lambda: read_salt(folder),
            option=HERE if simulated else _find_option(context, named, place),
        )


@asynccontextmanager
async def open_state_async(
    context: Context, named: str | None = None, *, simulated: bool = False, manifest: Manifest | None = None
) -> AsyncIterator[State]:
    """Open the state as `open_state` does, for a coroutine: a thread opens and closes a shared store, which may be slow."""
    place = None if simulated else find_state(context, named, manifest)
    opening = open_state(context, named, simulated=simulated, manifest=manifest)
    if place is None or not is_shared(place):
        with opening as state:
            yield state
        return
    entered = asyncio.ensure_future(asyncio.to_thread(opening.__enter__))
    try:
        # cancelling cannot stop the thread: what it opens is closed below
        yield await asyncio.shield(entered)
    finally:
        await asyncio.shield(_leave(opening, entered))


async def _leave(opening: AbstractContextManager[State], entered: asyncio.Future[State]) -> None:
    """Close what a thread has opened, or is about to open."""
    await asyncio.wait({entered})
    if entered.exception() is None:
        await asyncio.to_thread(opening.__exit__, None, None, None)


def _find_option(context: Context, named: str | None, place: str | None) -> StateOption:
    """Return how another command finds the state at `place`."""
    if place is None or place == context.environ.get(VARIABLE, "").strip():
        return HERE
    if named is None and context.state is None:
        return StateOption(is_from_manifest=True)
    return StateOption(place=place)


def _open_store(stack: ExitStack, url: str, run: str, context: Context, patience: Patience) -> State:
    """Open a PostgreSQL store."""
    postgres = postgres_driver()
    from orchestrator.journal.leases import LeasedProcess

    password = postgres.password_of(url, context.environ)
    if password:
        context.redactor.add(Secret(password))
    clock = context.clock
    patience = replace(patience, busy_s=_BUSY_S)
    database = postgres.PostgresDatabase.open(url, JOURNAL, patience)
    stack.callback(database.close)
    journal = Journal(database, clock=clock, now=database.moment)
    owner = LeasedProcess.enter(url, run=run, since=clock.utcnow(), now=clock.now, patience=patience)
    stack.callback(owner.leave)
    salt = bytes.fromhex(postgres.read_meta(database, "salt"))
    return State(
        folder=None, run=run, clock=clock, journal=journal, owner=owner, locks=Locks(owner), read_salt=lambda: salt
    )


def _has_lost_calls(folder: Path, journal: Journal) -> bool:
    """Return whether there were runs, but the file that counts their calls is gone."""
    calls = folder / SHARED_FILE
    # checked twice: another process may begin its first run in between, and creates the file before the run
    return not calls.exists() and bool(journal.runs(limit=1)) and not calls.exists()


def take_root(state: State, root: str) -> None:
    """Lock a run's plan for this process. Raises `LockedError` that names the holder."""
    holder = state.locks.take(root_lock(root), since=state.clock.utcnow())
    if holder is not None:
        raise LockedError(f"{holder} still works on this run; nothing was sent", code="run-locked")


def postgres_driver() -> ModuleType:
    """Return the driver for PostgreSQL: it is imported only when it is used. Raises `JournalError` if it is not installed."""
    try:
        from orchestrator.journal import postgres
    except ImportError:
        raise JournalError(
            "state in PostgreSQL needs the extra `postgres`", code="missing-extra", hint="pip install 'psycopg[binary]'"
        ) from None
    return postgres


def init_state(context: Context) -> tuple[str, bool]:
    """Make or migrate the tables of a shared store; return its name and whether it was made. Raises `UsageError`."""
    place = find_state(context)
    if place is None or not is_shared(place):
        raise UsageError(
            "a state folder needs no init",
            code="missing-option",
            hint="name a database: --state postgresql://HOST/DATABASE",
        )
    postgres = postgres_driver()
    from orchestrator.journal.postgres import initialise

    return postgres.address_of(place), initialise(place, salt=secrets.token_hex(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCheck:
    """What a check of the state found, as lines for people."""

    lines: tuple[str, ...]
    is_usable: bool


def check_state(context: Context) -> StateCheck:
    """Return whether the state can be used, and which rights are missing. Raises `JournalError` if it cannot be opened."""
    place = find_state(context)
    if place is not None and is_shared(place):
        postgres = postgres_driver()
        from orchestrator.journal.postgres import missing_rights

        name = postgres.address_of(place)
        missing = missing_rights(place)
        if missing:
            return StateCheck(lines=tuple(f"{name}: missing: {right}" for right in missing), is_usable=False)
    with open_state(context) as state:
        name = str(state.folder) if state.folder is not None else name
        others = state.owner.others()
        runs = len(state.journal.runs())
    return StateCheck(lines=(f"{name}: OK ({runs} runs, {others} other processes at work)",), is_usable=True)
