"""`python -m tests.planning.random_manifests`: random manifests against a simulated instance; do refreshes of a connection ever overlap?

Everything that a manifest may say of where a refresh belongs is drawn at random: ids, names, labels that are names, ids or
any words, or nothing; scopes, modes, branches, collapsing, instances that throttle, fail, drop calls and time out. The verdict
is read from the server's log, in virtual time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.staging import branch_id, connection_id, model_id
from tests.rehearsal import ENVIRON, rehearse


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A random manifest of `entries` over `models` on a few connections."""

    seed: int
    models: int = 8
    entries: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the server's log says: pairs of refreshes that overlapped on a connection, and how many there were."""

    overlaps: int
    refreshes: int
    look_ups: int


def run_case(case: Case) -> Verdict:
    """Run one random manifest to its end. The same case gives the same calls."""
    rng = Random(case.seed)
    connections = [f"c{n}" for n in range(rng.randint(1, 4))]
    placed = {f"M{n}": rng.choice(connections) for n in range(case.models)}
    labels = {c: rng.choice(["name", "id", "words", "none", "mixed"]) for c in connections}
    based = {c: rng.random() < 0.3 for c in connections}
    # a refresh that is out of sight keeps its lane closed for `timeout`: no job takes longer, so that none may overlap
    timeout, durations = rng.choice([("20s", [1, 5, [1, 15]]), ("5m", [1, 5, 30, 200, [1, 90]])])
    staged = make_scenario(
        seed=case.seed,
        connections=[{"name": c, "branch_based": based[c]} for c in connections],
        models=[
            {
                "name": name,
                "connection": connection,
                "duration": rng.choice(durations),
                "result": rng.choice(["COMPLETED", "COMPLETED", "FAILED"]),
                "branches": ["b1", "b2"],
            }
            for name, connection in placed.items()
        ],
        limit={"requests": rng.choice([5, 20, 60]), "per": 60},
        faults=_faults(rng),
    )
    entries = [_entry(rng, number, placed, labels, based) for number in range(case.entries)]
    manifest = {
        "instances": {
            "sim": {
                "base_url": ENVIRON["OMNI_BASE_URL"],
                "api_keys": ["${KEY_1}"],
                "rate_limit": {"requests": 60, "per": "60s"},
            }
        },
        "defaults": {"collapse": rng.random() < 0.6, "timeout": timeout, "retries": 1},
        "models": entries,
    }
    run = rehearse(json.dumps(manifest), staged, seed=case.seed)
    return Verdict(overlaps=len(overlaps(run.calls)), refreshes=len(run.posts), look_ups=len(run.reads))


def _entry(
    rng: Random, number: int, placed: dict[str, str], labels: dict[str, str], based: dict[str, bool]
) -> dict[str, object]:
    name = rng.choice(list(placed))
    connection = placed[name]
    entry: dict[str, object] = {"name": f"e{number}"}
    entry |= {"id": model_id(name)} if rng.random() < 0.6 else {"model": name}
    how = labels[connection]
    if how == "mixed":
        # some say nothing, so that a look-up shows what the others' label means
        how = rng.choice(["words", "none"])
    if how != "none":
        entry["connection"] = {"name": connection, "id": connection_id(connection), "words": f"any {connection}"}[how]
    if based[connection]:
        branch = rng.choice(["b1", "b2"])
        entry["branch"] = branch if rng.random() < 0.5 else branch_id(model_id(name), branch)
    scopes: list[dict[str, object]] = [
        {},
        {},
        {"mode": "soft"},
        {"schemas": ["s1"]},
        {"schemas": ["s2"]},
        {"schemas": ["s1"], "tables": ["s1.t"]},
    ]
    return {**entry, **rng.choice(scopes)}


def _faults(rng: Random) -> list[dict[str, object]]:
    kinds: list[dict[str, object]] = [
        {"method": "POST", "nth": [rng.randint(1, 5)], "status": 429, "headers": {"Retry-After": "3"}},
        {"method": "POST", "nth": [rng.randint(1, 5)], "drop": "reset", "effect": "before"},
        {"method": "POST", "nth": [rng.randint(1, 5)], "status": 403},
        {"method": "POST", "nth": [rng.randint(1, 5)], "status": 502},
        {"path": "/jobs/", "nth": [rng.randint(1, 9)], "status": 500},
        {"path": "/jobs/", "nth": [rng.randint(1, 9)], "status": 404},
    ]
    return rng.sample(kinds, rng.randint(0, 3))


def main(args: Sequence[str] | None = None) -> None:
    """Run as many random manifests as asked for; exit 1 where anything overlapped."""
    parser = argparse.ArgumentParser(prog="python -m tests.planning.random_manifests", description=__doc__)
    parser.add_argument("--manifests", type=int, default=1000, help="how many [1000]")
    chosen = parser.parse_args(args)
    began_at = time.perf_counter()
    bad, refreshes = [], 0
    for seed in range(chosen.manifests):
        verdict = run_case(Case(seed=seed, models=1 + seed % 9, entries=1 + seed % 17))
        refreshes += verdict.refreshes
        if verdict.overlaps:
            bad.append(seed)
    seconds = time.perf_counter() - began_at
    told = f"{chosen.manifests} manifests, {refreshes} refreshes, {len(bad)} with an overlap, {seconds:.0f} s\n"
    sys.stdout.write(told)
    if bad:
        sys.exit(f"seeds: {bad[:20]}")


if __name__ == "__main__":
    main()
