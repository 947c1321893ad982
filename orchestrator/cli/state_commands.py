"""`omni-refresh state`: manage the state folder."""

from __future__ import annotations

import click

from orchestrator.cli.main import say

_LOST = """\
The earlier runs can no longer be resumed, retried or shown, and model durations are learned anew.
Jobs that these runs left running are no longer known: look in Omni before you refresh their models again.
The next run waits for one rate-limit window before its first call."""


@click.group("state")
def command() -> None:
    """Manage the state folder: the journal of runs, their locks, and the budget that runs share."""


@command.command("reset", short_help="Move damaged state aside, as a whole.")
def reset() -> int:
    """Move a damaged state folder's contents aside, so that the next run starts without state.

    Nothing is deleted: the files are moved into a folder `reset-TIME` inside the state folder. After that, the earlier runs
    cannot be resumed, retried or shown. Exit code 4 if another command uses the state.
    """
    import os
    import time
    from datetime import UTC, datetime

    from orchestrator.journal.moments import boot_id
    from orchestrator.journal.reset import reset_state
    from orchestrator.journal.state_folder import find_state_folder

    folder = find_state_folder(os.environ)
    aside = reset_state(folder, at=datetime.now(UTC), now=time.monotonic(), boot=boot_id())
    if aside is None:
        say(f"omni-refresh: nothing to reset: there is no state in {folder}")
    else:
        say(f"The state was moved to {aside}\n{_LOST}")
    return 0
