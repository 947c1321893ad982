"""`python -m benchmarks.shared_key`: several processes, one key, a strict server; is anything throttled, anything wasted?

The share of the budget is counted over the whole windows from the first call until the last refresh call was sent: while
refreshes wait, each window should be full. With `--store postgres` each process has a home of its own, as on a machine of its
own, and shares only a PostgreSQL server; then workers can be killed or stopped, the server restarted, and clocks set wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import Place, model_id, place
from orchestrator.simulator.call_log_checks import most_in_window
from orchestrator.simulator.calls import Call
from tests.journal.postgres_server import Server, running_server

_SKEW = """
import os, time
_shift, _time = float(os.environ.get("BENCH_CLOCK_SHIFT", "0")), time.time
time.time = lambda: _time() + _shift
"""


@dataclass(slots=True)
class Worker:
    """A process with its part of the models. A killed one is started again under the same key: it continues its run."""

    where: Place
    number: int
    url: str | None
    shift_s: float
    process: subprocess.Popen[bytes] = field(init=False)
    killed: int = 0

    @property
    def log(self) -> Path:
        """What all its processes wrote to stderr."""
        return self.where.folder / f"w{self.number}.log"

    def start(self) -> None:
        """Start it, or start it again."""
        name = f"w{self.number}"
        home = self.where.folder / name
        home.mkdir(exist_ok=True)
        more = {"HOME": str(home), "BENCH_CLOCK_SHIFT": str(self.shift_s)}
        if self.url is not None:
            more |= {"OMNI_REFRESH_STATE": self.url, "OMNI_REFRESH_KEY": name, "OMNI_REFRESH_ON_OVERLAP": "wait"}
        # a pipe that is not read would fill, and then the worker would wait
        with self.log.open("ab") as log:
            self.process = self.where.start(
                "run", f"m{self.number}.yaml", "--report", f"r{self.number}.json", environ=more, stderr=log
            )

    def statuses(self) -> list[str]:
        """The results of its models, by the report of its last process."""
        report = self.where.folder / f"r{self.number}.json"
        return [o["status"] for o in json.loads(report.read_bytes())["outcomes"]] if report.exists() else []

    def kill(self) -> None:
        """Kill it. A later `start` continues its run."""
        self.process.kill()
        self.process.wait()
        self.killed += 1


def main() -> int:
    """Run the processes side by side, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_key", description=__doc__)
    parser.add_argument("--processes", type=int, default=4, help="how many share the key [4]")
    parser.add_argument("--models", type=int, default=400, help="how many models they refresh together [400]")
    parser.add_argument("--requests", type=int, default=60, help="calls in a window [60]")
    parser.add_argument("--per", type=float, default=10.0, help="the window's length in seconds [10]")
    parser.add_argument("--store", choices=["folder", "postgres"], default="folder", help="what they share [folder]")
    parser.add_argument("--kill-every", type=float, default=0.0, help="kill a worker each so many seconds, in turn")
    parser.add_argument(
        "--kill-at",
        type=float,
        default=0.0,
        help="kill a worker after so many seconds, show when its share is back, and start it again after the others",
    )
    parser.add_argument(
        "--restart-at", type=float, default=0.0, help="restart the server at once after so many seconds"
    )
    parser.add_argument("--stop-for", type=float, default=0.0, help="stop a worker (SIGSTOP) for so many seconds")
    parser.add_argument(
        "--skew", type=float, default=0.0, help="set the clocks of half of the workers wrong, in seconds"
    )
    chosen = parser.parse_args()
    limit = {"kind": "sliding", "requests": chosen.requests, "per": chosen.per, "count_refused": True}
    with ExitStack() as stack:
        where = stack.enter_context(place(default_model={"duration": [1.0, 5.0]}, limit=limit, latency=[0.005, 0.05]))
        url, server = None, None
        if chosen.store == "postgres":
            from orchestrator.journal.postgres import initialise

            server = stack.enter_context(running_server({"fsync": "on"}))
            url = server.new_database()
            initialise(url, salt="00")
            server.sql("DELETE FROM omni_refresh.slots", url.rpartition("/")[2])

        (where.folder / "sitecustomize.py").write_text(_SKEW)
        workers = [
            Worker(where, n, url, chosen.skew * (1 if n % 4 == 0 else -1 if n % 4 == 1 else 0))
            for n in range(chosen.processes)
        ]
        _write_manifests(where, chosen.processes, chosen.models, chosen.requests, chosen.per)
        for worker in workers:
            worker.start()
        codes, died_s = _watch(workers, chosen, server)
        calls = where.calls
        if died_s is not None:
            _report_share_back(calls, chosen, died_s)
        _report_cost(calls, server)
        statuses = Counter(status for worker in workers for status in worker.statuses())
    return _report(chosen, calls, codes, sum(worker.killed for worker in workers), statuses)


