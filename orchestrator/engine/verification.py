"""Reads models back: before a refresh what its validation finds, after it whether the scope is there. Never changes another target."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import TypeVar

from orchestrator.engine.calls import Calls
from orchestrator.engine.failure import RunKind, closed_words, make_failure
from orchestrator.engine.look_up import LookUp
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.engine.read_back import (
    Issues,
    Judgement,
    Place,
    ReadBack,
    compare_issues,
    hidden_schemas,
    judge_scope,
)
from orchestrator.engine.refresh_state import RefreshState
from orchestrator.manifest.manifest import Entry, Secret, Verify
from orchestrator.omni.answers import ValidationIssue, View
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallError
from orchestrator.planning.plan import Refresh, Target
from orchestrator.quota.choice import Purpose
from orchestrator.quota.rate_limiter import LimiterClosed

K = TypeVar("K")
T = TypeVar("T")

Proven = tuple[tuple[Outcome, Target], ...]
"""Outcomes with their targets, as they settle."""

# Each schema that may be offloaded takes a call of its own.
MOST_HIDDEN = 20
# Among more names than this, near ones would take seconds to find.
MOST_NEAR = 2000

NOT_READ_BACK = "the run was stopped before the model was read back"
NO_BASELINE = "what its validation found before the refresh is not known, so nothing can be told of what is new"


def wants_proof(entry: Entry) -> bool:
    """Whether anything is read back after an entry's job."""
    if entry.verify is Verify.SCOPE:
        return bool(entry.schemas or entry.tables)
    return entry.verify is Verify.VALIDATE


def unproven(outcome: Outcome, why: str) -> Outcome:
    """The outcome of a target that was to be read back and was not."""
    return replace(outcome, warnings=(*outcome.warnings, why))


class Verification:
    """Proves the refreshes of one instance."""

    def __init__(self, calls: Calls, rng: Random) -> None:
        self._calls = calls
        self._rng = rng

    async def begin(self, life: RefreshState, rank: tuple[float, ...]) -> None:
        """Read what validation finds before the first call of a refresh leaves; once, and only where its end will be followed.

        Each read goes with its submit's `rank`, so that it is sent right before it and holds up no other's.
        """
        if life.is_followed and life.left_at is None and life.issues_before is None:
            life.issues_before = await self._baseline(life.refresh, rank)

    async def _baseline(self, refresh: Refresh, rank: tuple[float, ...]) -> Issues:
        """What cannot be read is left out."""
        look_up = LookUp(self._calls, self._rng, purpose=Purpose.SUBMIT, rank=rank)
        wanting = [t for t in refresh.served if t.entry.verify is Verify.VALIDATE]
        issues: Issues = {}
        for place in dict.fromkeys((t.model_id, t.branch_id) for t in wanting):
            try:
                issues[place] = await look_up.read(_validation(self._calls.client, place))
            except LimiterClosed:
                # the submit will be told the same, and says so
                break
            except CallError:
                continue
        return issues

    async def prove(self, settled: Proven, before: Issues) -> Proven:
        """The outcomes of targets whose refresh succeeded, each with what reading it back showed for its own scope."""
        after = _After(self._calls, self._rng)
        return tuple([(await after.prove(outcome, target, before), target) for outcome, target in settled])


class _CannotTell(Exception):
    """A read did not come about; its text says why."""


