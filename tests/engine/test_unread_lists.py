"""Names and lists that were not read to their end, and names in another Unicode form: exactly one thing, or nothing is sent."""

import unicodedata
from collections.abc import Mapping, Sequence

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.staging import branch_id, model_id
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

CUT = [
    pytest.param({"status": 403, "message": "no list for you"}, "no list for you", id="403"),
    pytest.param({"status": 404, "message": "no such page"}, "no such page", id="404"),
    pytest.param({"status": 500, "message": "model service down"}, "model service down", id="500"),
    pytest.param({"status": 200, "raw": '{"records": [{"id": "'}, "no JSON", id="cut"),
    pytest.param({"status": 200, "body": {"error": "try later"}}, "try later", id="error-in-a-200"),
    pytest.param(
        {"status": 200, "body": {"records": [], "pageInfo": {"hasNextPage": True}}}, "next page", id="no-cursor"
    ),
    pytest.param(
        {"status": 200, "body": {"records": [], "pageInfo": {"hasNextPage": True, "nextCursor": {"id": 5}}}},
        "next page",
        id="odd-cursor",
    ),
]


def reads_fail(fault: Mapping[str, object], after: int) -> dict[str, object]:
    """Every read of a list of models goes wrong from the one after `after` on."""
    return {"path": "/models$", "nth": list(range(after + 1, 60)), "count": "rule", **fault}


def refusal(run: Rehearsal, name: str) -> str:
    """Why a name did not resolve; its target was not sent."""
    outcome = run.of(name)
    assert outcome.error is not None
    assert (outcome.status, outcome.error.kind, outcome.attempts) == (Status.REJECTED, "unresolved", 0)
    return outcome.error.message


@pytest.mark.parametrize("fault, words", CUT)
def test_a_name_does_not_resolve_if_a_later_page_is_not_read(fault: Mapping[str, object], words: str) -> None:
    """A name on the first page may be on the next one as well: it is refused with the server's words; ids are sent."""
    names = [f"M{n}" for n in range(20)]
    listed = [{"name": name, "duration": 1} for name in (*names, *(f"N{n}" for n in range(200)), "M0")]
    listed[-1]["id"] = uuid(1)
    staged = make_scenario(
        models=listed, default_model={"duration": 1}, limit={"kind": "none"}, faults=[reads_fail(fault, 1)]
    )
    run = rehearse(manifest_text(*({"model": n} for n in names), model(2), model(3, connection=None)), staged)
    for name in names:
        assert words in refusal(run, name)
    assert [run.statuses[name] for name in ("m2", "m3")] == [Status.SUCCEEDED] * 2
    assert len(run.posts) == 2


@pytest.mark.parametrize("fault, words", CUT)
def test_a_single_name_does_not_resolve_if_its_pages_are_not_read(fault: Mapping[str, object], words: str) -> None:
    """A look-up by name that shows one model and cannot be read to its end does not resolve; another name does."""
    first = {
        "records": [{"id": uuid(1), "name": "Sales", "modelKind": "SHARED"}],
        "pageInfo": {"hasNextPage": True, "nextCursor": "2"},
    }
    faults = [{"path": "/models$", "nth": [1], "status": 200, "body": first}, reads_fail(fault, 1)]
    run = rehearse(manifest_text({"model": "Sales"}), make_scenario(default_model={"duration": 1}, faults=faults))
    assert words in refusal(run, "Sales")
    assert run.posts == []


def test_pages_that_never_end_do_not_settle_a_name() -> None:
    """A list whose pages repeat is not read to its end."""
    page = {
        "records": [{"id": uuid(1), "name": "Sales", "modelKind": "SHARED"}],
        "pageInfo": {"hasNextPage": True, "nextCursor": "same"},
    }
    staged = make_scenario(
        default_model={"duration": 1}, faults=[{"path": "/models$", "always": True, "status": 200, "body": page}]
    )
    run = rehearse(manifest_text({"model": "Sales"}), staged)
    assert "do not end" in refusal(run, "Sales")
    assert len(run.calls) < 5


