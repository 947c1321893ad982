"""Look-ups before the first refresh: as few calls as can be, names exact, nothing guessed."""

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.staging import branch_id, connection_id, model_id
from tests.rehearsal import manifest_text, model, rehearse, uuid


def named(model_name: str, **keys: object) -> dict[str, object]:
    """An entry that is given by the model's name in Omni."""
    return {"model": model_name, **keys}


def listed(*names: str, **keys: object) -> list[dict[str, object]]:
    """Models of a scenario by their names; each has a connection of its own."""
    return [{"name": name, "duration": 3, **keys} for name in names]


def test_nothing_is_looked_up_that_is_not_needed() -> None:
    """Entries that say id and connection, and a branch by its id, cost no look-up."""
    text = manifest_text(model(1), model(2, branch=uuid(77)), model(3, enabled=False, connection=None))
    assert rehearse(text, make_scenario(default_model={"duration": 2})).reads == []


def test_one_name_is_one_call() -> None:
    """A single name is asked for by name, exactly, and its connection is known from the same answer."""
    run = rehearse(
        manifest_text(named("Quarterly Finance")), make_scenario(models=listed("Quarterly Finance", "Other"))
    )
    (read,) = run.reads
    assert read.query["name"] == "Quarterly Finance"
    assert read.query["modelKind"] == "SHARED"
    assert run.outcome.status is Status.SUCCEEDED
    assert run.outcome.model_id == model_id("Quarterly Finance")
    assert run.outcome.connection == connection_id(f"of model {run.outcome.model_id}")


@pytest.mark.parametrize(
    "listed_count, wanted, calls",
    [(5, 5, 1), (100, 40, 1), (101, 60, 2), (350, 350, 4), (3000, 2, 3), (3000, 3, 4)],
)
def test_pages_or_single_calls_whichever_is_fewer(listed_count: int, wanted: int, calls: int) -> None:
    """Pages of 100 where many are wanted; a call for each, after the first page, where that is fewer."""
    generate = [{"count": listed_count, "name": "Model {n:05}", "duration": 1}]
    places = [(n + 1) * listed_count // wanted for n in range(wanted)]
    models = [{"id": model_id(f"Model {place:05}"), "name": f"m{place}"} for place in places]
    run = rehearse(
        manifest_text(*models, instance={"rate_limit": {"requests": 2000, "per": "60s"}}),
        make_scenario(generate=generate, limit={"kind": "none"}),
    )
    pages = [c for c in run.reads if c.path.endswith("/models")]
    assert len(pages) == calls
    assert {c.query.get("pageSize") for c in pages} == {"100"}
    # one call tells whether one of the connections is an environment of another
    assert len(run.reads) == calls + 1
    assert all(o.connection for o in run.outcomes)


def test_other_kinds_come_in_pages_as_well() -> None:
    """Three hundred schema models by id are a few pages, not three hundred calls."""
    names = [f"S{n}" for n in range(300)]
    models = [{"id": model_id(name), "name": name} for name in names]
    staged = make_scenario(models=listed(*names, kind="SCHEMA"), limit={"kind": "none"})
    run = rehearse(manifest_text(*models, instance={"rate_limit": {"requests": 2000, "per": "60s"}}), staged)
    assert len(run.reads) <= 6
    assert set(run.statuses.values()) == {Status.SUCCEEDED}


@pytest.mark.parametrize("kind", ["SHARED", "SHARED_EXTENSION", "SCHEMA"])
@pytest.mark.parametrize("others", [0, 1])
def test_a_name_is_found_among_the_kinds_that_are_refreshed(kind: str, others: int) -> None:
    """Shared models, extensions and schema models are found by name; a workbook of that name is none."""
    staged = make_scenario(
        models=[*listed("Sales", kind=kind), *listed("Else"), {"name": "Sales", "kind": "WORKBOOK", "id": uuid(5)}]
    )
    run = rehearse(manifest_text(named("Sales"), *[named("Else")] * others), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert run.of("Sales").model_id == model_id("Sales")


def test_a_shared_model_goes_before_its_extension() -> None:
    """Where a shared model and a schema model have one name, the shared one is meant."""
    staged = make_scenario(
        models=[{"name": "Sales", "kind": "SCHEMA", "id": uuid(1)}, {"name": "Sales", "id": uuid(2), "duration": 1}]
    )
    assert rehearse(manifest_text(named("Sales")), staged).outcome.model_id == uuid(2)


@pytest.mark.parametrize("names", ["exact", "contains"])
def test_names_match_exactly(names: str) -> None:
    """Letter case, blanks and parts of a name are other names, whatever the server's filter lets through; the hint is near."""
    staged = make_scenario(models=listed("Sales EMEA", "sales", "Sales (old)"), answers={"names": names})
    run = rehearse(
        manifest_text(named("Sales"), model(9)),
        make_scenario(**staged.model_dump(by_alias=True, exclude_unset=True), default_model={}),
    )
    outcome = run.of("Sales")
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind) == (Status.REJECTED, "unresolved")
    assert "'sales'" in outcome.error.hint
    assert run.of("m9").status is Status.SUCCEEDED
    assert len(run.posts) == 1


@pytest.mark.parametrize("others", [0, 1])
def test_a_name_that_two_models_have_is_refused(others: int) -> None:
    """Two models of one name: `rejected`, nothing sent, and what to do; the other targets go on."""
    twice = [{"name": "Sales", "id": uuid(n)} for n in (1, 2)]
    run = rehearse(
        manifest_text(named("Sales"), *[named("Else")] * others), make_scenario(models=[*twice, *listed("Else")])
    )
    outcome = run.of("Sales")
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind) == (Status.REJECTED, "unresolved")
    assert outcome.error.message.startswith("2 models")
    assert len(run.posts) == others


