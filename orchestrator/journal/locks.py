"""Named locks between the processes of this machine; whoever dies holds none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from orchestrator.journal.database import Row
from orchestrator.journal.owners import Holder, Owner

_HOLDER: Final = (
    "SELECT owners.host, owners.pid, locks.since, owners.run, owners.token FROM locks"
    " JOIN owners ON owners.token = locks.owner WHERE locks.name = ?"
)


def run_lock(manifest_identity: str, selection: Sequence[str]) -> str:
    """Return the lock of a manifest and of what is selected from it, as it was written."""
    parts = [manifest_identity, *sorted(selection)]
    text = "\0".join(part.encode("utf-8", "backslashreplace").decode("utf-8") for part in parts)
    return f"run {hashlib.sha256(text.encode()).hexdigest()[:32]}"


def root_lock(root: str) -> str:
    """The lock of one run's plan: only one process works on it."""
    return f"root {root}"


def lane_lock(base_url: str, lane: str) -> str:
    """The lock of an instance's connection."""
    return f"lane {base_url} {lane}".encode("utf-8", "backslashreplace").decode("utf-8")


class Locks:
    """The locks that this process takes. None of the methods waits."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def take(self, name: str, *, since: datetime) -> Holder | None:
        """Take a lock; None where it is ours now (or was before), else who holds it."""
        holder = self._try(name, since)
        if holder is not None and self._owner.bury_the_dead():
            holder = self._try(name, since)
        return holder

    def give_back(self, name: str) -> None:
        """Let go of a lock."""
        with self._owner.database.write() as connection:
            connection.execute("DELETE FROM locks WHERE name = ? AND owner = ?", (name, self._owner.token))

    def holder(self, name: str) -> Holder | None:
        """Who else holds a lock now; the dead hold none."""
        row = self._read(name)
        if row is not None and self._owner.bury_the_dead(every_s=0.2):
            row = self._read(name)
        return None if row is None else _holder(row)

    def locked_roots(self) -> frozenset[str]:
        """Return the runs whose plans a process works on now, this one included."""
        self._owner.bury_the_dead()
        prefix = root_lock("")
        rows = self._owner.database.read("SELECT name FROM locks WHERE name LIKE ?", (f"{prefix}%",))
        return frozenset(name.removeprefix(prefix) for (name,) in rows)

    def _read(self, name: str) -> Row | None:
        rows = self._owner.database.read(_HOLDER, (name,))
        return rows[0] if rows and rows[0][4] != self._owner.token else None

    def _try(self, name: str, since: datetime) -> Holder | None:
        with self._owner.database.write() as connection:
            row = connection.execute(_HOLDER, (name,)).fetchone()
            if row is None:
                connection.execute(
                    "INSERT OR REPLACE INTO locks (name, owner, since) VALUES (?, ?, ?)",
                    (name, self._owner.token, since.isoformat()),
                )
                return None
        return None if row[4] == self._owner.token else _holder(row)


def _holder(row: Row) -> Holder:
    host, pid, since, run, _ = row
    return Holder(host=host, pid=pid, since=datetime.fromisoformat(since), run=run)
