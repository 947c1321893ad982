"""A terminal in virtual time: the program's commands run in this process, in one event loop whose clock jumps.

Simulated instances live in the same loop. Run ids and jitter come from a seed, so a command prints the same each time.
"""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import signal
import ssl
import subprocess
import time
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest.mock import patch

import structlog

from orchestrator.app.context import Context
from orchestrator.cli import command_setup
from orchestrator.cli.main import run
from orchestrator.clock import Clock
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from orchestrator.simulator.virtual import VirtualLoop

T = TypeVar("T")

HOME: Final = "/home/ada/omni"
"""What the pages call the folder in which the commands run."""


class Terminal:
    """Runs commands in `folder`, from the moment `start_at` on. `code` is the last exit code of the program."""

    def __init__(self, folder: Path, *, start_at: datetime, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.loop = VirtualLoop(start_at=start_at)
        self._rng = random.Random(7)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OMNI_REFRESH_STATE_DIR": str(folder.parent / "state"),
            "OMNI_API_TOKEN": "a-key",
            **(environ or {}),
        }
        self._replaced: dict[str, str] = {str(folder): HOME}
        self._simulators: list[Simulator] = []
        self.code = 0

    def write(self, name: str, text: str) -> None:
        """Write a file in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def show(self, command: str, *, stop_after_s: float | None = None) -> str:
        """Run a command line; return it with its output: stdout, or stderr if stdout is empty.

        `stop_after_s` sends SIGTERM that many virtual seconds later.
        """
        return f"$ {command}\n{self.output(command, stop_after_s=stop_after_s)}"

    def output(self, command: str, *, stop_after_s: float | None = None) -> str:
        """Return only the output of a command line."""
        first, _, rest = command.partition(" | jq ")
        words = shlex.split(first)
        text = self._program(words[1:], stop_after_s) if words[0] == "omni-refresh" else self._other(words)
        if rest:
            text = self._other(["jq", *shlex.split(rest)], text)
        for found, shown in self._replaced.items():
            text = text.replace(found, shown)
        return text

    def serve(self, *, tls: ssl.SSLContext | None = None, shown: str | None = None, **scenario: object) -> str:
        """Start a simulated instance and return its address, which outputs show as `shown`."""
        simulator = Simulator(make_scenario(**scenario), utcnow=self.loop.utcnow, tls=tls)
        self.loop.run_until_complete(simulator.__aenter__())
        self._simulators.append(simulator)
        if shown is not None:
            self._replaced[simulator.url.partition("://")[2]] = shown
        return simulator.url

    def wait_until(self, moment: datetime) -> None:
        """Let time pass between two commands."""
        self.loop.suspend(max(0.0, (moment - self.loop.utcnow()).total_seconds()))

    def close(self) -> None:
        """Stop the instances and close the loop."""
        for simulator in self._simulators:
            self.loop.run_until_complete(simulator.__aexit__(None, None, None))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def _other(self, words: list[str], text: str | None = None) -> str:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.stdout or done.stderr

    def _program(self, words: list[str], stop_after_s: float | None) -> str:
        if stop_after_s is not None:
            self.loop.call_later(stop_after_s, signal.raise_signal, signal.SIGTERM)
        with (
            self._own_process(),
            (self.folder.parent / "streams").open("w+", encoding="utf-8") as out,
            ExitStack() as stack,
        ):
            err = stack.enter_context((self.folder.parent / "errors").open("w+", encoding="utf-8"))
            with redirect_stdout(out), redirect_stderr(err):
                self.code = run(words)
            out.seek(0)
            err.seek(0)
            return out.read() or err.read()

    @contextmanager
    def _own_process(self) -> Iterator[None]:
        """Within the block the folder, the environment, the clock and random numbers are the terminal's."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        folder = Path.cwd()
        clock = Clock(self.loop.time, self.loop.utcnow)
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, self.environ, clear=True))
            stack.enter_context(patch.object(asyncio, "run", self._run))
            stack.enter_context(patch.object(uuid, "uuid4", lambda: uuid.UUID(int=self._rng.getrandbits(128))))
            context = partial(Context, clock=clock, rng=random.Random(7))
            stack.enter_context(patch.object(command_setup, "Context", context))
            os.chdir(self.folder)
            try:
                yield
            finally:
                os.chdir(folder)
                structlog.reset_defaults()
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _run(self, main: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(main)


@contextmanager
def opened_terminal(
    folder: Path,
    *,
    start_at: datetime = datetime(2026, 11, 20, 2, tzinfo=UTC),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Within the block there is a terminal in a new folder below `folder`."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    home = folder / "omni"
    home.mkdir(parents=True)
    terminal = Terminal(home, start_at=start_at, environ=environ)
    try:
        yield terminal
    finally:
        terminal.close()
