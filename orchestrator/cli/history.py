"""`omni-refresh history`: list earlier runs and how long each model takes."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import click

from orchestrator.cli.command_line import program_command
from orchestrator.cli.options import log_options, option, state_options
from orchestrator.durations import parse_duration


class Since(click.ParamType[float | datetime]):
    """A date or a time, local without an offset, or how many seconds ago."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | datetime:
        """Return a moment, or an age in seconds."""
        if isinstance(value, float | datetime):
            return value
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(value).astimezone()
        with suppress(ValueError):
            return parse_duration(value)
        return self.fail(f"{value!r} is not a time: write 2026-11-25, 2026-11-25T02:00, 12h or 7d", param, ctx)


@program_command(
    "history", "omni-refresh history", "omni-refresh history --model Sales", "omni-refresh history --flaky"
)
@option("--manifest", metavar="PATH|NAME", help="Show only the runs of one manifest, by its path or its `name`.")
@option(
    "--since",
    type=Since(),
    metavar="WHEN",
    help="Show only runs that started at or after WHEN: a date, a local time, or an age like 12h or 7d.",
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
@state_options
@log_options
def history(
    *,
    manifest: str | None,
    since: float | datetime | None,
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
    from orchestrator.terminal.console import can_print, print_json, print_result
    from orchestrator.terminal.history_table import render_history

    setup = set_up(log)
    console = setup.console
    with open_state(setup.context) as state:
        if prune:
            gone = state.prune(keep_runs=keep_runs, keep_days=keep_days)
            click.echo(f"{gone} run{'' if gone == 1 else 's'} deleted", err=True)
        history = make_history(
            state,
            model=model,
            limit=limit,
            flaky=flaky,
            manifest=manifest,
            since=setup.context.clock.utcnow() - timedelta(seconds=since) if isinstance(since, float) else since,
            environ=setup.context.environ,
        )
    if as_json:
        print_json(history)
    else:
        print_result(render_history(history, console, model=model, flaky=flaky, drawn=can_print("█▁")))
    return 0
