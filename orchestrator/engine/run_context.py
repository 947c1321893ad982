"""What a run works with, and how it is to go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from orchestrator.clock import Clock
from orchestrator.engine.events import Observer, TargetFinished
from orchestrator.engine.make_outcomes import compared, redacted
from orchestrator.engine.outcome import Outcome
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.restore import NO_PAST, EarlierResults
from orchestrator.manifest.manifest import ApiKey, Entry, Instance
from orchestrator.quota.window import CallWindow

if TYPE_CHECKING:
    from orchestrator.engine.connection_lock import ConnectionLocks
    from orchestrator.omni.client import OmniClient


class Overlap(StrEnum):
    """What to do about another run of the same manifest, and about refreshes that earlier runs left and that still run."""

    FAIL = "fail"
    WAIT = "wait"
    PROCEED = "proceed"


class Detach(StrEnum):
    """When a run ends before its jobs have ended, without a report, so that `resume` follows them in another process."""

    NEVER = "never"
    STOPPED = "stopped"
    SUBMITTED = "submitted"


async def _read_no_past(names: Sequence[str]) -> EarlierResults:
    del names
    return NO_PAST


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a run is to go, as far as the manifest does not say it.

    `wait` False submits only. `max_failures` stops submitting after so many targets that did not succeed. `deadline_s`
    limits the whole run; `grace_s` is how long jobs are still followed after a stop was requested. Both are in seconds.
    `fail_on_new_issues` counts an error that a refresh introduced (`verify: validate` or `content`) as a failure, in the exit
    code alone. `overlap` decides how long a lane waits for a job that an earlier run left. `detach` leaves the jobs to `resume`
    if the run is stopped, or also as soon as every refresh was sent.
    """

    wait: bool = True
    max_failures: int | None = None
    deadline_s: float | None = None
    grace_s: float = 3.0
    fail_on_new_issues: bool = False
    overlap: Overlap = Overlap.FAIL
    detach: Detach = Detach.NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What reaching instances needs. `open_client` makes the client of an instance, `ledger` the log of a key's calls."""

    clock: Clock
    rng: Random
    observer: Observer
    open_client: Callable[[Instance], OmniClient]
    ledger: Callable[[Instance, ApiKey], CallWindow]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext(Access):
    """What a run works with. It is handed in from outside.

    `locks` are the connection locks that it shares with other runs. `redact` removes secrets from a text. `history` holds
    earlier durations by instance and model id (seconds, oldest first). `past` are the targets' results in earlier runs;
    `read_past` returns them for names that only the plan gives.
    """

    recorder: Recorder
    locks: ConnectionLocks
    redact: Callable[[str], str]
    settings: RunSettings = RunSettings()
    history: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    past: EarlierResults = NO_PAST
    read_past: Callable[[Sequence[str]], Awaitable[EarlierResults]] = _read_no_past

    def keep(self, settled: Sequence[tuple[Entry, Outcome]]) -> tuple[tuple[Entry, Outcome], ...]:
        """Record and report outcomes that belong together; return them redacted and compared with earlier runs."""
        finished = tuple((entry, self._finish(outcome)) for entry, outcome in settled)
        self.recorder.settled(finished)
        for _, outcome in finished:
            self.observer(TargetFinished(outcome=outcome))
        return finished

    def _finish(self, outcome: Outcome) -> Outcome:
        durations = self.history.get(outcome.instance, {}).get(outcome.model_id or "", ())
        return compared(redacted(outcome, self.redact), self.past, durations)
