"""`python -m benchmarks.chaos`: four runs that share a state folder, a key and connections, killed and stopped at random.

Each episode has a simulated instance and a state folder of its own. Most folders were left by an earlier run, which looked
all connections up: there the four manifests call them by id, by name or by a label of their own. In a new folder, where
no run could know that such names mean the same, they say the id or nothing. Each manifest is run, killed, stopped, resumed
and retried at random, other commands run beside, and at the end each is led to its end. The instance's own call log is the
judge:

- twice: a refresh was sent again although its target was not `unknown` and no kill kept its answer from the journal;
- at once: two jobs of one connection ran at the same time;
- over budget: more calls in a window than the key's limit, or a call answered 429;
- lost: a target without a good end, or `succeeded` without a job that completed;
- broken: an exit code that is not one of a run, or a traceback.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.processes import Place, model_id, place
from orchestrator.simulator.calls import Call

CHAINS: Final = 4
MODELS: Final = 6
CONNECTIONS: Final = 3
REQUESTS, PER_S = 20, 2.0
ROUNDS: Final = 12
GRACE_S: Final = 0.3
CODES: Final = {0, 1, 4, 130, 143, -signal.SIGKILL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was run, and when it ended, in seconds since the instance started."""

    words: str
    code: int
    ended_s: float


@dataclass(slots=True, kw_only=True)
class Chain:
    """One manifest, and all that was done with it. `unknown` counts a target's outcomes of that word; `unanswered` are the
    targets of calls, by their numbers, whose answer a kill kept from the journal.
    """

    number: int
    manifest: str
    models: dict[str, str]
    commands: list[Command] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    unanswered: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def scope(self) -> str:
        """The schema that its refreshes name, by which the instance's log tells them from others'."""
        return f"chain_{self.number}"

    @property
    def course(self) -> str:
        """What was done, for a fault."""
        return ", ".join(f"{c.words} -> {c.code} at {c.ended_s:.2f}" for c in self.commands)


