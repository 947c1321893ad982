"""Stores the steps of a run before anything depends on them, and reads its refresh calls.

Steps are what was planned, sent, answered, polled and settled. The ages of calls stay right if a wall clock is set.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.clock import Clock
from orchestrator.journal.connections import instance_address, learn, names_of, names_of_old_call
from orchestrator.journal.database import Database, Reader, Row, Values, fit, insert_sql
from orchestrator.journal.moments import Ages
from orchestrator.journal.records import (
    CallStatus,
    NewRun,
    OrphanedRefresh,
    RestrictedEntry,
    Scope,
    StoredCall,
    StoredRequest,
    pack_request,
    read_request,
    with_branches,
)
from orchestrator.planning.plan import RefreshPlan, Target
from orchestrator.values import as_data

JOB_LISTED_S: Final = timedelta(days=1).total_seconds()
"""How long a job is checked at least if its end was not seen, in seconds."""
KEPT_DURATIONS: Final = 20

_WORDS: Final = {CallStatus.SUCCEEDED: "COMPLETED", CallStatus.FAILED: "FAILED"}

_MAY_RUN: Final = """
SELECT calls.id, calls.root, run, sender, base_url, calls.lane, names, targets.model_id, job_id, fate, timeout_s, left_at,
    boot, left_s, accepted_at, accepted_s
FROM calls LEFT JOIN targets ON targets.root = calls.root AND targets.place = calls.sender
WHERE may_run = 1 AND (CAST(? AS TEXT) IS NULL OR names IS NULL
    OR EXISTS (SELECT 1 FROM json_each(calls.names) WHERE value IN (SELECT value FROM json_each(?))))
