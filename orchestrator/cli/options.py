"""Options that several commands share. A flag takes precedence over `OMNI_REFRESH_<FLAG>` in the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from orchestrator.cli.command_line import HELP_SECTION, SectionedOption, argument, in_section
from orchestrator.cli.suggestions import DIALECTS, suggest_dialects, suggest_files, suggest_runs, suggest_selectors
from orchestrator.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


class DurationParam(click.ParamType[float]):
    """A duration such as 500ms, 30s, 5m, 1h30m or a number of seconds; becomes seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, or a usage error that says what a duration looks like."""
        if isinstance(value, float):
            return value
        from orchestrator.durations import parse_duration

        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


DURATION = DurationParam()


class FilePath(click.ParamType[str]):
    """A usable path: not empty, not too long, without control characters, in folders that can be searched."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path as it was given, or a usage error on one line."""
        text = str(value)
        shown = repr(text if len(text) <= _PATH_SHOWN else text[:_PATH_SHOWN] + "...")
        if not text.strip():
            self.fail("the path is empty", param, ctx)
        if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
            self.fail(f"{shown} holds a control character", param, ctx)
        try:
            os.lstat(text)
        except (FileNotFoundError, NotADirectoryError):
            return text
        except OSError as error:
            self.fail(f"{shown}: {error.strerror}", param, ctx)
        except ValueError:
            self.fail(f"{shown} cannot be a path", param, ctx)
        return text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Files."""
        return suggest_files(ctx, param, incomplete)


class NameOrFile(FilePath):
    """A name, or `@` and the path of a file that lists names."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it was given, or a usage error on one line."""
        text = str(value)
        if text.startswith("@"):
            super().convert(text[1:], param, ctx)
        return text


PATH = FilePath()
NAME_OR_FILE = NameOrFile()

_PATH_SHOWN = 200

_PROGRESS_HELP = (
    "Show a live display on a terminal. auto: not with --quiet, with a JSON log or in CI. Without the display, the log "
    "gets a progress line every 30 s."
)


