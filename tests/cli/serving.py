"""A simulated instance beside the commands under test, in a thread of its own."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime

from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator


@contextmanager
def serving(scenario: Scenario, tls: ssl.SSLContext | None = None) -> Iterator[Simulator]:
    """The simulator, which serves until the block ends; over https with `tls`."""
    up: Future[tuple[Simulator, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        over = asyncio.Event()
        async with Simulator(scenario, utcnow=lambda: datetime.now(UTC), tls=tls) as simulator:
            up.set_result((simulator, asyncio.get_running_loop(), over))
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    simulator, loop, over = up.result(timeout=10)
    try:
        yield simulator
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(timeout=10)