ORDER BY calls.id
"""


class Steps:
    """Writes and reads the steps of a run. Each outlives this process when its method returns, and the machine's power once
    `kept` has returned.

    Its calls have the numbers from `first_call` on.
    """

    def __init__(
        self,
        database: Database,
        *,
        run: NewRun,
        ages: Ages,
        clock: Clock,
        first_call: int,
        request: StoredRequest | None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ages = ages
        self._next_call = first_call
        self._request = request
        self.root = run.root
        self.run = run.id

    async def kept(self) -> None:
        """Wait until all steps so far are on the disk. Raises `JournalError`."""
        await self._database.kept()

    def planned(self, plan: RefreshPlan) -> None:
        """Store what the selected entries resolved to, and which names of connections that shows.

        The entries of branches replace the branch patterns, in the targets and in the run's request.
        """
        concerned = {one.entry.index for one in plan.impacts}
        rows = [
            (
                *(t.model_id, t.branch_id, fit(t.connection), fit(t.lane)),
                json.dumps(plan.warnings.get(t.entry.index, ())),
                json.dumps(as_data(RestrictedEntry.of(t.entry))) if t.entry.index in concerned else None,
                *(self.root, t.entry.index),
            )
            for lane in plan.lanes
            for t in lane.targets
        ]
        update = (
            "UPDATE targets SET model_id = ?, branch_id = ?, connection = ?, lane = ?, warnings = ?,"
            " narrowed = coalesce(?, narrowed) WHERE root = ? AND place = ?"
        )
        self._database.post([*self._expanded(plan), (update, rows), *learn(plan, self._clock.utcnow())])

    def _expanded(self, plan: RefreshPlan) -> list[tuple[str, list[Values]]]:
        if not plan.expansions:
            return []
        found = {one.pattern.index: one.entries for one in plan.expansions}
        request = with_branches(self._request or read_request(self._database, self.root), found)
        entries = [entry for branches in found.values() for entry in branches]
        return [
            ("DELETE FROM targets WHERE root = ? AND place = ?", [(self.root, index) for index in found]),
            (
                "INSERT INTO targets (root, place, name) VALUES (?, ?, ?)",
                [(self.root, entry.index, fit(entry.name)) for entry in entries],
            ),
            ("UPDATE runs SET orders = ? WHERE id = ?", [(pack_request(request), self.root)]),
        ]

    def intended(
        self,
        *,
        served: Sequence[Target],
        scopes: Sequence[Scope],
        part: int,
        attempt: int,
        base_url: str,
        timeout_s: float,
        wait: bool,
        queued_s: float,
    ) -> int:
        """Store that a refresh call is about to leave; return its number."""
        sender = served[0]
        refresh = {"served": [t.entry.index for t in served], "scopes": list(scopes), "wait": wait}
        call, now = self._next_call, self._ages.now()
        self._next_call += 1
        row = {
            "id": call,
            "root": self.root,
            "run": self.run,
            "sender": sender.entry.index,
            "part": part,
            "attempt": attempt,
            "base_url": base_url,
            "lane": fit(sender.lane),
            "refresh": json.dumps(refresh),
            "timeout_s": timeout_s,
            "fate": CallStatus.INTENDED.value,
            "left_at": self._clock.utcnow().isoformat(),
            "boot": now.mark,
            "left_s": now.at_s,
            "queued_s": queued_s,
            "names": json.dumps(sorted(names_of(served).held)),
        }
        self._database.post([(insert_sql("calls", tuple(row)), [tuple(row.values())])])
        return call

    def answered(self, call: int, *, job_id: str | None, word: str | None, fate: CallStatus) -> None:
        """Store that the server accepted the call; its answer may be final already."""
        now = self._ages.now()
        sql = (
            "UPDATE calls SET fate = ?, may_run = ?, accepted_at = ?, accepted_s = ?, boot = ?, job_id = ?, word = ?"
            " WHERE id = ?"
        )
        self._set(sql, fate, self._clock.utcnow().isoformat(), now.at_s, now.mark, fit(job_id), fit(word), call)

    def refused(self, call: int, failure: str) -> None:
        """Store that the call started nothing."""
        sql = "UPDATE calls SET fate = ?, may_run = ?, failure = ? WHERE id = ?"
        self._set(sql, CallStatus.REFUSED, fit(failure), call)

    def polled(self, call: int, *, word: str, fate: CallStatus) -> None:
        """Store what a poll of the call's job returned."""
        sql = "UPDATE calls SET fate = ?, may_run = ?, word = ?, polled_at = ? WHERE id = ?"
        self._set(sql, fate, fit(word), self._clock.utcnow().isoformat(), call)

    def left_over(self, call: int, fate: CallStatus) -> None:
        """Store how a refresh that another run left has ended. A lost one cannot be checked again and has its timeout left."""
        sql = "UPDATE calls SET fate = ?, may_run = ?, word = coalesce(?, word) WHERE id = ?"
        self._set(sql, fate, _WORDS.get(fate), call)

    def _set(self, sql: str, fate: CallStatus, *values: object) -> None:
        self._database.post([(sql, [(fate.value, int(fate.may_run), *values)])])

    def settled(self, rows: Sequence[tuple[int, Mapping[str, Any]]], *, lost: Sequence[int] = ()) -> None:
        """Store outcomes of targets, by their positions, as rows of the report; the jobs of calls in `lost` are out of sight.

        Once a later run works on the same plan, the outcomes are that run's: a process that was suspended meanwhile and
        wakes does not replace them.
        """
        update = (
            "UPDATE targets SET status = ?, outcome = ?, settled_by = ? WHERE root = ? AND place = ? AND NOT EXISTS"
            " (SELECT 1 FROM runs AS later WHERE later.root = targets.root"
            " AND later.number > (SELECT number FROM runs WHERE id = ?))"
        )
        lose = "UPDATE calls SET fate = ? WHERE id = ? AND fate = ?"
        self._database.post(
            [
                (
                    update,
                    [(r["status"], json.dumps(r), self.run, self.root, position, self.run) for position, r in rows],
                ),
                (lose, [(CallStatus.LOST.value, call, CallStatus.ACCEPTED.value) for call in lost]),
            ]
        )

    def took(self, *, base_url: str, model_id: str, branch_id: str | None, kind: str, seconds: float) -> None:
        """Store a job's duration in seconds, for the estimates of later runs; the last few of each kind are kept."""
        key = (base_url, model_id, branch_id or "", kind)
        insert = "INSERT INTO durations (base_url, model_id, branch_id, kind, seconds, at) VALUES (?, ?, ?, ?, ?, ?)"
        forget = (
            "DELETE FROM durations WHERE base_url = ? AND model_id = ? AND branch_id = ? AND kind = ? AND id <="
            " (SELECT id FROM durations WHERE base_url = ? AND model_id = ? AND branch_id = ? AND kind = ?"
            " ORDER BY id DESC LIMIT 1 OFFSET ?)"
        )
        self._database.post(
            [
                (insert, [(*key, seconds, self._clock.utcnow().isoformat())]),
                (forget, [(*key, *key, KEPT_DURATIONS)]),
            ]
        )

    def flush(self) -> None:
        """Commit the steps so far. Raises `JournalError`."""
        self._database.flush()

    def reader_in(self, transaction: Reader) -> Reader:
        """Return what reads the journal inside a transaction of the locks."""
        return self._database.reader_in(transaction)

    def left_refreshes(
        self, reader: Reader, address: str, names: Collection[str], *, own: Collection[int], taken: Collection[int]
    ) -> list[OrphanedRefresh]:
        """Return the refreshes that may still run and have one of `names`, oldest first.

        Not those of the lane itself: calls that this run made for senders at its positions `own`, and `taken` calls.
        """
        left, _ = read_left(reader, self._ages, names)
        return [
            one
            for one in left
            if one.address == address and one.call not in taken and not (one.run == self.run and one.sender in own)
        ]


