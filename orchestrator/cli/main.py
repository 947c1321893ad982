"""The console script: one group of commands, each imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import click

from orchestrator import __version__
from orchestrator.cli.command_line import CommandGroup, after_command, write_examples
from orchestrator.cli.errors import print_error, say
from orchestrator.cli.options import log_options
from orchestrator.errors import OmniRefreshError, UsageError
from orchestrator.terminal.streams import opened_streams

_INTERRUPTED = 130
_RESULT_LOST = 5
_VARIABLE = "_OMNI_REFRESH_COMPLETE"

# section: command: (module under orchestrator.cli that has the command by its name, its line in the list of commands)
SECTIONS = {
    "Refresh": {
        "run": ("run", "Refresh the models of a manifest and follow each job to its end."),
        "plan": ("plan", "Show what run would do: refreshes, calls, time. Sends no refresh."),
        "resume": ("run", "Continue a run that was cut off."),
        "retry": ("run", "Run again what did not succeed in an earlier run."),
    },
    "Earlier runs": {
        "history": ("history", "List earlier runs and how long each model takes."),
        "report": ("report", "Write an earlier run's report again, in any format."),
    },
    "Manifests": {
        "ls": ("ls", "List the targets that a selection holds."),
        "check": ("check", "Check a manifest offline; with --online, also against its instances."),
        "discover": ("discover", "Write a manifest of an instance's models."),
        "changes": ("changes", "Show what migrations, a dbt invocation or a list of names changed."),
        "schema": ("schema", "Print the JSON Schema of the manifest, the report or a simulator's scenario."),
    },
    "Tools": {
        "doctor": ("doctor", "Examine the address, the key, its role, the clock and the state folder."),
        "simulate": ("simulate", "Serve a simulated Omni instance on this machine."),
        "state": (
            "state_commands",
            "Manage the state: make it in PostgreSQL, check it, prune it, or move a damaged folder aside.",
        ),
        "completion": ("completion", "Print the completion script of a shell."),
    },
}
COMMANDS = {name: about for commands in SECTIONS.values() for name, about in commands.items()}

EXAMPLES = (
    "omni-refresh check nightly.yaml",
    "omni-refresh run nightly.yaml",
    "omni-refresh run nightly.yaml -s tag:finance -o report.html",
    "omni-refresh retry",
)


class _Commands(CommandGroup):
    """A group that knows its commands by name and imports one when it is used, so that `--help` costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"orchestrator.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, words) for name, (_, words) in commands.items()])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        records = [
            record for param in (*global_options(), *self.get_params(ctx)) if (record := param.get_help_record(ctx))
        ]
        with formatter.section("Global options, before or after the command"):
            formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        write_examples(formatter, EXAMPLES)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        def accepted(name: str) -> set[str]:
            command = self.get_command(ctx, name)
            return {word for param in (command.params if command else ()) for word in param.opts}

        return super().parse_args(ctx, after_command(args, global_options(), accepted))


def global_options() -> Sequence[click.Parameter]:
    """The options that every command with a log has, and that may stand before the command as well."""

    @log_options
    def holder() -> None: ...

    return tuple(reversed(getattr(holder, "__click_params__", ())))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="omni-refresh", message="%(prog)s %(version)s")
def cli() -> None:
    """Refresh the schemas of many Omni models within the API's rate limit, and report one outcome per model.

    Exit codes: 0 success, 1 some target did not succeed, 2 wrong command line, manifest or settings (nothing was sent), 3 an
    instance refused its keys, 4 another run holds the lock, 5 a report or the result could not be written, 129/130/143 stopped
    by a signal.
    """
    try:
        Path.cwd()
    except OSError:
        raise UsageError(
            "the working directory no longer exists", code="no-directory", hint="change to one that exists"
        ) from None


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with its code. Every expected error is one line on stderr, without a traceback."""
    code = OmniRefreshError.exit_code
    with opened_streams() as (results, log):
        with ExitStack() as stack:
            stack.push(_say_internal_error)
            code = run(args)
        if code == _INTERRUPTED:
            results.discard()
        sys.stdout.flush()
        if results.problem is not None:
            say(f"omni-refresh: the result was not written to stdout: {results.problem}")
            code = code or _RESULT_LOST
        sys.stderr.flush()
        log.finish()
    _ignore_signals()
    sys.exit(code)


def _ignore_signals() -> None:
    """Ignore signals: the interpreter restores their default handlers before it ends, which would change the exit code."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def run(args: Sequence[str] | None = None) -> int:
    """Run the program; its exit code."""
    if _VARIABLE in os.environ:
        from orchestrator.cli.completion import complete

        if complete(cli):
            return 0
    try:
        code: Any = cli.main(args=args, prog_name="omni-refresh", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        print_error(error)
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except OmniRefreshError as error:
        print_error(error)
        return error.exit_code
    return code if isinstance(code, int) else 0


def _say_internal_error(
    kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> bool:
    """Report an unexpected error on one line, with its place and without text that may hold a key.

    Returns whether there was one.
    """
    if not isinstance(error, Exception):
        return False
    import traceback

    del kind
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if "orchestrator" in Path(frame.filename).parts] or frames
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "an unknown place"
    words = error.strerror if isinstance(error, OSError) and error.strerror else "please report it"
    say(f"omni-refresh: internal error: {type(error).__name__} in {place}: {words}")
    return True
