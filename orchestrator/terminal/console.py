"""The streams: stdout for the result alone, stderr for the log and for people."""

from __future__ import annotations

import logging
import os
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from orchestrator.errors import UsageError
from orchestrator.log import Event, LogOutput, Redactor, render_json, set_up_logging
from orchestrator.terminal.log_lines import DETAILS, SUMMARIZED, LogLines

_LOG_BEGINS = b'{"timestamp"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What the streams can show: `color` is whether stdout may be coloured, `width` how many columns it has. `log` is the
    log on stderr, `log_is_text` whether it is for people, `color_err` whether stderr may be coloured, `live` whether a run
    is shown there while it works.
    """

    color: bool
    width: int
    quiet: bool
    color_err: bool
    live: bool
    log_is_text: bool
    log: LogOutput


def open_console(
    *,
    log_format: str,
    verbose: bool,
    quiet: bool,
    no_color: bool,
    redactor: Redactor,
    progress: str = "off",
    log_file: TextIO | None = None,
    with_summary: bool = True,
) -> Console:
    """Set up the log and find out what the streams are. NO_COLOR and a dumb terminal mean no colour.

    The log goes to stderr as `log_format` says, and as JSON to `log_file`. `quiet` leaves only what went wrong on stderr. If
    both streams lead to the same place and stdout will hold a summary (`with_summary`), it also leaves out what the summary
    repeats.

    `progress` auto shows a run live on a terminal, but not with `quiet`, with a log in JSON, or if a CI system keeps what
    the terminal shows; on: on any terminal that can move its cursor.
    """
    is_dumb = os.environ.get("TERM") == "dumb"
    plain = no_color or bool(os.environ.get("NO_COLOR")) or is_dumb
    level = logging.DEBUG if verbose else logging.INFO
    is_terminal = _is_terminal(sys.stderr.fileno())
    is_text = log_format == "text"
    is_kept = os.environ.get("CI", "false") not in ("", "0", "false")
    wants_live = progress == "on" or (progress == "auto" and not quiet and is_text and not is_kept)
    live = wants_live and is_terminal and not is_dumb
    if is_text:
        without = set() if verbose else set(DETAILS)
        if live:
            # the display shows it all the time
            without.add(Event.RUN_PROGRESSED)
        if quiet and with_summary and _are_read_together(1, 2, in_ci=is_kept):
            without |= SUMMARIZED
        lines = LogLines(
            color=not plain and is_terminal, level=logging.WARNING if quiet else level, without=frozenset(without)
        )
        log = LogOutput(sys.stderr, lines, level=level)
    else:
        log = LogOutput(sys.stderr, render_json, level=logging.WARNING if quiet else level)
    outputs = [log]
    if log_file is not None:
        outputs.append(LogOutput(log_file, render_json, level=level))
    set_up_logging(outputs, utcnow=lambda: datetime.now(UTC), redactor=redactor)
    return Console(
        color=not plain and _is_terminal(sys.stdout.fileno()),
        width=_columns(),
        quiet=quiet,
        color_err=not plain and is_terminal,
        live=live,
        log_is_text=is_text,
        log=log,
    )


def open_log_file(path: str) -> TextIO:
    """Open a log file to add lines at its end. Raises `UsageError`, for example if the file holds something else."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            head = os.pread(descriptor, len(_LOG_BEGINS), 0)
            if head and head != _LOG_BEGINS:
                os.close(descriptor)
                raise UsageError(
                    f"--log-file {path}: the file exists and is not a log; nothing was sent",
                    code="output-exists",
                    hint="name another file",
                )
    except OSError as error:
        raise UsageError(
            f"--log-file {path} cannot be written: {error.strerror}; nothing was sent", code="unwritable-output"
        ) from None
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")


def _are_read_together(one: int, other: int, *, in_ci: bool) -> bool:
    """Whether what is written to two descriptors is read as one text: the same file, pipe or terminal, or the pipes of a CI
    system, which keeps both in one log.
    """
    try:
        if os.path.sameopenfile(one, other):
            return True
        return in_ci and all(stat.S_ISFIFO(os.fstat(each).st_mode) for each in (one, other))
    except OSError:
        return False


def print_json(value: object) -> None:
    """Write one JSON document to stdout, with escapes if its encoding cannot hold the text."""
    from orchestrator.report.as_json import dump

    text = dump(value, indent=2)
    print_result((text if can_print(text) else dump(value, ascii_only=True, indent=2)) + "\n")


def can_print(text: str) -> bool:
    """Whether stdout's encoding holds all of a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def print_result(text: str) -> None:
    """Write the result to stdout, whatever its encoding. `main` reports if stdout does not accept it."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode(encoding, "backslashreplace"))
    sys.stdout.flush()


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _columns() -> int:
    for descriptor in (1, 2):
        if _is_terminal(descriptor):
            try:
                return os.get_terminal_size(descriptor).columns or 80
            except OSError:
                continue
    return 100