def read_calls(reader: Reader, ages: Ages, roots: Sequence[str]) -> tuple[StoredCall, ...]:
    """Return every refresh call of some plans, oldest first."""
    rows = reader.read(
        "SELECT id, root, sender, part, attempt, timeout_s, queued_s, job_id, word, refresh, fate, left_at, left_s, boot,"
        " accepted_at, accepted_s FROM calls WHERE root IN (SELECT value FROM json_each(?)) ORDER BY id",
        (json.dumps(list(roots)),),
    )
    return tuple(_stored_call(ages, row) for row in rows)


def read_left(
    reader: Reader, ages: Ages, among: Collection[str] | None = None
) -> tuple[list[OrphanedRefresh], list[int]]:
    """Return the calls that may still run, oldest first, and the numbers of calls that are over but not marked as over.

    A job leaves the list when its end was seen, or when its timeout and a day have passed for certain; a call without a
    job to check when its timeout has passed for certain. With `among` only calls that have one of these names, and calls
    of an earlier version, which have no names.
    """
    names_wanted = None if among is None else json.dumps(sorted(among))
    rows = reader.read(_MAY_RUN, (names_wanted, names_wanted))
    left, over = [], []
    for row in rows:
        (call, root, run, sender, base_url, lane, names, model_id, job_id, fate, timeout_s, left_at, boot, left_s) = (
            row[:14]
        )
        known = fate == CallStatus.ACCEPTED and job_id is not None
        at, moment_s = row[14:] if known else (left_at, left_s)
        age_s = ages.certain_s(at, boot, moment_s)
        if age_s >= (max(timeout_s, JOB_LISTED_S) if known else timeout_s):
            over.append(call)
            continue
        left.append(
            OrphanedRefresh(
                call=call,
                root=root,
                run=run,
                sender=sender,
                address=instance_address(base_url),
                names=names_of_old_call(lane, model_id) if names is None else frozenset(json.loads(names)),
                job_id=job_id if known else None,
                age_s=age_s,
                timeout_s=timeout_s,
            )
        )
    return left, over


def _stored_call(ages: Ages, row: Row) -> StoredCall:
    packed, fate, left_at, left_s, boot, accepted_at, accepted_s = row[9:]
    refresh = json.loads(packed)
    at, moment_s = (left_at, left_s) if accepted_at is None else (accepted_at, accepted_s)
    names = ("id", "root", "sender", "part", "attempt", "timeout_s", "queued_s", "job_id", "word")
    return StoredCall(
        **dict(zip(names, row[:9], strict=True)),
        served=tuple(refresh["served"]),
        scopes=tuple((tuple(schemas), tuple(tables)) for schemas, tables in refresh["scopes"]),
        wait=refresh["wait"],
        fate=CallStatus(fate),
        left_at=datetime.fromisoformat(left_at),
        age_s=ages.likely_s(at, boot, moment_s),
    )
