"""What holds for every run: random manifests at random servers, whole runs over the real stack, and the promises checked."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.engine.run_context import RunSettings
from orchestrator.report.findings import exit_code
from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

BLOCKS, RUNS_EACH = 10, 20
BRANCHES = [f"00000000-0000-4000-9000-{n:012x}" for n in range(3)]

POST_FAULTS: list[dict[str, Any]] = [
    {"status": 400}, {"status": 403}, {"status": 404}, {"status": 409}, {"status": 302}, {"status": 500},
    {"status": 502, "effect": "before"}, {"drop": "reset"}, {"drop": "close", "effect": "before"},
    {"drop": "body", "effect": "before"}, {"status": 503, "headers": {"Retry-After": "3"}},
    {"status": 429, "headers": {"Retry-After": "4"}}, {"status": 429}, {"status": 200, "body": {}, "effect": "before"},
    {"status": 200, "body": {"status": "completed"}, "effect": "before", "name": "lie"}, {"status": 200, "raw": "<", "effect": "before"},
]  # fmt: skip
POLL_FAULTS: list[dict[str, Any]] = [
    {"status": 500}, {"drop": "reset"}, {"drop": "body"}, {"status": 404}, {"status": 429},
    {"status": 200, "raw": "{"}, {"status": 403}, {"status": 503, "headers": {"Retry-After": "2"}},
]  # fmt: skip
READ_FAULTS: list[dict[str, Any]] = [{"status": 500}, {"status": 403}, {"drop": "close"}, {"status": 429}]


def make_models(dice: Random) -> list[dict[str, object]]:
    """Entries on few connections, some of them given by name, some disabled, some of the same model."""
    models = []
    for number in range(dice.randint(1, 12)):
        where = number % dice.choice([1, 2, 4, 12])
        keys: dict[str, object] = {"connection": dice.choice([f"c{where}", f"c{where}", None])}
        if dice.random() < 0.2:
            keys |= {"id": None, "model": dice.choice([f"Model {number}", "No Such Model"])}
        if dice.random() < 0.2:
            keys["branch"] = dice.choice([BRANCHES[0], BRANCHES[1], "nightly", "none"])
        scope = dice.choice(["", "", "a", "b", "ab"])
        if scope:
            keys["schemas"] = list(scope)
            keys["tables"] = [f"{scope[0]}.{'x' * 40}{n}" for n in range(dice.choice([0, 0, 3, 400]))] or None
        else:
            keys["mode"] = dice.choice(["hard", "hard", "soft", None])
        keys |= {"wait": dice.random() > 0.1, "enabled": dice.random() > 0.1, "retries": dice.randint(0, 3)}
        models.append(model(number, **{"_where": where, **keys}))
    return models


def make_staged(dice: Random, models: list[dict[str, object]]) -> Scenario:
    """A server on which most of that exists, and now and then something goes wrong."""
    branch_based = dice.random() < 0.3
    connections: dict[str, dict[str, object]] = {}
    listed = []
    for number, entry in enumerate(models):
        name = f"c{entry.pop('_where')}"
        connections.setdefault(name, {"name": name, "branch_based": branch_based})
        listed.append(
            {
                "id": uuid(number),
                "name": f"Model {number}",
                "connection": name,
                "duration": dice.choice([0, 3, 20, [1, 60], {"median": 20, "sigma": 0.9, "cap": 90}]),
                "result": dice.choice(["COMPLETED"] * 5 + ["FAILED"]),
                "forbidden": dice.random() < 0.1,
                "branches": [{"name": "nightly", "id": BRANCHES[0]}] if number == 0 else ["nightly"],
            }
        )
    faults: list[dict[str, object]] = []
    for method, path, kinds in (
        ("POST", "", POST_FAULTS),
        ("GET", "/jobs/", POLL_FAULTS),
        ("GET", "/models", READ_FAULTS),
    ):
        if dice.random() < 0.6:
            faults.append({"method": method, "path": path, "p": dice.choice([0.1, 0.4]), **dice.choice(kinds)})
    return make_scenario(
        connections=list(connections.values()),
        models=listed,
        faults=faults,
        latency=dice.choice([0.0, 0.0, [0.0, 0.5]]),
        keys=[{"key": "one", "refused_from": 20}, "two"] if dice.random() < 0.1 else [],
        limit={"kind": dice.choice(["sliding", "fixed", "bucket"]), "requests": dice.choice([60, 60, 15]), "per": 60},
        answers={"error_shape": dice.choice(["message", "detail", "scim", "error"])},
    )


def rehearsed(seed: int) -> tuple[list[dict[str, object]], RunSettings, Rehearsal]:
    """One of the runs."""
    dice = Random(seed)
    models = make_models(dice)
    staged = make_staged(dice, models)
    settings = RunSettings(
        wait=dice.random() > 0.2,
        max_failures=dice.choice([None, None, 1, 3]),
        deadline_s=dice.choice([None, None, None, 25.0]),
    )
    text = manifest_text(
        *models,
        workers=dice.choice([1, 3, 16]),
        defaults={"collapse": dice.random() > 0.3, "timeout": "5m", "poll": {"min": "1s", "max": "20s"}},
        instance={"rate_limit": {"requests": 60, "per": "60s"}},
    )
    return models, settings, rehearse(text, staged, settings=settings, seed=seed)


def check(models: list[dict[str, object]], settings: RunSettings, run: Rehearsal) -> None:
    """Every promise that does not depend on what went wrong."""
    outcomes = run.outcomes
    assert [o.name for o in outcomes] == [str(m["name"]) for m in models]
    # one refresh at a time on what is known to be one connection
    unknown = {o.model_id for o in outcomes if any("connection is not known" in w for w in o.warnings)}
    side_by_side = [
        (earlier.number, later.number)
        for earlier, later in overlaps(run.calls)
        # a server that says "completed" of a job that runs is believed
        if earlier.fault != "lie" and not {call.path.split("/")[4] for call in (earlier, later)} & unknown
    ]
    assert side_by_side == []
    # what is counted is what the server saw
    cut = settings.deadline_s is not None and run.result.duration_s >= settings.deadline_s - 0.01
    if not cut:
        assert run.result.stats.requests == len(run.calls)
        assert run.result.stats.throttled == sum(call.status == 429 for call in run.calls)
        sent = [call for call in run.posts if call.status not in (429, 401)]
        assert sum(o.attempts for o in outcomes) == len(sent)
        assert sum(o.polls for o in outcomes) <= len(run.polls)
    # an accepted refresh is sent once, and what may have arrived is not sent again
    for model_id, count in Counter(call.path.split("/")[4] for call in run.calls if call.accepted).items():
        assert count <= sum(max(1, len(o.tables)) for o in outcomes if o.model_id == model_id)
    results = {call.job_id: call.job_status for call in run.polls if call.tells_end}
    for outcome in outcomes:
        good = outcome.status.is_good
        assert good is (outcome.error is None)
        if outcome.error is not None:
            assert outcome.error.kind not in ("internal", "")
            assert outcome.error.hint
        assert (outcome.submitted_at is None) is (outcome.duration_s is None)
        if outcome.status is Status.SUCCEEDED and outcome.job_ids:
            assert [results.get(job_id, "COMPLETED") for job_id in outcome.job_ids] == ["COMPLETED"] * len(
                outcome.job_ids
            )
        if outcome.status is Status.FAILED:
            assert outcome.job_ids
        if outcome.status in (Status.NOT_STARTED, Status.SKIPPED):
            # one that was refused and waited to be tried again may have been sent
            assert outcome.job_ids == ()
            assert (outcome.submitted_at is None) is (outcome.attempts == 0)
        if outcome.covered_by is not None:
            sender = run.of(outcome.covered_by)
            assert (sender.status, sender.job_ids, sender.covered_by) == (outcome.status, outcome.job_ids, None)
            assert outcome.attempts == 0
        assert (outcome.status is Status.SKIPPED) is (models[outcomes.index(outcome)]["enabled"] is False)
    code = exit_code(outcomes, signal=None, refused_instances=run.result.refused_instances, report_failed=False)
    assert (code == 0) is all(o.status.is_good for o in outcomes)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_promises_hold(block: int) -> None:
    """Hundreds of runs at servers that refuse, cut, throttle and fail: one outcome each, no overlap, nothing sent twice."""
    for seed in range(block * RUNS_EACH, (block + 1) * RUNS_EACH):
        models, settings, run = rehearsed(seed)
        try:
            check(models, settings, run)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
