"""The living examples do what they say: the demo ends as staged, and the others go through a rehearsal without a fault."""

from collections import Counter
from collections.abc import Mapping

import pytest

from orchestrator.app.simulation import stage
from orchestrator.engine.outcome import Status
from orchestrator.manifest.load import load_manifest
from orchestrator.manifest.manifest import Manifest
from orchestrator.simulator.call_log_checks import most_in_window, overlaps, posts_per_model
from orchestrator.simulator.reading import load_scenario
from orchestrator.simulator.scenario import Scenario
from tests.house.tree import ROOT
from tests.rehearsal import Rehearsal, rehearse

CONFIGS = ROOT / "configs"

VARIABLES = ("OMNI_API_TOKEN", "OMNI_EMEA_KEY_1", "OMNI_EMEA_KEY_2", "OMNI_APAC_KEY")

STAGED = {
    "Fleet": Status.FAILED,
    "Contracts": Status.REJECTED,
    "Newsletter": Status.REJECTED,
    "Web Analytics": Status.REJECTED,
    "Comissions": Status.REJECTED,
    "Product Usage": Status.TIMED_OUT,
    "Forecast": Status.UNKNOWN,
    "Budget": Status.NOT_STARTED,
    "Travel": Status.SKIPPED,
}
"""What the demo's own comments say of these models; all others succeed."""


def _load(name: str) -> Manifest:
    return load_manifest(CONFIGS / name, environ={variable: f"key-{variable}" for variable in VARIABLES})


def _demo(seed: int) -> Rehearsal:
    return rehearse(_load("demo.yaml"), load_scenario(CONFIGS / "demo.scenario.yaml"), seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_the_demo_ends_as_staged(seed: int) -> None:
    """Whatever durations chance deals out, each of the demo's models ends as the demo says, within a minute."""
    demo = _demo(seed)
    assert {n: s for n, s in demo.statuses.items() if s is not STAGED.get(n, Status.SUCCEEDED)} == {}
    assert demo.result.duration_s < 60


def test_the_demo_shows_what_it_promises() -> None:
    """The demo meets a spell of 429 and 502s to polls, collapses refreshes, and runs others one after another."""
    demo = _demo(0)
    assert demo.result.stats.throttled >= 1
    assert Counter(call.status for call in demo.polls)[502] == 3
    assert Counter(o.covered_by for o in demo.outcomes)["Orders"] == 5
    assert not overlaps(demo.calls)
    assert max(posts_per_model(demo.calls).values()) <= 2, "Campaigns has two branches"
    limit = load_scenario(CONFIGS / "demo.scenario.yaml").limit
    assert most_in_window(demo.calls, limit.per) <= limit.requests


@pytest.mark.parametrize("name", ["nightly.yaml", "after-migration.yaml", "backfill.yaml"])
def test_examples_run(name: str) -> None:
    """An example refreshes everything it names on instances on which all of that exists."""
    manifest = _load(name)
    scenarios: Mapping[str, Scenario] = stage(manifest)
    outcomes = rehearse(manifest, scenarios).outcomes
    assert {o.name: o.status for o in outcomes if o.status is not Status.SUCCEEDED} == {
        e.name: Status.SKIPPED for e in manifest.entries if not e.enabled
    }


def test_a_scenario_beside_its_manifest_is_found() -> None:
    """`--simulate` without a scenario takes NAME.scenario.yaml beside NAME.yaml, and makes everything up where there is none."""
    assert stage(_load("demo.yaml")) == {"shop": load_scenario(CONFIGS / "demo.scenario.yaml")}
    assert {m.name for m in stage(_load("nightly.yaml"))["prod"].models} >= {"Quarterly Finance", "Raw Events"}


def test_scenarios_lie_beside_their_manifests() -> None:
    """Each scenario among the examples belongs to the manifest beside it, and is a scenario."""
    for path in CONFIGS.glob("*.scenario.yaml"):
        assert path.with_name(path.name.removesuffix(".scenario.yaml") + ".yaml").is_file()
        assert load_scenario(path).models
