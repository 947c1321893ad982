"""How the command line is laid out: options in sections, examples below each help, global options before the command too."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import click

from orchestrator.cli.errors import CommandLineErrors
from orchestrator.errors import UsageError, together
from orchestrator.text import near_words

F = TypeVar("F", bound=Callable[..., Any])

HELP_SECTION: Final = "Log and help"
_OTHER: Final = "Options"
_MANUAL: Final = "Manual: man omni-refresh, or docs/README.md of the sources."
_SHORT_FLAGS: Final = re.compile("-[qv]+")


_ERRORS: Final = "omni-refresh.errors"


class _Collected(click.Parameter):
    """A parameter of a `SectionedCommand`: an error in its value does not hide those of the others."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Process the value. An error is kept for the command, and the parameter then has no value."""
        try:
            return super().handle_parse_result(ctx, opts, args)
        except (click.UsageError, UsageError) as error:
            if _ERRORS not in ctx.meta:
                raise
            ctx.meta[_ERRORS].append(error)
            ctx.params[self.name or ""] = () if getattr(self, "multiple", False) else None
            return None, args


class SectionedArgument(_Collected, click.Argument):
    """An argument of a `SectionedCommand`."""


argument = partial(click.argument, cls=SectionedArgument)
"""Declares an argument of a `SectionedCommand`."""


class SectionedOption(_Collected, click.Option):
    """An option in a section of `--help`."""

    section: str | None = None


def in_section(title: str, command: F) -> F:
    """Put every option that `command` has by now, and that has no section, into this one."""
    for param in getattr(command, "__click_params__", ()):
        if isinstance(param, SectionedOption) and param.section is None:
            param.section = title
    return command


class SectionedCommand(click.Command):
    """A command whose help has its options in sections, and its examples. It reports all errors of its command line at once,
    with those of the files that the command line names.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. Raises `CommandLineErrors` with everything that is wrong.

        For a completion, the option whose value is completed does not hide the others.
        """
        waiting = {
            name
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args[:-1] if args and args[-1] in waiting else args)
        errors: list[click.UsageError | UsageError] = []
        args = self._known_options(ctx, args, errors)
        is_unsure = any(isinstance(error, click.NoSuchOption) for error in errors)
        ctx.meta[_ERRORS] = found = []
        rest: list[str] = []
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            found.append(error)
        finally:
            del ctx.meta[_ERRORS]
        # an argument may be the value of an unknown option, so missing or surplus arguments are not reported then
        errors += [error for error in found if not is_unsure or _is_about_a_value(error)]
        if errors:
            raise CommandLineErrors(ctx, errors, _errors_of_files(ctx))
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. If its command line is wrong, raises with everything else that is wrong with it."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise together([error, *_errors_of_files(ctx, beside=error)]) from None

    def _known_options(
        self, ctx: click.Context, args: list[str], errors: list[click.UsageError | UsageError]
    ) -> list[str]:
        """Return the arguments without the options that the parser refuses; its errors are added to `errors`."""
        rest = list(args)
        while True:
            try:
                self.make_parser(ctx).parse_args(args=list(rest))
            except (click.NoSuchOption, click.BadOptionUsage) as error:
                errors.append(error)
                rest = _without_option(rest, error)
            else:
                return rest

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
        """Write the examples and where to read more."""
        del ctx
        write_examples(formatter, self.examples)


class CommandGroup(click.Group):
    """A group of commands that suggests the one that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name. Raises `CommandLineErrors` if there is none."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = near_words(args[0], known)
            hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(known)}"
            raise CommandLineErrors(ctx, [UsageError(f"no command {args[0]!r}", code="unknown-command", hint=hint)])
        return super().resolve_command(ctx, args)


def _is_about_a_value(error: click.UsageError | UsageError) -> bool:
    return isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter)


def _without_option(args: Sequence[str], error: click.NoSuchOption | click.BadOptionUsage) -> list[str]:
    """Return the arguments without the option that an error names. What may be an unknown option's value goes with it,
    unless it is a file.
    """
    name = error.option_name
    for position, word in enumerate(args):
        if word.partition("=")[0] == name:
            before, after = args[:position], args[position + 1 :]
            may_have_value = isinstance(error, click.NoSuchOption) and "=" not in word
            is_value = may_have_value and after and not after[0].startswith("-") and not os.path.lexists(after[0])
            return [*before, *(after[1:] if is_value else after)]
    for position, word in enumerate(args):
        # one of several flags in a word, such as -qx
        if re.match(r"-[^-]", word) and name[-1] in word[1:]:
            left = word.replace(name[-1], "", 1)
            return [*args[:position], *([left] if left != "-" else []), *args[position + 1 :]]
    raise error


def _errors_of_files(ctx: click.Context, *, beside: UsageError | None = None) -> list[UsageError]:
    from orchestrator.cli.command_setup import find_errors

    return find_errors(ctx, beside=beside)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write examples as they are typed, then where to read more."""
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
