"""What is known before a run begins: what earlier runs over the same targets have done, and what they left under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.engine.outcome import Outcome, Status
from orchestrator.journal.records import CallStatus
from orchestrator.planning.plan import Refresh, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRefresh:
    """A refresh that another run had begun and not settled. `part`, `fate`, `job_id` and `age_s` (since it was accepted,
    or left) are those of its last call; `job_ids` all of its jobs; `submitted_at` and `queued_s` its first call's.

    `again` gives its job the whole timeout anew, and refreshes its targets anew if that job turns out not to have succeeded.
    `call` is the last call's number in the journal.
    """

    call: int
    refresh: Refresh
    part: int
    fate: CallStatus
    job_id: str | None
    word: str | None
    age_s: float
    job_ids: tuple[str, ...]
    attempts: int
    submitted_at: datetime
    queued_s: float
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorState:
    """By an entry's index: `outcomes` that stay as they are, `targets` that need no look-up and their `warnings`; and the
    refreshes `active_refreshes`, whose targets have no outcome yet.
    """

    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    targets: Mapping[int, Target] = field(default_factory=dict)
    warnings: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    active_refreshes: tuple[ActiveRefresh, ...] = ()


NOTHING = PriorState()


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierResults:
    """What a run's targets, by name, were in the manifest's runs before: their last `statuses`, and for those that have not
    succeeded since then when the first run of that row began. `began_at` is when this run's row would begin.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    failing_since: Mapping[str, datetime] = field(default_factory=dict)
    began_at: datetime | None = None


NO_PAST = EarlierResults()
