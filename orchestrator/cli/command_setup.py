"""What commands share: the console and the log, the context of their use case, and options read into requests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from orchestrator.app.context import Context
from orchestrator.app.overrides import Overrides, check_modes, one_off_manifest, override
from orchestrator.app.requests import HIDDEN_VALUE, ChangeRequest, RunOptions
from orchestrator.errors import UsageError
from orchestrator.journal.database import STORE_PATIENCE_S
from orchestrator.log import Redactor
from orchestrator.manifest.addresses import proxy_secrets
from orchestrator.manifest.manifest import Manifest
from orchestrator.terminal.console import Console, open_console, open_log_file
from orchestrator.terminal.log_observer import LogObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSetup:
    """A command's console, the observer that writes its log, and the context of its use case."""

    console: Console
    log: LogObserver
    context: Context


def set_up(options: Mapping[str, Any]) -> CommandSetup:
    """Set up the console and the log as the options say. The redactor knows only the credentials of proxies yet.

    Raises `UsageError` for a log file that cannot be used.
    """
    redactor = Redactor(proxy_secrets(os.environ))
    log_file = None if options["log_file"] is None else open_log_file(options["log_file"])
    if log_file is not None:
        click.get_current_context().call_on_close(log_file.close)
    console = open_console(
        log_format=options["log_format"],
        verbose=options["verbose"],
        quiet=options["quiet"],
        no_color=options["no_color"],
        redactor=redactor,
        progress=options.get("progress", "off"),
        log_file=log_file,
        with_summary=not options.get("as_json", False),
    )
    log = LogObserver()
    context = Context(
        observe=log,
        environ=os.environ,
        redactor=redactor,
        read_stdin=_read_stdin,
        log_file=options["log_file"],
        state=options.get("state"),
        state_patience_s=STORE_PATIENCE_S if options.get("state_patience") is None else options["state_patience"],
    )
    return CommandSetup(console=console, log=log, context=context)


def _read_stdin() -> bytes:
    from orchestrator.changes.files import MAX_BYTES

    # the program may be started without it
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"standard input has more than {MAX_BYTES // 1024 // 1024} MiB",
            code="file-too-large",
            hint="give the migrations, not a dump",
        )
    return data


def quiet_context() -> Context:
    """Return the context of a command that has no log."""
    return Context(observe=lambda _: None, environ=os.environ, redactor=Redactor(()), read_stdin=_read_stdin)


def read_manifest(options: Mapping[str, Any], *, with_keys: bool = True) -> Manifest:
    """Return the manifest that the command line names, or the one that stands for --model. Raises `UsageError`."""
    from orchestrator.manifest.load import load_manifest

    path = options["manifest"]
    if path is not None:
        for name in ("schemas", "tables", "branch"):
            if options[name]:
                raise UsageError(
                    f"--{name.removesuffix('s')} belongs to --model: a manifest says it for each model",
                    code="missing-option",
                )
        return load_manifest(path, environ=os.environ, with_keys=with_keys)
    return one_off_manifest(
        options["models"],
        schemas=options["schemas"],
        tables=options["tables"],
        branch=options["branch"],
        mode=options["mode"],
        environ=os.environ,
        base_url=options["base_url"],
        with_keys=with_keys,
    )


