"""How the command line is laid out: options in sections, examples below each help, global options before the command too."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

HELP_SECTION: Final = "Log and help"
_OTHER: Final = "Options"
_MANUAL: Final = "Manual: man omni-refresh, or docs/README.md of the sources."
_SHORT_FLAGS: Final = re.compile("-[qv]+")


class SectionedOption(click.Option):
    """An option that stands in a section of `--help`."""

    section: str | None = None


def in_section(title: str, command: F) -> F:
    """Put every option that `command` has by now, and that has no section, into this one."""
    for param in getattr(command, "__click_params__", ()):
        if isinstance(param, SectionedOption) and param.section is None:
            param.section = title
    return command


class SectionedCommand(click.Command):
    """A command whose help has its options in sections, and its examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. For a completion, the option whose value is completed does not hide the others."""
        waiting = {
            name
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }
        if ctx.resilient_parsing and args and args[-1] in waiting:
            args = args[:-1]
        return super().parse_args(ctx, args)

    def sections(self, ctx: click.Context) -> dict[str, list[click.Parameter]]:
        """Return the options by section: the command's own first, the log and help last."""
        found: dict[str, list[click.Parameter]] = {_OTHER: []}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option):
                found.setdefault(getattr(param, "section", HELP_SECTION) or _OTHER, []).append(param)
        found[HELP_SECTION] = found.pop(HELP_SECTION, [])
        return {title: params for title, params in found.items() if params}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group of options."""
        for title, params in self.sections(ctx).items():
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and where to read on."""
        del ctx
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write examples as they are typed, then where to read on."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{' ' * formatter.current_indent}{example}\n")
    formatter.write_paragraph()
    formatter.write(f"{_MANUAL}\n")


def program_command(name: str, *examples: str) -> Callable[[Callable[..., Any]], SectionedCommand]:
    """Return a decorator that makes a command of the program, with examples of its use."""
    return click.command(name, cls=SectionedCommand, examples=examples)


def after_command(
    args: Sequence[str], known: Sequence[click.Parameter], accepted: Callable[[str], set[str]]
) -> list[str]:
    """Return the arguments with the global options before the command moved behind it.

    `known` are the global options. `accepted` returns the option names of a command: one that a command does not have is
    left out, so that `omni-refresh -q COMMAND` works for each.
    """
    takes_value = {name: not param.is_flag for param in known if isinstance(param, click.Option) for name in param.opts}
    moved: list[tuple[str, list[str]]] = []
    rest = list(args)
    while rest:
        name = rest[0].partition("=")[0]
        if name in takes_value:
            count = 2 if takes_value[name] and "=" not in rest[0] else 1
            moved.append((name, rest[:count]))
        elif _SHORT_FLAGS.fullmatch(rest[0]):
            count = 1
            moved.extend((f"-{flag}", [f"-{flag}"]) for flag in rest[0][1:])
        else:
            break
        rest = rest[count:]
    if not moved or not rest or rest[0].startswith("-"):
        return list(args)
    names = accepted(rest[0])
    return [rest[0], *(word for name, words in moved if name in names for word in words), *rest[1:]]
