"""`python -m benchmarks.many_keys`: one process, many instances with a key each, and their shared state in PostgreSQL.

It shows what one process can serve: calls in a second, processor time and transactions for each call, and memory.
"""

from __future__ import annotations

import argparse
import json
import os
import time

from benchmarks.processes import model_id, place
from tests.journal.postgres_server import running_server


def main() -> int:
    """Run it, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_keys", description=__doc__)
    parser.add_argument("--instances", type=int, default=200, help="how many instances, each with a key [200]")
    parser.add_argument("--models", type=int, default=5000, help="how many models they have together [5000]")
    chosen = parser.parse_args()
    keys = {f"BENCH_KEY_{n}": f"key-{n}" for n in range(chosen.instances)}
    limit = {"kind": "sliding", "requests": 60, "per": 60.0, "count_refused": True}
    with (
        place(default_model={"duration": [1.0, 5.0]}, limit=limit, latency=[0.005, 0.05]) as where,
        running_server({"fsync": "on", "autovacuum": "on"}) as server,
    ):
        from orchestrator.journal.postgres import initialise

        url = server.new_database()
        initialise(url, salt="00")
        server.sql("DELETE FROM omni_refresh.slots", url.rpartition("/")[2])
        instances = {f"i{n}": {"base_url": where.url, "api_keys": [f"${{{name}}}"]} for n, name in enumerate(keys)}
        models = [
            {"id": model_id(m), "name": f"m{m}", "instance": f"i{m % chosen.instances}", "connection": f"c{m}"}
            for m in range(chosen.models)
        ]
        document = {"instances": instances, "defaults": {"poll": {"min": "1s"}}, "models": models}
        (where.folder / "m.yaml").write_text(json.dumps(document), encoding="utf-8")
        began_s = time.monotonic()
        with (where.folder / "log").open("wb") as log:
            process = where.start(
                "run", "m.yaml", "--report", "r.json", environ={**keys, "OMNI_REFRESH_STATE": url}, stderr=log
            )
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took_s = time.monotonic() - began_s
        calls = where.calls
        commits = int(server.sql("SELECT xact_commit FROM pg_stat_database WHERE datname = 'state1'"))
    fullest = max(sum(c.t_s // 1 == second for c in calls) for second in {c.t_s // 1 for c in calls})
    limited = sum(call.limited for call in calls)
    print(
        f"{chosen.instances} keys, {chosen.models} models: exit code {process.returncode}, {len(calls)} calls in {took_s:.0f} s,"
        f" up to {fullest} in a second, {limited} throttled; {1000 * (used.ru_utime + used.ru_stime) / len(calls):.1f} ms of"
        f" processor time and {commits / len(calls):.1f} transactions for each call, {used.ru_maxrss / 1024:.0f} MiB"
    )
    return process.returncode or int(limited > 0)


if __name__ == "__main__":
    raise SystemExit(main())
