"""The steps of one run, kept before anything depends on them: what was planned, sent, answered, seen and settled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.clock import Clock
from orchestrator.journal.database import Database, Row, fit
from orchestrator.journal.stored import Fate, LeftJob, Narrowed, Scope, StoredCall
from orchestrator.journal.syncing import Syncing
from orchestrator.journal.values import as_data
from orchestrator.plan.plan import Plan, Target

KEPT_DURATIONS: Final = 20
LEFT_FOR: Final = timedelta(days=1)


class Steps:
    """Writes and reads the steps of a run. Each outlives this process when its method returns, and the machine's power once
    `kept` has returned.

    Moments: the wall clock's, and the monotonic one's with the machine's start.
    """

    def __init__(self, database: Database, *, root: str, run: str, clock: Clock, boot: str) -> None:
        self._database = database
        self._clock = clock
        self._boot = boot
        self._syncing = Syncing(database)
        self.root = root
        self.run = run

    async def kept(self) -> None:
        """Until all steps so far are on the disk. Raises `JournalError`."""
        await self._syncing.wait()

    def planned(self, plan: Plan) -> None:
        """What the selected entries resolved to."""
        concerned = {one.entry.index for one in plan.concerns}
        rows = [
            (
                *(t.model_id, t.branch_id, fit(t.connection), fit(t.lane)),
                json.dumps(plan.warnings.get(t.entry.index, ())),
                json.dumps(as_data(Narrowed.of(t.entry))) if t.entry.index in concerned else None,
                *(self.root, t.entry.index),
            )
            for lane in plan.lanes
            for t in lane.targets
        ]
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE targets SET model_id = ?, branch_id = ?, connection = ?, lane = ?, warnings = ?,"
                " narrowed = coalesce(?, narrowed) WHERE root = ? AND place = ?",
                rows,
            )

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
        """A refresh call is about to leave; its number."""
        sender = served[0]
        refresh = {"served": [t.entry.index for t in served], "scopes": list(scopes), "wait": wait}
        with self._database.write(soon=True) as connection:
            made = connection.execute(
                "INSERT INTO calls (root, run, sender, part, attempt, base_url, lane, refresh, timeout_s, fate, left_at,"
                " boot, left_s, queued_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(self.root, self.run, sender.entry.index, part, attempt, base_url, fit(sender.lane)),
                    *(json.dumps(refresh), timeout_s, Fate.INTENDED.value),
                    *(self._clock.utcnow().isoformat(), self._boot, self._clock.now(), queued_s),
                ),
            )
            assert made.lastrowid is not None
            return made.lastrowid

    def answered(self, call: int, *, job_id: str | None, word: str | None, fate: Fate) -> None:
        """The server took it; its answer may be final already."""
        with self._database.write(soon=True) as connection:
            connection.execute(
                "UPDATE calls SET fate = ?, accepted_at = ?, accepted_s = ?, job_id = ?, word = ? WHERE id = ?",
                (fate.value, self._clock.utcnow().isoformat(), self._clock.now(), fit(job_id), fit(word), call),
            )

    def refused(self, call: int, failure: str) -> None:
        """It is known to have started nothing."""
        with self._database.write(soon=True) as connection:
            connection.execute(
                "UPDATE calls SET fate = ?, failure = ? WHERE id = ?", (Fate.REFUSED.value, fit(failure), call)
            )

    def polled(self, call: int, *, word: str, fate: Fate) -> None:
        """Its job was asked after."""
        with self._database.write(soon=True) as connection:
            connection.execute(
                "UPDATE calls SET fate = ?, word = ?, polled_at = ? WHERE id = ?",
                (fate.value, fit(word), self._clock.utcnow().isoformat(), call),
            )

    def settled(self, rows: Sequence[tuple[int, Mapping[str, Any]]], *, lost: Sequence[int] = ()) -> None:
        """Targets, by their places, have their outcomes, as rows of the report; the jobs of calls in `lost` are out of sight."""
        with self._database.write(soon=True) as connection:
            connection.executemany(
                "UPDATE targets SET status = ?, outcome = ?, settled_by = ? WHERE root = ? AND place = ?",
                [(row["status"], json.dumps(row), self.run, self.root, place) for place, row in rows],
            )
            connection.executemany(
                "UPDATE calls SET fate = ? WHERE id = ? AND fate = ?",
                [(Fate.LOST.value, call, Fate.ACCEPTED.value) for call in lost],
            )

    def took(self, *, base_url: str, model_id: str, branch_id: str | None, kind: str, seconds: float) -> None:
        """A job's duration, for what later runs expect; the last few of each kind are kept."""
        key = (base_url, model_id, branch_id or "", kind)
        with self._database.write(soon=True) as connection:
            connection.execute(
                "INSERT INTO durations (base_url, model_id, branch_id, kind, seconds, at) VALUES (?, ?, ?, ?, ?, ?)",
                (*key, seconds, self._clock.utcnow().isoformat()),
            )
            connection.execute(
                "DELETE FROM durations WHERE base_url = ? AND model_id = ? AND branch_id = ? AND kind = ? AND id <="
                " (SELECT id FROM durations WHERE base_url = ? AND model_id = ? AND branch_id = ? AND kind = ?"
                " ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (*key, *key, KEPT_DURATIONS),
            )

    def calls(self) -> tuple[StoredCall, ...]:
        """Every refresh call of the run and of those that it goes on with, oldest first."""
        rows = self._database.read(
            "SELECT id, sender, part, attempt, refresh, timeout_s, fate, left_at, boot, left_s, queued_s, accepted_at,"
            " accepted_s, job_id, word FROM calls WHERE root = ? ORDER BY id",
            (self.root,),
        )
        return tuple(map(self._call, rows))

    def left_jobs(self, base_url: str, lane: str) -> tuple[LeftJob, ...]:
        """Jobs on a lane that other runs left less than a day ago and that may still run, oldest first."""
        since = (self._clock.utcnow() - LEFT_FOR).isoformat()
        rows = self._database.read(
            "SELECT id, run, job_id, timeout_s, accepted_at, boot, accepted_s FROM calls WHERE base_url = ? AND lane = ?"
            " AND fate = ? AND run != ? AND job_id IS NOT NULL AND accepted_at > ? ORDER BY id",
            (base_url, fit(lane), Fate.ACCEPTED.value, self.run, since),
        )
        return tuple(
            LeftJob(call=call, run=run, job_id=job_id, timeout_s=timeout_s, age_s=self._age_s(at, boot, s))
            for call, run, job_id, timeout_s, at, boot, s in rows
        )

    def left_job_over(self, call: int, fate: Fate) -> None:
        """A job that another run left has ended, or is out of sight; it need not be asked after again."""
        with self._database.write(soon=True) as connection:
            connection.execute("UPDATE calls SET fate = ? WHERE id = ?", (fate.value, call))

    def _age_s(self, at: str, boot: str, moment_s: float) -> float:
        """Since when, by the clock that nobody sets where it has not stopped since, else by the wall clock."""
        if boot and boot == self._boot:
            return max(0.0, self._clock.now() - moment_s)
        return max(0.0, (self._clock.utcnow() - datetime.fromisoformat(at)).total_seconds())

    def _call(self, row: Row) -> StoredCall:
        (call, sender, part, attempt, packed, timeout_s, fate, left_at, boot, left_s) = row[:10]
        queued_s, accepted_at, accepted_s, job_id, word = row[10:]
        refresh = json.loads(packed)
        at, moment_s = (left_at, left_s) if accepted_at is None else (accepted_at, accepted_s)
        return StoredCall(
            id=call,
            sender=sender,
            part=part,
            attempt=attempt,
            served=tuple(refresh["served"]),
            scopes=tuple((tuple(schemas), tuple(tables)) for schemas, tables in refresh["scopes"]),
            timeout_s=timeout_s,
            wait=refresh["wait"],
            fate=Fate(fate),
            left_at=datetime.fromisoformat(left_at),
            queued_s=queued_s,
            job_id=job_id,
            word=word,
            age_s=self._age_s(at, boot, moment_s),
        )
