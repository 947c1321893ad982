"""`python -m benchmarks.other_limiter`: the contrast to `benchmarks.shared_key`: other libraries' windows in a shared store.

`pyrate-limiter` keeps its bucket in PostgreSQL, `limits` its windows in Redis. Both count a call at one moment, before it is sent. The
server counts it when it arrives. So the server's window holds more calls than the limit. If this benchmark finds nothing, the
harness is blind.

`limits` is no dependency of this project. Run `pip install limits redis`, and have `redis-server` on the PATH.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from pyrate_limiter import Limiter, Rate
from pyrate_limiter.buckets.postgres import PostgresBucket

from benchmarks.processes import place
from orchestrator.simulator.call_log_checks import most_in_window
from tests.journal.postgres_server import free_port, running_server

STRATEGIES = {"limits-moving": "MovingWindowRateLimiter", "limits-sliding": "SlidingWindowCounterRateLimiter"}
"""The strategies of `limits`: a log of calls, and two counters of which the older one fades."""
LIBRARIES = ("pyrate-limiter", *STRATEGIES)

Acquire = Callable[[float], bool]
"""Wait for at most so many seconds for a place in the window; true if there is one."""


class Pool:
    """What the bucket of `pyrate-limiter` needs of a pool of connections: one for each thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._local = threading.local()

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection, with a transaction around the block."""
        if not hasattr(self._local, "connection"):
            self._local.connection = psycopg.connect(self._url, autocommit=True)
        connection: psycopg.Connection[Any] = self._local.connection
        with connection.transaction():
            yield connection


def make_limiter(library: str, store: str, requests: int, per_s: float) -> Acquire:
    """One process's limiter over the shared store."""
    if library == "pyrate-limiter":
        bucket: Any = PostgresBucket(Pool(store), "key", [Rate(requests, int(1000 * per_s))])
        limiter = Limiter(bucket)
        return lambda wait_s: bool(limiter.try_acquire("key", timeout=wait_s))
    limits = importlib.import_module("limits")
    storage = importlib.import_module("limits.storage").storage_from_string(store)
    strategy = getattr(importlib.import_module("limits.strategies"), STRATEGIES[library])(storage)
    item = limits.RateLimitItemPerSecond(requests, int(per_s))

    def acquire(wait_s: float) -> bool:
        end_s = time.monotonic() + wait_s
        while not (has_place := strategy.hit(item, "key")) and time.monotonic() < end_s:
            time.sleep(0.01)
        return bool(has_place)

    return acquire


def work(url: str, acquire: Acquire, until_s: float) -> None:
    """Send calls as fast as the limiter lets this process."""
    logging.disable()

    def send() -> None:
        request = urllib.request.Request(f"{url}/api/v1/models", headers={"Authorization": "Bearer key"})
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    while time.time() < until_s:
        if acquire(max(0.1, until_s - time.time())):
            threading.Thread(target=send).start()


@contextmanager
def running_store(library: str) -> Iterator[str]:
    """The library's store on loopback, and its URL."""
    if library == "pyrate-limiter":
        with running_server({"fsync": "on"}) as server:
            yield server.new_database()
        return
    program, port = shutil.which("redis-server"), str(free_port())
    if program is None:
        raise SystemExit("redis-server is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="omni-refresh-bench-") as folder:
        log = Path(folder, "log")
        command = [program, "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--logfile", str(log)]
        with subprocess.Popen(command) as process:
            try:
                while "Ready to accept" not in (log.read_text() if log.exists() else ""):
                    if process.poll() is not None:
                        raise SystemExit(f"redis-server ended with exit code {process.returncode}")
                    time.sleep(0.05)
                yield f"redis://127.0.0.1:{port}"
            finally:
                process.terminate()


def main() -> int:
    """Run the processes side by side, and report; the exit code is 1 if the bound held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.other_limiter", description=__doc__)
    parser.add_argument("--library", choices=LIBRARIES, default=LIBRARIES[0], help=f"the limiter [{LIBRARIES[0]}]")
    parser.add_argument("--processes", type=int, default=8, help="how many share the key [8]")
    parser.add_argument("--requests", type=int, default=60, help="calls in a window [60]")
    parser.add_argument("--per", type=float, default=5.0, help="the window's length in seconds [5]")
    parser.add_argument("--windows", type=int, default=8, help="how many windows [8]")
    parser.add_argument("--work", nargs=3, metavar=("URL", "STORE", "UNTIL"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        url, store, until = chosen.work
        work(url, make_limiter(chosen.library, store, chosen.requests, chosen.per), float(until))
        return 0
    limit = {"kind": "sliding", "requests": chosen.requests, "per": chosen.per, "count_refused": True}
    with place(limit=limit, latency=[0.005, 0.2]) as where, running_store(chosen.library) as store:
        command = [sys.executable, "-m", "benchmarks.other_limiter", "--library", chosen.library]
        command += ["--requests", str(chosen.requests), "--per", str(chosen.per)]
        command += ["--work", where.url, store, str(time.time() + chosen.windows * chosen.per)]
        workers = [subprocess.Popen(command) for _ in range(chosen.processes)]
        codes = [worker.wait() for worker in workers]
        calls = where.calls
    if any(codes):
        raise SystemExit(f"workers failed: exit codes {codes}")
    most, limited = most_in_window(calls, chosen.per), sum(call.limited for call in calls)
    print(
        f"{chosen.library}: {chosen.processes} processes, {len(calls)} calls: at most {most} of {chosen.requests} in a window,"
        f" {limited} throttled"
    )
    return 1 if most <= chosen.requests else 0


if __name__ == "__main__":
    raise SystemExit(main())
