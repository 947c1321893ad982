"""Report files, whole or not at all: a temporary file beside, synced, then renamed over the old one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import ClassVar, Final

from orchestrator.errors import OmniRefreshError, UsageError

STEP_SUMMARY_LIMIT: Final = 1024 * 1024

_CUT_NOTE: Final = "\n\n… cut: the job summary is full.\n"


class ReportError(OmniRefreshError):
    """A report could not be written; the run itself is done, and what was in the file before is still there."""

    exit_code: ClassVar[int] = 5


def check_writable(path: str | Path) -> None:
    """Make sure, before anything is sent, that a report can be written to `path`; leaves no trace.

    Raises UsageError that says what is in the way and what to do.
    """
    try:
        target = _target(path)
        _try_folder(target.parent)
    except (OSError, ValueError) as error:
        raise UsageError(f"a report cannot be written to {path}: {_reason(error)}; choose another path") from None


def write_report(path: str | Path, content: str | bytes) -> None:
    """Write a report file whole: readers see the old file or the new one, and never a part.

    A symbolic link stays and its target is replaced; the old file's mode is kept. Raises ReportError with the reason.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        _replace(_target(path), data)
    except (OSError, ValueError, UsageError) as error:
        reason = str(error) if isinstance(error, UsageError) else _reason(error)
        raise ReportError(f"the report {path} was not written: {reason}") from None


def append_step_summary(path: str | Path, text: str) -> None:
    """Append Markdown to a job summary (`GITHUB_STEP_SUMMARY`), which a CI system drops when it is above 1 MiB.

    What does not fit is cut at a line's end, with a note. A pipe or a folder is refused. Raises ReportError with the
    reason.
    """
    try:
        with os.fdopen(_open_summary(path), "ab") as file:
            room = STEP_SUMMARY_LIMIT - file.tell() - 1
            data = ("\n" * bool(file.tell()) + text).encode("utf-8", "backslashreplace")
            if len(data) > room:
                kept = data[: max(0, room - len(_CUT_NOTE.encode()))].rpartition(b"\n")[0]
                data = kept + _CUT_NOTE.encode() if kept else b""
            file.write(data)
    except (OSError, ValueError) as error:
        raise ReportError(f"the job summary {path} was not written: {_reason(error)}") from None


def _open_summary(path: str | Path) -> int:
    """A descriptor for appending; opening a pipe that nobody reads fails at once."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
    return descriptor


def _target(path: str | Path) -> Path:
    """The file behind `path` and its links. Raises UsageError for what is there and is not a file to be replaced."""
    target = Path(os.path.realpath(path))
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if not target.parent.exists():
            raise UsageError(
                f"a report cannot be written to {path}: there is no folder {target.parent}; create it or choose another path"
            ) from None
        return target
    except NotADirectoryError:
        raise UsageError(
            f"a report cannot be written to {path}: {target.parent} is a file, not a folder; choose another path"
        ) from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"a report cannot be written to {path}: it is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        # A pipe or a device cannot be replaced whole, and could block the end of a run for ever.
        raise UsageError(
            f"a report cannot be written to {path}: it is a pipe or a device; name a file, or print the report with --json"
        )
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise UsageError(
            f"a report cannot be written to {path}: the file is read-only; make it writable or choose another path"
        )
    return target


def _try_folder(folder: Path) -> None:
    trial = _temporary_beside(folder)
    os.close(_create(trial))
    trial.unlink()


def _replace(target: Path, data: bytes) -> None:
    temporary = _temporary_beside(target.parent)
    descriptor = _create(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _temporary_beside(folder: Path) -> Path:
    return folder / f".omni-refresh-{secrets.token_hex(8)}.tmp"


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a power cut; some file systems cannot, and the file is there all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
