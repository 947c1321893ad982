"""Moves the files of a state folder aside, all of them, so that no part of them is mixed with new ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.errors import LockedError
from orchestrator.journal.database import JournalError
from orchestrator.journal.processes import live_owners, record_gap

_PATTERNS: Final = ("journal.db", "shared.db", "journal.db-*", "shared.db-*", "owners", "salt")
"""In the order in which they are moved: a log without its database is refused by every command, the reverse is not."""


def reset_state(folder: Path, *, at: datetime, now: float, boot: str) -> Path | None:
    """Move all state in `folder` into a new folder inside it; return that folder, or None if there is no state.

    What was sent so far is forgotten, so each key pauses for one window from `now` on (the monotonic clock of `boot`).
    Raises `LockedError` while another process runs, and `JournalError` if the files cannot be moved.
    """
    found = [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern))]
    if not found:
        return None
    count = len(live_owners(folder))
    if count:
        others = "another process uses" if count == 1 else f"{count} other processes use"
        raise LockedError(f"{others} the state in {folder}; nothing was moved", code="state-in-use")
    try:
        aside = _new_folder(folder, f"reset-{at:%Y%m%dT%H%M%S}")
        for path in found:
            path.rename(aside / path.name)
    except OSError as error:
        raise JournalError(
            f"the state in {folder} cannot be moved: {error.strerror or error}", code="unusable-state"
        ) from None
    record_gap(folder, now=now, boot=boot)
    return aside


def _new_folder(folder: Path, name: str) -> Path:
    number = 1
    while True:
        path = folder / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return path
