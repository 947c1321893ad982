"""What an instance has, as a manifest, and against one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.outcome import Status
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import ApiKey, Instance, KeySource, Manifest, Mode, RateLimit
from orchestrator.omni.answers import ConnectionRecord, ModelRecord
from orchestrator.planning.inventory import Inventory, make_needs
from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import connection_id, model_id
from orchestrator.survey.manifest_text import quote, render_manifest
from orchestrator.survey.model_listing import (
    CannotTell,
    Difference,
    ModelFilter,
    ModelListing,
    find_difference,
    list_models,
)
from orchestrator.survey.survey import Survey
from tests.rehearsal import ENVIRON, manifest_text, model, read_manifest, rehearse, uuid
from tests.survey.instance import survey

AT = datetime(2026, 11, 25, tzinfo=UTC)
INSTANCE = Instance(
    name="prod", base_url="https://blobsrus.omniapp.co", keys=(ApiKey(source=KeySource(text="${KEY_1}")),)
)
STAGED = make_scenario(
    connections=[{"name": "eu", "dialect": "bigquery"}, {"name": "us"}],
    models=[
        {"name": "Sales", "connection": "us", "branches": ["nightly/schema", "b"]},
        {"name": "Finance", "connection": "eu"},
        {"name": "Ext", "connection": "eu", "kind": "SHARED_EXTENSION"},
        {"name": "Layer", "connection": "eu", "kind": "SCHEMA"},
        {"name": "Book", "connection": "eu", "kind": "WORKBOOK"},
        {"name": "Trash", "connection": "eu", "deleted": True},
    ],
)
BARE = read_manifest(manifest_text(model(1)))


def stock(wanted: ModelFilter | None = None, staged: Scenario = STAGED) -> tuple[ModelListing, Sequence[Call]]:
    """What the instance has, and the calls that telling it took."""
    return survey(BARE, staged, lambda opened: list_models(opened, "sim", wanted or ModelFilter()))


def written(of: ModelListing, instance: Instance = INSTANCE) -> Manifest:
    """What is written, read again."""
    return make_manifest(render_manifest(of, instance, at=AT), path="m.yaml", environ=ENVIRON)


def test_shared_models_by_connection() -> None:
    """Shared models alone, sorted by connection and name; one page, one call for the connections, one for their environments."""
    found, calls = stock()
    assert [m.name for m in found.models] == ["Finance", "Sales"]
    assert [call.path.rpartition("/")[2] for call in calls] == ["models", "connections", "connection-environments"]
    entries = written(found).entries
    assert [(e.name, e.model_id, e.connection, e.mode) for e in entries] == [
        ("Finance", model_id("Finance"), "eu", Mode.SOFT),
        ("Sales", model_id("Sales"), "us", Mode.SOFT),
    ]
    assert make_needs(entries).count == 0


def test_comments_say_the_rest() -> None:
    """Connections with their dialect and id, models that share one, branches ready to be used, and how to go on."""
    text = render_manifest(stock(ModelFilter(kinds=("SHARED", "SHARED_EXTENSION")))[0], INSTANCE, at=AT)
    assert "2026-11-25: 3 models on 2 connections." in text
    assert f"# eu (bigquery, analytics, {connection_id('eu')}): 2 models, " in text
    assert f"# us (snowflake, analytics, {connection_id('us')}): 1 model\n" in text
    assert "# branch: nightly/schema" in text
    assert "# kind: SHARED_EXTENSION" in text
    used = make_manifest(text.replace("# branch: nightly/schema", "branch: nightly/schema"), path="m", environ=ENVIRON)
    assert [e.branch for e in used.entries] == [None, None, "nightly/schema"]


@pytest.mark.parametrize(
    "wanted, names",
    [
        (ModelFilter(connections=("eu",)), ["Finance"]),
        (ModelFilter(connections=(connection_id("us").upper(),)), ["Sales"]),
        (ModelFilter(connections=("eu", "us"), names=("S*",)), ["Sales"]),
        (ModelFilter(names=("*a*e*", "F?nance")), ["Finance", "Sales"]),
        (ModelFilter(names=("sales",)), []),
        (ModelFilter(kinds=("SHARED_EXTENSION",)), ["Ext"]),
        (ModelFilter(kinds=("SCHEMA", "SHARED")), ["Finance", "Layer", "Sales"]),
        (ModelFilter(connections=("nowhere",)), []),
    ],
)
def test_filters(wanted: ModelFilter, names: list[str]) -> None:
    """By connection (name or id), by globs over names, by kind: all of them must hold, any of each may."""
    assert [m.name for m in stock(wanted)[0].models] == names


def test_workbooks_are_never_read() -> None:
    """However many there are, only pages of the wanted kinds are asked for."""
    staged = make_scenario(
        generate=[
            {"count": 250, "name": "M {n}", "connections": 20},
            {"count": 2000, "name": "W {n}", "kind": "WORKBOOK"},
        ],
        limit={"kind": "none"},
    )
    found, calls = stock(staged=staged)
    assert len(found.models) == 250
    assert len(calls) == 5
    assert written(found).instances["prod"].base_url == INSTANCE.base_url


def test_a_key_that_may_not_list_connections() -> None:
    """Then connections are their ids, and everything else is as ever."""
    found, _ = stock(staged=STAGED.model_copy(update={"faults": make_scenario(faults=[
        {"path": "/connections$", "always": True, "status": 403}]).faults}))  # fmt: skip
    assert [e.connection for e in written(found).entries] == sorted([connection_id("eu"), connection_id("us")])


@pytest.mark.parametrize(
    "change, words, refused",
    [
        ({"keys": ["another"]}, "it refused every key", True),
        ({"faults": [{"path": "/models$", "always": True, "status": 403}]}, "could not be read", False),
        (
            {"faults": [{"path": "/models$", "always": True, "status": 200, "body": {
                "records": [{"id": uuid(1), "modelKind": "SHARED"}], "pageInfo": {"hasNextPage": True, "nextCursor": "x"}}}]},
            "do not end", False,
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_known(change: dict[str, object], words: str, refused: bool) -> None:
    """Half of an instance is no manifest: a list that could not be read to its end is an error that says why."""
    with pytest.raises(CannotTell, match=words) as caught:
        stock(staged=make_scenario(**change))
    assert caught.value.refused is refused


def test_a_discovered_manifest_runs() -> None:
    """What is written runs as it stands, without any look-up."""
    found, _ = stock()
    loaded = written(found, replace(INSTANCE, name="sim"))
    run = rehearse(loaded, STAGED)
    assert set(run.statuses.values()) == {Status.SUCCEEDED}
    assert run.reads == []


def test_the_instance_is_written_as_it_is() -> None:
    """Several keys, key files, limits and certificates of an instance are taken over, keys as their variables."""
    ca_file = Path("c a.pem")
    files = (ApiKey(source=KeySource(file=Path("keys", "o mni"))),)
    instance = replace(
        INSTANCE,
        keys=(*INSTANCE.keys, ApiKey(source=KeySource(text="${KEY_2}")), *files),
        rate_limit=RateLimit(requests=500, per_s=90.0),
        ca_file=ca_file,
    )
    line = '    ca_file: "c a.pem"\n'
    text = render_manifest(stock()[0], instance, at=AT)
    assert line in text
    loaded = make_manifest(text.replace(line, ""), path="m.yaml", environ={}, with_keys=False)
    made = loaded.instances["prod"]
    assert [key.source.text for key in made.keys] == ["${KEY_1}", "${KEY_2}", None]
    assert made.keys[2].source.file is not None
    assert made.keys[2].source.file.name == "o mni"
    assert made.rate_limit == instance.rate_limit


NAMES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["no", "on", "2024_01", "1e3", "12:30", "a: b", "# x", "- x", "${X}", "$$", "~", "a" * 600]),
)


@given(names=st.lists(NAMES, min_size=1, max_size=8), connections=st.lists(NAMES, min_size=1, max_size=3))
def test_whatever_models_are_called_the_manifest_is_right(names: list[str], connections: list[str]) -> None:
    """Any names of models, branches and connections give a manifest that loads, with each model once, by its id."""
    models = tuple(
        ModelRecord(
            id=uuid(number), name=name or None, kind="SHARED", connection_id=uuid(100 + number % len(connections)),
            base_model_id=None, deleted=False,
        )
        for number, name in enumerate(names)
    )  # fmt: skip
    listed = {
        uuid(100 + n): ConnectionRecord(id=uuid(100 + n), name=name or None) for n, name in enumerate(connections)
    }
    inventory = Inventory(branches={uuid(0): tuple((uuid(200 + n), name) for n, name in enumerate(names))})
    loaded = written(ModelListing(models=models, inventory=inventory, connections=listed))
    assert sorted(e.model_id or "" for e in loaded.entries) == [m.id for m in models]
    for entry in loaded.entries:
        name = names[int((entry.model_id or "")[-3:], 16)]
        assert entry.name.startswith(name) or entry.name == entry.model_id
    assert all(e.connection for e in loaded.entries)


@given(text=st.text(min_size=1, max_size=30).filter(lambda t: t.strip() != ""))
def test_a_quoted_text_is_read_back(text: str) -> None:
    """Whatever a name holds that a manifest may hold, it is read back exactly."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    loaded = make_manifest(f"models: [{{id: {uuid(1)}, name: {quote(text)}}}]", path="m", environ={}, with_keys=False)
    assert loaded.entries[0].name == text


