"""`python -m benchmarks.shared_key`: several processes, one key, a strict server; is anything throttled, anything wasted?

The share of the budget is counted over the whole windows from the first call until the last refresh call was sent: while
refreshes wait, each window should be full.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter

from benchmarks.processes import Place, model_id, place


def main() -> int:
    """Run the processes side by side, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_key", description=__doc__)
    parser.add_argument("--processes", type=int, default=4, help="how many share the key [4]")
    parser.add_argument("--models", type=int, default=400, help="how many models they refresh together [400]")
    parser.add_argument("--requests", type=int, default=60, help="calls in a window [60]")
    parser.add_argument("--per", type=float, default=10.0, help="the window's length in seconds [10]")
    chosen = parser.parse_args()
    limit = {"kind": "sliding", "requests": chosen.requests, "per": chosen.per, "count_refused": True}
    with place(default_model={"duration": [1.0, 5.0]}, limit=limit, latency=[0.005, 0.05]) as where:
        codes = _run(where, chosen.processes, chosen.models, chosen.requests, chosen.per)
        calls = where.calls
    limited = sum(call.limited for call in calls)
    posts = [call for call in calls if call.method == "POST"]
    began_s, last_s = calls[0].t_s, posts[-1].t_s
    windows = int((last_s - began_s) / chosen.per)
    used = sum(call.t_s - began_s < windows * chosen.per for call in calls)
    share = used / (windows * chosen.requests) if windows else float("nan")
    owners = Counter(int(str(call.model_id)[-12:], 16) // 10_000 for call in posts)
    halfway = Counter(int(str(c.model_id)[-12:], 16) // 10_000 for c in posts[: len(posts) // 2])
    most = max(sum(1 for other in calls if call.t_s - chosen.per < other.t_s <= call.t_s) for call in calls)
    print(
        f"{chosen.processes} processes, {len(posts)} models, {len(calls)} calls in {calls[-1].t_s - began_s:.0f} s:"
        f" {limited} throttled, at most {most} of {chosen.requests} in any window,"
        f" {100 * share:.1f} % of the budget used in the {windows} windows while refreshes waited;"
        f" exit codes {codes}; of the first half of the refreshes the processes sent"
        f" {[halfway[n] for n in sorted(owners)]}"
    )
    return 1 if limited or any(codes) or share < 0.95 else 0


def _run(where: Place, processes: int, models: int, requests: int, per_s: float) -> list[int]:
    started = []
    for n in range(processes):
        mine = [
            {"id": model_id(10_000 * n + m), "name": f"m{m}", "connection": f"c{n}-{m}"}
            for m in range(models // processes)
        ]
        defaults = {"poll": {"min": "1s", "max": "10s"}, "timeout": "5m"}
        limit = {"requests": requests, "per": f"{per_s}s"}
        manifest = where.manifest(f"m{n}.yaml", mine, rate_limit=limit, defaults=defaults)
        started.append(where.start("run", manifest, "--report", f"r{n}.json"))
    codes = []
    for process in started:
        _, err = process.communicate()
        codes.append(process.returncode)
        broke = [
            line for line in err.decode(errors="replace").splitlines() if '"budget_broke"' in line or "Trace" in line
        ]
        print(*map(json.dumps, broke[:3]), sep="\n", end="\n" if broke else "")
    return codes


if __name__ == "__main__":
    raise SystemExit(main())