def _write_manifests(where: Place, processes: int, models: int, requests: int, per_s: float) -> None:
    for n in range(processes):
        mine = [
            {"id": model_id(10_000 * n + m), "name": f"m{m}", "connection": f"c{n}-{m}"}
            for m in range(models // processes)
        ]
        defaults = {"poll": {"min": "1s", "max": "10s"}, "timeout": "5m"}
        limit = {"requests": requests, "per": f"{per_s}s"}
        where.manifest(f"m{n}.yaml", mine, rate_limit=limit, defaults=defaults)


def _watch(
    workers: Sequence[Worker], chosen: argparse.Namespace, server: Server | None
) -> tuple[list[int], float | None]:
    """Let faults happen until all workers have ended; return their exit codes, and when the worker of `--kill-at` died."""
    died_s: float | None = None
    began_s = time.monotonic()
    kill_at, victim, is_restarted, stopped_until = chosen.kill_every, 0, False, 0.0
    while any(worker.process.poll() is None for worker in workers):
        time.sleep(0.1)
        now_s = time.monotonic() - began_s
        alive = [worker for worker in workers if worker.process.poll() is None]
        if chosen.kill_every and now_s >= kill_at and len(alive) > 1:
            kill_at += chosen.kill_every
            alive[victim % len(alive)].kill()
            alive[victim % len(alive)].start()
            victim += 1
        if chosen.kill_at and died_s is None and now_s >= chosen.kill_at:
            workers[0].kill()
            died_s = workers[0].where.now_s
        if chosen.restart_at and not is_restarted and now_s >= chosen.restart_at:
            is_restarted = True
            if server is not None:
                server.stop()
                server.start()
        if chosen.stop_for and not stopped_until and now_s >= 10.0:
            stopped_until = now_s + chosen.stop_for
            os.kill(workers[0].process.pid, signal.SIGSTOP)
        if stopped_until and now_s >= stopped_until:
            stopped_until = float("inf")
            os.kill(workers[0].process.pid, signal.SIGCONT)
    if died_s is not None:
        workers[0].start()
    codes = []
    for worker in workers:
        codes.append(worker.process.wait())
        lines = worker.log.read_text(encoding="utf-8", errors="replace").splitlines()
        broke = [line for line in lines if '"budget_broke"' in line or '"journal_broke"' in line or "Trace" in line]
        print(*map(json.dumps, broke[:3]), sep="\n", end="\n" if broke else "")
    return codes, died_s


def _report_share_back(calls: Sequence[Call], chosen: argparse.Namespace, died_s: float) -> None:
    """Show when the other workers' calls first filled 95 % of a window after one worker's death."""
    after = [call.t_s for call in calls if call.t_s > died_s]
    full = (t_s for t_s in after if sum(t_s - chosen.per < o <= t_s for o in after) >= 0.95 * chosen.requests)
    back_s = next(full, None)
    print("share never back" if back_s is None else f"the dead worker's share was back after {back_s - died_s:.1f} s")


def _report_cost(calls: Sequence[Call], server: Server | None) -> None:
    """Show what a call cost: transactions of the server, and processor time of the workers (their start included)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = f"{1000 * (used.ru_utime + used.ru_stime) / len(calls):.1f} ms of the workers' processors for each call"
    if server is not None:
        commits = server.sql("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'state1'")
        cost += f", {int(commits) / len(calls):.1f} transactions for each call"
    print(cost)


def _report(
    chosen: argparse.Namespace, calls: Sequence[Call], codes: Sequence[int], killed: int, statuses: Mapping[str, int]
) -> int:
    limited = sum(call.limited for call in calls)
    posts = [call for call in calls if call.method == "POST"]
    began_s, last_s = calls[0].t_s, posts[-1].t_s
    windows = int((last_s - began_s) / chosen.per)
    used = sum(call.t_s - began_s < windows * chosen.per for call in calls)
    share = used / (windows * chosen.requests) if windows else float("nan")
    # a process that starts first may use the whole of the first window
    shared = [call for call in posts[: len(posts) // 2] if call.t_s - began_s >= chosen.per]
    halfway = Counter(int(str(call.model_id)[-12:], 16) // 10_000 for call in shared)
    most = most_in_window(calls, chosen.per)
    started = Counter(call.model_id for call in posts if call.accepted)
    twice = sum(count > 1 for count in started.values())
    lost = chosen.models // chosen.processes * chosen.processes - sum(statuses.values())
    halves = [halfway[n] for n in range(chosen.processes)]
    print(
        f"{chosen.processes} processes, {len(started)} models refreshed ({twice} of them more than once), {lost} without a"
        f" result, results {dict(statuses)}, {len(calls)} calls"
        f" in {calls[-1].t_s - began_s:.0f} s, {killed} kills: {limited} throttled, at most {most} of {chosen.requests} in any"
        f" window, {100 * share:.1f} % of the budget used in the {windows} windows while refreshes waited; exit codes"
        f" {list(codes)}; of the first half of the refreshes the processes sent {halves} after the first window, the slowest"
        f" {min(halves) / max(1, *halves):.2f} of the fastest"
    )
    return 1 if limited or twice or lost or (not killed and (any(codes) or share < 0.95)) else 0


if __name__ == "__main__":
    raise SystemExit(main())