def difference(*models: dict[str, object], wanted: ModelFilter | None = None) -> tuple[Difference, Sequence[Call]]:
    """A manifest of these models against the instance."""
    loaded = read_manifest(manifest_text(*models))

    async def work(opened: Survey) -> Difference:
        return await find_difference(opened, loaded, "sim", await list_models(opened, "sim", wanted or ModelFilter()))

    return survey(loaded, STAGED, work)


def test_new_and_gone() -> None:
    """Models that no entry names are new; entries whose model is not there, or in the trash, are gone."""
    found, calls = difference({"model": "Sales"}, {"id": uuid(7), "name": "x"}, {"model": "Nowhere", "enabled": False})
    assert [m.name for m in found.new] == ["Finance"]
    assert [e.name for e in found.gone] == ["x", "Nowhere"]
    assert found
    assert {call.method for call in calls} == {"GET"}


def test_no_difference() -> None:
    """By id or by name, on a branch or twice: each model is known; models of other kinds are asked for, and not gone."""
    found, calls = difference(
        {"id": model_id("Sales"), "name": "s"},
        {"id": model_id("Sales"), "name": "s2", "branch": "b"},
        {"model": "Finance"},
        {"model": "Layer"},
        {"id": model_id("Ext"), "name": "e"},
    )
    assert not found
    assert len(calls) <= 7


