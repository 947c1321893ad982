"""`omni-refresh state`: manage where runs, locks and the budget are kept."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.command_line import CommandGroup, SectionedCommand
from orchestrator.cli.errors import say
from orchestrator.cli.options import log_options, option, state_options

_LOST = """\
The earlier runs can no longer be resumed, retried or shown, and model durations are learned anew.
Jobs that these runs left running are no longer known: look in Omni before you refresh their models again.
The next run waits for one rate-limit window before its first call."""


@click.group("state", cls=CommandGroup)
def state() -> None:
    """Manage the state: the journal of runs, their locks, and the budget that runs share.

    It is kept in a folder, or in a PostgreSQL database that machines share.
    """


@state.command("init", cls=SectionedCommand, short_help="Make the state in a PostgreSQL database, or migrate it.")
@state_options
@log_options
def init(**options: Any) -> int:
    """Make the tables in the schema `omni_refresh`, or migrate them to this version.

    The role needs the right to create this schema, or, if it exists, USAGE and CREATE on it. After that each key waits for one
    rate-limit window before its first call, because what was sent before is not known.
    """
    from orchestrator.app.state import init_state
    from orchestrator.cli.command_setup import set_up

    place, is_new = init_state(set_up(options).context)
    say(f"{place}: {'the state was made' if is_new else 'the state is up to date'}")
    return 0


@state.command("check", cls=SectionedCommand, short_help="Check whether the state can be used.")
@state_options
@log_options
def check(**options: Any) -> int:
    """Open the state and report what is missing: tables, a version, rights. Exit code 2 if it cannot be used."""
    from orchestrator.app.state import check_state
    from orchestrator.cli.command_setup import set_up

    found = check_state(set_up(options).context)
    for line in found.lines:
        say(line)
    return 0 if found.is_usable else 2


@state.command("prune", cls=SectionedCommand, short_help="Delete old runs.")
@option("--keep-days", type=click.IntRange(0, 1_000_000), default=180, help="Keep the runs of the last N days. [180]")
@option("--keep-runs", type=click.IntRange(0, 1_000_000), default=500, help="Keep the latest N runs. [500]")
@state_options
@log_options
def prune(*, keep_days: int, keep_runs: int, **options: Any) -> int:
    """Delete runs that are older than --keep-days or beyond --keep-runs. Active runs stay, and so do those of which a refresh
    may still run. Calls of ended processes that no longer count against a rate limit are deleted, too.
    """
    from orchestrator.app.state import open_state
    from orchestrator.cli.command_setup import set_up

    with open_state(set_up(options).context) as state:
        gone = state.prune(keep_runs=keep_runs, keep_days=keep_days)
    say(f"{gone} run{'' if gone == 1 else 's'} deleted")
    return 0


@state.command("reset", cls=SectionedCommand, short_help="Move a damaged state folder's contents aside, as a whole.")
def reset() -> int:
    """Move a damaged state folder's contents aside, so that the next run starts without state.

    Nothing is deleted: the files are moved into a folder `reset-TIME` inside the state folder. After that, the earlier runs
    cannot be resumed, retried or shown. Exit code 4 if another command uses the state.
    """
    import time
    from datetime import UTC, datetime

    from orchestrator.app.state import find_folder
    from orchestrator.cli.command_setup import quiet_context
    from orchestrator.errors import UsageError
    from orchestrator.journal.moments import boot_id
    from orchestrator.journal.state_folder import reset_state

    folder = find_folder(quiet_context())
    if folder is None:
        raise UsageError("only a state folder can be moved aside, and the state is in PostgreSQL", code="invalid-state")
    aside = reset_state(folder, at=datetime.now(UTC), now=time.monotonic(), boot=boot_id())
    if aside is None:
        say(f"omni-refresh: nothing to reset: there is no state in {folder}")
    else:
        say(f"The state was moved to {aside}\n{_LOST}")
    return 0
