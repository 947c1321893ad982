"""A scenario extends a manifest's models: all of them exist, and what the scenario says of one wins."""

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.simulation import stage
from orchestrator.engine.outcome import Status
from orchestrator.errors import UsageError
from orchestrator.manifest.load import load_manifest
from orchestrator.manifest.manifest import Manifest
from orchestrator.simulator.extending import extend
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.rehearsal import manifest_text, read_manifest, rehearse, uuid

ROOT = Path(__file__).parents[2]

NAMED: list[dict[str, object]] = [
    {"model": "Sales", "schemas": ["sales"], "connection": "warehouse"},
    {"id": uuid(1), "name": "stock"},
    {"model": "Marketing", "branch": "nightly"},
    {"model": "Finance", "tables": ["ledger.*"]},
]


def staged(manifest: Manifest, **sections: object) -> Scenario:
    """The scenario of the manifest's only instance."""
    (instance,) = manifest.instances.values()
    return extend(make_scenario(**sections), instance, manifest.entries)


def statuses(*models: dict[str, object], **sections: object) -> dict[str, Status]:
    """The outcome of each target of a manifest in a rehearsal."""
    manifest = read_manifest(manifest_text(*models))
    return dict(rehearse(manifest, staged(manifest, **sections)).statuses)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"faults": [{"path": "/jobs/", "nth": [1], "status": 502}]},
        {"models": [{"name": "Sales", "duration": 95}]},
        {"models": [{"name": "stock", "duration": 1}]},
        {"models": [{"name": "Something else"}], "connections": [{"name": "warehouse", "database": "lake"}]},
        {"default_model": {"duration": 1}},
        {"generate": [{"count": 3, "name": "Model {n}"}]},
    ],
)
def test_every_model_of_the_manifest_exists(sections: dict[str, Any]) -> None:
    """Whatever a scenario adds, models, branches, connections and scopes that it does not mention are there and behave."""
    proven = [{**model, "verify": "scope"} for model in NAMED]
    assert set(statuses(*proven, **sections).values()) == {Status.SUCCEEDED}


def test_what_the_scenario_says_wins() -> None:
    """A model is found by its id, its name, or its entry's label; only its settings differ."""
    models = [
        {"name": "Sales", "result": "FAILED"},
        {"name": "stock", "forbidden": True},
        {"name": "Marketing", "branches": ["weekly"]},
    ]
    found = statuses(*NAMED, models=models)
    assert found == {
        "Sales": Status.FAILED,
        "stock": Status.REJECTED,
        "Marketing@nightly": Status.REJECTED,
        "Finance": Status.SUCCEEDED,
    }
    assert statuses(*NAMED, models=[{"id": uuid(1), "forbidden": True}])["stock"] is Status.REJECTED
    twice = [{"name": "Sales", "id": uuid(7)}, {"name": "Sales", "id": uuid(8)}]
    assert statuses(*NAMED, models=twice)["Sales"] is Status.REJECTED


def test_only_replaces_the_manifests_models() -> None:
    """`only: true`: what the scenario does not list does not exist."""
    assert statuses(*NAMED, only=True, models=[{"name": "Finance"}]) == {
        "Sales": Status.REJECTED,
        "stock": Status.REJECTED,
        "Marketing@nightly": Status.REJECTED,
        "Finance": Status.SUCCEEDED,
    }


def test_the_limit_is_the_manifests_where_it_is_left_out() -> None:
    """Key by key, with `only` as well."""
    manifest = read_manifest(manifest_text(*NAMED, instance={"rate_limit": {"requests": 7, "per": "9s"}}))
    for only in (True, False):
        limit = staged(manifest, only=only, limit={"retry_after": "date", "per": 3}).limit
        assert (limit.requests, limit.per, limit.retry_after) == (7, 3, "date")
        limit = staged(manifest, only=only).limit
        assert (limit.requests, limit.per) == (7, 9)


def test_connections_are_one_by_name_or_id() -> None:
    """A connection that the scenario lists keeps its settings, and also gets what the manifest needs."""
    manifest = read_manifest(
        manifest_text(
            {"model": "A", "connection": "wh", "schemas": ["a"], "branch": "b"},
            {"model": "B", "connection": "wh", "schemas": ["b"], "branch": "b"},
            {"model": "C", "connection": uuid(9), "schemas": ["c"]},
        )
    )
    scenario = staged(
        manifest,
        connections=[{"name": "wh", "dialect": "duckdb"}],
        models=[{"name": "B", "connection": {"name": "wh"}}, {"name": "C", "connection": {"schemas": {"d": ["t"]}}}],
    )
    by_name = {connection.name: connection for connection in scenario.connections}
    assert set(by_name) == {"wh", uuid(9)}
    assert (by_name["wh"].dialect, by_name["wh"].branch_based) == ("duckdb", True)
    assert by_name["wh"].schemas == {"a": (), "b": ()}
    assert by_name[uuid(9)].schemas == {"d": ("t",)}


def test_what_cannot_be_one_instance_is_said(tmp_path: Path) -> None:
    """A branch id on two models: exit code 2, not a traceback."""
    branch = uuid(5)
    path = tmp_path / "m.yaml"
    path.write_text(manifest_text({"model": "A", "branch": branch}, {"model": "B", "branch": branch}))
    environ = {"OMNI_BASE_URL": "http://127.0.0.1:1", "KEY_1": "k"}
    with pytest.raises(UsageError, match="do not go together"):
        stage(load_manifest(path, environ=environ))


def test_the_guides_example_works(tmp_path: Path) -> None:
    """The scenario of the guide goes with configs/nightly.yaml: each model ends as the guide says, none is unknown to it."""
    guide = (ROOT / "docs/how-to/rehearse-on-the-simulator.md").read_text(encoding="utf-8")
    (scenario,) = re.findall(r"<!-- scenario -->\n```yaml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "nightly.yaml").write_bytes((ROOT / "configs/nightly.yaml").read_bytes())
    (tmp_path / "nightly.scenario.yaml").write_text(scenario, encoding="utf-8")
    manifest = load_manifest(tmp_path / "nightly.yaml", environ={"OMNI_API_TOKEN": "any"})
    done = rehearse(manifest, stage(manifest))
    assert {name: status.value for name, status in done.statuses.items()} == {
        "sales": "succeeded",
        "finance": "unknown",
        "finance-weekly": "unknown",
        "Web Analytics": "succeeded",
        "Marketing@nightly/schema": "rejected",
        "Raw Events": "failed",
        "Old Warehouse": "skipped",
    }