class Episode:
    """Four chains of runs in one place."""

    def __init__(self, where: Place, seed: str) -> None:
        self._where = where
        self._rng = Random(seed)
        self._over = threading.Event()
        self._origin_s = 0.0
        self._is_old = self._rng.random() < 0.7
        self.chains = [self._chain(number) for number in range(CHAINS)]

    def run(self) -> list[str]:
        """Everything, to the end; what was wrong."""
        self._mark()
        if self._is_old:
            self._where.run("run", self._manifest("before.yaml", range(MODELS)), "--report", "b.json")
        with ThreadPoolExecutor(CHAINS + 1) as pool:
            beside = pool.submit(self._beside, Random(self._rng.random()))
            for work in [pool.submit(self._live, chain, Random(self._rng.random())) for chain in self.chains]:
                work.result()
            self._over.set()
            beside.result()
        return self._judge(self._where.calls)

    def _mark(self) -> None:
        """Send one call, so that the log's clock can be told from the machine's."""
        before_s = time.monotonic()
        request = urllib.request.Request(f"{self._where.url}/api/v1/models", headers={"Authorization": "Bearer marker"})
        with suppress(OSError), urllib.request.urlopen(request, timeout=10):
            pass
        self._origin_s = before_s - self._where.calls[0].t_s

    def _chain(self, number: int) -> Chain:
        chosen = self._rng.sample(range(MODELS), 4)
        manifest = self._manifest(f"chain{number}.yaml", chosen, scope=f"chain_{number}")
        models = {f"m{n}": model_id(n) for n in chosen}
        return Chain(number=number, manifest=manifest, models=models)

    def _manifest(self, name: str, models: Iterable[int], *, scope: str | None = None) -> str:
        entries = []
        for n in models:
            entry: dict[str, object] = {"id": model_id(n), "name": f"m{n}"}
            if scope is not None:
                entry["schemas"] = [scope]
                connection = n % CONNECTIONS
                names: list[str | None] = [None, connection_id(connection), connection_id(connection).upper()]
                if self._is_old:
                    names += [f"warehouse {connection}", f"{scope} {connection}"]
                entry["connection"] = self._rng.choice(names)
            entries.append({key: value for key, value in entry.items() if value is not None})
        return self._where.manifest(
            name,
            entries,
            rate_limit={"requests": REQUESTS, "per": f"{PER_S}s"},
            defaults={"poll": {"min": "100ms", "max": "500ms"}, "timeout": "4s", "collapse": False},
        )

    def _live(self, chain: Chain, rng: Random) -> None:
        time.sleep(rng.uniform(0, 0.5))
        self._command(chain, rng, "run", chain.manifest, cut=rng.choice(["kill", "kill", "stop", None]))
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            words = self._next(chain, rng)
            if words is None:
                break
            self._command(chain, rng, *words, cut=rng.choice(["kill", "stop", None]))
        for _ in range(ROUNDS):
            words = self._next(chain, rng)
            if words is None:
                return
            self._command(chain, rng, *words, cut=None)
        chain.faults.append(f"no end after {ROUNDS} rounds: {chain.statuses}; {chain.course}")

    def _next(self, chain: Chain, rng: Random) -> Sequence[str] | None:
        """What to do after the last command of the chain; None if nothing is left."""
        history = self._history()
        runs = [r for r in history["runs"] if Path(r["manifest"]).name == chain.manifest]
        if not runs:
            return ("run", chain.manifest)
        # an outcome that a kill kept from the report is in the journal
        told = [m for m in history["models"] if Path(m["manifest"]).name == chain.manifest]
        chain.statuses |= {m["name"]: m["last_status"] for m in told if m["last_status"]}
        if runs[0]["state"] == "unfinished":
            again = ("run", chain.manifest, "--resume")
            return rng.choice([("resume", runs[0]["id"]), ("resume", runs[0]["id"]), ("retry", runs[0]["id"]), again])
        if all(chain.statuses.get(name) == "succeeded" for name in chain.models):
            return None
        # now and then an older run of the chain is retried once more
        return ("retry", rng.choice([runs[0]["id"]] * 3 + [r["id"] for r in runs]))

    def _history(self) -> dict[str, list[dict[str, Any]]]:
        with self._where.start("history", "--json", "--limit", "200", stdout=subprocess.PIPE) as process:
            out, err = process.communicate()
        if process.returncode:
            self.chains[0].faults.append(f"history: exit code {process.returncode}: {err[-300:].decode()}")
            return {"runs": [], "models": []}
        history: dict[str, list[dict[str, Any]]] = json.loads(out)
        return history

    def _command(self, chain: Chain, rng: Random, *words: str, cut: str | None) -> None:
        report = self._where.folder / f"r{chain.number}-{len(chain.commands)}.json"
        args = [*words, "--report", report.name, "--grace", f"{GRACE_S}s", "--on-overlap", "wait"]
        process, heard = self._where.start(*args), b""
        if cut is not None:
            if rng.random() < 0.85:
                heard = _until_begun(process)
            time.sleep(rng.uniform(0, 2))
            process.send_signal(signal.SIGKILL if cut == "kill" else rng.choice([signal.SIGTERM, signal.SIGINT]))
        _, err = process.communicate()
        code, text = process.returncode, (heard + err).decode(errors="replace")
        ended = Command(words=" ".join(words), code=code, ended_s=time.monotonic() - self._origin_s)
        chain.commands.append(ended)
        # a signal that comes while the interpreter still starts ends it as it ends any program
        early = "started" not in text and (code in (-signal.SIGTERM, -signal.SIGINT) or "KeyboardInterrupt" in text)
        if not early and (code not in CODES or "Traceback" in text):
            chain.faults.append(f"broken: {ended.words}: exit code {code}: {text[-500:]}")
        if code == -signal.SIGKILL:
            chain.unanswered |= self._unanswered(chain)
        if report.exists():
            for outcome in json.loads(report.read_bytes())["outcomes"]:
                chain.statuses[outcome["name"]] = outcome["status"]
                chain.unknown[outcome["name"]] += outcome["status"] == "unknown"

    def _unanswered(self, chain: Chain) -> dict[int, str]:
        """The chain's calls that the journal knows as about to leave, without an answer: their numbers and targets."""
        journal = self._where.folder / "state" / "journal.db"
        if not journal.exists():
            return {}
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
            rows = connection.execute(
                "SELECT calls.id, targets.name FROM calls JOIN runs ON runs.id = calls.run JOIN targets"
                " ON targets.root = calls.root AND targets.place = calls.sender"
                " WHERE calls.fate = 'intended' AND runs.manifest_path LIKE ?",
                (f"%{chain.manifest}",),
            ).fetchall()
        return dict(rows)

    def _beside(self, rng: Random) -> None:
        """Run other commands, as people type them during a run."""
        while not self._over.is_set():
            manifest = rng.choice(self.chains).manifest
            words = rng.choice(
                [["history"], ["plan", manifest], ["check", manifest], ["report"], ["history", "--prune"]]
            )
            with self._where.start(*words) as process:
                _, err = process.communicate()
            if b"Traceback" in err or process.returncode not in (0, 1, 2):
                self.chains[0].faults.append(
                    f"broken: {' '.join(words)}: exit code {process.returncode}: {err[-500:]!r}"
                )
            if b"damaged" in err or b"malformed" in err:
                self.chains[0].faults.append(f"broken: {' '.join(words)}: {err[-500:]!r}")
            self._over.wait(rng.uniform(0.1, 0.6))

    def _judge(self, calls: Sequence[Call]) -> list[str]:
        mine = [call for call in calls if call.key != calls[0].key]
        faults = [f"chain {chain.number}: {fault}" for chain in self.chains for fault in chain.faults]
        for chain in self.chains:
            faults += [f"chain {chain.number}: {fault}" for fault in self._judge_chain(chain, mine)]
        return faults + _at_once(mine) + _over_budget(mine)

    def _judge_chain(self, chain: Chain, calls: Sequence[Call]) -> list[str]:
        faults = []
        for name, model in chain.models.items():
            sent = [c for c in calls if c.accepted and c.model_id == model and c.query.get("schemas") == chain.scope]
            # a call that a kill cut off is unanswered in the journal, and `unknown` in a report that follows
            excused = max(chain.unknown[name], sum(cut == name for cut in chain.unanswered.values()))
            if len(sent) - 1 > excused:
                at = ", ".join(f"{call.t_s:.2f}" for call in sent)
                faults.append(f"twice: {name} at {at}; {chain.course}")
            status = chain.statuses.get(name)
            ended = {c.job_id for c in calls if c.tells_end and c.job_status == "COMPLETED"}
            if status != "succeeded":
                faults.append(f"lost: {name} ended {status}; {chain.course}")
            elif not any(call.job_id in ended for call in sent):
                faults.append(f"lost: {name} succeeded, but no job of it was seen to complete")
        return faults


