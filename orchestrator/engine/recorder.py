"""Keeps the steps of a run before they can be lost, and learns from them how long jobs take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.engine.events import Observer, StateFailed
from orchestrator.engine.failure import RunKind
from orchestrator.engine.outcome import Failure, Outcome, make_row
from orchestrator.journal.database import JournalError
from orchestrator.journal.records import CallStatus
from orchestrator.journal.steps import Steps
from orchestrator.manifest.manifest import Entry
from orchestrator.omni.answers import JobState, RefreshRequest
from orchestrator.omni.job_answers import job_state
from orchestrator.planning.plan import Refresh, RefreshPlan


class Recorder(Protocol):
    """Told of each step before it can be lost.

    Only `planned`, `intended` and `kept` raise where a step cannot be kept: then nothing is sent. What is under way is followed.
    """

    def planned(self, plan: RefreshPlan) -> None:
        """Look-ups are done; before the first refresh call."""

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """A refresh call is about to leave."""

    async def kept(self) -> None:
        """Until all steps so far outlive the machine's power: before a call leaves, before a job's first poll. The only
        method that waits; raises where they cannot be kept.
        """

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """The server accepted it; before the first poll."""

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """The call is known to have started nothing."""

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """A poll was answered with this status word."""

    def settled(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Targets that belong together have their outcomes."""


class SilentRecorder:
    """Takes every step and forgets it."""

    def planned(self, plan: RefreshPlan) -> None:
        """Look-ups are done."""

    def intended(self, refresh: Refresh, part: int, attempt: int) -> None:
        """A refresh call is about to leave."""

    async def kept(self) -> None:
        """There is nothing to keep."""

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """The server accepted it."""

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """The call is known to have started nothing."""

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """A poll was answered."""

    def settled(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Targets have their outcomes."""


@dataclass(slots=True)
class _Call:
    """A refresh call in the journal. `accepted_at` and `unfinished_at` (the loop's clock) only where this run saw it."""

    number: int
    word: str | None = None
    accepted_at: float | None = None
    unfinished_at: float | None = None


class JournalRecorder:
    """A run's recorder. `base_urls` are those of the instances; `redact` takes
    secrets out of what a server says, before it is kept.

    Once the journal has given way, `broken` says how, and nothing more may be sent; what is under way is followed on.
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
        """Keep that a call is about to leave. Raises `JournalError` where it cannot be kept: it must not leave then."""
        if self.broken is not None:
            raise self.broken
        number = self._steps.intended(
            served=refresh.served,
            scopes=[(ask.schemas, ask.tables) for ask in refresh.asks],
            part=part,
            attempt=attempt,
            base_url=self._base_urls[refresh.sender.entry.instance],
            timeout_s=refresh.timeout_s,
            wait=refresh.wait,
            queued_s=max(0.0, self._clock.now() - self._began_at),
        )
        self._calls[refresh.sender.entry.index, part] = _Call(number)

    async def kept(self) -> None:
        """Wait for the disk. Raises `JournalError` where that is in vain."""
        if self.broken is not None:
            raise self.broken
        try:
            await self._steps.kept()
        except JournalError as error:
            self._break(error)
            raise

    def answered(self, refresh: Refresh, part: int, job_id: str | None, word: str | None) -> None:
        """Keep the job's id, before it is asked after."""
        call = self._calls[refresh.sender.entry.index, part]
        call.accepted_at = call.unfinished_at = self._clock.now()
        fate = _fate(job_state(word)) if word is not None else CallStatus.ACCEPTED
        kept_id, kept_word = job_id and self._redact(job_id), word and self._redact(word)
        self._keep(lambda: self._steps.answered(call.number, job_id=kept_id, word=kept_word, fate=fate))

    def refused(self, refresh: Refresh, part: int, failure: Failure) -> None:
        """Keep that a call has started nothing."""
        call = self._calls[refresh.sender.entry.index, part]
        words = self._redact(f"{failure.kind}: {failure.message}")
        self._keep(lambda: self._steps.refused(call.number, words))

    def polled(self, refresh: Refresh, part: int, word: str) -> None:
        """Keep a job's status where it is another than before."""
        call, now = self._calls[refresh.sender.entry.index, part], self._clock.now()
        fate, is_news = _fate(job_state(word)), word != call.word
        call.word = word
        if is_news:
            kept_word = self._redact(word)
            self._keep(lambda: self._steps.polled(call.number, word=kept_word, fate=fate))
        if fate is CallStatus.ACCEPTED:
            call.unfinished_at = now if call.accepted_at is not None else None
        elif is_news and call.accepted_at is not None and call.unfinished_at is not None:
            # it ended between the last two polls
            self._took(refresh, part, (call.unfinished_at + now) / 2 - call.accepted_at)

    def settled(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Keep outcomes, all of them or none."""
        if not outcomes:
            return
        rows = [(entry.index, make_row(outcome)) for entry, outcome in outcomes]
        out_of_sight = {e.index for e, o in outcomes if o.error is not None and o.error.kind == RunKind.JOB_LOST}
        lost = (
            [call.number for (sender, _), call in self._calls.items() if sender in out_of_sight] if out_of_sight else []
        )
        self._keep(lambda: self._steps.settled(rows, lost=lost))

    def _took(self, refresh: Refresh, part: int, seconds: float) -> None:
        sender, ask = refresh.sender, refresh.asks[part]
        self._keep(
            lambda: self._steps.took(
                base_url=self._base_urls[sender.entry.instance],
                model_id=sender.model_id,
                branch_id=sender.branch_id,
                kind=kind_of_refresh(ask),
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


def kind_of_refresh(ask: RefreshRequest) -> str:
    """What decides how long a refresh of a model takes: all of it anew, what is new, or a part of it."""
    if ask.hard:
        return "hard"
    return "part" if ask.schemas or ask.tables else "soft"


def _fate(state: JobState) -> CallStatus:
    return {JobState.SUCCEEDED: CallStatus.SUCCEEDED, JobState.FAILED: CallStatus.FAILED}.get(
        state, CallStatus.ACCEPTED
    )
