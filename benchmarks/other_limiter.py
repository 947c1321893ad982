"""`python -m benchmarks.other_limiter`: the contrast to `benchmarks.shared_key`: pyrate-limiter, with its bucket in PostgreSQL.

It counts a call at one moment, when it is put into the bucket. The server counts it when it arrives. So its window holds more
calls than the limit, though the bucket never does. If this benchmark finds nothing, the harness is blind.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from pyrate_limiter import Limiter, Rate
from pyrate_limiter.buckets.postgres import PostgresBucket

from benchmarks.processes import place
from benchmarks.shared_key import most_in_a_window
from tests.journal.postgres_server import running_server


class Pool:
    """What the bucket needs of a pool of connections: one for each thread."""

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


def work(url: str, store: str, requests: int, per_s: float, until_s: float) -> None:
    """Send calls as fast as the limiter lets this process."""
    logging.disable()
    bucket: Any = PostgresBucket(Pool(store), "key", [Rate(requests, int(1000 * per_s))])
    limiter = Limiter(bucket)

    def send() -> None:
        request = urllib.request.Request(f"{url}/api/v1/models", headers={"Authorization": "Bearer key"})
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    while time.time() < until_s:
        if limiter.try_acquire("key", timeout=max(0.1, until_s - time.time())):
            threading.Thread(target=send).start()


def main() -> int:
    """Run the processes side by side, and report; the exit code is 1 if the bound held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.other_limiter", description=__doc__)
    parser.add_argument("--processes", type=int, default=8, help="how many share the key [8]")
    parser.add_argument("--requests", type=int, default=60, help="calls in a window [60]")
    parser.add_argument("--per", type=float, default=5.0, help="the window's length in seconds [5]")
    parser.add_argument("--windows", type=int, default=8, help="how many windows [8]")
    parser.add_argument("--work", nargs=3, metavar=("URL", "STORE", "UNTIL"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(chosen.work[0], chosen.work[1], chosen.requests, chosen.per, float(chosen.work[2]))
        return 0
    limit = {"kind": "sliding", "requests": chosen.requests, "per": chosen.per, "count_refused": True}
    with place(limit=limit, latency=[0.005, 0.2]) as where, running_server({"fsync": "on"}) as server:
        until_s = time.time() + chosen.windows * chosen.per
        command = [
            sys.executable,
            "-m",
            "benchmarks.other_limiter",
            "--work",
            where.url,
            server.new_database(),
            str(until_s),
        ]
        limits = ["--requests", str(chosen.requests), "--per", str(chosen.per)]
        workers = [subprocess.Popen([*command, *limits]) for _ in range(chosen.processes)]
        for worker in workers:
            worker.wait()
        calls = where.calls
    most, limited = most_in_a_window(calls, chosen.per), sum(call.limited for call in calls)
    print(
        f"pyrate-limiter: {chosen.processes} processes, {len(calls)} calls: at most {most} of {chosen.requests} in a window,"
        f" {limited} throttled"
    )
    return 1 if most <= chosen.requests else 0


if __name__ == "__main__":
    raise SystemExit(main())
