"""`omni-refresh history`: list earlier runs and how long each model takes."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import log_options, option


@program_command(
    "history", "omni-refresh history", "omni-refresh history --model Sales", "omni-refresh history --flaky"
)
@option("--model", metavar="NAME", help="Show the outcome of one target, by its name or its model's id, in each run.")
@option(
    "--flaky",
    is_flag=True,
    help="Show only targets whose outcomes alternate between good and bad, the most changes first.",
)
@option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=20,
    metavar="N",
    help="Show at most N runs, the latest first. [20]",
)
@option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@option(
    "--prune",
    is_flag=True,
    help="Delete runs that are older than --keep-days or beyond --keep-runs. Active runs stay.",
)
@option(
    "--keep-days",
    type=click.IntRange(0, 1_000_000),
    default=180,
    help="With --prune: keep the runs of the last N days. [180]",
)
@option(
    "--keep-runs", type=click.IntRange(0, 1_000_000), default=500, help="With --prune: keep the latest N runs. [500]"
)
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

    With --model NAME: the target's outcome and duration in each run, as a chart. With --flaky: the targets that fail now and
    then. With --prune: delete old runs first.
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
            click.echo(f"{gone} run{'' if gone == 1 else 's'} deleted", err=True)
        history = make_history(state, model=model, limit=limit, flaky=flaky)
    if as_json:
        print_json(history)
    else:
        print_result(render_history(history, console, model=model, flaky=flaky, drawn=can_print("█▁")))
    return 0
