"""`python -m benchmarks.kills`: runs that are killed, or sent signals, at random moments; the results of their targets.

Each killed run is resumed (now and then killed and resumed once more), and judged by the simulated instance's own log:
no refresh may have been started twice, no target may lack an outcome. Each stopped run must leave a whole report.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from benchmarks.processes import Place, model_id, place

MODELS_KILLED = 25
MODELS_STOPPED = 200
SPAN_S = 2.6


@dataclass(slots=True)
class Tally:
    """The results of all targets together, and what must not happen."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def killed(where: Place, number: int, rng: Random) -> Tally:
    """One run that is killed and resumed."""
    stats, state, key = Tally(), f"state-{number}", f"key-{number}"
    first = 1000 * number
    models = [{"id": model_id(first + n), "name": f"m{n}", "connection": f"c{first + n}"} for n in range(MODELS_KILLED)]
    manifest = where.manifest(f"m{number}.yaml", models, rate_limit={"requests": 20, "per": "1s"})
    report = where.folder / f"r{number}.json"
    args = ["run", manifest, "--report", report.name]
    for _ in range(1 + (rng.random() < 0.25)):
        process = where.start(*args, state=state, key=key)
        time.sleep(rng.uniform(0.2, SPAN_S))
        process.kill()
        process.communicate()
        if report.exists():
            _outcomes(report.read_bytes(), stats, f"run {number}: report after the kill")
        args = ["resume", "--report", report.name]
    code = where.run("resume", "--report", report.name, state=state, key=key)
    if not report.exists():
        # it died before it began, or after it had ended
        code = where.run("run", manifest, "--report", report.name, state=state, key=key)
    outcomes = _outcomes(report.read_bytes(), stats, f"run {number}: report")
    started = Counter(str(c.model_id) for c in where.calls if c.accepted)
    mine = {str(m["id"]) for m in models}
    if twice := [m for m, count in started.items() if m in mine and count > 1]:
        stats.faults.append(f"run {number}: {len(twice)} refreshes were started twice")
    if code not in (0, 1) or len(outcomes) != MODELS_KILLED:
        stats.faults.append(f"run {number}: exit code {code}, {len(outcomes)} outcomes")
    for outcome in outcomes:
        stats.statuses[outcome["status"]] += 1
        count = started[outcome["model_id"]]
        if outcome["status"] not in ("succeeded", "unknown") or (outcome["status"] == "succeeded" and count != 1):
            stats.faults.append(f"run {number}: {outcome['name']} {outcome['status']} after {count} refreshes")
    return stats


def stopped(where: Place, number: int, rng: Random) -> Tally:
    """One run that is sent a signal, sometimes two."""
    stats, first = Tally(), 1000 * number
    models = [
        {"id": model_id(first + n), "name": f"m{n}", "connection": f"c{first + n}"} for n in range(MODELS_STOPPED)
    ]
    manifest = where.manifest(f"m{number}.yaml", models, rate_limit={"requests": 100, "per": "1s"})
    report = where.folder / f"r{number}.json"
    process = where.start(
        "run", manifest, "--report", report.name, "--grace", "500ms", state=f"state-{number}", key=f"key-{number}"
    )
    assert process.stderr is not None
    # before there is a run there is nothing to report
    while (line := process.stderr.readline()) and b"run_started" not in line:
        pass
    time.sleep(rng.uniform(0, SPAN_S))
    sent = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    process.send_signal(sent)
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(sent)
    _, err = process.communicate()
    if process.returncode not in (0, 128 + sent):
        stats.faults.append(f"run {number}: exit code {process.returncode} after {sent.name}")
    if b"Traceback" in err or b"never retrieved" in err or b"was destroyed" in err:
        stats.faults.append(f"run {number}: noise on stderr: {err[-300:].decode(errors='replace')}")
    outcomes = _outcomes(report.read_bytes() if report.exists() else b"", stats, f"run {number}: report")
    if len(outcomes) != MODELS_STOPPED:
        stats.faults.append(f"run {number}: {len(outcomes)} outcomes")
    stats.statuses.update(o["status"] for o in outcomes)
    return stats


def _outcomes(data: bytes, stats: Tally, what: str) -> list[dict[str, str]]:
    try:
        return list(json.loads(data)["outcomes"])
    except ValueError as error:
        stats.faults.append(f"{what}: {error}")
        return []


def main() -> int:
    """Kill and stop as many runs as were asked for, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="runs to kill [200]")
    parser.add_argument("--signals", type=int, default=50, help="runs to send signals to [50]")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 2, help="how many at a time [the processors]")
    parser.add_argument("--seed", type=int, default=0, help="what all chance starts from [0]")
    chosen = parser.parse_args()
    faults = _round("killed", killed, chosen.kills, chosen.at_once, chosen.seed, duration=[0.2, 1.0])
    faults += _round("stopped", stopped, chosen.signals, chosen.at_once, chosen.seed, duration=[0.2, 3.0])
    return 1 if faults else 0


def _round(
    word: str, one: Callable[[Place, int, Random], Tally], count: int, at_once: int, seed: int, *, duration: list[float]
) -> int:
    if not count:
        return 0
    began_at = time.monotonic()
    with (
        place(default_model={"duration": duration}, limit={"kind": "none"}, latency=[0.01, 0.15]) as where,
        ThreadPoolExecutor(at_once) as pool,
    ):
        tallies = list(pool.map(lambda n: one(where, n, Random(f"{seed} {word} {n}")), range(1, count + 1)))
    statuses: Counter[str] = sum((t.statuses for t in tallies), Counter())
    faults = [fault for t in tallies for fault in t.faults]
    print(f"{count} runs {word} at random moments, {statuses.total()} targets, {time.monotonic() - began_at:.0f} s:")
    for status, number in statuses.most_common():
        print(f"  {number:6} {status}")
    print(f"  {len(faults):6} faults", *faults[:20], sep="\n    " if faults else "")
    return len(faults)


if __name__ == "__main__":
    raise SystemExit(main())
