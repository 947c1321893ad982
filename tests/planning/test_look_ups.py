"""What look-ups cost, and how they join labels, on a simulated instance with many models."""

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.planning.inventory import Needs, make_needs
from orchestrator.simulator.call_log_checks import overlaps
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import connection_id, model_id
from tests.planning.targets import CONNECTIONS, entry
from tests.rehearsal import manifest_text, rehearse, uuid

FAST = {"rate_limit": {"requests": 5000, "per": "60s"}}


def big(shared: int, **more: object) -> Scenario:
    """An instance of many shared models on a tenth as many connections, with twelve times as many workbook models."""
    return make_scenario(
        generate=[
            {"count": shared, "name": "Model {n:05}", "connections": max(1, shared // 10), "duration": 1},
            {"count": 12 * shared, "name": "Workbook {n}", "kind": "WORKBOOK", "connections": max(1, shared // 10)},
        ],
        limit={"kind": "none"},
        **more,
    )


@pytest.mark.parametrize(
    "shared, wanted, most", [(1200, 300, 13), (1200, 10, 10), (1200, 1, 1), (350, 3, 3), (350, 40, 5), (90, 60, 1)]
)
def test_names_cost_pages_or_a_call_each(shared: int, wanted: int, most: int) -> None:
    """Many names cost the pages of shared models; few names at most one call each; workbooks are never paged through."""
    names = [f"Model {1 + n * shared // wanted:05}" for n in range(wanted)]
    run = rehearse(manifest_text(*({"model": name} for name in names), instance=FAST), big(shared))
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    pages = [call for call in run.reads if call.path.endswith("/models")]
    assert len(pages) <= most
    assert {call.query.get("modelKind") for call in pages} == {"SHARED"}


def test_a_mistyped_name_is_helped_by_those_that_there_are() -> None:
    """A name that no model has still gets a hint with near names, for one page."""
    run = rehearse(manifest_text({"model": "Modle 00007", "name": "x"}), big(50))
    assert run.outcome.error is not None
    assert "'Model 00007'" in run.outcome.error.hint
    assert len(run.reads) <= 4


def test_a_label_is_looked_up_only_beside_an_unlabelled_connection() -> None:
    """Labels alone need no look-up; if an entry has no connection, one model of each label is looked up."""
    said = [entry(0, connection="eu"), entry(1, connection="eu"), entry(2, connection="us")]
    assert make_needs(said) == Needs()
    by_id = entry(3, connection=CONNECTIONS[0])
    assert make_needs([*said, by_id, entry(4)]) == Needs(ids=(uuid(4), uuid(0), uuid(2)))
    again = entry(5, model_id=uuid(0))
    assert make_needs([*said, again]) == Needs()
    named = entry(6, model_id=None, model_name="Sales", connection="eu")
    assert make_needs([*said, named]) == Needs(names=("Sales",))


def test_everything_is_looked_up_if_requested() -> None:
    """A check looks up each model, and the branches if any is named, even by id."""
    entries = [entry(0, connection="eu"), entry(1, connection="eu", branch=uuid(9))]
    assert make_needs(entries, everything=True) == Needs(ids=(uuid(0), uuid(1)), branches=True)


@pytest.mark.parametrize("label", ["wh", "any words", connection_id("wh").upper()])
def test_a_label_and_a_connection_that_was_looked_up_are_one_lane(label: str) -> None:
    """A model whose connection is only a label, and one whose connection was looked up: never side by side."""
    staged = make_scenario(
        models=[{"name": name, "connection": "wh", "duration": 30} for name in ("A", "B")], limit={"kind": "none"}
    )
    models = [
        {"id": model_id("A"), "name": "a", "connection": label, "schemas": ["x"]},
        {"id": model_id("B"), "name": "b", "schemas": ["y"]},
    ]
    run = rehearse(manifest_text(*models), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert overlaps(run.calls) == []
    assert run.posts[1].t_s - run.posts[0].t_s >= 30
    assert len(run.reads) == 1


def test_a_connection_that_the_instance_denies_is_reported() -> None:
    """If the manifest has another connection's id than the instance, the instance is right, with a warning."""
    staged = make_scenario(models=[{"name": "A", "connection": "wh"}])
    run = rehearse(manifest_text({"model": "A", "connection": CONNECTIONS[0]}), staged)
    assert run.outcome.connection == connection_id("wh")
    assert any(CONNECTIONS[0] in warning for warning in run.outcome.warnings)
