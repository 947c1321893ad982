"""Plans a run without running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from orchestrator.app.context import Context
from orchestrator.app.instances import earlier_durations, make_access, state_for_reading, with_rate
from orchestrator.app.overrides import override
from orchestrator.app.read_request import read_request
from orchestrator.app.requests import RunRequest
from orchestrator.app.simulation import enter_simulation
from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Manifest
from orchestrator.survey.plan_document import make_plan_document
from orchestrator.survey.preview import (
    NOTHING_LOOKED_UP,
    Preview,
    look_up,
    look_up_affected,
    make_preview,
    needs_look_ups,
)
from orchestrator.survey.survey import Survey
from orchestrator.survey.usage import find_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do.

    `preview` holds the refreshes, the calls and the expected time. `key_refused` is True if an instance refused its keys, so
    that the plan is incomplete.
    """

    preview: Preview
    key_refused: bool
    redact: Callable[[Any], Any] = field(repr=False)

    @property
    def exit_code(self) -> int:
        """3 if keys were refused, 1 if a target cannot be planned, else 0."""
        if self.key_refused:
            return 3
        return 1 if self.preview.plan.unresolved else 0

    def to_dict(self) -> Mapping[str, Any]:
        """Return the plan as JSON data, the same as `omni-refresh plan --json`."""
        return make_plan_document(self.preview, redact=self.redact)


async def plan_run(
    request: RunRequest, context: Context, *, online: bool = False, load_with_keys: Callable[[], Manifest] | None = None
) -> Plan:
    """Plan what `start_run` would do with the same request: the same look-ups, and no refresh.

    A manifest that says every id and connection needs no look-up, no key and no network. If the request's manifest was loaded
    without keys, `load_with_keys` loads it again when they are needed. With `online` the plan also reads what uses the things
    that the change takes away. Raises `UsageError`.
    """
    read = read_request(request, context)
    manifest, selected, followed = read.manifest, read.selected, read.followed
    if online and followed is None:
        raise UsageError(
            "--online reads what uses the things that a change takes away, and no change is given",
            code="missing-option",
            hint="use --ddl FILE, --dbt-target DIR or --changed NAME",
        )
    needs_calls = online or needs_look_ups(selected, followed)
    if needs_calls and not request.simulate and load_with_keys is not None:
        manifest = override(load_with_keys(), request.overrides)
        context.hide_secrets(manifest)
    key_refused, reached = False, manifest
    rate = request.options.rate
    async with AsyncExitStack() as stack:
        state, history = None, {}
        if not request.simulate:
            state = await stack.enter_async_context(state_for_reading(context, request.state, manifest=manifest))
        if state is not None:
            history = await state.call(partial(earlier_durations, state.journal, manifest, selected))
        preview_of = partial(
            make_preview,
            with_rate(manifest, rate),
            selected,
            followed=followed,
            picks=read.selector.picks_branch,
            history=history,
        )
        if not needs_calls:
            preview = preview_of(NOTHING_LOOKED_UP)
        else:
            if request.simulate:
                reached = await enter_simulation(stack, request.scenario, manifest, context.clock)
            access = make_access(context, reached.instances, state, direct=request.simulate)
            survey = await stack.enter_async_context(Survey(with_rate(reached, rate).instances, access))
            if followed is None:
                found = await look_up(survey, selected)
            else:
                found = await look_up_affected(survey, manifest, selected, followed, read.selector.picks_branch)
            preview = preview_of(found)
            if online:
                preview = replace(preview, usage=await find_usage(survey, preview.plan))
            key_refused = bool(survey.refused)
    return Plan(preview=preview, key_refused=key_refused, redact=context.redactor.redact)
