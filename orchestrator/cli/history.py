"""`omni-refresh history`: earlier runs, and how long each model takes."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.options import log_options, option


@click.command("history")
@option("--model", metavar="NAME", help="Only this target, by its name or its model's id: its outcome in each run.")
@option("--flaky", is_flag=True, help="Only targets whose outcomes alternate between good and bad, most often first.")
@option("--limit", type=click.IntRange(1, 1_000_000), default=20, help="At most so many runs, the latest first. [20]")
@option("--json", "as_json", is_flag=True, help="JSON on stdout instead of tables.")
@option(
    "--prune",
    is_flag=True,
    help="Forget runs that are older than --keep-days or beyond --keep-runs; those at work stay.",
)
@option("--keep-days", type=click.IntRange(0, 1_000_000), default=180, help="For --prune. [180]")
@option("--keep-runs", type=click.IntRange(0, 1_000_000), default=500, help="For --prune. [500]")
@log_options
def command(
    *,
    model: str | None,
    flaky: bool,
    limit: int,
    as_json: bool,
    prune: bool,
    keep_days: int,
    keep_runs: int,
    **log: Any,
) -> int:
    """List earlier runs, the latest first, and how long each model takes.

    With --model NAME: that target's outcome and duration in each run, as a chart. With --flaky: who fails now and then.
    With --prune: forget what is old.
    """
    from orchestrator.app.history import make_history
    from orchestrator.app.state import open_state
    from orchestrator.cli.command_setup import set_up
    from orchestrator.cli.console import can_print, print_json, print_result
    from orchestrator.cli.history_table import render_history

    setup = set_up(log)
    console = setup.console
    with open_state(setup.context) as state:
        if prune:
            gone = state.prune(keep_runs=keep_runs, keep_days=keep_days)
            click.echo(f"{gone} run{'' if gone == 1 else 's'} forgotten", err=True)
        history = make_history(state, model=model, limit=limit, flaky=flaky)
    if as_json:
        print_json(history)
    else:
        print_result(render_history(history, console, model=model, flaky=flaky, drawn=can_print("█▁")))
    return 0