def test_one_unread_answer_costs_only_the_names_that_need_it() -> None:
    """Names that another answer settled, branches of models given by id, and ids are not touched by a list that fails."""
    staged = make_scenario(
        connections=[{"name": "wh", "branch_based": True}],
        models=[
            *({"name": f"M{n}", "duration": 1} for n in range(12)),
            {"id": uuid(1), "connection": "wh", "duration": 1, "branches": ["nightly"]},
        ],
        # the shared models are one page; the next kind, which a missing name needs, cannot be read
        faults=[{"path": "/models$", "nth": [2], "status": 403, "message": "not that kind"}],
    )
    wanted = [{"model": name} for name in (*(f"M{n}" for n in range(12)), "Extension")]
    run = rehearse(manifest_text(*wanted, model(1, branch="nightly")), staged)
    assert "not that kind" in refusal(run, "Extension")
    assert {status for name, status in run.statuses.items() if name != "Extension"} == {Status.SUCCEEDED}


@pytest.mark.parametrize("fault, words", CUT)
def test_a_branch_does_not_resolve_if_its_list_is_not_read(fault: Mapping[str, object], words: str) -> None:
    """A branch that is seen on the first page of a list that breaks off is refused; the shared model is never sent instead."""
    shown = {"records": [{"id": uuid(1), "name": "M1", "modelKind": "SHARED"}]}
    branch = {"id": uuid(7), "name": "nightly", "modelKind": "BRANCH", "baseModelId": uuid(1)}
    first = {"records": [branch], "pageInfo": {"hasNextPage": True, "nextCursor": "2"}}
    faults = [
        {"path": "/models$", "nth": [1], "status": 200, "body": shown},
        {"path": "/models$", "nth": [2], "status": 200, "body": first},
        reads_fail(fault, 2),
    ]
    staged = make_scenario(default_model={"duration": 1}, faults=faults)
    run = rehearse(manifest_text(model(1, branch="nightly"), model(2)), staged)
    assert words in refusal(run, "m1")
    assert run.statuses["m2"] is Status.SUCCEEDED


COMPOSED = "Café Größe"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize("filler", [0, 12])
@pytest.mark.parametrize("written, stored", [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_a_name_in_another_unicode_form_is_the_same_name(written: str, stored: str, filler: int) -> None:
    """A model and a branch are found if their names differ from the manifest's in the Unicode form alone."""
    others = [f"M{n}" for n in range(filler)]
    staged = make_scenario(
        connections=[{"name": "wh", "branch_based": True}],
        models=[
            {"id": uuid(1), "name": stored, "connection": "wh", "duration": 1, "branches": [stored]},
            *({"name": name, "duration": 1} for name in others),
        ],
    )
    entries = [{"model": written, "branch": written}, *({"model": name} for name in others)]
    run = rehearse(manifest_text(*entries), staged)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert run.outcomes[0].branch_id == branch_id(uuid(1), stored)


@pytest.mark.parametrize(
    "stored, found",
    [
        ([COMPOSED, DECOMPOSED], 0),
        ([DECOMPOSED, COMPOSED], 1),
        ([DECOMPOSED, "Cafe\u0301 Größe"], None),
    ],
)
def test_an_exact_name_goes_before_its_other_forms(stored: Sequence[str], found: int | None) -> None:
    """Of two models whose names look the same, the one that is written exactly so is meant; if none is, neither is."""
    models = [{"id": uuid(n), "name": name, "duration": 1} for n, name in enumerate(stored, 1)]
    others = [{"name": f"M{n}", "duration": 1} for n in range(12)]
    run = rehearse(
        manifest_text({"model": COMPOSED, "name": "x"}, *({"model": o["name"]} for o in others)),
        make_scenario(models=[*models, *others]),
    )
    if found is None:
        assert "2 models" in refusal(run, "x")
    else:
        assert run.of("x").model_id == uuid(found + 1)


def test_letters_that_only_look_the_same_are_another_name() -> None:
    """Compatible characters are no canonical equals: they name something else."""
    run = rehearse(manifest_text({"model": "ﬁnance"}), make_scenario(models=[{"name": "finance"}]))
    refusal(run, "ﬁnance")
    assert model_id("finance") not in {post.path for post in run.posts}
