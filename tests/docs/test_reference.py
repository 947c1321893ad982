"""The reference pages hold what the program has: every command, option, variable, status, error kind, exit code, event."""

import ast
import inspect
import re
import signal

import click

from orchestrator import errors
from orchestrator.errors import OmniRefreshError
from orchestrator.log import Event
from orchestrator.omni.errors import Kind
from orchestrator.report import exit_code
from orchestrator.run.failure import RunKind
from orchestrator.run.outcome import Status
from tests.docs.cli_reference import PAGE, program, render_commands, split_page
from tests.docs.pages import PAGES, read_page, rows, words
from tests.house.tree import modules


def test_every_command_and_option_is_told() -> None:
    """The page about the command line says what the commands say of themselves: same words, nothing more or less."""
    _, told, _ = split_page(PAGE.read_text(encoding="utf-8"))
    assert told.strip() == render_commands(program()).strip(), "run: python -m tests.docs.cli_reference"


def _options() -> list[click.Option]:
    group = program()
    context = click.Context(group)
    commands = [group.get_command(context, name) for name in group.list_commands(context)]
    return [p for command in (group, *commands) if command for p in command.params if isinstance(p, click.Option)]


def test_every_option_that_is_mentioned_exists() -> None:
    """An option that a page writes as code, wherever it stands, is one of the program's."""
    known = {name for option in _options() for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    wrong = [
        f"{page}: {option}"
        for page in PAGES
        for option in re.findall(r"`(--[a-z][a-z-]*)", re.sub(r"```.*?```", "", read_page(page), flags=re.DOTALL))
        if option not in known
    ]
    assert not wrong, "\n".join(wrong)


def test_every_variable_that_is_mentioned_exists() -> None:
    """A variable of the program's that a page names is an option's, or one that the program reads."""
    read = {option.envvar for option in _options()}
    source = "".join(module.text for module in modules())
    wrong = [
        f"{page}: {variable}"
        for page in PAGES
        for variable in re.findall(r"\bOMNI_REFRESH_[A-Z_]*[A-Z]", read_page(page))
        if variable not in read and variable not in source
    ]
    assert not wrong, "\n".join(wrong)


def test_every_status_is_told() -> None:
    """The table of statuses holds each of them once, worst first, and tells the good ones."""
    told = rows("docs/reference/statuses-and-errors.md", "Statuses")
    assert [(words(row[0])[0], row[1] == "yes") for row in told] == [(s.value, s.is_good) for s in Status]


def test_every_error_kind_is_told() -> None:
    """Each kind of error has its row, with a meaning, something to do, and the statuses that it comes with."""
    page = "docs/reference/statuses-and-errors.md"
    for heading, kinds in (("Errors of a call", Kind), ("Errors of a run", RunKind)):
        told = rows(page, heading)
        assert sorted(words(row[0])[0] for row in told) == sorted(kind.value for kind in kinds), heading
        for row in told:
            assert len(row) == 4, row
            assert all(row), row
            assert set(words(row[3])) <= {status.value for status in Status}, row


def test_every_exit_code_is_told() -> None:
    """The table of exit codes holds those that a run ends with, those of errors, and those of the signals it catches."""
    of_runs = {exit_code.OK, exit_code.SOME_FAILED, exit_code.KEY_REFUSED, exit_code.REPORT_FAILED}
    of_errors = {
        error.exit_code
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, OmniRefreshError)
    }
    of_signals = {exit_code.SIGNAL_BASE + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    told = [int(row[0]) for row in rows("docs/reference/exit-codes.md")]
    assert told == sorted(of_runs | of_errors | of_signals)


def _logged() -> dict[str, set[str]]:
    """The values that the program gives each event, read from its source."""
    found: dict[str, set[str]] = {}
    for module in modules():
        for call in ast.walk(module.syntax):
            if not (isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Attribute)):
                continue
            event = call.args[0]
            if isinstance(event.value, ast.Name) and event.value.id == "Event":
                values = found.setdefault(Event[event.attr].value, set())
                values.update(keyword.arg for keyword in call.keywords if keyword.arg)
                for spread in (keyword.value for keyword in call.keywords if keyword.arg is None):
                    for node in ast.walk(spread):
                        if isinstance(node, ast.Dict):
                            values.update(
                                k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)
                            )
    return found


def test_every_log_event_is_told() -> None:
    """The table of log events holds each of them once, with the values that the program logs."""
    told = {words(row[0])[0]: row for row in rows("docs/reference/log-events.md")}
    assert sorted(told) == sorted(event.value for event in Event)
    logged = _logged()
    wrong = {event: sorted(logged[event] ^ set(words(row[3]))) for event, row in told.items() if event in logged}
    assert not {event: names for event, names in wrong.items() if names}
    assert {event for event, row in told.items() if row[2].endswith("not logged.")} == set(told) - set(logged)
