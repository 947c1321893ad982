"""What commands that begin a run share: where they talk, the open state, and what the command line says of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.cli.console import Console, open_console
from orchestrator.cli.desk import Desk
from orchestrator.cli.launch import Changes
from orchestrator.cli.main import say
from orchestrator.cli.signals import Signals
from orchestrator.cli.state import open_state
from orchestrator.cli.streams import end_result_when
from orchestrator.log import Redactor
from orchestrator.manifest.addresses import userinfo_secrets
from orchestrator.manifest.manifest import Secret
from orchestrator.run.settings import Overlap


@dataclass(frozen=True, slots=True)
class Talk:
    """What a command has before it does anything: its streams, what must not be shown, and the signals that have come."""

    console: Console
    redactor: Redactor
    signals: Signals


def talk(options: Mapping[str, Any]) -> Talk:
    """Set up the log as the options say, with a redactor that knows no secret yet but proxies' credentials. Signals are not
    watched yet.
    """
    redactor = Redactor(proxy_secrets(os.environ))
    console = open_console(
        log_format=options["log_format"],
        verbose=options["verbose"],
        quiet=options["quiet"],
        no_color=options["no_color"],
        redactor=redactor,
        progress=options["progress"],
    )
    signals = Signals()
    end_result_when(signals.is_impatient)
    return Talk(console, redactor, signals)


def proxy_secrets(environ: Mapping[str, str]) -> list[Secret]:
    """The credentials in the environment's proxy variables."""
    urls = [value for name, value in environ.items() if name.lower().endswith("_proxy")]
    return [Secret(text) for url in urls for text in userinfo_secrets(url if "://" in url else f"http://{url}")]


def read_changes(options: Mapping[str, Any], *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Changes:
    """What the command line says of a run; what it leaves out is left to the journal, or to the defaults."""
    stated = {
        "wait": False if options["no_wait"] else None,
        "max_failures": 1 if options["fail_fast"] else options["max_failures"],
        "deadline_s": options["deadline"],
        "grace_s": options["grace"],
        "fail_on_new_issues": True if options["fail_on_new_issues"] else None,
        "overlap": options["on_overlap"],
    }
    return Changes(
        settings={name: value for name, value in stated.items() if value is not None},
        reports=options["report"],
        rate=options["rate"],
        metrics=options["metrics_file"],
        as_json=options["as_json"],
        include=include,
        exclude=exclude,
    )


@contextmanager
def open_desk(options: Mapping[str, Any], talking: Talk, *, simulated: bool = False) -> Iterator[Desk]:
    """Open the state (a simulated run has one of its own), and keep signals from now on until the run takes them."""
    signals = talking.signals
    signals.watch()
    with open_state(simulated=simulated, stopped=lambda: bool(signals.caught)) as state:
        yield Desk(
            state=state,
            console=talking.console,
            redactor=talking.redactor,
            signals=signals,
            overlap=Overlap(options["on_overlap"]),
            environ=os.environ,
        )


def say_nothing_to_do(what: str, why: str) -> int:
    """A line that says so, on stderr; exit code 0."""
    say(f"omni-refresh: nothing to {what}: {why}")
    return 0
