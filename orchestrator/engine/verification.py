"""Reads models back: issues before and after a refresh, and whether its scope is there after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, Final, Generic, TypeVar

from orchestrator.engine.calls import Calls
from orchestrator.engine.failure import RunKind, closed_words, make_failure
from orchestrator.engine.look_up import LookUp
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.engine.read_back import (
    IssuesBefore,
    ModelBranch,
    NotRead,
    ReadBack,
    ScopeJudgement,
    compare_content,
    compare_issues,
    hidden_schemas,
    judge_scope,
)
from orchestrator.manifest.manifest import Entry, Verify
from orchestrator.omni.answers import ContentDocument, ValidationIssue, View
from orchestrator.omni.errors import CallError
from orchestrator.planning.plan import Refresh, Target
from orchestrator.quota.choice import Purpose
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.text import near_words

K = TypeVar("K")
T = TypeVar("T")

Settled = tuple[tuple[Target, Outcome], ...]
"""The targets of one refresh with their outcomes."""

# Each schema that may be offloaded costs one call.
MOST_HIDDEN = 20
# Near names among more names than this would take seconds to find.
MOST_NEAR = 2000

NOT_READ_BACK = "the run was stopped before the model was read back"
RESUMED = "the refresh call had left before this run began"


@dataclass(frozen=True, slots=True, kw_only=True)
class _IssueCheck(Generic[T]):
    """A kind of issues that is read before a refresh and after its job. `compare` returns the outcome with what has changed."""

    noun: str
    read: Callable[[LookUp, ModelBranch], Awaitable[tuple[T, ...]]]
    compare: Callable[[Outcome, tuple[T, ...], tuple[T, ...]], Outcome]


def _compare_validation(
    outcome: Outcome, before: tuple[ValidationIssue, ...], after: tuple[ValidationIssue, ...]
) -> Outcome:
    return replace(outcome, validation=compare_issues(before, after))


def _compare_content(
    outcome: Outcome, before: tuple[ContentDocument, ...], after: tuple[ContentDocument, ...]
) -> Outcome:
    return replace(outcome, content=compare_content(before, after))


_CHECKS: Final[dict[Verify, _IssueCheck[Any]]] = {
    Verify.VALIDATE: _IssueCheck(
        noun="validation issues", read=lambda look_up, model: look_up.issues(*model), compare=_compare_validation
    ),
    Verify.CONTENT: _IssueCheck(
        noun="broken documents", read=lambda look_up, model: look_up.broken_content(*model), compare=_compare_content
    ),
}


def is_verified(entry: Entry) -> bool:
    """Return whether anything is read back after an entry's job."""
    if entry.verify is Verify.SCOPE:
        return bool(entry.schemas or entry.tables)
    return entry.verify.compares_issues


def unverified(outcome: Outcome, why: str) -> Outcome:
    """Return the outcome of a target that was to be read back and was not, with a warning."""
    return replace(outcome, warnings=(*outcome.warnings, why))


class Verification:
    """Verifies the refreshes of one instance."""

    def __init__(self, calls: Calls, rng: Random) -> None:
        self._calls = calls
        self._rng = rng

    async def read_issues(self, refresh: Refresh, rank: tuple[float, ...]) -> IssuesBefore:
        """Return the issues before the first call of a refresh, as far as they can be read.

        The reads have their submit's `rank`, so that they are sent just before it and delay no other submit.
        """
        look_up = LookUp(self._calls, self._rng, purpose=Purpose.SUBMIT, rank=rank, target=refresh.sender.entry.name)
        checked = [(t.entry.verify, (t.model_id, t.branch_id)) for t in refresh.served]
        issues: IssuesBefore = {}
        for verify, model in dict.fromkeys(checked):
            if verify not in _CHECKS:
                continue
            try:
                issues[verify, model] = await _CHECKS[verify].read(look_up, model)
            except LimiterClosed:
                # the submit will fail in the same way, and say why
                break
            except CallError as error:
                issues[verify, model] = NotRead(why=_words(error))
        return issues

    async def verify(self, settled: Settled, before: IssuesBefore) -> Settled:
        """Return the outcomes of a refresh that succeeded, each with what reading its own scope back showed."""
        reader = _Reader(self._calls, self._rng, target=settled[0][0].entry.name if settled else None)
        return tuple([(target, await reader.verify(outcome, target, before)) for target, outcome in settled])


class _CannotVerify(Exception):
    """A read failed; the text says why."""


