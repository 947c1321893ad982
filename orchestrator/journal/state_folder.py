"""The state folder: where it is, and that it can be used."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.journal.database import JournalError

VARIABLE: Final = "OMNI_REFRESH_STATE_DIR"


def find_state_folder(environ: Mapping[str, str]) -> Path:
    """Where state lives: `OMNI_REFRESH_STATE_DIR`, else the platform's folder for state; absolute."""
    named = environ.get(VARIABLE, "").strip()
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_state_path

    return user_state_path("omni-refresh", appauthor=False)


def open_state_folder(folder: Path) -> Path:
    """Make sure that `folder` is there and can be written; one that is made here is its user's alone.

    Raises `JournalError` that says what is in the way.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # the parents' mode is the umask's business; a folder that was there before keeps its own
        trial = folder / f".trial-{secrets.token_hex(8)}"
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, b"trial")
        finally:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                trial.unlink()
    except OSError as error:
        raise JournalError(
            f"the state folder {folder} cannot be written: {error.strerror or error}; mend that, or name another with"
            f" {VARIABLE}"
        ) from None
    return folder


def read_salt(folder: Path) -> bytes:
    """This folder's own salt for keys' hashes, made at the first call. Raises `JournalError`."""
    path = folder / "salt"
    try:
        if not path.exists():
            own = folder / f".salt-{secrets.token_hex(8)}"
            descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, secrets.token_bytes(32))
            finally:
                os.close(descriptor)
            try:
                # whoever links first wins; everybody reads the same salt
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(own)
            finally:
                own.unlink()
        salt = path.read_bytes()
    except OSError as error:
        raise JournalError(f"the file {path} cannot be used: {error.strerror or error}") from None
    if len(salt) != 32:
        raise JournalError(f"the file {path} is damaged: remove it while no run is at work")
    return salt
