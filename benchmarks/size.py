"""`python -m benchmarks.size`: what a run of so many models needs: CPU time, memory, disk, and the least time at sixty calls a minute.

Each run is a process of its own with its journal and an HTML and a JSON report, against a simulated instance in another
process that limits nothing: what a run costs does not depend on how long it waits for calls.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Final

from benchmarks.processes import model_id, place

SIZES: Final = (100, 1000)
CALLS_EACH: Final = 2
"""The fewest calls that a model needs: its refresh, and a poll that finds it finished."""


def _run(models: int) -> tuple[float, float, float, float]:
    """CPU seconds, memory (MiB), state on disk (MiB) and reports (MiB) of one run."""
    with place(limit={"kind": "none"}, default_model={"duration": 0}) as there:
        name = there.manifest(
            "m.yaml",
            [{"id": model_id(n), "name": f"model {n}", "connection": f"connection {n}"} for n in range(models)],
            rate_limit={"requests": 100_000, "per": "1s"},
            defaults={"poll": {"min": "10ms", "max": "100ms"}},
        )
        with there.start("run", name, "--quiet", "--report", "r.html", "--report", "r.json") as process:
            assert process.stderr is not None
            process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"exit code {process.returncode}")
        state = sum(path.stat().st_size for path in (there.folder / "state").rglob("*") if path.is_file())
        reports = sum((there.folder / report).stat().st_size for report in ("r.html", "r.json"))
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, state / 2**20, reports / 2**20


def main(args: Sequence[str] | None = None) -> None:
    """Print one row for each number of models."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=__doc__)
    parser.add_argument("--models", type=int, nargs="*", default=SIZES, help="how many models [100 1000]")
    chosen = parser.parse_args(args)
    print(
        "| models | least time, one key | four keys | CPU | memory | state | reports |\n|---:|---:|---:|---:|---:|---:|---:|"
    )
    for models in chosen.models:
        cpu_s, memory, state, reports = _run(models)
        minutes = [models * CALLS_EACH / 60 / keys for keys in (1, 4)]
        cells = [f"{models:,}", *(f"{each:,.0f} min" for each in minutes), f"{cpu_s:.0f} s", f"{memory:.0f} MiB"]
        print(f"| {' | '.join(cells)} | {state:.1f} MiB | {reports:.1f} MiB |", flush=True)


if __name__ == "__main__":
    main()
