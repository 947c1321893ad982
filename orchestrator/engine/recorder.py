"""Keeps the steps of a run before they can be lost, and learns from them how long jobs take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.clock import Clock
from orchestrator.engine.events import Observer, StateFailed
from orchestrator.engine.failure import RunKind
from orchestrator.engine.outcome import Failure, Outcome, make_row
from orchestrator.journal.database import JournalError
from orchestrator.journal.records import CallStatus
from orchestrator.journal.steps import Steps
from orchestrator.manifest.manifest import Entry, RefreshKind
from orchestrator.omni.answers import JobState, RefreshRequest
from orchestrator.omni.job_answers import job_state
from orchestrator.planning.plan import Refresh, RefreshPlan


class Recorder:
    """Receives each step of a run before it can be lost. This class keeps nothing; `JournalRecorder` keeps all.

    `planned`, `intended` and `kept` raise if a step cannot be kept: then nothing is sent. Jobs that run are still followed.
    """

    def planned(self, plan: RefreshPlan) -> None:
        """Look-ups are done; no refresh call has left yet."""

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """A refresh call is about to leave."""

    async def kept(self) -> None:
        """Wait until all steps so far survive a power failure: before a call leaves, and before a job's first poll."""

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """The server accepted the call; its job has not been polled yet."""

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """The call is known to have started nothing."""

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """A poll was answered with this status word."""

    def settled(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Targets that belong together have their outcomes."""


@dataclass(slots=True)
class _Call:
    """A refresh call in the journal. `accepted_at` and `unfinished_at` (the loop's clock) are set if this run saw it accepted."""

    number: int
    word: str | None = None
    accepted_at: float | None = None
    unfinished_at: float | None = None


class JournalRecorder(Recorder):
    """Keeps the steps in the journal.

    `base_urls` are those of the instances, `calls` the journal's numbers of the
    calls that this run continues, by sender and part. `redact` removes secrets from what a server says before it is kept.
    `broken` is the journal's first error: from then on nothing more may be sent, but jobs that run are followed.
    """

    def __init__(
        self,
        steps: Steps,
        *,
        base_urls: Mapping[str, str],
        clock: Clock,
        began_at: float,
        calls: Mapping[tuple[int, int], int],
        redact: Callable[[str], str],
        observe: Observer,
    ) -> None:
        self._observe = observe
        self._redact = redact
        self._steps = steps
        self._base_urls = base_urls
        self._clock = clock
        self._began_at = began_at
        self._calls = {key: _Call(number) for key, number in calls.items()}
        self.broken: JournalError | None = None

    def planned(self, plan: RefreshPlan) -> None:
        """Keep what the entries resolved to."""
        self._steps.planned(plan)

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """Keep that a call is about to leave. Raises `JournalError` if that fails: then the call must not leave."""
        if self.broken is not None:
            raise self.broken
        number = self._steps.intended(
            served=refresh.served,
            scopes=[(request.schemas, request.tables) for request in refresh.requests],
            part=part,
            attempt=attempt,
            base_url=self._base_urls[refresh.sender.entry.instance],
            timeout_s=refresh.timeout_s,
            wait=refresh.wait,
            queued_s=max(0.0, self._clock.now() - self._began_at),
        )
        self._calls[refresh.sender.entry.index, part] = _Call(number)

    async def kept(self) -> None:
        """Wait for the disk. Raises `JournalError` if the steps cannot be kept."""
        if self.broken is not None:
            raise self.broken
        try:
            await self._steps.kept()
        except JournalError as error:
            self._break(error)
            raise

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """Keep the job's id, before its first poll."""
        call = self._calls[refresh.sender.entry.index, part]
        call.accepted_at = call.unfinished_at = self._clock.now()
        status = _status(job_state(word)) if word is not None else CallStatus.ACCEPTED
        kept_id, kept_word = job_id and self._redact(job_id), word and self._redact(word)
        self._keep(lambda: self._steps.answered(call.number, job_id=kept_id, word=kept_word, fate=status))

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """Keep that a call has started nothing."""
        call = self._calls[refresh.sender.entry.index, part]
        words = self._redact(f"{failure.kind}: {failure.message}")
        self._keep(lambda: self._steps.refused(call.number, words))

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """Keep a job's status if it has changed."""
        call, now = self._calls[refresh.sender.entry.index, part], self._clock.now()
        status, is_new = _status(job_state(word)), word != call.word
        call.word = word
        if is_new:
            kept_word = self._redact(word)
            self._keep(lambda: self._steps.polled(call.number, word=kept_word, fate=status))
        if status is CallStatus.ACCEPTED:
            call.unfinished_at = now if call.accepted_at is not None else None
        elif is_new and call.accepted_at is not None and call.unfinished_at is not None:
            # it ended between the last two polls
            self._took(refresh, part, (call.unfinished_at + now) / 2 - call.accepted_at)

    def settled(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Keep all of these outcomes, or none."""
        if not outcomes:
            return
        rows = [(entry.index, make_row(outcome)) for entry, outcome in outcomes]
        senders = {e.index for e, o in outcomes if o.error is not None and o.error.kind == RunKind.JOB_LOST}
        lost = [call.number for (sender, _), call in self._calls.items() if sender in senders] if senders else []
        self._keep(lambda: self._steps.settled(rows, lost=lost))

    def _took(self, refresh: Refresh, part: int, seconds: float) -> None:
        sender = refresh.sender
        self._keep(
            lambda: self._steps.took(
                base_url=self._base_urls[sender.entry.instance],
                model_id=sender.model_id,
                branch_id=sender.branch_id,
                kind=kind_of_refresh(refresh.requests[part]),
                seconds=round(max(0.0, seconds), 3),
            )
        )

    def _keep(self, step: Callable[[], None]) -> None:
        if self.broken is not None:
            return
        try:
            step()
        except JournalError as error:
            self._break(error)

    def _break(self, error: JournalError) -> None:
        if self.broken is None:
            self.broken = error
            self._observe(StateFailed(what="journal", message=str(error)))


def kind_of_refresh(request: RefreshRequest) -> str:
    """Return what decides how long a job of a model takes: `hard`, `soft`, `part` (a soft refresh with a scope), `dbt_sync`."""
    if request.kind is RefreshKind.DBT_SYNC:
        return request.kind.value
    if request.hard:
        return "hard"
    return "part" if request.schemas or request.tables else "soft"


def _status(state: JobState) -> CallStatus:
    return {JobState.SUCCEEDED: CallStatus.SUCCEEDED, JobState.FAILED: CallStatus.FAILED}.get(
        state, CallStatus.ACCEPTED
    )
