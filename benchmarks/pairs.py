"""`python -m benchmarks.pairs`: two manifests that share connections, run at once, many times; do refreshes overlap?

Judged by the simulated instance's own log: on no connection may one job begin before the one before it has ended.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random

from benchmarks.processes import Place, model_id, place
from orchestrator.simulator.calls import Call

CONNECTIONS = 4
MODELS = 6


def pair(where: Place, number: int, rng: Random) -> dict[str, str]:
    """Run two random manifests at once; the connection of each of their models."""
    connection_of: dict[str, str] = {}
    processes = []
    for half in (0, 1):
        models = []
        for n in range(MODELS):
            model = model_id(1000 * number + 100 * half + n)
            connection_of[model] = f"c{number}-{rng.randrange(CONNECTIONS)}"
            models.append(
                {"id": model, "name": f"m{n}", "connection": connection_of[model], "schemas": [f"s{half}{n}"]}
            )
        manifest = where.manifest(f"m{number}-{half}.yaml", models, rate_limit={"requests": 60, "per": "1s"})
        args = ("run", manifest, "--report", f"r{number}-{half}.json")
        processes.append(where.start(*args, state=f"state-{number}", key=f"key-{number}"))
        time.sleep(rng.uniform(0, 0.4))
    for process in processes:
        _, err = process.communicate()
        if process.returncode:
            print(f"pair {number}: exit code {process.returncode}: {err[-300:].decode(errors='replace')}")
    return connection_of


def overlaps(calls: list[Call]) -> int:
    """How many of these jobs, all on one connection, began before the one before had ended."""
    spans = sorted((c.started_s or 0.0, c.finished_s or float("inf")) for c in calls)
    return sum(1 for (_, end), (start, _) in pairwise(spans) if start < end)


def main() -> int:
    """Run as many pairs as were asked for, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs", description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="how many pairs [200]")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 2, help="pairs at a time [the processors]")
    parser.add_argument("--seed", type=int, default=0, help="what all chance starts from [0]")
    chosen = parser.parse_args()
    began_at = time.monotonic()
    with (
        place(default_model={"duration": [0.05, 0.5]}, limit={"kind": "none"}) as where,
        ThreadPoolExecutor(chosen.at_once) as pool,
    ):
        numbers = range(1, chosen.pairs + 1)
        maps = list(pool.map(lambda n: pair(where, n, Random(f"{chosen.seed} {n}")), numbers))
        calls = [c for c in where.calls if c.accepted]
    connection_of = {model: connection for one in maps for model, connection in one.items()}
    by_connection: dict[str, list[Call]] = {}
    for call in calls:
        by_connection.setdefault(connection_of[str(call.model_id)], []).append(call)
    shared = sum(
        1 for jobs in by_connection.values() if len({int(str(c.model_id)[-12:], 16) % 1000 // 100 for c in jobs}) > 1
    )
    count = sum(map(overlaps, by_connection.values()))
    twice = sum(1 for n in Counter(c.model_id for c in calls).values() if n > 1)
    print(
        f"{chosen.pairs} pairs, {len(calls)} refreshes on {len(by_connection)} connections, {shared} of them used by both"
        f" runs: {count} overlaps, {twice} started twice, {time.monotonic() - began_at:.0f} s"
    )
    return 1 if count or twice or len(calls) != 2 * MODELS * chosen.pairs else 0


if __name__ == "__main__":
    raise SystemExit(main())