def option(flag: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """A click option that is also read from `OMNI_REFRESH_<FLAG>`."""
    word = flag.removeprefix("--").partition("/")[0].replace("-", "_").upper()
    return click.option(flag, *names, cls=SectionedOption, envvar=f"OMNI_REFRESH_{word}", show_envvar=False, **settings)


def _add(section: str, command: F, *decorators: Callable[[Any], Any]) -> F:
    """Apply decorators that add options, the last one shown first; those without a section get `section`."""
    for decorate in decorators:
        command = decorate(command)
    return in_section(section, command)


def manifest_argument(command: F) -> F:
    """The manifest's path."""
    return argument("manifest", metavar="MANIFEST", type=PATH)(command)


def target_options(command: F) -> F:
    """The manifest's path, or --model, --schema, --table and --branch instead of it."""
    command = argument("manifest", metavar="[MANIFEST]", type=PATH, required=False, callback=_or_model)(command)
    return _add(
        "One model, without a manifest",
        command,
        _only_typed("--branch", metavar="NAME", help="With --model: refresh this branch."),
        _only_typed(
            "--table", "tables", multiple=True, metavar="NAME", help="With --model: only this table. Repeatable."
        ),
        _only_typed(
            "--schema", "schemas", multiple=True, metavar="NAME", help="With --model: only this schema. Repeatable."
        ),
        _only_typed(
            "--model",
            "models",
            multiple=True,
            is_eager=True,
            metavar="NAME",
            help="Instead of a manifest: this model, by name or id, of the instance of OMNI_BASE_URL and OMNI_API_TOKEN. "
            "Repeatable.",
        ),
    )


def _or_model(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    del param
    if value is not None and ctx.params.get("models"):
        raise UsageError(
            "a manifest and --model are both given",
            code="option-conflict",
            hint="give one of them; --select picks models of a manifest",
        )
    if value is None and not ctx.params.get("models") and not ctx.resilient_parsing:
        raise UsageError("no manifest is named", code="missing-argument", hint="name one, or a model with --model NAME")
    return value


def override_options(command: F) -> F:
    """--mode, --timeout, --workers, --base-url."""
    return _add(
        "Instead of what the manifest says, for this run",
        command,
        _only_typed("--base-url", metavar="URL", help="The address of the manifest's only instance."),
        option("--workers", type=click.IntRange(min=1), metavar="N", help="Send at most N calls at once."),
        option("--timeout", type=DURATION, metavar="DURATION", help="How long each job may take."),
        option("--mode", type=click.Choice(["hard", "soft"]), help="How every model is refreshed."),
    )


def _only_typed(flag: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """A click option that no variable sets: an exported one must not change which model or instance is meant."""
    return click.option(flag, *names, cls=SectionedOption, **settings)


def selection_options(command: F) -> F:
    """--select, --exclude, --allow-empty."""
    return _add(
        "Selection",
        command,
        option("--allow-empty", is_flag=True, help="Do not fail if nothing is selected."),
        option(
            "--exclude",
            multiple=True,
            metavar="EXPR",
            shell_complete=suggest_selectors,
            help="Leave out what EXPR selects. Repeatable.",
        ),
        option(
            "--select",
            "-s",
            multiple=True,
            metavar="EXPR",
            shell_complete=suggest_selectors,
            help="Select targets by name, by a glob over names, by model id, or by tag:T, instance:I, connection:C or "
            "branch:B. Comma means AND; repeat the option for OR.",
        ),
    )


def log_options(command: F) -> F:
    """--log-format, --log-file, -v, -q, --no-color, --progress."""
    return _add(
        HELP_SECTION,
        command,
        option("--progress", type=click.Choice(["auto", "on", "off"]), default="auto", help=_PROGRESS_HELP),
        option("--no-color", is_flag=True, help="Print without colours. NO_COLOR has the same effect."),
        option("--quiet", "-q", is_flag=True, help="Log only what went wrong and the summary does not say."),
        option("--verbose", "-v", is_flag=True, help="Also log each API call."),
        option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            help="Format of the log on stderr: lines for people, or one JSON object for each event.",
        ),
        option("--log-file", type=PATH, metavar="PATH", help="Also write the log to the end of this file, as JSON."),
    )


def state_options(command: F) -> F:
    """--state."""
    return option(
        "--state",
        metavar="PLACE",
        help="Where runs, locks and the budget are kept: a folder, or postgresql://HOST/DATABASE, which machines can share. "
        "Takes precedence over the manifest's `state`.",
    )(command)


def run_or_manifest_argument(command: F) -> F:
    """The earlier run: its id, or the manifest whose latest run is meant."""
    return argument("run", metavar="[RUN_ID|MANIFEST]", type=PATH, required=False, shell_complete=suggest_runs)(command)


def report_options(command: F) -> F:
    """--report, --json."""
    return _add(
        "Report",
        command,
        option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout instead of the summary."),
        option(
            "--report",
            "-o",
            multiple=True,
            type=PATH,
            metavar="PATH",
            help="Write the report to PATH. The suffix selects the format: .json .jsonl .xml .md .html .csv. Repeatable.",
        ),
    )


def simulate_options(command: F) -> F:
    """--simulate, --scenario."""
    return _add(
        "Simulation",
        command,
        option(
            "--scenario",
            callback=_with_simulate,
            type=PATH,
            metavar="FILE",
            help="With --simulate: the faults to simulate. FILE extends the manifest's models, or replaces them if it says "
            "`only: true`. [NAME.scenario.yaml beside NAME.yaml]",
        ),
        option(
            "--simulate",
            is_flag=True,
            is_eager=True,
            help="Run against a built-in simulator: needs no key and no network. Every model of the manifest exists, and its "
            "refresh succeeds.",
        ),
    )


def _with_simulate(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    del param
    if value is not None and not ctx.params.get("simulate"):
        raise UsageError("--scenario needs --simulate: without it, this would be a real run", code="missing-option")
    return value


def run_options(command: F) -> F:
    """The options of a new run."""
    return _add(
        "Run",
        command,
        simulate_options,
        option(
            "--key",
            metavar="NAME",
            help="Name the run for a scheduler: continue this key's unfinished run, retry its finished run with failures, "
            "or start a new run.",
        ),
        option(
            "--resume",
            is_flag=True,
            help="Continue the latest run of this manifest and selection if it was cut off. Otherwise start a new run.",
        ),
        # before the options below are given sections of their own
        partial(in_section, "Run"),
        continue_options,
    )


def continue_options(command: F) -> F:
    """The options that `run`, `resume` and `retry` share. A continued run keeps its own value for each that is not given."""
    return _add(
        "Run",
        command,
        report_options,
        option(
            "--on-overlap",
            type=click.Choice(["fail", "wait", "proceed"]),
            default="fail",
            help="If another run of this manifest and selection is active: fail (exit code 4), wait for it, or proceed beside "
            "it. Also decides how long to wait for a refresh that an earlier run left on a connection. [fail]",
        ),
        option(
            "--state-patience",
            type=DURATION,
            metavar="DURATION",
            help="If a shared state cannot be reached, wait this long before the run ends. [5m]",
        ),
        state_options,
        option("--rate", type=click.IntRange(min=1), metavar="N", help="Use at most N of each key's calls per minute."),
        option(
            "--metrics-file",
            type=PATH,
            metavar="PATH",
            help="When the run has ended, write its metrics to PATH in Prometheus' text format.",
        ),
        option(
            "--grace", type=DURATION, metavar="DURATION", help="After a signal, follow running jobs for this long. [3s]"
        ),
        option("--deadline", type=DURATION, metavar="DURATION", help="Stop the run after this time."),
        option(
            "--max-failures",
            type=click.IntRange(min=1),
            metavar="N",
            help="Submit nothing more after N targets did not succeed.",
        ),
        option(
            "--fail-on-new-issues",
            is_flag=True,
            help="Exit 1 if a refresh introduced new errors (models with `verify: validate` or `content`). New warnings are only "
            "listed.",
        ),
        option(
            "--fail-fast", "-x", is_flag=True, help="Submit nothing more after the first target that did not succeed."
        ),
        option("--no-wait", is_flag=True, help="Submit the refreshes, and do not follow their jobs."),
    )


def change_options(command: F) -> F:
    """--ddl, --ddl-list, --dialect, --default-schema, --set, --strict, --dbt-target, --dbt-state, --changed."""
    return _add(
        "Changes",
        command,
        option(
            "--changed",
            type=NAME_OR_FILE,
            multiple=True,
            metavar="NAME",
            help="A changed schema, schema.table or catalog.schema.table. @FILE or - reads a list, one name per line. Repeatable.",
        ),
        option(
            "--dbt-state",
            type=PATH,
            metavar="DIR",
            help="With --dbt-target: the artifacts of the previous dbt run. Nodes that changed since then get a hard refresh, so "
            "that no dropped column stays.",
        ),
        option(
            "--dbt-target",
            type=PATH,
            metavar="DIR",
            help="What a dbt invocation built: the folder with its run_results.json and manifest.json.",
        ),
        option(
            "--strict",
            is_flag=True,
            help="Exit 2 if a statement is not understood. By default, such a statement counts as a change of everything.",
        ),
        option(
            "--set",
            "set_values",
            multiple=True,
            metavar="NAME=VALUE",
            help="Fill a placeholder of the migrations, in any tool's form: ${NAME}, {{ NAME }}, $(NAME), :NAME, %NAME% and others. "
            "A placeholder without a value is exit code 2. Repeatable.",
        ),
        option("--default-schema", metavar="SCHEMA", help="The schema of names that have none in the SQL."),
        option(
            "--dialect",
            metavar="NAME",
            shell_complete=suggest_dialects,
            help=f"The SQL dialect of the migrations: {', '.join(DIALECTS)}. [postgres, with a warning]",
        ),
        option(
            "--ddl",
            type=PATH,
            multiple=True,
            metavar="FILE",
            help="SQL migrations: a file, a folder, a glob, @LIST for a file that names files, or - for SQL on stdin. Repeatable.",
        ),
        option(
            "--ddl-list",
            type=PATH,
            multiple=True,
            metavar="FILE",
            help="A file that names migrations, one per line or each ended by a NUL. - reads the list from stdin. Repeatable.",
        ),
    )