def test_a_namesake_on_a_later_page_is_seen() -> None:
    """A name that the first of thirty pages shows is not taken as the only one: it is asked for by name."""
    staged = make_scenario(
        models=[
            {"name": "Sales", "id": uuid(1)},
            {"name": "Other", "id": uuid(3)},
            *listed(*[f"M{n}" for n in range(2990)]),
            {"name": "Sales", "id": uuid(2)},
        ],
        limit={"kind": "none"},
    )
    run = rehearse(manifest_text(named("Sales"), named("Other")), staged)
    assert run.statuses["Sales"] is Status.REJECTED
    assert run.statuses["Other"] is Status.SUCCEEDED
    assert len(run.reads) <= 4


def test_deleted_models_are_not_found() -> None:
    """A model in the trash is no model of that name."""
    run = rehearse(manifest_text(named("Sales")), make_scenario(models=listed("Sales", deleted=True)))
    assert (run.outcome.status, run.posts) == (Status.REJECTED, [])


def test_branches_by_name() -> None:
    """A branch is found by its exact name; a near one is only a hint; no branch is dropped or taken for the shared model."""
    staged = make_scenario(
        connections=[{"name": "wh", "branch_based": True}],
        models=listed("Sales", connection="wh", branches=["feat/ui", "feat/ui#123", "nightly"]),
    )
    text = manifest_text(
        named("Sales", name="a", branch="feat/ui#123"),
        named("Sales", name="b", branch="feat/u"),
        named("Sales", name="c", branch="nightly"),
    )
    run = rehearse(text, staged)
    assert [o.status for o in run.outcomes] == [Status.SUCCEEDED, Status.REJECTED, Status.SUCCEEDED]
    assert {call.query["branch_id"] for call in run.posts} == {
        branch_id(model_id("Sales"), "feat/ui#123"), branch_id(model_id("Sales"), "nightly"),
    }  # fmt: skip
    refused = run.of("b").error
    assert refused is not None
    assert "'feat/ui'" in refused.hint
    assert run.of("a").branch_id == branch_id(model_id("Sales"), "feat/ui#123")
    assert len(run.reads) == 1


def test_branches_where_the_list_does_not_show_them() -> None:
    """A server that leaves branches out of its list is asked for them by name, once for each, and all if need be."""
    staged = make_scenario(
        connections=[{"name": "wh", "branch_based": True}],
        models=listed("Sales", connection="wh", branches=["one", "two", "three"]),
        faults=[
            {
                "path": "/models$",
                "nth": [1],
                "status": 200,
                "body": {"records": [{"id": model_id("Sales"), "name": "Sales", "modelKind": "SHARED"}]},
            }
        ],
    )
    text = manifest_text(
        named("Sales", name="a", branch="one"),
        named("Sales", name="b", branch="two"),
        named("Sales", name="c", branch="fort"),
    )
    run = rehearse(text, staged)
    assert [o.status for o in run.outcomes] == [Status.SUCCEEDED, Status.SUCCEEDED, Status.REJECTED]
    assert {call.query["branch_id"] for call in run.posts} == {branch_id(model_id("Sales"), b) for b in ("one", "two")}
    assert len(run.reads) <= 5


def test_branches_of_a_model_that_cannot_be_found() -> None:
    """A branch by name of a model id that the instance does not list cannot be resolved: `rejected`, nothing sent."""
    run = rehearse(manifest_text(model(1, branch="nightly")), make_scenario(default_model={}))
    assert (run.outcome.status, run.posts) == (Status.REJECTED, [])
    assert run.outcome.error is not None
    assert run.outcome.error.kind == "unresolved"


def test_a_model_given_by_id_is_never_refused_by_a_look_up() -> None:
    """An id that no list shows is still sent, in a lane of its own and with one warning; the server decides."""
    run = rehearse(
        manifest_text(model(1, connection=None), model(2, connection=None)),
        make_scenario(default_model={"duration": 3}),
    )
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    for outcome in run.outcomes:
        assert sum("connection" in warning for warning in outcome.warnings) == 1
        assert outcome.connection is None
    assert run.posts[1].t_s - run.posts[0].t_s < 1


