"""The journal: runs, their plans and their results. Methods are short and synchronous, and raise `JournalError`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from orchestrator.clock import Clock
from orchestrator.errors import LockedError
from orchestrator.journal.database import (
    NO_PATIENCE,
    Database,
    JournalError,
    Patience,
    Row,
    Transaction,
    Values,
    fit,
    insert_sql,
)
from orchestrator.journal.layout import JOURNAL
from orchestrator.journal.moments import Ages, LocalMoment, Moments
from orchestrator.journal.records import (
    Earlier,
    NewRun,
    NewTarget,
    RestrictedEntry,
    RootRecord,
    RunRecord,
    StoredRequest,
    StoredTarget,
    pack,
    pack_request,
    read_request,
    unpack,
)
from orchestrator.journal.sqlite import SqliteDatabase
from orchestrator.journal.steps import Steps, read_calls, read_left
from orchestrator.values import as_data, from_data

FILE: Final = "journal.db"
KEPT_RUNS: Final = 500
KEPT_UNFINISHED: Final = 5000
_REFUSED_KEY: Final = "key_refused"
# the first columns of the view `run_records`
_RUN: Final = (
    *("id", "root", "origin", "trigger", "manifest_path", "manifest_file", "manifest_identity", "manifest_sha256"),
    *("directory", "key", "lock", "began_at", "ended_at", "unfinished", "exit_code", "counts", "targets"),
)
_RECORDS: Final = "SELECT * FROM run_records WHERE {where} ORDER BY number DESC LIMIT ?"
_TARGET: Final = ("root", "place", "name", "model_id", "branch_id", "connection", "lane", "warnings", "narrowed")
# so many calls can a run have before their numbers reach those of the next run
_CALLS_OF_RUN_BITS: Final = 24


class Journal:
    """The open journal. `now` returns the present moment by the clock of the place where it is stored."""

    def __init__(self, database: Database, *, clock: Clock, now: Moments) -> None:
        self._database = database
        self._clock = clock
        self._ages = Ages(clock, now)

    @classmethod
    def open(cls, folder: Path, *, clock: Clock, boot: str, patience: Patience = NO_PATIENCE) -> Self:
        """Open the journal in a state folder, or create it. `patience` is how it waits for other processes.

        `boot` is the machine's start, empty if only the wall clock can be used.
        """
        database = SqliteDatabase.open(folder / FILE, JOURNAL, patience)
        return cls(database, clock=clock, now=lambda: LocalMoment(clock.now(), boot))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def begin(
        self,
        run: NewRun,
        request: StoredRequest | None = None,
        targets: Iterable[NewTarget] = (),
        *,
        instead_of: Sequence[str] = (),
        since: int | None = None,
    ) -> Steps:
        """Store that a run begins, before anything is sent, all of it or nothing. Return what stores its steps.

        `targets` and the `request` are stored if the run has a root of its own; one that continues another may pass the other's
        request, so that its steps need not read it. The roots `instead_of` cannot be resumed any more. `since` is what
        `latest_number` returned before it was decided to start, resume or retry. Raises `LockedError` if another run with the
        same key or root has begun since then: the decision and the begin are one transaction.
        """
        row = {
            **{name: fit(value) if isinstance(value, str) else value for name, value in asdict(run).items()},
            "began_at": run.began_at.isoformat(),
            "orders": None if request is None or run.root != run.id else pack_request(request),
        }
        with self._database.write() as transaction:
            if since is not None:
                _check_undisturbed(transaction, run, since)
            transaction.execute(insert_sql("runs", tuple(row)), tuple(row.values()))
            transaction.executemany(
                insert_sql("targets", _TARGET),
                [
                    (
                        *(run.root, t.position, fit(t.name), t.model_id, t.branch_id, fit(t.connection), fit(t.lane)),
                        json.dumps(t.warnings),
                        None if t.restricted is None else json.dumps(as_data(t.restricted)),
                    )
                    for t in targets
                ],
            )
            transaction.executemany("UPDATE runs SET unfinished = 0 WHERE root = ?", [(root,) for root in instead_of])
        return self.steps(run, request)

    def finish(
        self,
        run: str,
        *,
        document: Mapping[str, Any],
        exit_code: int,
        unfinished: bool,
        counts: Mapping[str, int],
    ) -> None:
        """Store how a run ended, with its report's document. If a later run has the same root, that run has
        what is left.
        """
        now = self._clock.utcnow().isoformat()
        packed = pack(document)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE runs SET ended_at = ?, exit_code = ?, counts = ?, document = ?, unfinished = CASE WHEN EXISTS (SELECT 1"
                " FROM runs AS later WHERE later.root = runs.root AND later.number > runs.number) THEN 0 ELSE ? END"
                " WHERE id = ?",
                (now, exit_code, json.dumps(dict(counts)), packed, int(unfinished), run),
            )
            if not unfinished:
                connection.execute(
                    "UPDATE runs SET unfinished = 0 WHERE root = (SELECT root FROM runs WHERE id = ?)", (run,)
                )

    def runs(self, *, limit: int = 1_000_000) -> tuple[RunRecord, ...]:
        """Return the runs, the latest first."""
        return self._records("number > 0", (), limit)

    def run(self, run: str) -> RunRecord:
        """Return one run by its whole id."""
        (record,) = self._records("id = ?", (run,))
        return record

    def find(self, prefix: str) -> tuple[RunRecord, ...]:
        """Return the runs with ids that begin with `prefix`, the latest first; only one run if `prefix` is its whole id."""
        runs = self._records("substr(id, 1, ?) = ?", (len(prefix), prefix))
        return tuple(r for r in runs if r.id == prefix) or runs

    def runs_with_key(self, key: str) -> tuple[RunRecord, ...]:
        """Return the runs that have this key, the latest first."""
        return self._records("key = ?", (fit(key),))

    def latest_with_key(self, key: str) -> RunRecord | None:
        """Return the latest run that has this key."""
        return next(iter(self.runs_with_key(key)), None)

    def _records(self, where: str, values: Values, limit: int = 1_000_000) -> tuple[RunRecord, ...]:
        rows = self._database.read(_RECORDS.format(where=where), (*values, limit))
        return tuple(map(_record, rows))

    def latest_number(self) -> int:
        """Return the number of the latest run, 0 if there is none. A run that begins later has a higher number."""
        ((number,),) = self._database.read("SELECT coalesce(max(number), 0) FROM runs")
        return int(number)

    def chain(self, root: str) -> tuple[RootRecord, ...]:
        """Return a run and all runs that retried it or that it retried, directly or not: oldest first."""
        rows = self._database.read(
            "SELECT run.root, before.root FROM runs AS run LEFT JOIN runs AS before ON before.id = run.origin"
            " WHERE run.id = run.root ORDER BY run.number"
        )
        chain, grown = {root}, 0
        while grown != len(chain):
            grown = len(chain)
            chain |= {one for pair in rows if not chain.isdisjoint(pair) for one in pair if one is not None}
        calls = read_calls(self._database, self._ages, tuple(chain))
        return tuple(
            RootRecord(root=one, targets=self.targets(one), calls=tuple(call for call in calls if call.root == one))
            for one, _ in rows
            if one in chain
        )

    def orders(self, root: str) -> StoredRequest:
        """Return the request of a run. Raises `JournalError` if this version cannot read it."""
        return read_request(self._database, root)

    def document(self, run: str) -> Mapping[str, Any] | None:
        """Return the report's document of a run; None if it never ended."""
        rows = self._database.read("SELECT document FROM runs WHERE id = ?", (run,))
        if not rows or rows[0][0] is None:
            return None
        try:
            document = unpack(rows[0][0])
        except (ValueError, zlib.error) as error:
            raise JournalError(f"the report of run {run} cannot be read: {error}", code="damaged-state") from None
        return document if isinstance(document, dict) else None

    def targets(self, root: str, *, only: str | None = None) -> tuple[StoredTarget, ...]:
        """Return the targets of a run, in manifest order; with `only`, those of that name or model id."""
        rows = self._database.read(
            "SELECT place, name, model_id, branch_id, connection, lane, warnings, narrowed, outcome FROM targets WHERE root = ?"
            " AND (CAST(? AS TEXT) IS NULL OR name = ? OR model_id = ?) ORDER BY place",
            (root, fit(only), fit(only), fit(only)),
        )
        return tuple(map(_target, rows))

    def steps(self, run: NewRun, request: StoredRequest | None = None) -> Steps:
        """Return what stores the steps of a run. Its calls are numbered after those of the runs before it."""
        ((number, latest),) = self._database.read(
            "SELECT number, (SELECT max(calls.id) FROM calls WHERE calls.root = runs.root) FROM runs WHERE id = ?",
            (run.id,),
        )
        first = max(number << _CALLS_OF_RUN_BITS, (latest or 0) + 1)
        self._database.follow(run.id)
        return Steps(self._database, run=run, ages=self._ages, clock=self._clock, first_call=first, request=request)

    def earlier(
        self,
        manifest_identity: str,
        *,
        before: str,
        names: Iterable[str],
        good: Collection[str],
        silent: Collection[str],
    ) -> dict[str, Earlier]:
        """Return the last result of targets, by name, in runs of the same manifest before that of the root `before`.

        `good` are the statuses that end a streak of failures. A status of `silent` is no result, except if the target's key
        was refused.
        """
        found: dict[str, Earlier] = {}
        # the names whose streak may have begun still earlier
        wanted = {fit(name): name for name in names}
        packed = json.dumps(sorted(silent))
        for root, began_at in self._roots_before(manifest_identity, before):
            if not wanted:
                break
            rows = self._database.read(
                "SELECT name, status, CASE WHEN status IN (SELECT value FROM json_each(?)) THEN outcome END FROM targets"
                " WHERE root = ? AND status IS NOT NULL"
                " AND (status NOT IN (SELECT value FROM json_each(?)) OR outcome LIKE ?)",
                (packed, root, packed, f'%"{_REFUSED_KEY}"%'),
            )
            for kept, status, outcome in rows:
                if outcome is not None and (json.loads(outcome).get("error") or {}).get("kind") != _REFUSED_KEY:
                    continue
                name, is_bad = wanted.get(kept), status not in good
                if name is None:
                    continue
                if not is_bad:
                    del wanted[kept]
                if is_bad or name not in found:
                    last = found[name].status if name in found else status
                    since = datetime.fromisoformat(began_at) if is_bad else None
                    found[name] = Earlier(status=last, failing_since=since)
        return found

    def recent(
        self, manifest_identity: str, *, before: str, names: Iterable[str], count: int
    ) -> dict[str, tuple[str, ...]]:
        """Return the last `count` statuses of targets, by name, oldest first, in runs before that of the root `before`.

        It looks at three times as many runs at most: a run over a selection has no status of the other targets.
        """
        wanted = {fit(name): name for name in names}
        found: dict[str, list[str]] = {}
        for root, _ in self._roots_before(manifest_identity, before, limit=3 * count):
            if not wanted:
                break
            for kept, status in self._database.read(
                "SELECT name, status FROM targets WHERE root = ? AND status IS NOT NULL", (root,)
            ):
                name = wanted.get(kept)
                if name is not None:
                    found.setdefault(name, []).append(status)
                    if len(found[name]) == count:
                        del wanted[kept]
        return {name: tuple(reversed(statuses)) for name, statuses in found.items()}

    def _roots_before(self, manifest_identity: str, before: str, *, limit: int = 1_000_000) -> list[Row]:
        """Return the roots of a manifest's runs before another one, and when they began, the latest first."""
        return self._database.read(
            "SELECT id, began_at FROM runs WHERE manifest_identity = ? AND id = root AND number <"
            " (SELECT number FROM runs WHERE id = ?) ORDER BY number DESC LIMIT ?",
            (fit(manifest_identity), before, limit),
        )

    def durations(self, base_url: str) -> dict[str, dict[str, tuple[float, ...]]]:
        """Return how long jobs of an instance took, in seconds, oldest first: by model id and by kind of refresh."""
        rows = self._database.read(
            "SELECT model_id, kind, seconds FROM durations WHERE base_url = ? ORDER BY id", (base_url,)
        )
        found: dict[str, dict[str, tuple[float, ...]]] = {}
        for model_id, kind, seconds in rows:
            kinds = found.setdefault(model_id, {})
            kinds[kind] = (*kinds.get(kind, ()), float(seconds))
        return found

    def prune(
        self,
        *,
        keep_runs: int = KEPT_RUNS,
        keep_days: int | None = None,
        at_work: Callable[[], Collection[str]] = tuple,
    ) -> int:
        """Delete finished runs beyond the latest `keep_runs`, whole roots at a time; return the number of deleted runs.

        With `keep_days` also all that are older, by the wall clock, finished or not. Without it unfinished runs stay until
        `KEPT_UNFINISHED` runs came after them. The roots that `at_work` returns stay in any case: it is called when no run
        can begin. So do roots of which a refresh may still run: without them, nothing would keep its connection closed.
        """
        left, over = read_left(self._database, self._ages)
        may_run = {call.root for call in left}
        oldest_at = "" if keep_days is None else self._days_ago(keep_days)
        with self._database.write() as connection:
            found = connection.execute(
                "SELECT root, max(unfinished), max(began_at), (SELECT count(*) FROM runs AS later WHERE"
                " later.number > max(runs.number)) FROM runs GROUP BY root"
            ).fetchall()
            connection.executemany("UPDATE calls SET may_run = 0 WHERE id = ?", [(call,) for call in over])
            spared = may_run.union(at_work())
            roots = [
                (root,)
                for root, unfinished, began_at, later in found
                if root not in spared
                and (began_at < oldest_at or later >= (KEPT_UNFINISHED if unfinished else keep_runs))
            ]
            connection.executemany("DELETE FROM targets WHERE root = ?", roots)
            connection.executemany("DELETE FROM calls WHERE root = ?", roots)
            connection.execute("DELETE FROM connection_names WHERE seen_at < ?", (oldest_at,))
            return sum(connection.execute("DELETE FROM runs WHERE root = ?", root).rowcount for root in roots)

    def _days_ago(self, days: int) -> str:
        """Return the moment `days` ago; if there is no such date, an empty text, which is before any moment."""
        try:
            return (self._clock.utcnow() - timedelta(days=days)).isoformat()
        except OverflowError:
            return ""