def test_filters_narrow_what_is_new() -> None:
    """What is not wanted is not new; what is gone is gone, whatever is wanted."""
    found, _ = difference({"model": "Nowhere"}, wanted=ModelFilter(connections=("us",)))
    assert [m.name for m in found.new] == ["Sales"]
    assert [e.name for e in found.gone] == ["Nowhere"]


def test_a_model_that_could_not_be_looked_up_is_not_gone() -> None:
    """Where the instance does not answer for an entry, nothing is claimed of it."""
    loaded = read_manifest(manifest_text({"id": uuid(7), "name": "x"}))
    faults = make_scenario(faults=[{"path": "/models$", "nth": [2], "status": 403}]).faults

    async def work(opened: Survey) -> Difference:
        return await find_difference(opened, loaded, "sim", await list_models(opened, "sim", ModelFilter()))

    with pytest.raises(CannotTell, match="could not be looked up"):
        survey(loaded, STAGED.model_copy(update={"faults": faults}), work)


def test_connection_environments_are_comments() -> None:
    """An environment's schema model is a commented entry, which runs in the lane of its base; without the right to list them: nothing."""
    staged = make_scenario(
        connections=[{"name": "eu"}, {"name": "staging"}],
        environments=[{"base": "eu", "connection": "staging", "values": ["stg"]}],
        models=[
            {"name": "Sales", "connection": "eu"},
            {"name": "Layer", "connection": "staging", "kind": "SCHEMA"},
        ],
    )
    listing, _ = stock(staged=staged)
    text = render_manifest(listing, INSTANCE, at=AT)
    assert ": staging" in text
    assert len(written(listing).entries) == 1
    uncommented = text.replace("  # - id", "  - id").replace("  #   ", "    ")
    loaded = make_manifest(uncommented, path="m.yaml", environ=ENVIRON)
    assert [(e.model_id, e.connection) for e in loaded.entries] == [
        (model_id("Sales"), "eu"),
        (model_id("Layer"), None),
    ]
    # the base's label is looked up as well, and then the environments
    run = rehearse(replace(loaded, instances={"prod": replace(INSTANCE, keys=BARE.instances["sim"].keys)}), staged)
    assert [o.covered_by for o in run.outcomes] == [None, None]
    assert run.posts[1].t_s - run.posts[0].t_s >= 8
    forbidden = staged.model_copy(
        update={"faults": make_scenario(faults=[{"path": "environments", "always": True, "status": 403}]).faults}
    )
    listing, _ = stock(staged=forbidden)
    assert listing.environments == {}
    assert [m.name for m in listing.models] == ["Sales"]
