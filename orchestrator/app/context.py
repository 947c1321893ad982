"""What every use case works with and what is not part of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from orchestrator import __version__
from orchestrator.clock import Clock, real_clock
from orchestrator.engine.events import Observer
from orchestrator.errors import UsageError
from orchestrator.journal.database import STORE_PATIENCE_S
from orchestrator.log.redaction import Redactor
from orchestrator.manifest.addresses import proxy_secrets

if TYPE_CHECKING:
    from orchestrator.engine.run import Run
    from orchestrator.manifest.manifest import Manifest

USER_AGENT: Final = f"omni-refresh/{__version__}"
"""Sent with every call and every notification."""


class StopRequests:
    """Asks a run to stop, from a signal handler, another thread or the loop itself.

    The first request stops the run in order, a second one at once. Requests that come before the run are kept for it.
    """

    def __init__(self) -> None:
        self.signals: list[int | None] = []
        self._stop: Callable[[], object] = lambda: None

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return bool(self.signals)

    def request(self, signal: int | None = None) -> None:
        """Request a stop; `signal` is the number of the signal that caused it."""
        self.signals.append(signal)
        self._stop()

    @contextmanager
    def connected(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within the block call `stop` in the running loop for each request, and at once for those that came before."""
        loop = asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stop)
        for _ in tuple(self.signals):
            stop()
        try:
            yield
        finally:
            self._stop = lambda: None


def _no_input() -> bytes:
    raise UsageError("there is no standard input here", code="no-stdin", hint="name files instead of -")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What use cases work with.

    `observe` receives every event. `environ` are the environment's variables, `redactor` takes secrets out of texts,
    `read_stdin` reads what `-` stands for. `log_file` is where the log is written, if it is. `around` is entered for as long
    as a run works, for a live display. `state` is where the command line says that the state is kept (None: not said), and
    `state_patience_s` how long a run continues if a shared state cannot be reached.
    """

    observe: Observer
    environ: Mapping[str, str]
    redactor: Redactor
    clock: Clock = field(default_factory=real_clock)
    rng: Random = field(default_factory=Random)
    stop: StopRequests = field(default_factory=StopRequests)
    read_stdin: Callable[[], bytes] = _no_input
    log_file: str | None = None
    state: str | None = None
    state_patience_s: float = STORE_PATIENCE_S
    around: Callable[[Run], AbstractAsyncContextManager[None]] = lambda _: nullcontext()

    def hide_secrets(self, manifest: Manifest) -> None:
        """Remove the manifest's secrets from every text from now on."""
        for secret in manifest.secrets:
            self.redactor.add(secret)


def make_context(environ: Mapping[str, str], observe: Observer = lambda _: None) -> Context:
    """Return a context for a process without standard input. It hides the passwords of proxies."""
    return Context(observe=observe, environ=environ, redactor=Redactor(proxy_secrets(environ)))