def find_errors(ctx: click.Context, *, beside: UsageError | None = None) -> list[UsageError]:
    """Return what is wrong with the manifest, the selection, the change and the report paths that a command line names.

    It may be wrong itself: what it names is then incomplete. If `beside` has errors of the manifest, they are
    complete, and are not returned again. Reads neither keys nor standard input.
    """
    from orchestrator.app.deliver import check_reports
    from orchestrator.app.read_request import read_change
    from orchestrator.app.runs import report_paths
    from orchestrator.manifest.diagnostics import ManifestError
    from orchestrator.manifest.load import load_manifest
    from orchestrator.planning.selection import Selector
    from orchestrator.report.files import check_writable

    options, context = ctx.params, quiet_context()
    found: list[UsageError] = []

    @contextmanager
    def collected() -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            found.append(error)

    names_manifest = any(param.name == "manifest" and isinstance(param, click.Argument) for param in ctx.command.params)
    is_known = beside is not None and any(isinstance(error, ManifestError) for error in beside.errors)
    if names_manifest and options.get("manifest") is not None:
        with collected():
            manifest = load_manifest(options["manifest"], environ=os.environ, with_keys=False)
            if "mode" in options:
                manifest = override(manifest, read_overrides(options))
            if "select" in options:
                selection = (options["select"], options["exclude"])
                check_modes(Selector(manifest, *selection).select(allow_empty=bool(options["allow_empty"])))
    if "ddl" in options:
        with collected():
            change = read_change_request(options)
            if "-" not in (*change.ddl, *change.ddl_list, *change.changed):
                read_change(change, context)
    for path in report_paths(options.get("report") or (), default=""):
        with collected():
            check_reports([path], context.observe, named=True)
    for path in filter(None, (options.get("sarif"), options.get("metrics_file"))):
        with collected():
            check_writable(path)
    return [error for error in found if not (is_known and isinstance(error, ManifestError))]


def read_overrides(options: Mapping[str, Any]) -> Overrides:
    """Return what the command line says instead of the manifest."""
    return Overrides(
        mode=options["mode"], timeout_s=options["timeout"], workers=options["workers"], base_url=options["base_url"]
    )


def read_run_options(options: Mapping[str, Any]) -> RunOptions:
    """Return what the command line says about how a run works; what it leaves out stays unset."""
    stated = {
        "wait": False if options["no_wait"] else None,
        "max_failures": 1 if options["fail_fast"] else options["max_failures"],
        "deadline_s": options["deadline"],
        "grace_s": options["grace"],
        "fail_on_new_issues": True if options["fail_on_new_issues"] else None,
        "overlap": options["on_overlap"],
    }
    return RunOptions(
        settings={name: value for name, value in stated.items() if value is not None},
        report=options["report"] or None,
        metrics_file=options["metrics_file"],
        rate=options["rate"],
    )


def read_change_request(options: Mapping[str, Any]) -> ChangeRequest:
    """Return the change that the command line names. Raises `UsageError` for an option without the one it belongs to."""
    context = click.get_current_context()
    migrations = ("ddl", "ddl_list")
    needs = dict.fromkeys(("dialect", "default_schema", "strict", "set_values"), migrations)
    for name, needed in {**needs, "dbt_state": ("dbt_target",)}.items():
        # a variable that is set for many commands may not concern this one
        is_said = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if is_said and not any(options[each] for each in needed):
            raise UsageError(f"{_flag(name)} needs {_flag(needed[0])}, which is not given", code="missing-option")
    return ChangeRequest(
        ddl=options["ddl"],
        ddl_list=options["ddl_list"],
        values=_values(options["set_values"]),
        dialect=options["dialect"],
        default_schema=options["default_schema"],
        strict=options["strict"],
        dbt_target=options["dbt_target"],
        dbt_state=options["dbt_state"],
        changed=options["changed"],
    )


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_values").replace("_", "-")


def _values(assignments: Sequence[str]) -> dict[str, str]:
    """Return placeholders and their values, from `NAME=VALUE`.

    Raises `UsageError` for one without a name or a sign, and for `HIDDEN_VALUE`: a command that was shown after a run has it
    instead of a value.
    """
    values: dict[str, str] = {}
    for each in assignments:
        name, sign, value = each.partition("=")
        if not name or not sign:
            raise UsageError(f"--set {each}", code="invalid-value", hint="write NAME=VALUE")
        if value == HIDDEN_VALUE:
            raise UsageError(
                f"--set {each}: the value is missing",
                code="invalid-value",
                hint=f"replace {HIDDEN_VALUE} by the value: commands that a run suggests do not show values",
            )
        values[name] = value
    return values
