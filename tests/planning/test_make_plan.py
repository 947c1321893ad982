"""Entries and look-ups become lanes, skips and errors."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifest.manifest import Entry, ManifestWarning, Mode, Place
from orchestrator.omni.answers import ModelRecord
from orchestrator.planning.inventory import KINDS, Inventory, Needs, make_needs
from orchestrator.planning.make_plan import coverage_warnings, make_plan
from orchestrator.planning.plan import RefreshPlan
from tests.planning.targets import BRANCHES, CONNECTIONS, entry, manifest, record
from tests.rehearsal import uuid


def plan(
    *entries: Entry,
    records: tuple[ModelRecord, ...] = (),
    branches: Mapping[str, tuple[tuple[str, str], ...]] | None = None,
    failure: str = "",
) -> RefreshPlan:
    """The plan for these entries on one instance that showed this."""
    inventory = Inventory(
        records={r.id: r for r in records},
        branches=branches or {},
        whole=frozenset(() if failure else KINDS),
        failure=failure,
    )
    return make_plan(manifest(*entries), entries, {"sim": inventory})


def lanes(made: RefreshPlan) -> list[list[int]]:
    """The entries of each lane."""
    return [[t.entry.index for t in lane.targets] for lane in made.lanes]


def test_what_a_manifest_leaves_out_is_needed() -> None:
    """Ids without a connection, names, and models whose branch is a name are looked up; each once, nothing else."""
    entries = [
        entry(0, connection="wh"),
        entry(1),
        entry(1, name="again"),
        entry(2, model_id=None, model_name="Finance"),
        entry(3, model_id=None, name="Finance"),
        entry(4, connection="wh", branch="nightly"),
        entry(5, connection="wh", branch=BRANCHES[0]),
    ]
    needs = make_needs(entries)
    assert needs == Needs(ids=(uuid(1), uuid(4)), names=("Finance",), branches=True)
    assert needs.count == 3
    assert make_needs(entries[:1]) == Needs()


def test_lanes_are_connections() -> None:
    """Models of one connection share a lane in manifest order; each target knows its connection's id."""
    made = plan(*(entry(n) for n in range(4)), records=tuple(record(uuid(n), CONNECTIONS[n % 2]) for n in range(4)))
    assert lanes(made) == [[0, 2], [1, 3]]
    assert [lane.targets[0].connection for lane in made.lanes] == CONNECTIONS[:2]
    assert made.warnings == {}
    assert [e.index for e in made.entries] == [0, 1, 2, 3]


def test_labels_say_it_where_nothing_was_looked_up() -> None:
    """Equal labels of one instance are one lane; the same label on another instance is another one."""
    entries = [entry(0, connection="wh"), entry(1, connection="wh"), entry(2, connection="wh", instance="other")]
    made = make_plan(manifest(*entries), entries, {})
    assert lanes(made) == [[0, 1], [2]]
    assert made.lanes[0].targets[0].connection == "wh"