@pytest.mark.parametrize(
    "fault", [{"status": 403}, {"status": 500}, {"drop": "reset"}, {"status": 200, "raw": "<html>"}]
)
def test_a_look_up_that_fails_ends_only_what_needs_it(fault: dict[str, object]) -> None:
    """Names that cannot be looked up are `rejected` and say why; models by id are still sent."""
    staged = make_scenario(default_model={"duration": 3}, faults=[{"path": "/models$", "always": True, **fault}])
    run = rehearse(manifest_text(named("Sales"), model(1, connection=None), model(2)), staged)
    assert run.of("Sales").status is Status.REJECTED
    error = run.of("Sales").error
    assert error is not None
    assert "Sales" in error.message
    assert [run.of(n).status for n in ("m1", "m2")] == [Status.SUCCEEDED] * 2
    assert len(run.reads) <= 4


def test_one_refused_look_up_costs_no_other_name() -> None:
    """A look-up of one model that the server refuses leaves the others to be found."""
    staged = make_scenario(
        models=listed("Sales", "Costs"), default_model={"duration": 3}, generate=[{"count": 900}], limit={"kind": "none"},
        faults=[{"path": "/models$", "nth": [2], "status": 400}],
    )  # fmt: skip
    run = rehearse(manifest_text(model(1, connection=None), named("Sales"), named("Costs")), staged)
    assert run.statuses["m1"] is Status.SUCCEEDED
    assert Status.SUCCEEDED in (run.statuses["Sales"], run.statuses["Costs"])


def test_a_look_up_is_tried_again() -> None:
    """A cut or a 5xx of a read costs nothing but time."""
    staged = make_scenario(models=listed("Sales"), faults=[{"path": "/models$", "nth": [1, 3], "status": 502}])
    run = rehearse(manifest_text(named("Sales")), staged)
    assert (run.outcome.status, len(run.reads)) == (Status.SUCCEEDED, 2)


PAGE: dict[str, object] = {"records": [{"id": uuid(1), "name": "x", "modelKind": "SHARED"}]}


@pytest.mark.parametrize("cursor", ["same", "again"])
def test_endless_pages_come_to_an_end(cursor: str) -> None:
    """A server whose pages never end, or that shows one page for ever, is left after a few calls."""
    info = {"hasNextPage": True, "nextCursor": cursor, "totalRecords": 10**9}
    faults: list[dict[str, object]] = [
        {
            "path": "/models$",
            "nth": [n],
            "status": 200,
            "body": {**PAGE, "pageInfo": {**info, "nextCursor": f"{cursor}{n if cursor == 'again' else ''}"}},
        }
        for n in range(1, 60)
    ]
    run = rehearse(manifest_text(named("Sales"), named("Else")), make_scenario(faults=faults))
    assert set(run.statuses.values()) == {Status.REJECTED}
    assert len(run.reads) <= 20


def test_answers_win_over_labels() -> None:
    """Two labels of one connection are one lane as soon as the instance shows it; a label on two connections is an error."""
    staged = make_scenario(models=[*listed("A", "B", connection="wh"), *listed("C", connection="other")])
    one = rehearse(manifest_text(named("A", connection="x"), named("B", connection="y")), staged)
    assert [o.covered_by for o in one.outcomes] == [None, "A"]
    assert {o.connection for o in one.outcomes} == {connection_id("wh")}
    two = rehearse(manifest_text(named("A", connection="x"), named("C", connection="x"), named("B")), staged)
    assert [o.status for o in two.outcomes] == [Status.REJECTED, Status.REJECTED, Status.SUCCEEDED]
    assert two.outcomes[0].error is not None
    assert two.outcomes[0].error.kind == "unresolved"
    assert "two connections" in two.outcomes[0].error.message


def test_look_ups_are_paid_and_go_first() -> None:
    """Look-ups count in `requests`, and no refresh leaves before them."""
    run = rehearse(
        manifest_text(named("A"), named("B"), model(1)),
        make_scenario(models=listed("A", "B"), default_model={"duration": 2}),
    )
    assert run.calls[0].method == "GET"
    assert run.result.stats.requests == len(run.calls)


@pytest.mark.parametrize("status", [403, 400])
def test_branches_that_may_not_be_read(status: int) -> None:
    """Where a model's branches cannot be read, a branch by name is `rejected` and says why; one by id is sent."""
    shown = {"records": [{"id": uuid(n), "name": f"M{n}", "modelKind": "SHARED"} for n in (1, 2)]}
    staged = make_scenario(
        connections=[{"name": "wh", "branch_based": True}],
        models=[{"id": uuid(n), "connection": "wh", "duration": 1, "branches": ["one", "two"]} for n in (1, 2)],
        faults=[
            {"path": "/models$", "nth": [1], "status": 200, "body": shown},
            {"path": "/models$", "nth": [2, 3], "status": status, "message": "no branches for you"},
        ],
    )
    by_id = branch_id(uuid(2), "two")
    run = rehearse(manifest_text(model(1, branch="one"), model(2, branch=by_id, connection=None)), staged)
    refused = run.of("m1").error
    assert refused is not None
    assert (run.of("m1").status, refused.kind) == (Status.REJECTED, "unresolved")
    assert "no branches for you" in refused.message
    assert run.of("m2").status is Status.SUCCEEDED
