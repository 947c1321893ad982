"""What the streams are like: stdout for the result alone, stderr for the log and for people."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.log import LogFormat, Redactor, set_up_logging


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """How to talk: `color` is whether stdout may be coloured, `width` how many columns it has."""

    color: bool
    width: int
    quiet: bool


def open_console(*, log_format: str, verbose: bool, quiet: bool, no_color: bool, redactor: Redactor) -> Console:
    """Set up the log on stderr and find out what stdout is. NO_COLOR and a dumb terminal mean no colour."""
    plain = no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    set_up_logging(
        stream=sys.stderr,
        utcnow=lambda: datetime.now(UTC),
        redactor=redactor,
        log_format=LogFormat(log_format),
        level=level,
        color=not plain and _is_terminal(sys.stderr.fileno()),
    )
    return Console(color=not plain and _is_terminal(sys.stdout.fileno()), width=_columns(), quiet=quiet)


def print_result(text: str) -> bool:
    """Write the result to stdout, whatever its encoding; False where nobody reads it any more."""
    try:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(encoding, "backslashreplace"))
        sys.stdout.flush()
    except (OSError, ValueError):
        # a closed pipe must not end in a complaint at the interpreter's exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


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
