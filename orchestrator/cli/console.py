"""What the streams are like: stdout for the result alone, stderr for the log and for people."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.log import LogFormat, LogStream, Redactor, set_up_logging


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """How to talk: `color` is whether stdout may be coloured, `width` how many columns it has. `log` is what stderr is for,
    `color_err` whether it may be coloured, and `live` whether a run is shown there while it goes on.
    """

    color: bool
    width: int
    quiet: bool
    verbose: bool
    color_err: bool
    live: bool
    log: LogStream


def open_console(
    *, log_format: str, verbose: bool, quiet: bool, no_color: bool, redactor: Redactor, progress: str = "off"
) -> Console:
    """Set up the log on stderr and find out what stdout is. NO_COLOR and a dumb terminal mean no colour.

    `progress` auto shows a run live on a terminal, but not with `quiet`, with a log in JSON, or where a CI system keeps
    what the terminal shows; on: on any terminal that can move its cursor.
    """
    is_dumb = os.environ.get("TERM") == "dumb"
    plain = no_color or bool(os.environ.get("NO_COLOR")) or is_dumb
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    is_terminal = _is_terminal(sys.stderr.fileno())
    wants_live = progress == "on" or (
        progress == "auto"
        and not quiet
        and log_format != "json"
        and os.environ.get("CI", "false") in ("", "0", "false")
    )
    log = set_up_logging(
        stream=sys.stderr,
        utcnow=lambda: datetime.now(UTC),
        redactor=redactor,
        log_format=LogFormat(log_format),
        level=level,
        color=not plain and is_terminal,
    )
    return Console(
        color=not plain and _is_terminal(sys.stdout.fileno()),
        width=_columns(),
        quiet=quiet,
        verbose=verbose,
        color_err=not plain and is_terminal,
        live=wants_live and is_terminal and not is_dumb,
        log=log,
    )


def print_json(value: object) -> None:
    """Write one JSON document to stdout, in escapes where its encoding cannot hold the text."""
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
    """Write the result to stdout, whatever its encoding. `main` reports a stdout that does not take it."""
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
