"""A plan that follows a change: skips with reasons, restricted targets, and remarks about the change as a whole."""

from dataclasses import replace

from orchestrator.changes.change_set import Change, ChangeSet, Effect, NotRefreshed, ObjectName
from orchestrator.manifest.manifest import Entry, Mode
from orchestrator.planning.followed_change import FollowedChange, make_followed_change
from orchestrator.planning.impact import KEEPS_WHAT_IS_GONE, find_impacts, find_unaffected, restrict_plan
from orchestrator.planning.inventory import Inventory
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import RefreshPlan
from tests.planning.changing import change, reader, touched
from tests.planning.targets import manifest


def plan_for(*entries: Entry, what: FollowedChange) -> RefreshPlan:
    """Return the plan of these entries, restricted by the change, without look-ups."""
    plan = make_plan(manifest(*entries), entries, {"sim": Inventory()})
    return restrict_plan(plan, find_impacts(entries, what, schemas={}), what)


def test_targets_are_restricted_and_others_skipped() -> None:
    """An affected target stays in its lane; unaffected and disabled ones are skips, in order."""
    entries = [
        reader("sales", index=0, connection="wh"),
        reader("finance", index=1, connection="wh"),
        reader("finance", index=2, connection="wh", enabled=False),
        reader("hr", index=3, connection="lake"),
        reader(index=4, schemas=["finance"], connection="wh", mode=Mode.SOFT),
    ]
    plan = plan_for(*entries, what=touched("+finance.a", "-finance.b"))
    assert [(lane.key, [t.entry.index for t in lane.targets]) for lane in plan.lanes] == [("connection wh", [1, 4])]
    assert [t.entry.mode for t in plan.lanes[0].targets] == [Mode.HARD, Mode.SOFT]
    assert [s.entry.index for s in plan.skips] == [0, 2, 3]
    assert plan.skips[0].reason.endswith(" sales")
    assert plan.skips[1].reason == "disabled in the manifest"
    assert plan.warnings[4][0].startswith(KEEPS_WHAT_IS_GONE)
    assert [c.entry.index for c in plan.impacts] == [0, 1, 3, 4]
    assert plan.entries == tuple(
        sorted((*(t.entry for t in plan.lanes[0].targets), *(s.entry for s in plan.skips)), key=lambda e: e.index)
    )


def test_targets_that_the_change_was_not_asked_about_stay() -> None:
    """A target without an impact is left as it is."""
    entry = reader("sales", connection="wh")
    plan = make_plan(manifest(entry), [entry], {})
    assert restrict_plan(plan, [], touched()) == plan


def test_an_unaffected_entry_costs_no_look_up() -> None:
    """Unaffected entries that say what they read are found without look-ups; with an empty change, all entries."""
    entries = [reader("sales"), reader("finance", index=1), reader(index=2), reader(index=3, enabled=False)]
    assert [c.entry.index for c in find_unaffected(entries, touched("+finance.a"))] == [0]
    assert [c.entry.index for c in find_unaffected(entries, touched())] == [0, 1, 2]


def test_a_change_on_several_connections_is_reported() -> None:
    """One warning names a change that fits models on two connections and the selection that narrows it."""
    entries = [
        reader("finance", index=0, connection="warehouse-eu"),
        reader("finance", index=1, connection="lake"),
        reader("sales", index=2, connection="lake"),
    ]
    what = touched("+finance.a", "+sales.b")
    (told,) = plan_for(*entries, what=what).remarks
    assert told.startswith("finance.a (V1__x.sql:1) ")
    assert "2 connections (warehouse-eu, lake): --select connection:warehouse-eu " in told
    several = touched("+finance.a", "+finance.b")
    assert " another change " in plan_for(*entries, what=several).remarks[0]
    many = touched(*(f"+finance.t{n}" for n in range(9)))
    assert " 8 more changes " in plan_for(*entries, what=many).remarks[0]
    one = touched("+sales.b")
    assert plan_for(*entries, what=one).remarks == ()


def test_connections_without_a_label_get_a_hint() -> None:
    """If no entry has a `connection:`, the remark says to add it. Unknown connections do not count."""
    what = touched("+finance.a")
    entries = [reader("finance", index=0), reader("finance", index=1)]
    assert plan_for(*entries, what=what).remarks == ()
    plan = make_plan(manifest(*entries), entries, {})
    known = replace(
        plan,
        lanes=tuple(
            replace(lane, targets=tuple(replace(t, connection=f"id{t.entry.index}") for t in lane.targets))
            for lane in plan.lanes
        ),
    )
    (remark,) = restrict_plan(known, find_impacts(entries, what, schemas={}), what).remarks
    assert "(id0, id1)" in remark
    assert "`connection:`" in remark


def test_what_was_not_understood_or_not_built_is_reported() -> None:
    """Statements that were not understood are named with their lines, dbt's failures by node, the reader's warnings as they are."""
    what = touched(unclear=5)
    entries = [reader("a", index=0, connection="x"), reader("b", index=1, connection="y")]
    said = plan_for(*entries, what=what).remarks
    assert said[0].startswith("V2__y.sql:1 ")
    assert said[3].startswith("2 more statements ")
    assert "on 2 connections (x, y)" in said[4]
    assert len(said) == 5
    nodes = tuple(NotRefreshed(node=f"model.p.{n}", reason="error") for n in range(4))
    dbt = FollowedChange(changes=ChangeSet(not_refreshed=nodes, warnings=("a column may stay",)))
    first, *others = plan_for(reader("a"), what=dbt).remarks
    assert " model.p.0, model.p.1, model.p.2 and 1 more: " in first
    assert others == ["a column may stay"]


def test_who_may_have_made_a_schema() -> None:
    """Migrations create the schemas that they name, dbt those of its models; a list of names creates none."""
    ddl = ChangeSet(changes=(change("+Fresh"), change("+old.t"), change("-gone")))
    built = Change(
        name=ObjectName("db", "Marts", "t"), effect=Effect.ADDITIVE, source="run_results.json", line=0, reason="dbt"
    )
    listed = ChangeSet(changes=(change("+typed"), change("+?.t")))
    what = make_followed_change(ddl=ddl, dbt=ChangeSet(changes=(built,)), listed=listed)
    assert what.may_be_new == {"fresh", "marts"}
    assert len(what.changes.changes) == 6
