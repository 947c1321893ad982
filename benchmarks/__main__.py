"""`python -m benchmarks`: the table of docs/explanation/benchmarks.md, in virtual time, the same on every machine."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from statistics import mean

from benchmarks.measure import Figures, measure
from benchmarks.programs import PROGRAMS
from benchmarks.workloads import WORKLOADS, Workload

_HEAD = (
    "| workload | program | makespan / bound | / order bound | last submit late | mean known | calls a model | 429 |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|"
)

# One at a time over thousands of models says nothing that hundreds do not.
_MOST_FOR_LOOPS = 300


def main(args: Sequence[str] | None = None) -> None:
    """Measure what was asked for and print one row for each workload and program: means over the seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="how many seeds to average over [8]")
    parser.add_argument("--workload", default="", help="only workloads whose name holds this")
    parser.add_argument("--program", default="", help="only programs whose name holds this")
    chosen = parser.parse_args(args)
    print(_HEAD)
    began_at = time.perf_counter()
    for workload in WORKLOADS:
        if chosen.workload in workload.name:
            for name in PROGRAMS:
                if chosen.program in name and _is_fair(name, workload):
                    print(_row(workload, name, chosen.seeds), flush=True)
    print(f"\n{chosen.seeds} seeds, {time.perf_counter() - began_at:.0f} s of real time", file=sys.stderr)


def _is_fair(program: str, workload: Workload) -> bool:
    loops = program in ("eight workers", "one at a time")
    return not loops or workload.models <= _MOST_FOR_LOOPS


def _row(workload: Workload, program: str, seeds: int) -> str:
    # the large ones are averages over thousands of jobs already
    count = seeds if workload.models <= 1000 else min(seeds, 2)
    runs = [measure(PROGRAMS[program], workload, warm=program.endswith("warm"), seed=s) for s in range(count)]
    return (
        f"| {workload.name} | {program} | {_mean(runs, 'over_bound'):.3f} | {_mean(runs, 'over_order_bound'):.3f} "
        f"| {_mean(runs, 'last_submit_late_s'):.1f} s | {_mean(runs, 'known_ratio'):.3f} "
        f"| {_mean(runs, 'calls_per_model'):.2f} | {_mean(runs, 'throttled'):.0f} |"
    )


def _mean(runs: Sequence[Figures], field: str) -> float:
    return mean(float(getattr(run, field)) for run in runs)


if __name__ == "__main__":
    main()
