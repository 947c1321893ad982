"""Report files: the format that a path's suffix selects, and files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from enum import StrEnum
from pathlib import Path, PurePath
from typing import ClassVar, Final

from orchestrator.errors import OmniRefreshError, UsageError
from orchestrator.report.report import Report


class Format(StrEnum):
    """A file format for reports. The value is the suffix that selects it."""

    JSON = ".json"
    JSONL = ".jsonl"
    JUNIT = ".xml"
    MARKDOWN = ".md"
    HTML = ".html"
    CSV = ".csv"
    EXCEL_CSV = ".excel.csv"


SUFFIXES: Final = {suffix.value: suffix for suffix in Format}


def format_of(path: str | PurePath) -> Format:
    """Return the format that a path's suffix selects, in upper or lower case. Raises UsageError that lists the formats."""
    name = PurePath(path).name.lower()
    suffix = Format.EXCEL_CSV if name.endswith(Format.EXCEL_CSV) else PurePath(path).suffix.lower()
    if suffix not in SUFFIXES:
        what = f"has the suffix {suffix!r}" if suffix else "has no suffix"
        raise UsageError(
            f"the report path {str(path)!r} {what}",
            code="unknown-format",
            hint=f"the suffix selects the format: use one of {', '.join(SUFFIXES)}",
        )
    return SUFFIXES[suffix]


def render(report: Report, wanted: Format) -> str:
    """Return the report's text in a format. A format's libraries are imported only if it is used."""
    match wanted:
        case Format.JSON:
            from orchestrator.report.as_json import render_json

            return render_json(report)
        case Format.JSONL:
            from orchestrator.report.as_json import render_jsonl

            return render_jsonl(report.outcomes, simulated=report.run.simulated)
        case Format.JUNIT:
            from orchestrator.report.as_junit import render_junit

            return render_junit(report)
        case Format.MARKDOWN:
            from orchestrator.report.as_markdown import render_markdown

            return render_markdown(report)
        case Format.HTML:
            from orchestrator.report.as_html import render_html

            return render_html(report)
        case Format.CSV | Format.EXCEL_CSV:
            from orchestrator.report.as_csv import render_csv

            # without the mark, Excel reads the file in the system's own encoding
            mark = "\ufeff" if wanted is Format.EXCEL_CSV else ""
            return mark + render_csv(
                report.outcomes, simulated=report.run.simulated, new_issues_fail=report.run.new_issues_fail
            )


STEP_SUMMARY_LIMIT: Final = 1024 * 1024

_CLOSING_ROOM: Final = len("\n</details>\n")
_CUT_NOTE: Final = "\n\n… cut: the job summary is full.\n"


class ReportError(OmniRefreshError):
    """A report could not be written. The run itself is done, and the file's earlier content is still there."""

    exit_code: ClassVar[int] = 5

    def __init__(self, message: str) -> None:
        super().__init__(message, code="unwritable-output")


def check_writable(path: str | Path) -> None:
    """Check that a report can be written to `path`, and leave no trace. Raises UsageError with the reason and what to do."""
    try:
        trial = _temporary_beside(_target(path).parent)
        os.close(_create(trial))
        trial.unlink()
    except (OSError, ValueError) as error:
        raise _unwritable(path, _reason(error)) from None


def write_report(path: str | Path, content: str | bytes) -> None:
    """Write a report file completely: readers see the old file or the new one, never a part.

    A symbolic link stays and its target is replaced; the old file's mode is kept. Raises ReportError with the reason.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        _replace(_target(path), data)
    except (OSError, ValueError, UsageError) as error:
        reason = str(error) if isinstance(error, UsageError) else _reason(error)
        raise ReportError(f"the report {path} was not written: {reason}") from None


def append_step_summary(path: str | Path, text: str) -> None:
    """Append Markdown to a job summary (`GITHUB_STEP_SUMMARY`). A CI system drops a summary of more than 1 MiB.

    A text that does not fit is cut at the end of a line, with a note, and no tag stays open. A pipe or a folder is refused.
    Raises ReportError with the reason.
    """
    try:
        with os.fdopen(_open_summary(path), "ab") as file:
            room = STEP_SUMMARY_LIMIT - file.tell() - 1
            data = ("\n" * bool(file.tell()) + text).encode("utf-8", "backslashreplace")
            if len(data) > room:
                kept = data[: max(0, room - len(_CUT_NOTE.encode()) - _CLOSING_ROOM)].rpartition(b"\n")[0]
                note = _CUT_NOTE + ("\n</details>\n" if _is_open(kept.decode("utf-8", "replace")) else "")
                data = kept + note.encode() if kept else b""
            file.write(data)
    except (OSError, ValueError) as error:
        raise ReportError(f"the job summary {path} was not written: {_reason(error)}") from None


def close_tags(markdown: str) -> str:
    """Return Markdown of this program. If it was cut inside its folded section, close the section."""
    return markdown + "\n</details>\n" if _is_open(markdown) else markdown


def _is_open(markdown: str) -> bool:
    # foreign text holds no tag: `code` writes its characters as references
    return markdown.count("<details>") > markdown.count("</details>")


def _open_summary(path: str | Path) -> int:
    """Return a descriptor for appending. A pipe without a reader fails at once."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
    return descriptor


def _target(path: str | Path) -> Path:
    """Return the file behind `path` and its links. Raises UsageError if something there cannot be replaced."""
    target = Path(os.path.realpath(path))
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if not target.parent.exists():
            why = f"there is no folder {target.parent}"
            raise _unwritable(path, why, "create it or choose another path") from None
        return target
    except NotADirectoryError:
        raise _unwritable(path, f"{target.parent} is a file, not a folder") from None
    if stat.S_ISDIR(mode):
        raise _unwritable(path, "it is a folder", "name a file in it")
    if not stat.S_ISREG(mode):
        # a pipe or a device cannot be replaced, and could block the end of a run forever
        raise _unwritable(path, "it is a pipe or a device", "name a file, or print the report with --json")
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise _unwritable(path, "the file is read-only", "make it writable or choose another path")
    return target


def _unwritable(path: str | Path, why: str, hint: str = "choose another path") -> UsageError:
    return UsageError(f"a report cannot be written to {path}: {why}", code="unwritable-output", hint=hint)


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
    """Make the rename survive a power cut, if the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
