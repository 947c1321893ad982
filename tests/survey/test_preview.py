"""What a plan shows before anything is sent, compared with what a run then does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.log.redaction import Redactor
from orchestrator.manifest.manifest import Secret
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.staging import connection_id, model_id
from orchestrator.survey.plan_document import make_plan_document
from orchestrator.survey.preview import Preview, needs_look_ups
from tests.planning.targets import CONNECTIONS
from tests.rehearsal import manifest_text, model, read_manifest, rehearse, uuid
from tests.survey.previews import preview

INSTANCE = {"rate_limit": {"requests": 1000, "per": "60s"}}


def senders(made: Preview) -> list[str]:
    """Who sends, in order."""
    return [step.refresh.sender.entry.name for step in made.steps]


def messages(made: Preview) -> str:
    """All warnings."""
    return "\n".join(f"{c.message}: {[e.name for e in c.entries]}" for c in made.warnings)


def test_nothing_is_asked_where_all_is_said() -> None:
    """Ids and connections in the manifest: no look-up is needed, and the plan is whole."""
    text = manifest_text(model(1), model(2, branch=uuid(5)), model(3, enabled=False, connection=None))
    made, calls = preview(text)
    assert calls == ()
    assert not needs_look_ups(read_manifest(text).entries)
    assert senders(made) == ["m1", "m2"]
    assert made.forecast.look_ups == 0
    assert [s.entry.name for s in made.plan.skips] == ["m3"]


def test_the_plan_is_what_a_run_does() -> None:
    """Same look-ups, same refresh calls, same covered targets: the plan's document says what the server then sees."""
    staged = make_scenario(
        models=[
            {"name": name, "connection": "wh" if n < 3 else f"c{n}", "duration": 5, "branches": ["b"]}
            for n, name in enumerate("ABCDEFGHIJKL")
        ],
        connections=[{"name": "wh"}, {"name": "c3", "branch_based": True}],
        limit={"kind": "none"},
    )
    text = manifest_text(
        *({"model": name} for name in "ABCEFGHIJKL"),
        {"model": "D", "branch": "b"},
        {"model": "D", "name": "D2", "branch": "b", "schemas": ["x"]},
        {"model": "E", "name": "E2", "schemas": ["y"]},
        {"model": "nowhere"},
        {"model": "F", "name": "off", "enabled": False},
        instance=INSTANCE,
    )
    made, calls = preview(text, staged)
    run = rehearse(text, staged)
    reads = sorted((call.path, sorted(call.query.items())) for call in run.reads)
    assert sorted((call.path, sorted(call.query.items())) for call in calls) == reads
    document = make_plan_document(made, redact=Redactor().redact)
    targets = [call["target"] for row in document["refreshes"] for call in row["calls"]]
    assert len(targets) == len(run.posts) == made.forecast.submits
    for call in run.posts:
        assert any(target.startswith(call.path) for target in targets)
    served = {name: row["name"] for row in document["refreshes"] for name in row["serves"]}
    for outcome in run.outcomes:
        if outcome.name in served:
            assert served[outcome.name] == (outcome.covered_by or outcome.name)
    assert {u["name"] for u in document["unresolved"]} == {"nowhere"}
    assert {s["name"] for s in document["skipped"]} == {"off"}
    summary = document["summary"]
    assert summary["refreshes"] == len(document["refreshes"])
    assert summary["calls"]["look_ups"] == len(run.reads)
    assert abs(summary["calls"]["total"] - len(run.calls)) <= 0.4 * len(run.calls)


def test_refreshes_stand_in_their_order() -> None:
    """What may go at once goes first, the longest known one before the others; what waits in a lane follows."""
    text = manifest_text(
        model(1, connection="a", schemas=["x"]),
        model(2, connection="a", schemas=["y"]),
        model(3),
        model(4),
    )
    made, _ = preview(text, history={"sim": {uuid(4): [100.0, 110.0]}})
    assert senders(made) == ["m4", "m1", "m3", "m2"]
    assert [step.turn for step in made.steps] == [1, 1, 1, 2]
    assert [step.number for step in made.steps] == [1, 2, 3, 4]
    assert made.forecast.known == 1


def test_time_follows_history_and_budget() -> None:
    """Known durations make the time; a budget that is too small for the calls makes it longer; without any it is a guess."""
    many = manifest_text(*(model(n) for n in range(1, 61)))
    history = {"sim": {uuid(n): [30.0, 30.0, 30.0] for n in range(1, 61)}}
    known, _ = preview(many, history=history)
    assert known.forecast.time_s is not None
    # 60 submits use the first minute's budget, so that the first end is seen when the second minute begins
    assert 60 <= known.forecast.time_s < 100
    assert known.forecast.known == 60
    few, _ = preview(many, include=["m1", "m2"], history=history)
    assert few.forecast.time_s is not None
    assert 25 <= few.forecast.time_s < 50
    guess, _ = preview(manifest_text(model(1)))
    assert guess.forecast.known == 0
    assert guess.forecast.time_s is not None
    nothing, _ = preview(manifest_text(model(1, enabled=False)))
    assert nothing.forecast.time_s is None
    assert nothing.forecast.calls == 0


