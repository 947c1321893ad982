"""Reads refresh calls, and the ones that may still run, with ages that stay right if a wall clock is set."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from orchestrator.clock import Clock
from orchestrator.journal.connections import instance_address, names_of_old_call
from orchestrator.journal.database import Reader, Row
from orchestrator.journal.moments import LocalMoment, Moments
from orchestrator.journal.records import CallStatus, OrphanedRefresh, StoredCall

JOB_LISTED_S: Final = timedelta(days=1).total_seconds()
"""How long a job is checked at least if its end was not seen, in seconds."""
CLOCK_MARGIN_S: Final = timedelta(days=2).total_seconds()
"""How far a wall clock may be wrong without a process that notices it, in seconds."""

_MAY_RUN: Final = """
SELECT calls.id, calls.root, run, sender, base_url, calls.lane, names, targets.model_id, job_id, fate, timeout_s, left_at,
    boot, left_s, accepted_at, accepted_s
FROM calls LEFT JOIN targets ON targets.root = calls.root AND targets.place = calls.sender
WHERE may_run = 1 AND (CAST(? AS TEXT) IS NULL OR names IS NULL
    OR EXISTS (SELECT 1 FROM json_each(calls.names) WHERE value IN (SELECT value FROM json_each(?))))
ORDER BY calls.id
"""


class Ages:
    """How long ago a stored moment was. `now` returns the present one, by the clock of the place where they are stored."""

    def __init__(self, clock: Clock, now: Moments) -> None:
        self._clock = clock
        self.now = now

    def likely_s(self, at: str, mark: str, at_s: float) -> float:
        """Return the age if it is certain, else what the wall clock says."""
        age_s = self.now().age_s(at_s, mark)
        return self._wall_s(at) if age_s is None else max(0.0, age_s)

    def certain_s(self, at: str, mark: str, at_s: float) -> float:
        """Return an age that the moment has at least, even if a wall clock was set.

        On one machine that is, after a restart, the time since then. Otherwise it is the wall clock's word less a margin of
        two days. A machine that does not tell its restarts has only the wall clock.
        """
        now = self.now()
        age_s = now.age_s(at_s, mark)
        if age_s is not None:
            return max(0.0, age_s)
        if not mark or not now.mark:
            return self._wall_s(at)
        since_start_s = now.at_s if isinstance(now, LocalMoment) else 0.0
        return max(0.0, since_start_s, self._wall_s(at) - CLOCK_MARGIN_S)

    def _wall_s(self, at: str) -> float:
        return max(0.0, (self._clock.utcnow() - datetime.fromisoformat(at)).total_seconds())


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
