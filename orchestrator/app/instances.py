"""How use cases reach instances: clients, the budget that the runs of this machine share, and earlier durations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

from orchestrator.app.context import USER_AGENT, Context
from orchestrator.app.state import State, find_state, is_shared, open_state_async
from orchestrator.engine.events import StateFailed
from orchestrator.engine.recorder import kind_of_refresh
from orchestrator.engine.run_context import Access
from orchestrator.journal.database import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.shared_window import SharedWindow
from orchestrator.journal.slots import OwnSlots, key_name
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, Manifest, RateLimit
from orchestrator.omni.answers import RefreshRequest
from orchestrator.omni.client import OmniClient
from orchestrator.quota.window import CallWindow, MemoryWindow
from orchestrator.survey.survey import Survey


@asynccontextmanager
async def state_for_reading(
    context: Context, named: str | None = None, *, manifest: Manifest | None = None
) -> AsyncIterator[State | None]:
    """Open the state for a use case that refreshes nothing.

    Yields None, after a `StateFailed` event, if a folder cannot be used: then the budget is not shared with other runs, and
    no durations are known. A store that machines share must be usable: nothing is sent beside it.
    """
    place = find_state(context, named, manifest)
    async with AsyncExitStack() as stack:
        try:
            state: State | None = await stack.enter_async_context(open_state_async(context, named, manifest=manifest))
        except JournalError as error:
            if place is not None and is_shared(place):
                raise
            context.observe(StateFailed(what="journal", message=str(error)))
            state = None
        yield state


@asynccontextmanager
async def open_survey(context: Context, manifest: Manifest, named: str | None) -> AsyncIterator[Survey]:
    """Open the state and the instances of a manifest for a use case that refreshes nothing; hide the manifest's secrets."""
    context.hide_secrets(manifest)
    async with (
        state_for_reading(context, named, manifest=manifest) as state,
        Survey(manifest.instances, make_access(context, manifest.instances, state)) as survey,
    ):
        yield survey


def make_access(
    context: Context, instances: Mapping[str, Instance], state: State | None, *, direct: bool = False
) -> Access:
    """Return what reaching `instances` needs. `direct` uses no proxies: for a simulated instance."""
    return Access(
        clock=context.clock,
        rng=context.rng,
        observer=context.observe,
        open_client=make_opener(context, direct=direct),
        ledger=make_ledgers(context, state, instances),
    )


def make_opener(context: Context, *, direct: bool) -> Callable[[Instance], OmniClient]:
    """Return what makes the client of an instance. `direct` uses no proxies: for a simulated instance."""
    return partial(OmniClient, utcnow=context.clock.utcnow, user_agent=USER_AGENT, direct=direct)


def make_ledgers(
    context: Context, state: State | None, whole: Mapping[str, Instance]
) -> Callable[[Instance, ApiKey], CallWindow]:
    """Return what counts the calls of an instance's key.

    A key has one budget, also if several instances name it. With a state folder, all runs of this machine share it. `whole`
    holds the instances with their whole rate limits.
    """
    longest_s: dict[str, float] = {}
    late_s: dict[str, float] = {}
    for each in whole.values():
        for text in map(_text, each.keys):
            longest_s[text] = max(longest_s.get(text, 0.0), each.rate_limit.per_s)
            late_s[text] = max(late_s.get(text, 0.0), each.request_timeout_s)
    own: dict[str, OwnSlots | MemoryWindow] = {}

    def ledger(instance: Instance, key: ApiKey) -> CallWindow:
        text, limit = _text(key), whole[instance.name].rate_limit
        if text not in own:
            own[text] = (
                MemoryWindow(longest_s[text])
                if state is None
                else OwnSlots(state.owner, key_name(text, state.read_salt()), longest_s[text], late_s=late_s[text])
            )
        slots = own[text]
        if isinstance(slots, MemoryWindow):
            return slots
        return SharedWindow(
            slots,
            requests=limit.requests,
            is_share=instance.rate_limit.requests < limit.requests,
            broke=lambda error: context.observe(StateFailed(what="budget", message=str(error))),
            patience_s=context.state_patience_s,
        )

    return ledger


def _text(key: ApiKey) -> str:
    return "" if key.secret is None else key.secret.reveal()


def with_rate(manifest: Manifest, rate: int | None) -> Manifest:
    """Return the manifest with at most `rate` calls per window for each key."""
    if rate is None:
        return manifest

    def share(limit: RateLimit) -> RateLimit:
        return replace(limit, requests=min(limit.requests, rate))

    instances = {name: replace(i, rate_limit=share(i.rate_limit)) for name, i in manifest.instances.items()}
    return replace(manifest, instances=instances)


def earlier_durations(
    journal: Journal, manifest: Manifest, selected: Sequence[Entry]
) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return how long each model took in earlier runs, by instance and model id (seconds, oldest first).

    If the kind of refresh that is wanted now is known, only durations of that kind are returned.
    """
    wanted: dict[tuple[str, str], set[str]] = {}
    for entry in selected:
        if entry.model_id is not None:
            ask = RefreshRequest(
                model_id=entry.model_id,
                kind=entry.refresh,
                hard=entry.mode == "hard",
                schemas=entry.schemas,
                tables=entry.tables,
            )
            wanted.setdefault((entry.instance, entry.model_id), set()).add(kind_of_refresh(ask))
    history: dict[str, dict[str, tuple[float, ...]]] = {}
    for name, instance in manifest.instances.items():
        for model_id, kinds in journal.durations(instance.base_url).items():
            like = wanted.get((name, model_id), set()) & set(kinds) or set(kinds)
            history.setdefault(name, {})[model_id] = tuple(s for kind in sorted(like) for s in kinds[kind])
    return history