def test_calls_are_counted_by_what_they_are_for() -> None:
    """Submits for each part of a long scope, polls for what is followed, reads for what is proven."""
    tables = [f"s.table_with_a_long_name_{n:04d}" for n in range(900)]
    made, _ = preview(
        manifest_text(model(1, schemas=["s"], tables=tables, verify="scope"), model(2, verify="validate"))
    )
    calls = len(made.steps[0].refresh.requests)
    assert calls >= 3
    assert made.forecast.submits == calls + 1
    assert made.forecast.proofs == 1 + 2
    assert made.forecast.polls >= calls + 1
    alone, _ = preview(manifest_text(model(1, wait=False), model(2, verify="scope")))
    assert (alone.forecast.polls, alone.forecast.proofs) == (2, 0)
    entries = [
        {**model(3), "name": name, "verify": verify}
        for name, verify in (("a", "content"), ("b", "content"), ("c", "validate"))
    ]
    shared, _ = preview(manifest_text(*entries))
    assert shared.forecast.proofs == 2 + 2


def test_warnings() -> None:
    """A hard refresh removes, a branch must be promoted, tables without schemas are slow, a soft one is served hard."""
    made, _ = preview(
        manifest_text(
            model(1, connection="a"),
            model(2, connection="a", mode="soft"),
            model(3, branch=uuid(9), mode="soft"),
            model(4, tables=["s.t"]),
        )
    )
    told = messages(made)
    assert "removes what is gone" in told
    assert "['m1']" in told
    assert "must be promoted afterwards: ['m3']" in told
    assert "`schemas`" in told
    assert ": ['m4']" in told
    assert ": ['m2']" in told
    quiet, _ = preview(manifest_text(model(1, mode="soft")))
    assert quiet.warnings == ()


def test_models_outside_the_manifest_are_named() -> None:
    """A hard refresh of a connection that others share names them, where the look-up showed them anyway."""
    names = [f"M{n}" for n in range(20)]
    staged = make_scenario(models=[{"name": name, "connection": "wh"} for name in names], limit={"kind": "none"})
    mine = [{"model": name} for name in names[:12]]
    made, _ = preview(manifest_text(*mine, instance=INSTANCE), staged)
    assert "outside the manifest: M12, M13, M14, M15, M16 and 3 more: ['M0']" in messages(made)
    soft, _ = preview(manifest_text(*mine, instance=INSTANCE, defaults={"mode": "soft"}), staged)
    assert "outside the manifest" not in messages(soft)
    # those that are in it, and not selected, are no strangers
    chosen, _ = preview(manifest_text(*mine, instance=INSTANCE), staged, include=["M0", "M1", "M2"])
    assert "M11" not in messages(chosen)


def test_an_instance_that_cannot_be_asked_is_an_error() -> None:
    """Its entries are errors that say why; those that need no answer of another instance stay planned."""
    text = manifest_text({"model": "Sales", "name": "s"}, model(1))
    made, _ = preview(text, make_scenario(keys=["another"]))
    (first, second) = made.plan.unresolved
    assert (first.entry.name, second.entry.name) == ("s", "m1")
    assert first.message.startswith("sim ")
    assert "KEY_1 at " in first.message
    assert made.steps == ()


SCOPES = st.sampled_from(
    [{}, {"mode": "soft"}, {"schemas": ["a"]}, {"schemas": ["b"]}, {"tables": ["a.x"], "schemas": ["a"]}]
)
ENTRIES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["id", "name"]), st.booleans(), SCOPES, st.booleans()),
    min_size=1,
    max_size=8,
)


@given(entries=ENTRIES, collapse=st.booleans(), places=st.lists(st.integers(0, 2), min_size=6, max_size=6))
@settings(max_examples=25)
def test_any_plan_is_what_its_run_does(
    entries: list[tuple[int, str, bool, dict[str, object], bool]], collapse: bool, places: list[int]
) -> None:
    """Whatever a manifest says, the plan has exactly the refreshes that the run then sends, in each lane in their order."""
    staged = make_scenario(
        models=[{"name": f"M{n}", "connection": f"c{place}", "duration": 2} for n, place in enumerate(places)],
        limit={"kind": "none"},
    )
    models: list[dict[str, object]] = []
    for number, (which, given_by, labelled, scope, enabled) in enumerate(entries):
        name = f"M{which}"
        entry: dict[str, object] = {"name": f"e{number}", "enabled": enabled, **scope}
        entry |= {"id": model_id(name)} if given_by == "id" else {"model": name}
        entry |= {"connection": f"c{places[which]}"} if labelled else {}
        models.append(entry)
    text = manifest_text(*models, defaults={"collapse": collapse}, instance=INSTANCE)
    made, _ = preview(text, staged)
    run = rehearse(text, staged)
    planned: dict[str, list[tuple[object, ...]]] = {}
    for step in made.steps:
        ask, which = step.refresh.requests[0], entries[step.refresh.sender.entry.index][0]
        planned.setdefault(connection_id(f"c{places[which]}"), []).append(
            (ask.model_id, ask.hard, ",".join(ask.schemas), ",".join(ask.tables))
        )
    sent: dict[str, list[tuple[object, ...]]] = {}
    for call in run.posts:
        query, of_model = call.query, call.path.split("/")[4]
        sent.setdefault(call.connection_id or "", []).append(
            (of_model, query["hard_refresh"] == "true", query.get("schemas", ""), query.get("tables", ""))
        )
    assert planned == sent


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "${HOME}"])
def test_a_document_holds_what_was_said(name: str) -> None:
    """Names come back exactly as they are, and what a server said goes through the redaction."""
    made, _ = preview(manifest_text(model(1, name=name.replace("$", "$$"))))
    assert make_plan_document(made, redact=Redactor().redact)["refreshes"][0]["serves"] == [name]
    refused, _ = preview(manifest_text({"model": "secret", "connection": CONNECTIONS[0]}), make_scenario())
    document = make_plan_document(refused, redact=Redactor([Secret("secret")]).redact)
    assert "secret" not in document["unresolved"][0]["message"]