class _After:
    """The reads after one refresh; what several of its targets share is read once."""

    def __init__(self, calls: Calls, rng: Random) -> None:
        self._client = calls.client
        self._look_up = LookUp(calls, rng, purpose=Purpose.PROOF)
        self._issues: dict[Place, tuple[ValidationIssue, ...] | _CannotTell] = {}
        self._schemas: dict[Place, tuple[str, ...] | _CannotTell] = {}
        self._views: dict[tuple[Place, str | None], tuple[View, ...] | _CannotTell] = {}

    async def prove(self, outcome: Outcome, target: Target, before: Issues) -> Outcome:
        entry, place = target.entry, (target.model_id, target.branch_id)
        if not wants_proof(entry):
            return outcome
        try:
            if entry.verify is Verify.VALIDATE:
                return await self._validate(outcome, place, before)
            reads = await self._read_back(entry, place)
        except _CannotTell as error:
            return unproven(outcome, f"could not be read back after the refresh, so that nothing is proven: {error}")
        return _judged(outcome, judge_scope(entry, reads), reads)

    async def _validate(self, outcome: Outcome, place: Place, before: Issues) -> Outcome:
        if place not in before:
            return unproven(outcome, NO_BASELINE)
        read = partial(self._look_up.read, _validation(self._client, place))
        after = await self._read(self._issues, place, read)
        return replace(outcome, validation=compare_issues(before[place], after))

    async def _read_back(self, entry: Entry, place: Place) -> ReadBack:
        """As much as it takes: views where tables are asked for, the list of schemas where those do not tell all, and then the
        views of schemas that are not shown by themselves.
        """
        model, branch = place
        reads = ReadBack()
        if entry.tables:
            reads = replace(reads, views=await self._read_views(place, None))
            if judge_scope(entry, reads).is_proven:
                return reads
        schemas = await self._read(self._schemas, place, partial(self._look_up.schemas, model, branch))
        reads = replace(reads, schemas=schemas)
        unclear = judge_scope(entry, reads).unclear
        lost = [name for name in entry.tables if name in unclear]
        for schema in (hidden_schemas(lost, entry.schemas, reads) or ())[:MOST_HIDDEN]:
            views = await self._read_views(place, schema)
            reads = replace(reads, within=(*reads.within, (schema.lower(), views)))
            if judge_scope(entry, reads).is_proven:
                break
        return reads

    async def _read_views(self, place: Place, schema: str | None) -> tuple[View, ...]:
        model, branch = place
        question = partial(self._client.views, model, branch_id=branch, schema=schema)
        return await self._read(self._views, (place, schema), partial(self._look_up.read, question))

    async def _read(self, kept: dict[K, T | _CannotTell], what: K, read: Callable[[], Awaitable[T]]) -> T:
        if what not in kept:
            try:
                kept[what] = await read()
            except CallError as error:
                kept[what] = _CannotTell(error.message or error.kind.value)
            except LimiterClosed as closed:
                kept[what] = _CannotTell(closed_words(closed)[1])
        answer = kept[what]
        if isinstance(answer, _CannotTell):
            raise _CannotTell(str(answer))
        return answer


def _validation(client: OmniClient, place: Place) -> Callable[[Secret], Awaitable[tuple[ValidationIssue, ...]]]:
    model, branch = place
    return lambda key: client.validate(model, key, branch)


def _judged(outcome: Outcome, finding: Judgement, reads: ReadBack) -> Outcome:
    if finding.missing:
        failure = make_failure(
            RunKind.NO_EFFECT, f"not there after the refresh: {', '.join(finding.missing)}", hint=_hint(finding, reads)
        )
        return replace(outcome, status=Status.NO_EFFECT, verified=False, promotion_pending=False, error=failure)
    if finding.unclear:
        return unproven(outcome, f"nobody can tell whether it is there: {', '.join(finding.unclear[:5])}")
    return replace(outcome, verified=True)


def _hint(finding: Judgement, reads: ReadBack) -> str | None:
    """Near names, for whoever mistyped one; None where there are none."""
    names = {*(reads.schemas or ())}
    views = [*(reads.views or ()), *(view for _, within in reads.within for view in within)]
    for view in views[:MOST_NEAR]:
        names |= {f"{view.schema}.{view.table}", view.table} if view.schema and view.table else {view.name}
    near = difflib.get_close_matches(finding.missing[0], sorted(names), n=3, cutoff=0.7)
    return f"did you mean {', '.join(map(repr, near))}?" if near else None
