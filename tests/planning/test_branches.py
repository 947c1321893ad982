"""Branch patterns: which branches an entry stands for, under which names, and the outcome of an entry without any."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Entry, ManifestWarning, Place
from orchestrator.planning.inventory import KINDS, Inventory
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import RefreshPlan
from orchestrator.planning.selection import Selector
from tests.planning.targets import CONNECTIONS, entry, manifest, record
from tests.rehearsal import uuid

NAMES = ("dev", "pr-1", "pr-10", "pr-2", "release/pr-3")


def branches(*names: str) -> tuple[tuple[str, str], ...]:
    """Branches of a model: each id is the branch's number among the names."""
    return tuple((uuid(100 + number), name) for number, name in enumerate(names))


def plan(
    *entries: Entry,
    known: Sequence[tuple[str, str]] | None = branches(*NAMES),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> RefreshPlan:
    """The plan for entries of the model 0, which has these branches; None: they could not be read."""
    inventory = Inventory(
        records={uuid(0): record(uuid(0), CONNECTIONS[0], name="Sales")},
        branches={} if known is None else {uuid(0): tuple(known)},
        whole=frozenset(KINDS),
    )
    whole = manifest(*entries)
    selector = Selector(whole, include, exclude)
    selected = tuple(filter(selector.picks, whole.entries))
    return make_plan(whole, selected, {"sim": inventory}, picks=selector.picks_branch)


def on(branch: str, index: int = 0, **keys: Any) -> Entry:
    """An entry of the model on this branch, called as the loader calls it."""
    made = entry(index, name=f"sales@{branch}", model_id=uuid(0), branch=branch)
    return replace(made, **keys)


def targets(made: RefreshPlan) -> dict[str, str | None]:
    """The names of the targets with their branches' ids, in manifest order."""
    found = sorted((t for lane in made.lanes for t in lane.targets), key=lambda t: t.entry.index)
    return {t.entry.name: t.branch_id for t in found}


def test_a_pattern_is_one_target_for_each_branch() -> None:
    """Each branch that matches has a target named NAME@branch, at the pattern's place in the manifest, on one lane."""
    made = plan(on("pr-*"), entry(50, name="last", model_id=uuid(0)))
    assert targets(made) == {
        "sales@pr-1": uuid(101),
        "sales@pr-10": uuid(102),
        "sales@pr-2": uuid(103),
        "last": None,
    }
    assert len(made.lanes) == 1
    assert [e.branch for e in made.entries] == ["pr-1", "pr-10", "pr-2", None]
    assert [e.name for e in made.entries] == list(targets(made))
    assert made.expansions[0].pattern.name == "sales@pr-*"


def test_a_pattern_with_a_name_of_its_own() -> None:
    """The targets have the entry's own name, if it has one, not the model's."""
    assert list(targets(plan(on("pr-?", name="Pull requests")))) == ["Pull requests@pr-1", "Pull requests@pr-2"]


@pytest.mark.parametrize(
    "pattern, matched",
    [
        ("*", NAMES),
        ("*pr-*", NAMES[1:]),
        ("pr-[13-9]", ("pr-1",)),
        ("pr-[!1]", ("pr-2",)),
        ("release/*", ("release/pr-3",)),
        ("PR-*", ()),
    ],
)
def test_wildcards(pattern: str, matched: Sequence[str]) -> None:
    """`*` matches any characters, even a slash; `?` one, `[...]` one of these; the case of letters counts."""
    assert list(targets(plan(on(pattern)))) == [f"sales@{name}" for name in matched]


def test_a_branch_whose_name_has_wildcards() -> None:
    """A branch with exactly the written name wins over the pattern; brackets make a wildcard a letter."""
    odd = branches("pr-*", "pr-1", "pr-*2")
    made = plan(on("pr-*"), known=odd)
    assert targets(made) == {"sales@pr-*": uuid(100)}
    assert made.expansions == ()
    assert targets(plan(on("pr-[*]?"), known=odd)) == {"sales@pr-*2": uuid(102)}


def test_no_branch_matches() -> None:
    """A pattern without a matching branch is one skip, with the number of branches."""
    made = plan(on("hotfix-*"))
    assert targets(made) == {}
    (skip,) = made.skips
    assert skip.entry.name == "sales@hotfix-*"
    assert "5 branches" in skip.reason


def test_more_branches_than_allowed() -> None:
    """More than `max_branches` is one error that says how many and what to write; nothing is refreshed."""
    made = plan(on("*", max_branches=4), entry(9, model_id=uuid(0)))
    assert targets(made) == {"m9": None}
    (refused,) = made.unresolved
    assert refused.message.startswith("5 branches ")
    assert "`max_branches: 5`" in refused.hint
    assert len(targets(plan(on("*", max_branches=5)))) == 5


def test_branches_that_could_not_be_read() -> None:
    """If the branches could not be read, the entry is an error, not a skip."""
    made = plan(on("pr-*"), known=None)
    assert [refused.entry.branch for refused in made.unresolved] == ["pr-*"]
    assert made.skips == ()


@pytest.mark.parametrize(
    "own",
    [
        on("pr-1", 40),
        on("pr-1", 40, enabled=False),
        on(uuid(101).upper(), 40, name="by id"),
        on("pr-1", 40, model_id=None, model_name="Sales"),
    ],
    ids=["named", "disabled", "id", "model by name"],
)
def test_an_entry_of_its_own_wins(own: Entry) -> None:
    """A branch that has an entry of its own belongs to that entry, before or after the pattern, disabled or not."""
    made = plan(on("pr-*"), own)
    assert list(targets(made))[:2] == ["sales@pr-10", "sales@pr-2"]
    assert len(targets(made)) == (3 if own.enabled else 2)


def test_every_branch_has_an_entry_of_its_own() -> None:
    """A pattern that is left without a branch is skipped, and says why."""
    (skip,) = plan(on("pr-?0"), on("pr-10", 40)).skips
    assert "another entry" in skip.reason


def test_an_entry_that_is_not_selected_keeps_its_branch() -> None:
    """The branches of a pattern do not depend on the selection."""
    made = plan(on("pr-*"), on("pr-1", 40, tags=("slow",)), exclude=["tag:slow"])
    assert list(targets(made)) == ["sales@pr-10", "sales@pr-2"]


def test_the_first_of_two_patterns_wins() -> None:
    """A branch that two patterns match belongs to the first of them; a disabled pattern leaves branches out."""
    made = plan(on("pr-1*"), on("pr-*", 30))
    assert list(targets(made)) == ["sales@pr-1", "sales@pr-10", "sales@pr-2"]
    assert [len(one.entries) for one in made.expansions] == [2, 1]
    assert list(targets(plan(on("pr-1*", enabled=False), on("pr-*", 30)))) == ["sales@pr-2"]


def test_names_stay_unique() -> None:
    """A target whose name is taken, or whose branch has a namesake, has the branch's id in its name."""
    taken = entry(40, name="sales@pr-1")
    made = plan(on("pr-*"), taken, known=branches("pr-1", "pr-2", "pr-2"))
    names = [e.name for e in made.entries]
    assert names == [f"sales@pr-1 ({uuid(100)})", "sales@pr-2", f"sales@pr-2 ({uuid(102)})", "sales@pr-1"]


@pytest.mark.parametrize(
    "include, exclude, selected",
    [
        (["branch:pr-2"], [], ["sales@pr-2"]),
        (["branch:pr-*"], [], ["sales@pr-1", "sales@pr-10", "sales@pr-2"]),
        (["sales@pr-10"], [], ["sales@pr-10"]),
        (["sales@pr-*"], [], ["sales@pr-1", "sales@pr-10", "sales@pr-2"]),
        (["sales@pr-1*"], [], ["sales@pr-1", "sales@pr-10"]),
        (["*0"], [], ["sales@pr-10"]),
        (["sales@pr-1*,branch:pr-1"], [], ["sales@pr-1"]),
        ([], ["branch:pr-10"], ["sales@pr-1", "sales@pr-2", "other"]),
        ([], ["sales@pr-1*"], ["sales@pr-2", "other"]),
        ([], ["*@pr-*"], ["other"]),
        (["*"], ["sales@pr-2"], ["sales@pr-1", "sales@pr-10", "other"]),
        (["tag:prs,branch:pr-1", "other"], [], ["sales@pr-1", "other"]),
    ],
)
def test_a_selection_picks_branches(include: list[str], exclude: list[str], selected: list[str]) -> None:
    """A selection picks branches of a pattern: by branch, by name, by a glob over names."""
    made = plan(on("pr-*", tags=("prs",)), entry(40, name="other"), include=include, exclude=exclude)
    assert list(targets(made)) == selected
    assert [e.name for e in made.entries] == selected


def test_a_selected_branch_that_does_not_exist() -> None:
    """If no branch is selected, the pattern is one skip. A word that no branch can match is an error."""
    made = plan(on("pr-*"), include=["branch:pr-77"])
    assert [" selected" in s.reason for s in made.skips] == [True]
    for word in ("branch:dev", "sales@dev", "finance@pr-1"):
        with pytest.raises(UsageError):
            plan(on("pr-*"), include=[word])


def test_an_excluded_pattern_has_no_outcome() -> None:
    """An entry that is excluded as a whole is not looked up."""
    assert plan(on("pr-*"), entry(40, name="other"), exclude=["branch:pr-*"]).entries[0].name == "other"


def test_warnings_of_a_pattern_are_those_of_its_targets() -> None:
    """Each target of a pattern has the manifest's warnings about its entry."""
    whole = manifest(on("pr-?"))
    warned = replace(whole, warnings=(ManifestWarning(place=Place(1, 1), message="careful", entry="sales@pr-?"),))
    inventory = Inventory(branches={uuid(0): branches(*NAMES)})
    made = make_plan(warned, whole.entries, {"sim": inventory})
    assert [made.warnings[e.index][0] for e in made.entries] == ["careful", "careful"]
