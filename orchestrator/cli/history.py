"""`omni-refresh history`: earlier runs, and how long each model takes."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.options import log_options, option


@click.command("history")
@option("--model", metavar="NAME", help="Only this target, by its name or its model's id: its outcome in each run.")
@option("--limit", type=click.IntRange(min=1), default=20, help="At most so many runs, the latest first. [20]")
@option("--json", "as_json", is_flag=True, help="JSON on stdout instead of tables.")
@option("--prune", is_flag=True, help="Forget runs that are older than --keep-days or beyond --keep-runs.")
@option("--keep-days", type=click.IntRange(min=0), default=180, help="For --prune. [180]")
@option("--keep-runs", type=click.IntRange(min=0), default=500, help="For --prune. [500]")
@log_options
def command(
    *, model: str | None, limit: int, as_json: bool, prune: bool, keep_days: int, keep_runs: int, **log: Any
) -> int:
    """List earlier runs, the latest first, and how long each model takes.

    With --model NAME: that target's outcome and duration in each run. With --prune: forget what is old.
    """
    import json

    from orchestrator.cli.console import print_result
    from orchestrator.cli.going_on import talk
    from orchestrator.cli.past import make_history, render_history
    from orchestrator.cli.state import open_state

    console = talk(log).console
    with open_state() as state:
        if prune:
            gone = state.journal.prune(keep_runs=keep_runs, keep_days=keep_days)
            click.echo(f"{gone} run{'' if gone == 1 else 's'} forgotten", err=True)
        history = make_history(state, model=model, limit=limit)
    text = json.dumps(history, indent=2, ensure_ascii=False) + "\n" if as_json else render_history(history, console)
    print_result(text)
    return 0