def _check_undisturbed(transaction: Transaction, run: NewRun, since: int) -> None:
    """Raise `LockedError` if a run with the same key or root has begun after the run with the number `since`."""
    row = transaction.execute(
        "SELECT id FROM runs WHERE number > ? AND (root = ? OR key = ?) ORDER BY number LIMIT 1",
        (since, run.root, fit(run.key)),
    ).fetchone()
    if row is not None:
        what = f"with the key {run.key}" if run.key is not None else "with the same plan"
        raise LockedError(f"run {row[0]} {what} has begun meanwhile; nothing was sent", code="run-locked")


def _record(row: Row) -> RunRecord:
    values = dict(zip(_RUN, row, strict=False))
    return RunRecord(
        **values
        | {
            "began_at": datetime.fromisoformat(values["began_at"]),
            "ended_at": None if values["ended_at"] is None else datetime.fromisoformat(values["ended_at"]),
            "unfinished": bool(values["unfinished"]),
            "counts": {} if values["counts"] is None else json.loads(values["counts"]),
        }
    )


def _target(row: Row) -> StoredTarget:
    position, name, model_id, branch_id, connection, lane, warnings, restricted, outcome = row
    return StoredTarget(
        position=position,
        name=name,
        model_id=model_id,
        branch_id=branch_id,
        connection=connection,
        lane=lane,
        warnings=tuple(json.loads(warnings)),
        restricted=None if restricted is None else from_data(RestrictedEntry, json.loads(restricted)),
        outcome=None if outcome is None else json.loads(outcome),
    )
