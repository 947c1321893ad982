"""Prints errors on stderr, all in one form: what is wrong with its code, the line in the file, and what to do.

nightly.yaml:7:5: error[unknown-key]: unknown key "hard_refesh" in a model
|
7 |     hard_refesh: true
|     ^^^^^^^^^^^
= help: did you mean `mode`?
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from orchestrator.errors import OmniRefreshError, UsageError, UsageErrors, together
from orchestrator.text import clean

if TYPE_CHECKING:
    from orchestrator.manifest.excerpt import Excerpt

CLICK_CODES: Final[dict[type[click.ClickException], str]] = {
    click.NoSuchOption: "unknown-option",
    click.MissingParameter: "missing-argument",
    click.BadOptionUsage: "missing-value",
    click.BadParameter: "invalid-value",
}
"""The codes of click's errors, derived classes first."""

UNEXPECTED_ARGUMENT: Final = "unexpected-argument"

_MAX_TEXT: Final = 7_500
_BOLD, _RED, _YELLOW, _BLUE, _END = "\x1b[1m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[0m"


class CommandLineErrors(UsageErrors):
    """Everything that is wrong with a command line: the parser's errors, then those of the files that it names.

    `usage` is the command's synopsis.
    """

    def __init__(
        self,
        ctx: click.Context | None,
        errors: Sequence[click.ClickException | UsageError],
        others: Sequence[UsageError] = (),
    ) -> None:
        described = [_described(error) if isinstance(error, click.ClickException) else error for error in errors]
        if not any(error.hint for error in described):
            last = described[-1]
            path = "omni-refresh" if ctx is None else ctx.command_path
            described[-1] = UsageError(last.message, code=last.code, hint=f"see `{path} --help`")
        super().__init__(together([*described, *others]).errors)
        self.usage: Final = "" if ctx is None else ctx.get_usage()


def print_error(error: OmniRefreshError | click.ClickException) -> None:
    """Print an error that ends the command."""
    color = _is_colored()
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        # its message is the whole help
        click.echo(error.format_message(), err=True)
        return
    if isinstance(error, click.ClickException):
        error = CommandLineErrors(getattr(error, "ctx", None), [error])
    for one in error.errors:
        click.echo("\n".join(_render(one, color=color)), err=True, color=color)
    if isinstance(error, CommandLineErrors) and error.usage:
        click.echo(error.usage, err=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _annotate(error)


def render_finding(
    where: str,
    *,
    severity: str,
    code: str,
    message: str,
    hint: str = "",
    excerpt: Excerpt | None = None,
    color: bool = False,
) -> Iterator[str]:
    """Yield the lines of one error, warning or note. `where` is FILE:LINE:COLUMN, or empty."""
    paint = {"error": _RED, "note": _BLUE}.get(severity, _YELLOW)
    label = f"{severity}[{code}]" if code else severity
    place = f"{_paint(clean(where), _BOLD, color=color)}: " if where else ""
    first, *rest = clean(message, keep_newlines=True).split("\n")
    yield f"{place}{_paint(label, paint, color=color)}: {first}"
    yield from rest
    margin = " " * len(where.rsplit(":", 2)[1]) if excerpt is not None else " "
    if excerpt is not None:
        bar = _paint("|", _BLUE, color=color)
        number = _paint(where.rsplit(":", 2)[1], _BLUE, color=color)
        marks = _paint("^" * excerpt.width, paint, color=color)
        yield f"{margin} {bar}"
        yield f"{number} {bar} {excerpt.line}"
        yield f"{margin} {bar} {' ' * excerpt.start}{marks}"
    if hint:
        yield f"{margin} {_paint('=', _BLUE, color=color)} {_paint('help', _BOLD, color=color)}: {clean(hint)}"


def say(text: str) -> None:
    """Print text on stderr, with control characters made visible."""
    click.echo("\n".join(clean(line) for line in text.splitlines()), err=True)


def _is_colored() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paint(text: str, paint: str, *, color: bool) -> str:
    return f"{paint}{text}{_END}" if color else text


def _render(error: OmniRefreshError, *, color: bool) -> list[str]:
    from orchestrator.manifest.diagnostics import MAX_SHOWN, ManifestError

    if isinstance(error, ManifestError):
        found = [(f"{d.path}:{d.place.line}:{d.place.column}", d) for d in error.diagnostics[:MAX_SHOWN]]
        lines = [
            line
            for where, d in found
            for line in render_finding(
                where, severity="error", code=d.code, message=d.message, hint=d.hint, excerpt=d.excerpt, color=color
            )
        ]
        rest = error.total - len(found)
        # what does not fit is shown without the lines of the file
        fits = sum(len(line) + 1 for line in lines) <= _MAX_TEXT
        return [*lines, *([f"and {rest} more"] if rest else [])] if fits else str(error).splitlines()
    if hasattr(error, "faults"):
        from orchestrator.simulator.reading import ScenarioError

        assert isinstance(error, ScenarioError)
        return [
            line
            for f in error.faults[:MAX_SHOWN]
            for line in render_finding(
                f.place,
                severity="error",
                code=f.code,
                message=f"{f.key}: {f.message}" if f.key else f.message,
                hint=f.hint,
                excerpt=f.excerpt,
                color=color,
            )
        ]
    return [*render_finding("", severity="error", code=error.code, message=error.message, hint=error.hint, color=color)]


def _described(error: click.ClickException) -> UsageError:
    """Return one of click's errors with its code and the hint that click has for it."""
    code = next((code for kind, code in CLICK_CODES.items() if isinstance(error, kind)), "invalid-usage")
    if "unexpected extra argument" in error.message:
        code = UNEXPECTED_ARGUMENT
    near = error.possibilities or () if isinstance(error, click.NoSuchOption) else ()
    hint = f"did you mean {' or '.join(near[:2])}?" if near else ""
    # click adds the near options to its own text
    message = (error.message if isinstance(error, click.NoSuchOption) else error.format_message()).rstrip(".")
    return UsageError(message[:1].lower() + message[1:], code=code, hint=hint)


def _annotate(error: OmniRefreshError) -> None:
    """Mark the lines of a wrong manifest in GitHub Actions."""
    from orchestrator.manifest.diagnostics import ManifestError
    from orchestrator.terminal.ci_log import MOST_ANNOTATIONS, annotation

    found = [d for one in error.errors if isinstance(one, ManifestError) for d in one.diagnostics]
    for d in found[:MOST_ANNOTATIONS]:
        words = f"{d.message}\n{d.hint}" if d.hint else d.message
        file = os.path.relpath(d.path, os.environ.get("GITHUB_WORKSPACE") or None)
        click.echo(annotation(words, title=d.code, file=file, line=d.place.line, level="error"), err=True)
