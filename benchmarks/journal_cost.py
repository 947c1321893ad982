"""`python -m benchmarks.journal_cost`: what it costs to lose nothing: the same run with a journal, locks and a shared window,
and with none of them, over the real HTTP stack in virtual time.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random

from benchmarks.measure import stage
from benchmarks.programs import INSTANCE, Setting, ignore, make_run
from benchmarks.workloads import Workload, all_equal
from orchestrator.clock import Clock
from orchestrator.engine.connection_lock import StoredConnectionLocks
from orchestrator.engine.recorder import JournalRecorder
from orchestrator.engine.run import RunResult
from orchestrator.engine.run_context import RunContext
from orchestrator.journal.journal import Journal
from orchestrator.journal.locks import Locks
from orchestrator.journal.processes import LocalProcess
from orchestrator.journal.records import NewRun, NewTarget, StoredRequest
from orchestrator.journal.shared_window import SharedWindow
from orchestrator.journal.slots import OwnSlots
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.report.document import make_document
from orchestrator.report.report import Report, RunFacts, Trigger
from orchestrator.simulator import virtual
from orchestrator.simulator.server import Simulator

RUN = "journal-cost"


class Ground:
    """The state folder under a run."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.journal = Journal.open(folder, clock=clock, boot="bench")
        self.owner = LocalProcess.enter(folder, run=RUN, since=clock.utcnow(), now=clock.now, boot="bench")

    def under(self, context: RunContext, manifest: Manifest, entries: tuple[Entry, ...]) -> RunContext:
        """The same context with everything kept on disk."""
        new = NewRun(
            id=RUN,
            root=RUN,
            origin=None,
            trigger="run",
            manifest_path="m",
            manifest_file="m",
            manifest_identity="m",
            manifest_sha256="",
            lock="lock",
            began_at=self.clock.utcnow(),
        )
        orders = StoredRequest(manifest=manifest, selected=tuple(e.index for e in entries))
        steps = self.journal.begin(new, orders, [NewTarget(position=e.index, name=e.name) for e in entries])
        base_urls = {INSTANCE: manifest.instances[INSTANCE].base_url}
        return replace(
            context,
            recorder=JournalRecorder(
                steps,
                base_urls=base_urls,
                clock=self.clock,
                began_at=self.clock.now(),
                calls={},
                redact=str,
                observe=ignore,
            ),
            locks=StoredConnectionLocks(Locks(self.owner), steps, base_urls=base_urls, clock=self.clock),
            ledger=lambda i, key: SharedWindow(
                OwnSlots(self.owner, str(key.secret and key.secret.reveal()), i.rate_limit.per_s),
                requests=i.rate_limit.requests,
                is_share=False,
                broke=print,
            ),
        )

    def finish(self, result: RunResult) -> None:
        """Keep the end of the run, as a command does."""
        now = self.clock.utcnow()
        facts = RunFacts(
            id=RUN,
            trigger=Trigger.RUN,
            manifest_path="m",
            manifest_sha256="",
            started_at=now,
            finished_at=now,
            duration_s=result.duration_s,
        )
        document = make_document(Report(run=facts, outcomes=result.outcomes, exit_code=0))
        self.journal.finish(RUN, document=document, exit_code=0, unfinished=False, counts={})
        self.owner.leave()
        self.journal.close()


def measure(models: int, folder: Path | None) -> tuple[float, int]:
    """Seconds of real time that a run takes, and the calls that it makes; with everything kept in `folder`, or nothing."""
    workload = Workload(name="cost", models=models, durations=all_equal, requests=500)
    durations = workload.durations(models, Random(0))

    async def main() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        clock = Clock(loop.time, virtual.utcnow_of(loop))
        async with Simulator(stage(workload, durations, 0), utcnow=clock.utcnow) as simulator:
            setting = Setting(url=simulator.url, workload=workload, history={}, seed=0)
            began_at = time.perf_counter()
            ground = None if folder is None else Ground(folder, clock)
            result = await make_run(setting, None if ground is None else ground.under).run()
            if ground is not None:
                ground.finish(result)
            assert all(o.status.is_good for o in result.outcomes)
            return time.perf_counter() - began_at, len(simulator.calls)

    return virtual.run(main(), debug=False)


def main() -> None:
    """Measure with and without, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal_cost", description=__doc__)
    parser.add_argument("--models", type=int, default=10_000, help="how many targets [10000]")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the state folder is made [the temporary folder]"
    )
    chosen = parser.parse_args()
    bare_s, calls = measure(chosen.models, None)
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="omni-refresh-cost-") as name:
        kept_s, _ = measure(chosen.models, Path(name))
        sizes = {path.name: path.stat().st_size for path in Path(name).iterdir() if path.is_file()}
    print(
        f"{chosen.models} targets, {calls} calls: {bare_s:.1f} s without, {kept_s:.1f} s with a journal, locks and the"
        f" shared window: {kept_s - bare_s:.1f} s more, {1e6 * (kept_s - bare_s) / calls:.0f} us a call;"
        f" journal.db {sizes['journal.db'] / 1e6:.1f} MB, shared.db {sizes['shared.db'] / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