def test_one_model_is_on_one_connection() -> None:
    """Entries of one model share a lane, whatever labels they have."""
    same = uuid(9)
    one = plan(entry(0, model_id=same, connection="wh"), entry(1, model_id=same))
    assert lanes(one) == [[0, 1]]
    assert one.warnings == {}
    two = plan(
        entry(0, connection="a"), entry(1, model_id=same, connection="a"), entry(2, model_id=same, connection="b"),
        entry(3, connection="b"),
    )  # fmt: skip
    assert lanes(two) == [[0, 1, 2, 3]]
    assert {t.connection for t in two.lanes[0].targets} == {"a"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_an_id_names_it_better_than_a_label(order: tuple[int, int, int]) -> None:
    """A label, the connection's id in any case, and a look-up of it are one lane, in any order."""
    said = [("wh", uuid(1)), (CONNECTIONS[0].upper(), uuid(1)), ("wh", uuid(2))]
    entries = [entry(index, connection=said[which][0], model_id=said[which][1]) for index, which in enumerate(order)]
    for records in ((), (record(uuid(2), CONNECTIONS[0]),)):
        made = plan(*entries, records=records)
        assert lanes(made) == [[0, 1, 2]]
        assert made.lanes[0].key == f"connection {CONNECTIONS[0]}"


def test_a_label_on_two_connections_is_an_error() -> None:
    """A label on two connections is an error for each of its targets; others are planned."""
    entries = [entry(n, connection="wh") for n in range(3)] + [entry(3, connection="other")]
    made = plan(*entries, records=(record(uuid(0), CONNECTIONS[0]), record(uuid(1), CONNECTIONS[1])))
    assert [u.entry.index for u in made.unresolved] == [0, 1, 2]
    assert all("two connections" in u.message and CONNECTIONS[1] in u.message for u in made.unresolved)
    assert lanes(made) == [[3]]


def test_an_unknown_connection_has_a_lane_of_its_own() -> None:
    """If a connection is not known, the model has a lane of its own, with one warning."""
    made = plan(entry(0), entry(1), entry(2, model_id=uuid(1)), records=(record(uuid(0), None),))
    assert lanes(made) == [[0], [1, 2]]
    assert [len(made.warnings[n]) for n in range(3)] == [1, 1, 1]
    assert made.lanes[0].targets[0].connection is None


def test_the_manifests_warnings_reach_their_targets() -> None:
    """A warning about a selected entry is in the plan; other warnings are not."""
    entries = [entry(0, connection="a"), entry(1, connection="b")]
    told = manifest(*entries)
    warned = type(told)(
        path=told.path,
        sha256="",
        instances=told.instances,
        entries=told.entries,
        warnings=tuple(
            ManifestWarning(place=Place(1, 1), message=f"w{n}", entry=e) for n, e in enumerate(("m1", None, "mX"))
        ),
    )
    assert make_plan(warned, entries, {}).warnings == {1: ("w0",)}


def test_disabled_entries_are_skipped_with_a_reason() -> None:
    """Disabled entries are skips, and are not resolved."""
    made = plan(entry(0, enabled=False, model_id=None, model_name="nowhere"), entry(1, connection="wh"))
    assert [(s.entry.index, bool(s.reason)) for s in made.skips] == [(0, True)]
    assert lanes(made) == [[1]]
    assert [e.index for e in made.entries] == [0, 1]


NAMED = (
    record(uuid(1), CONNECTIONS[0], name="Sales"),
    record(uuid(2), CONNECTIONS[1], name="Sales", kind="SCHEMA"),
    record(uuid(3), CONNECTIONS[1], name="Twice"),
    record(uuid(4), CONNECTIONS[1], name="Twice"),
    record(uuid(5), CONNECTIONS[1], name="Gone", deleted=True),
    record(uuid(6), CONNECTIONS[1], name="Query", kind="WORKBOOK"),
    record(uuid(7), CONNECTIONS[1], name="Ext", kind="SHARED_EXTENSION"),
    record(uuid(8), CONNECTIONS[1], name=None),
)


@pytest.mark.parametrize(
    "name, found, words, hint",
    [
        ("Sales", uuid(1), "", ""),
        ("Ext", uuid(7), "", ""),
        ("Twice", None, "2 models", "write the id"),
        ("Gone", None, "no model", ""),
        ("Query", None, "no model", ""),
        ("sales", None, "no model", "'Sales'"),
        ("Slaes", None, "no model", "'Sales'"),
        ("zzz", None, "no model", "check the model's name"),
    ],
)
def test_a_name_is_exactly_one_model(name: str, found: str | None, words: str, hint: str) -> None:
    """Shared models before extensions before schema models; deleted ones and workbooks are none; near names are hints."""
    made = plan(entry(0, model_id=None, model_name=name), records=NAMED)
    if found is not None:
        assert [t.model_id for lane in made.lanes for t in lane.targets] == [found]
        return
    (refused,) = made.unresolved
    assert words in refused.message
    assert hint in refused.hint
    assert made.lanes == ()


def test_a_name_that_could_not_be_looked_up_says_why() -> None:
    """If the look-up failed, the error says so, and not that the model does not exist."""
    (refused,) = plan(entry(0, model_id=None, model_name="Sales"), failure="Forbidden: no").unresolved
    assert refused.message.endswith(": Forbidden: no")
    assert "'Sales'" in refused.message


@pytest.mark.parametrize(
    "branch, found, words",
    [
        ("nightly", BRANCHES[0], ""),
        (BRANCHES[3].upper(), BRANCHES[3], ""),
        ("Nightly", None, "no branch named"),
        ("twice", None, "2 branches named"),
        ("zzz", None, "no branch named"),
    ],
)
def test_a_branch_is_exactly_one_branch(branch: str, found: str | None, words: str) -> None:
    """An id is accepted as it is; a name must match exactly once."""
    known = {uuid(0): ((BRANCHES[0], "nightly"), (BRANCHES[1], "twice"), (BRANCHES[2], "twice"))}
    made = plan(entry(0, connection="wh", branch=branch), branches=known)
    if found is not None:
        assert made.lanes[0].targets[0].branch_id == found
        return
    (refused,) = made.unresolved
    assert words in refused.message
    assert refused.hint


def test_branches_that_could_not_be_read() -> None:
    """A branch by name is refused if its model's branches were not read, with the reason and what to do."""
    (refused,) = plan(entry(0, connection="wh", branch="nightly"), failure="no answer").unresolved
    assert refused.message.endswith(": no answer")
    assert "id" in refused.hint


@given(
    entries=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([None, "a", "b", CONNECTIONS[0]]), st.booleans(), st.booleans()),
        max_size=12,
    ),
    shown=st.dictionaries(st.integers(0, 5), st.sampled_from(CONNECTIONS[:2])),
)
def test_every_entry_has_one_place(entries: list[tuple[int, str | None, bool, bool]], shown: dict[int, str]) -> None:
    """Each entry is in one lane, skipped or refused; no model is in two lanes, and no shown connection either."""
    made = plan(
        *(
            entry(index, model_id=uuid(which), connection=label, enabled=enabled)
            for index, (which, label, enabled, _) in enumerate(entries)
        ),
        records=tuple(record(uuid(which), connection) for which, connection in shown.items()),
    )
    assert [e.index for e in made.entries] == list(range(len(entries)))
    by_model: dict[str, set[str]] = {}
    for lane in made.lanes:
        assert [t.entry.index for t in lane.targets] == sorted(t.entry.index for t in lane.targets)
        for target in lane.targets:
            by_model.setdefault(target.model_id, set()).add(lane.key)
            connection = shown.get(int(target.model_id[-3:], 16))
            assert connection is None or lane.key == f"connection {connection}"
    assert all(len(keys) == 1 for keys in by_model.values())
    assert len({lane.key for lane in made.lanes}) == len(made.lanes)


def test_which_hard_refreshes_are_reported() -> None:
    """Only a target that says `mode: soft` itself and was served by a hard refresh."""
    pinned = entry(0, mode=Mode.SOFT)
    pinned = type(pinned)(index=0, name="x", instance="sim", mode=Mode.SOFT, mode_pinned=True)
    assert coverage_warnings(Mode.HARD, pinned)
    assert not coverage_warnings(Mode.SOFT, pinned)
    assert not coverage_warnings(Mode.HARD, entry(0, mode=Mode.SOFT))
    assert not coverage_warnings(Mode.HARD, entry(0))
