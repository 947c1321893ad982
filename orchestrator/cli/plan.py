"""`omni-refresh plan`: what a run would do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.change_options import change_options
from orchestrator.cli.options import log_options, manifest_argument, option, selection_options, simulate_options

if TYPE_CHECKING:
    from orchestrator.cli.state import State
    from orchestrator.manifest.manifest import Entry, Manifest
    from orchestrator.plan.touched import Touched
    from orchestrator.survey.preview import Preview


@click.command("plan")
@manifest_argument
@selection_options
@change_options
@option("--json", "as_json", is_flag=True, help="The plan as one JSON document on stdout instead of a table.")
@option("--rate", type=click.IntRange(min=1), metavar="N", help="As for run: its share of each key's calls per window.")
@simulate_options
@log_options
def command(
    *,
    manifest: str,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty: bool,
    as_json: bool,
    rate: int | None,
    simulate: bool,
    scenario: str | None,
    **options: Any,
) -> int:
    """Show what `run` would do with MANIFEST: the refreshes in order, whom each serves, the calls and the time.

    Sends no refresh, only the look-ups that run would make; where the manifest says ids and connections that is nothing
    at all, and no key is needed. With --ddl, --dbt-target or --changed also each change, which models it concerns and why, and
    which it does not. Exit code 1 where something cannot be planned; warnings alone are 0.
    """
    import asyncio

    from orchestrator.cli.access import state_for_reading
    from orchestrator.cli.console import print_json, print_result
    from orchestrator.cli.going_on import talk
    from orchestrator.cli.plan_table import render_preview
    from orchestrator.cli.touched import read_touched
    from orchestrator.manifest.load import load_manifest
    from orchestrator.plan.selection import select_some
    from orchestrator.survey.plan_document import make_plan_document
    from orchestrator.survey.preview import needs_look_ups

    talking = talk(options)
    touched = read_touched(options)
    loaded = load_manifest(manifest, environ=os.environ, with_keys=False)
    selected = select_some(loaded, select, exclude, allow_empty=allow_empty)
    if not simulate and needs_look_ups(selected, touched):
        loaded = load_manifest(manifest, environ=os.environ)
    for secret in loaded.secrets:
        talking.redactor.add(secret)
    if not simulate:
        with state_for_reading() as state:
            preview, refused = asyncio.run(_preview(loaded, selected, touched, rate, state=state))
    else:
        preview, refused = asyncio.run(_preview(loaded, selected, touched, rate, simulated=True, scenario=scenario))
    redact = talking.redactor.redact
    if as_json:
        print_json(make_plan_document(preview, redact=redact))
    else:
        print_result(render_preview(preview, talking.console, redact=redact))
    if refused:
        return 3
    return 1 if preview.plan.unresolved else 0


async def _preview(
    manifest: Manifest,
    selected: tuple[Entry, ...],
    touched: Touched | None,
    rate: int | None,
    *,
    state: State | None = None,
    simulated: bool = False,
    scenario: str | None = None,
) -> tuple[Preview, bool]:
    """The preview, and whether an instance refused its keys."""
    from contextlib import AsyncExitStack

    from orchestrator.cli.access import earlier_durations, make_access, make_length, with_rate
    from orchestrator.clock import real_clock
    from orchestrator.survey.preview import NOTHING_ASKED, look_up, look_up_touched, make_preview, needs_look_ups
    from orchestrator.survey.survey import Survey

    clock = real_clock()
    found, refused, reached = NOTHING_ASKED, False, manifest
    async with AsyncExitStack() as stack:
        if needs_look_ups(selected, touched):
            if simulated:
                from orchestrator.cli.simulation import enter_simulation

                reached = await enter_simulation(stack, scenario, manifest, clock)
            access = make_access(reached.instances, state, clock, direct=simulated)
            survey = await stack.enter_async_context(Survey(with_rate(reached, rate).instances, access))
            if touched is None:
                found = await look_up(survey, selected)
            else:
                found = await look_up_touched(survey, manifest, selected, touched)
            refused = bool(survey.refused)
    preview = make_preview(
        with_rate(manifest, rate),
        selected,
        found,
        touched=touched,
        length=make_length(manifest),
        history={} if state is None else earlier_durations(state.journal, manifest, selected),
        # the same plan is shown the same way every time
    )
    return preview, refused