class _Reader:
    """The reads after one refresh. What several of its targets share is read once."""

    def __init__(self, calls: Calls, rng: Random, *, target: str | None) -> None:
        self._client = calls.client
        self._look_up = LookUp(calls, rng, purpose=Purpose.PROOF, target=target)
        self._issues: dict[tuple[Verify, ModelBranch], tuple[Any, ...] | _CannotVerify] = {}
        self._schemas: dict[ModelBranch, tuple[str, ...] | _CannotVerify] = {}
        self._views: dict[tuple[ModelBranch, str | None], tuple[View, ...] | _CannotVerify] = {}

    async def verify(self, outcome: Outcome, target: Target, before: IssuesBefore) -> Outcome:
        entry, model = target.entry, (target.model_id, target.branch_id)
        if not is_verified(entry):
            return outcome
        if entry.verify in _CHECKS:
            return await self._compare_issues(outcome, entry.verify, model, before)
        try:
            found = await self._read_back(entry, model)
        except _CannotVerify as error:
            return unverified(
                outcome, f"could not be read back after the refresh, so its scope is not verified: {error}"
            )
        return _judged(outcome, judge_scope(entry, found), found)

    async def _compare_issues(
        self, outcome: Outcome, verify: Verify, model: ModelBranch, before: IssuesBefore
    ) -> Outcome:
        check, known = _CHECKS[verify], before.get((verify, model), NotRead(why=RESUMED))
        if isinstance(known, NotRead):
            why = (
                f"the {check.noun} before the refresh could not be read, so new ones cannot be told apart: {known.why}"
            )
            return unverified(outcome, why)
        try:
            after = await self._read(self._issues, (verify, model), partial(check.read, self._look_up, model))
        except _CannotVerify as error:
            return unverified(outcome, f"the {check.noun} could not be read back after the refresh: {error}")
        return check.compare(outcome, known, after)

    async def _read_back(self, entry: Entry, model: ModelBranch) -> ReadBack:
        """Read as much as is needed: the views if the scope has tables, the list of schemas if they do not decide, then the
        views of schemas that a server shows only by name.
        """
        found = ReadBack()
        if entry.tables:
            found = replace(found, views=await self._read_views(model, None))
            if judge_scope(entry, found).is_proven:
                return found
        schemas = await self._read(self._schemas, model, partial(self._look_up.schemas, *model))
        found = replace(found, schemas=schemas)
        unclear = judge_scope(entry, found).unclear
        unclear_tables = [name for name in entry.tables if name in unclear]
        for schema in (hidden_schemas(unclear_tables, entry.schemas, found) or ())[:MOST_HIDDEN]:
            views = await self._read_views(model, schema)
            found = replace(found, within=(*found.within, (schema.lower(), views)))
            if judge_scope(entry, found).is_proven:
                break
        return found

    async def _read_views(self, model: ModelBranch, schema: str | None) -> tuple[View, ...]:
        model_id, branch_id = model
        call = partial(self._client.views, model_id, branch_id=branch_id, schema=schema)
        return await self._read(self._views, (model, schema), partial(self._look_up.read, call))

    async def _read(self, kept: dict[K, T | _CannotVerify], what: K, read: Callable[[], Awaitable[T]]) -> T:
        if what not in kept:
            try:
                kept[what] = await read()
            except CallError as error:
                kept[what] = _CannotVerify(_words(error))
            except LimiterClosed as closed:
                kept[what] = _CannotVerify(closed_words(closed)[1])
        answer = kept[what]
        if isinstance(answer, _CannotVerify):
            raise _CannotVerify(str(answer))
        return answer


def _words(error: CallError) -> str:
    """Return why a read failed: the HTTP status, and the server's words or the kind of the error."""
    status = f"{error.http_status} " if error.http_status is not None and error.http_status >= 400 else ""
    return status + (error.message or error.kind.value)


def _judged(outcome: Outcome, judgement: ScopeJudgement, found: ReadBack) -> Outcome:
    if judgement.missing:
        message = f"not there after the refresh: {', '.join(judgement.missing)}"
        failure = make_failure(RunKind.NO_EFFECT, message, hint=_hint(judgement, found))
        return replace(outcome, status=Status.NO_EFFECT, verified=False, promotion_pending=False, error=failure)
    if judgement.unclear:
        return unverified(outcome, f"it is not known whether it is there: {', '.join(judgement.unclear[:5])}")
    return replace(outcome, verified=True)


def _hint(judgement: ScopeJudgement, found: ReadBack) -> str | None:
    """Return near names, in case of a typing error; None if there are none."""
    names = {*(found.schemas or ())}
    views = [*(found.views or ()), *(view for _, within in found.within for view in within)]
    for view in views[:MOST_NEAR]:
        names |= {f"{view.schema}.{view.table}", view.table} if view.schema and view.table else {view.name}
    near = near_words(judgement.missing[0], sorted(names), most=3, cutoff=0.7)
    return f"did you mean {', '.join(map(repr, near))}?" if near else None