def _until_begun(process: subprocess.Popen[bytes]) -> bytes:
    """What a command says until its run has begun, or until its end."""
    assert process.stderr is not None
    heard = b""
    while b"started" not in heard and (line := process.stderr.readline()):
        heard += line
    return heard


def _at_once(calls: Sequence[Call]) -> list[str]:
    jobs: defaultdict[str | None, list[Call]] = defaultdict(list)
    for call in calls:
        if call.accepted:
            jobs[call.connection_id].append(call)
    faults = []
    for connection, started in jobs.items():
        started.sort(key=lambda call: call.started_s or 0.0)
        for one, two in pairwise(started):
            if (two.started_s or 0.0) < (one.finished_s or float("inf")):
                faults.append(
                    f"at once: connection {connection}: {one.model_id} {dict(one.query)} from {one.started_s:.2f} until"
                    f" {one.finished_s:.2f}, {two.model_id} {dict(two.query)} from {two.started_s:.2f}"
                )
    return faults


def _over_budget(calls: Sequence[Call]) -> list[str]:
    faults = [
        f"over budget: {call.method} {call.path} at {call.t_s:.2f} answered 429" for call in calls if call.limited
    ]
    for call in calls:
        within = sum(call.t_s - PER_S < other.t_s <= call.t_s for other in calls)
        if within > REQUESTS:
            faults.append(f"over budget: {within} calls in the window until {call.t_s:.2f}")
    return faults[:3]


def connection_id(number: int) -> str:
    """The id of the `number`-th connection."""
    return model_id(1_000_000 + number)


def episode(number: int, seed: int) -> list[str]:
    """One episode; what was wrong."""
    rng = Random(f"{seed} {number}")
    faults: list[dict[str, object]] = []
    if rng.random() < 0.3:
        faults.append({"method": "POST", "nth": [rng.randint(1, 8)], "drop": "reset", "effect": "before"})
    scenario = {
        "seed": number,
        "connections": [{"id": connection_id(n), "name": f"warehouse {n}"} for n in range(CONNECTIONS)],
        "models": [
            {"id": model_id(n), "name": f"model {n}", "connection": f"warehouse {n % CONNECTIONS}"}
            | {"duration": [0.1, 1.0]}
            for n in range(MODELS)
        ],
        "limit": {"kind": "sliding", "requests": REQUESTS, "per": PER_S, "count_refused": True},
        "latency": [0.005, 0.05],
        "faults": faults,
    }
    with place(**scenario) as where:
        return Episode(where, f"{seed} {number}").run()


def main() -> int:
    """Run the episodes, and tell."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=20, help="how many [20]")
    parser.add_argument("--first", type=int, default=1, help="the number of the first one, to repeat a bad one [1]")
    parser.add_argument("--seed", type=int, default=0, help="what all chance starts from [0]")
    parser.add_argument("--at-once", type=int, default=1, help="how many at a time [1]")
    chosen = parser.parse_args()
    kinds: Counter[str] = Counter()
    began_at = time.monotonic()
    numbers = range(chosen.first, chosen.first + chosen.episodes)
    bad = 0
    with ThreadPoolExecutor(chosen.at_once) as pool:
        for number, faults in zip(numbers, pool.map(lambda n: episode(n, chosen.seed), numbers), strict=True):
            bad += bool(faults)
            kinds.update(kind for fault in faults for kind in KINDS if kind in fault)
            print(f"episode {number}: {len(faults)} faults", *faults, sep="\n  ", flush=True)
    print(f"{chosen.episodes} episodes of {CHAINS} runs, {time.monotonic() - began_at:.0f} s: {bad} with faults")
    print(*(f"  {kinds[kind]:4} {kind}" for kind in KINDS), sep="\n")
    return 1 if bad else 0


KINDS: Final = ("twice", "at once", "over budget", "lost", "broken", "no end")


if __name__ == "__main__":
    sys.exit(main())
