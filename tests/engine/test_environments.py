"""Connection environments: connections that stand in for another one share its lane."""

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.journal.connections import names_of
from orchestrator.planning.inventory import Inventory
from orchestrator.planning.make_plan import make_plan
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import connection_id
from tests.planning.targets import CONNECTIONS, entry, manifest, record
from tests.rehearsal import Rehearsal, manifest_text, rehearse, uuid

ENTRIES = [{"model": "Sales"}, {"model": "Layer"}, {"model": "Other"}]


def scenario(**more: object) -> Scenario:
    """A base with a shared model, its environment with a schema model, and a connection that has nothing to do with them."""
    models = [
        {"name": "Sales", "connection": "base", "duration": 10},
        {"name": "Layer", "connection": "staging", "kind": "SCHEMA", "duration": 10},
        {"name": "Other", "connection": "other", "duration": 10},
    ]
    return make_scenario(
        connections=[{"name": "base"}, {"name": "staging"}, {"name": "other"}],
        environments=[{"base": "base", "connection": "staging", "values": ["stg"]}],
        models=models,
        **more,
    )


def moments(run: Rehearsal) -> dict[str, float]:
    """When each target's refresh left, in seconds since the first."""
    first = run.posts[0].t_s
    return {str(call.connection_id): round(call.t_s - first) for call in run.posts}


def test_an_environment_and_its_base_do_not_overlap() -> None:
    """A refresh of the base may work on the environment, so one follows the other, and neither covers the other."""
    run = rehearse(manifest_text(*ENTRIES), scenario())
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    sent = moments(run)
    assert sent[connection_id("staging")] >= 10
    assert sent[connection_id("other")] < 5
    assert [c.path for c in run.reads].count("/api/v1/connection-environments") == 1
    assert run.of("Layer").connection == connection_id("staging")
    assert [o.covered_by for o in run.outcomes] == [None, None, None]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_list_that_cannot_be_read_is_no_error(status: int) -> None:
    """The list is for administrators: without it each connection has its own lane, and nothing fails."""
    fault = {"path": "connection-environments", "always": True, "status": status}
    run = rehearse(manifest_text(*ENTRIES), scenario(faults=[fault]))
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert all(o.warnings == () for o in run.outcomes)


def test_one_connection_needs_no_list() -> None:
    """If all targets are on one connection, the list could change nothing and is not read."""
    run = rehearse(manifest_text(ENTRIES[0]), scenario())
    assert not [c for c in run.reads if "environments" in c.path]


def test_environments_of_environments_are_one_lane() -> None:
    """Chains, and an environment of two bases, end in one lane. A label on a base and on its environment is still an error."""
    entries = [entry(n) for n in range(5)]
    records = {uuid(n): record(uuid(n), CONNECTIONS[n]) for n in range(5)}
    pairs = ((CONNECTIONS[2], CONNECTIONS[1]), (CONNECTIONS[0], CONNECTIONS[1]), (CONNECTIONS[1], CONNECTIONS[3]))
    made = make_plan(manifest(*entries), entries, {"sim": Inventory(records=records, environments=pairs)})
    assert made.unresolved == ()
    assert [[t.entry.index for t in lane.targets] for lane in made.lanes] == [[0, 1, 2, 3], [4]]
    assert [t.connection for t in made.lanes[0].targets] == CONNECTIONS[:4]
    entries = [entry(n, connection="wh") for n in range(2)]
    made = make_plan(manifest(*entries), entries, {"sim": Inventory(records=records, environments=pairs)})
    assert [u.entry.index for u in made.unresolved] == [0, 1]


def test_a_lock_of_a_base_holds_for_its_environment() -> None:
    """The lanes of two runs meet if one refreshes a connection and the other one its environment."""
    entries = [entry(0), entry(1)]
    records = {uuid(n): record(uuid(n), CONNECTIONS[n]) for n in range(2)}
    inventory = Inventory(records=records, environments=((CONNECTIONS[0], CONNECTIONS[1]),))
    base, environment = (
        make_plan(manifest(*entries), [one], {"sim": inventory}).lanes[0].targets[0] for one in entries
    )
    assert names_of([base]).held & names_of([environment]).checked
    assert names_of([environment]).held & names_of([base]).checked
