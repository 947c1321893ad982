"""The reference pages hold what the program has: every command, option, variable, status, error kind, exit code, event."""

import inspect
import io
import json
import logging
import re
import signal
import tomllib
from datetime import UTC, datetime
from typing import get_args

import click

from orchestrator import errors
from orchestrator.engine import events as e
from orchestrator.engine.failure import RunKind
from orchestrator.engine.outcome import Status
from orchestrator.errors import OmniRefreshError
from orchestrator.log import Event, LogOutput, Redactor, render_json, set_up_logging
from orchestrator.omni.errors import CallErrorKind
from orchestrator.quota.rate_limiter import KeyHeld, KeySetAside, LimitChanged
from orchestrator.report import findings
from orchestrator.terminal.log_observer import LogObserver
from tests.docs import man_page
from tests.docs.cli_reference import PAGE, program, render_commands, split_page
from tests.docs.pages import PAGES, read_page, rows, words
from tests.house.tree import ROOT, modules
from tests.report.reports import make_outcome


def test_every_command_and_option_is_documented() -> None:
    """The page about the command line says what the commands say of themselves: same words, nothing more or less."""
    _, told, _ = split_page(PAGE.read_text(encoding="utf-8"))
    assert told.strip() == render_commands(program()).strip(), "run: python -m tests.docs.cli_reference"


def test_the_manual_page_is_up_to_date() -> None:
    """The manual page says what the commands say, and the wheel puts it where `man` looks."""
    assert man_page.PAGE.read_text(encoding="utf-8") == man_page.render_man_page(program()), (
        "run: python -m tests.docs.man_page"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {str(man_page.PAGE.relative_to(ROOT)): "share/man/man1/omni-refresh.1"}


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


def test_every_status_is_documented() -> None:
    """The table of statuses holds each of them once, worst first, and tells the good ones."""
    told = rows("docs/reference/statuses-and-errors.md", "Statuses")
    assert [(words(row[0])[0], row[1] == "yes") for row in told] == [(s.value, s.is_good) for s in Status]


def test_every_error_kind_is_documented() -> None:
    """Each kind of error has its row, with a meaning, something to do, and the statuses that it comes with."""
    page = "docs/reference/statuses-and-errors.md"
    for heading, kinds in (("Errors of a call", CallErrorKind), ("Errors of a run", RunKind)):
        told = rows(page, heading)
        assert sorted(words(row[0])[0] for row in told) == sorted(kind.value for kind in kinds), heading
        for row in told:
            assert len(row) == 4, row
            assert all(row), row
            assert set(words(row[3])) <= {status.value for status in Status}, row


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes holds those that a run ends with, those of errors, and those of the signals it catches."""
    of_runs = {findings.OK, findings.SOME_FAILED, findings.KEY_REFUSED, findings.REPORT_FAILED}
    of_errors = {
        error.exit_code
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, OmniRefreshError)
    }
    of_signals = {findings.SIGNAL_BASE + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    told = [int(row[0]) for row in rows("docs/reference/exit-codes.md")]
    assert told == sorted(of_runs | of_errors | of_signals)


EVENTS: tuple[e.RunEvent, ...] = (
    e.RunStarted(run_id="r", manifest="m", targets=1),
    e.RunContinued(run_id="r", origin="o", trigger="retry", manifest="m", targets=2, to_send=1, to_check=1),
    e.RunWaiting(holder="h"),
    e.ManifestChanged(manifest="m"),
    e.RunPlanned(targets=1, lanes=1, skipped=0, unresolved=0, remarks=("w",)),
    e.RunProgress(elapsed_s=1.0, done=0, total=1, left_s=9.0),
    e.TargetFinished(outcome=make_outcome(0, Status.FAILED)),
    e.TargetFinished(outcome=make_outcome(1, Status.SKIPPED)),
    e.SubmitsEnded(reason="stopped"),
    e.RunStopping(signal=15),
    e.LaneFailed(instance="i", lane="l", error=ValueError()),
    e.LaneClosed(instance="i", lane="l"),
    e.LaneWaiting(instance="i", lane="l", holder="h", at_most_s=9.0),
    e.CallEnded(instance="i", purpose="poll", end="2xx", took_s=0.1, target="t"),
    e.InstanceSilent(instance="i", kind="k", message="w"),
    e.InstanceAnswers(instance="i"),
    e.InstanceGivenUp(instance="i", kind="k", message="w"),
    e.StateFailed(what="journal", message="w"),
    e.StateFailed(what="budget", message="w"),
    e.StateFailed(what="state", message="w"),
    e.ReportWritten(path="p"),
    e.ReportFailed(path="p", message="w"),
    e.NotificationSent(channel="webhook", condition="always"),
    e.NotificationFailed(channel="webhook", condition="always", message="w"),
    e.RunFinished(run_id="r", exit_code=1, duration_s=1.0, next_commands=("c",)),
    KeyHeld(instance="i", key="k", wait_s=1.0),
    KeySetAside(instance="i", key="k", keys_left=0),
    LimitChanged(instance="i", key="k", configured=60, limit=30, burst=1),
)
"""One of each event, with every value that it can have."""


def _logged() -> dict[str, set[str]]:
    """The values that the program logs for each event."""
    stream = io.StringIO()
    set_up_logging(
        [LogOutput(stream, render_json, level=logging.DEBUG)],
        utcnow=lambda: datetime(2026, 11, 30, tzinfo=UTC),
        redactor=Redactor(()),
    )
    observe = LogObserver()
    for event in EVENTS:
        observe(event)
    everywhere = {"timestamp", "level", "event", "run_id"}
    logged: dict[str, set[str]] = {}
    for line in map(json.loads, stream.getvalue().splitlines()):
        logged.setdefault(line["event"], set()).update("exc_info" if k == "exception" else k for k in line)
    return {event: names - everywhere for event, names in logged.items()}


def test_every_event_has_an_example() -> None:
    """The examples above hold each type of event."""
    assert {type(event) for event in EVENTS} == set(get_args(e.RunEvent))


def test_every_log_event_is_documented() -> None:
    """The table of log events holds each of them once, with the values that the program logs."""
    told = [(words(row[0])[0], row) for row in rows("docs/reference/log-events.md", "Events")]
    assert sorted(name for name, _ in told) == sorted(event.value for event in Event)
    logged = _logged()
    wrong = {event: sorted(logged[event] ^ set(words(row[3]))) for event, row in told if event in logged}
    assert not {event: names for event, names in wrong.items() if names}
