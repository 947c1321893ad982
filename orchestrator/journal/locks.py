"""Named locks between the processes that share the state; a dead process holds none."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from orchestrator.journal.database import Database, Reader, Row, Transaction
from orchestrator.journal.processes import Holder, ProcessRecord

_HOLDERS: Final = (
    "SELECT locks.name, owners.token, owners.host, owners.pid, locks.since, owners.run FROM locks"
    " JOIN owners ON owners.token = locks.owner WHERE locks.name IN (SELECT value FROM json_each(?))"
)

_TAKE: Final = (
    "INSERT INTO locks (name, owner, since) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, since = excluded.since"
)

_PARTS: Final = 64

Meets = Callable[[Collection[str]], Collection[str]]
"""Picks those of some names that exclude ours."""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def run_lock(manifest_identity: str, selection: Sequence[str]) -> str:
    """Return the lock of a manifest and of what is selected from it, as it was written."""
    return f"run {_digest(chr(0).join((manifest_identity, *sorted(selection))))}"


def key_lock(key: str) -> str:
    """Return the lock of a run's key: only one process starts or continues the run with this key."""
    return f"key {_digest(key)}"


def root_lock(root: str) -> str:
    """Return the lock of one run's plan: only one process works on it."""
    return f"root {root}"


def lane_prefix(address: str) -> str:
    """Return the prefix of the locks of an instance's connections; one of their names follows (`journal.connections`)."""
    return f"lane {address} ".encode("utf-8", "backslashreplace").decode("utf-8")


def parts_of(prefix: str, names: Iterable[str]) -> list[str]:
    """Return what a transaction about `names` is about: two that share a name exclude each other."""
    # a lane may have thousands of names, and a server few locks
    return sorted({f"{prefix}{zlib.crc32(name.encode()) % _PARTS}" for name in names})


class Locks:
    """The locks that this process takes. None of the methods waits.

    A store that fails over may lose a lock that was just taken; it is taken again with the next heartbeat. Until then each
    key's window is closed, and no process can use the lock.
    """

    def __init__(self, process: ProcessRecord) -> None:
        self.process = process
        self._held: dict[str, datetime] = {}
        process.on_beat.append(self._restore)

    def take(self, name: str, *, since: datetime) -> Holder | None:
        """Take a lock; return None if it is ours now (or was before), else the process that holds it."""
        holder = self._try(name, since)
        if holder is not None and self.process.reap_dead():
            holder = self._try(name, since)
        return holder

    def take_names(self, transaction: Transaction, prefix: str, names: Iterable[str], *, since: datetime) -> None:
        """Take the locks of all `names`, after `holder_of_names` found in the same transaction that they are free."""
        transaction.executemany(_TAKE, [(prefix + name, self.process.token, since.isoformat()) for name in names])

    def hold_names(self, prefix: str, names: Iterable[str], *, since: datetime) -> None:
        """Keep that the locks are held: the transaction of `take_names` was committed."""
        self._held.update({prefix + name: since for name in names})

    def holder_of_names(self, reader: Reader, prefix: str, names: Iterable[str], meets: Meets) -> Holder | None:
        """Return which other process holds the lock of one of `names` that `meets` ours, dead or alive."""
        rows = _read_holders(reader, [prefix + name for name in sorted(names)])
        holders = {row[0].removeprefix(prefix): row for row in rows if row[1] != self.process.token}
        found = meets(holders.keys()) if holders else ()
        return _holder(holders[min(found)]) if found else None

    def give_back_names(self, database: Database, names: Collection[str]) -> None:
        """Release the locks of `names`, each with its prefix."""
        for name in names:
            self._held.pop(name, None)
        self._release(database, names)

    def _release(self, database: Database, names: Iterable[str]) -> None:
        with database.write(soon=True, shared=True) as transaction:
            transaction.executemany(
                "DELETE FROM locks WHERE name = ? AND owner = ?", [(name, self.process.token) for name in names]
            )

    def _restore(self, database: Database) -> None:
        """Take again what this process holds and the store has lost."""
        held = self._held.copy()
        with database.view() as reader:
            found = {name for (name,) in reader.read("SELECT name FROM locks WHERE owner = ?", (self.process.token,))}
        lost = [name for name in held.keys() - found if name in self._held]
        if not lost:
            return
        # another process may have taken one of them: each holder has to take its locks anew
        self.process.lost_rows += 1
        with database.write() as transaction:
            transaction.executemany(
                "INSERT INTO locks (name, owner, since) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                [(name, self.process.token, held[name].isoformat()) for name in lost],
            )
        # what was released meanwhile had nothing to delete
        self._release(database, [name for name in lost if name not in self._held])

    def holder(self, name: str) -> Holder | None:
        """Return which other process holds a lock now; the dead hold none."""
        holder = self._read(name)
        if holder is not None and self.process.reap_dead(every_s=0.2):
            holder = self._read(name)
        return holder

    def locked_roots(self) -> frozenset[str]:
        """Return the runs whose plans a process works on now, this one included."""
        self.process.reap_dead()
        prefix = root_lock("")
        rows = self.process.database.read("SELECT name FROM locks WHERE name LIKE ?", (f"{prefix}%",))
        return frozenset(name.removeprefix(prefix) for (name,) in rows)

    def _read(self, name: str) -> Holder | None:
        return self.holder_of_names(self.process.database, "", [name], meets=lambda names: names)

    def _try(self, name: str, since: datetime) -> Holder | None:
        with self.process.database.write() as transaction:
            rows = _read_holders(transaction, [name])
            if not rows:
                transaction.execute(_TAKE, (name, self.process.token, since.isoformat()))
        if rows and rows[0][1] != self.process.token:
            return _holder(rows[0])
        self._held[name] = since
        return None


def _read_holders(reader: Reader, names: Sequence[str]) -> list[Row]:
    return reader.read(_HOLDERS, (json.dumps(names),))


def _holder(row: Row) -> Holder:
    _, _, host, pid, since, run = row
    return Holder(host=host, pid=pid, since=datetime.fromisoformat(since), run=run)
