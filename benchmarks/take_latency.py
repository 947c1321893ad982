"""`python -m benchmarks.take_latency`: how long a call waits for its slot in the shared window, on SQLite and on PostgreSQL.

One process uses the key, with half of the budget in use. In PostgreSQL a grant is one transaction in two messages.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import quantiles

from orchestrator.journal.moments import boot_id
from orchestrator.journal.processes import LocalProcess, ProcessRecord
from orchestrator.journal.shared_window import SharedWindow
from orchestrator.journal.slots import OwnSlots
from tests.journal.postgres_server import running_server

REQUESTS, PER_S = 60, 60.0


def _raise(error: Exception) -> None:
    raise error


async def measure(enter: Callable[..., ProcessRecord], count: int) -> list[float]:
    """Take a slot so often, and give it back unused; how long each took, in seconds."""
    loop = asyncio.get_running_loop()
    owner = enter(run="bench", since=datetime.now(UTC), now=loop.time)
    window = SharedWindow(OwnSlots(owner, "key", PER_S), requests=REQUESTS, is_share=False, broke=_raise)
    for _ in range(REQUESTS // 2):
        assert await window.take(loop.time(), REQUESTS) is not None
    took: list[float] = []
    while len(took) < count:
        began_s = time.perf_counter()
        call = await window.take(loop.time(), REQUESTS)
        took.append(time.perf_counter() - began_s)
        assert call is not None
        window.give_back(call, None)
    owner.leave()
    return took


def report(store: str, took: list[float]) -> None:
    """Show the median and the 99th percentile."""
    parts = quantiles(took, n=100)
    print(f"{store}: {len(took)} grants, p50 {1000 * parts[49]:.1f} ms, p99 {1000 * parts[98]:.1f} ms")


def main() -> None:
    """Measure both stores."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.take_latency", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many grants [1000]")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="omni-refresh-take-") as name:
        report("SQLite", asyncio.run(measure(partial(LocalProcess.enter, Path(name), boot=boot_id()), chosen.count)))
    with running_server({"fsync": "on"}) as server:
        from orchestrator.journal.leases import LeasedProcess
        from orchestrator.journal.postgres import initialise

        url = server.new_database()
        initialise(url, salt="00")
        server.sql("DELETE FROM omni_refresh.slots", url.rpartition("/")[2])
        report("PostgreSQL", asyncio.run(measure(partial(LeasedProcess.enter, url), chosen.count)))


if __name__ == "__main__":
    main()
