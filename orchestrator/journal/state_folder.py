"""The state folder: finds it, checks that it can be used, and moves its files aside."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.errors import LockedError, UsageError
from orchestrator.journal.database import JournalError
from orchestrator.journal.processes import live_owners, record_gap

VARIABLE: Final = "OMNI_REFRESH_STATE_DIR"
_PATTERNS: Final = ("journal.db", "shared.db", "journal.db-*", "shared.db-*", "owners", "salt")
"""In the order in which they are moved: a log without its database is refused by every command, the reverse is not."""


def find_state_folder(environ: Mapping[str, str]) -> Path:
    """Return where state lives: `OMNI_REFRESH_STATE_DIR`, else the platform's folder for state; absolute.

    Raises `UsageError` if there is no such folder: no home, an unknown user, a deleted working directory.
    """
    named = environ.get(VARIABLE, "").strip()
    if named:
        try:
            return Path(named).expanduser().absolute()
        except (RuntimeError, OSError) as error:
            why = "names a user without a home folder"
            if isinstance(error, OSError):
                why = f"is relative to a working directory that cannot be read ({error.strerror})"
            raise UsageError(
                f"{VARIABLE}: {named!r} {why}", code="no-state-folder", hint="write the whole path"
            ) from None
    from platformdirs import user_state_path

    with contextlib.suppress(RuntimeError):
        folder = user_state_path("omni-refresh", appauthor=False)
        # an older platformdirs leaves a home that it does not find as it is
        if folder.is_absolute():
            return folder
    raise UsageError(
        "this user has no home folder to keep state in", code="no-state-folder", hint=f"name a folder with {VARIABLE}"
    )


def open_state_folder(folder: Path) -> Path:
    """Make sure that `folder` is there and can be written; one that is made here is its user's alone.

    Raises `JournalError` with the reason.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # the umask decides about the parents' mode; a folder that was there before keeps its own
        _new_file(folder, "trial", b"trial").unlink()
    except OSError as error:
        raise JournalError(
            f"the state folder {folder} cannot be written: {error.strerror or error}",
            code="unusable-state",
            hint=f"correct that, or name another folder with {VARIABLE}",
        ) from None
    return folder


def _new_file(folder: Path, name: str, content: bytes) -> Path:
    """Write a new file that only this user can read; return its path. Raises `OSError`, and leaves no file then."""
    path = folder / f".{name}-{secrets.token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return path


def read_salt(folder: Path) -> bytes:
    """Return this folder's salt for keys' hashes; the first call makes it. Raises `JournalError`."""
    path = folder / "salt"
    try:
        if not path.exists():
            own = _new_file(folder, "salt", secrets.token_bytes(32))
            try:
                # the first process to link it wins; all read the same salt
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(own)
            finally:
                own.unlink()
        salt = path.read_bytes()
    except OSError as error:
        raise JournalError(
            f"the file {path} cannot be used: {error.strerror or error}", code="unusable-state"
        ) from None
    if len(salt) != 32:
        raise JournalError(f"the file {path} is damaged", code="damaged-state", hint="run `omni-refresh state reset`")
    return salt


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
