"""A fault comes at the calls that it names, at no other, and says what it means."""

import pytest

from orchestrator.simulator.faults import InjectedFault, Rules
from orchestrator.simulator.reading import ScenarioError, make_scenario


def _rules(*faults: dict[str, object], seed: int = 0) -> Rules:
    return Rules(tuple(InjectedFault.model_validate({"status": 500, **fault}) for fault in faults), seed)


def _hits(rules: Rules, calls: int, *, method: str = "GET", path: str = "/x", step_s: float = 1.0) -> list[int]:
    return [n for n in range(1, calls + 1) if rules.pick(method, path, n * step_s) is not None]


def test_nth_and_every_count_the_calls_of_each_path() -> None:
    """`nth` and `every` count each path by itself, from 1; with `count: rule` all that the rule fits together."""
    assert _hits(_rules({"nth": [1, 3]}), 5) == [1, 3]
    assert _hits(_rules({"every": 2}), 5) == [2, 4]
    each, together = _rules({"nth": [1]}), _rules({"nth": [1], "count": "rule"})
    assert [bool(each.pick("GET", path, 0)) for path in ("/a", "/b", "/a")] == [True, True, False]
    assert [bool(together.pick("GET", path, 0)) for path in ("/a", "/b", "/a")] == [True, False, False]


def test_a_rule_fits_its_method_and_path_alone() -> None:
    """Calls of another method or path neither meet the fault nor count."""
    rules = _rules({"nth": [2], "method": "POST", "path": "/refresh$"})
    asked = [("POST", "/a/refresh"), ("GET", "/a/refresh"), ("POST", "/a/refresh/b"), ("POST", "/a/refresh")]
    assert [bool(rules.pick(method, path, 0)) for method, path in asked] == [False, False, False, True]


def test_moments_bound_a_rule() -> None:
    """A rule is in force from its first moment on, until its last; `always` is in force throughout."""
    assert _hits(_rules({"from": 3, "until": 5}), 6) == [3, 4]
    assert _hits(_rules({"from": 5}), 6) == [5, 6]
    assert _hits(_rules({"until": 3}), 6) == [1, 2]
    assert _hits(_rules({"every": 2, "from": 3}), 6) == [4, 6]
    assert _hits(_rules({"always": True}), 3) == [1, 2, 3]


def test_chance_falls_as_often_as_it_says_and_the_same_for_a_seed() -> None:
    """With `p: 0.3` some 300 of 1,000 calls are hit: the same ones for the same seed, others for another."""
    hits = _hits(_rules({"p": 0.3}), 1000)
    assert 250 < len(hits) < 350
    assert _hits(_rules({"p": 0.3}), 1000) == hits
    assert _hits(_rules({"p": 0.3}, seed=1), 1000) != hits
    assert _hits(_rules({"p": 0.0}), 100) == []
    assert len(_hits(_rules({"p": 1.0}), 100)) == 100


def test_moments_do_not_shift_the_dice() -> None:
    """A rule that begins later hits the very calls that it would have hit anyway."""
    all_along, later = _hits(_rules({"p": 0.3}), 200), _hits(_rules({"p": 0.3, "from": 100}), 200)
    assert later == [hit for hit in all_along if hit >= 100]


def test_the_first_rule_in_force_decides_and_all_that_fit_count() -> None:
    """Of two rules the first wins; the second still counts the call."""
    rules = _rules({"nth": [1], "name": "first"}, {"nth": [1, 2]})
    picked = [rules.pick("GET", "/", 0), rules.pick("GET", "/", 0), rules.pick("GET", "/", 0)]
    assert [None if hit is None else hit[0] for hit in picked] == ["first", "2", None]


@pytest.mark.parametrize(
    "fault,says",
    [
        ({"status": 500}, "say when"),
        ({"always": True}, "say what happens"),
        ({"always": True, "every": 2, "status": 500}, "only one of `nth`"),
        ({"from": 5, "until": 5, "status": 500}, "`from` must be before `until`"),
        ({"always": True, "delay": 1, "raw": "x"}, "`raw` needs a `status`"),
        ({"always": True, "status": 500, "raw": "x", "body": 1}, "only one of `message`, `body` and `raw`"),
        ({"always": True, "delay": 1, "effect": "none"}, "`effect: none` needs"),
        ({"always": True, "status": 99}, "greater than or equal to 200"),
        ({"always": True, "status": 500, "headers": {"A": "b\r\nC: d"}}, "a header is one line"),
        ({"always": True, "status": 500, "path": "("}, "not a regular expression"),
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused(fault: dict[str, object], says: str) -> None:
    """A rule says when and what, once each, in a way that can be sent."""
    with pytest.raises(ScenarioError, match=r"faults\[0\]") as caught:
        make_scenario(faults=[fault])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "fault,starts",
    [
        ({"status": 500}, "none"),
        ({"drop": "reset"}, "none"),
        ({"delay": 3}, "before"),
        ({"close_after": 0}, "before"),
        ({"status": 502, "effect": "before"}, "before"),
        ({"status": 504, "delay": 3, "effect": "after"}, "after"),
        ({"delay": 3, "effect": "after"}, "after"),
    ],
    ids=str,
)
def test_a_refresh_starts_as_the_rule_says(fault: dict[str, object], starts: str) -> None:
    """A replaced answer starts nothing unless told so; a late one does."""
    assert InjectedFault.model_validate({"always": True, **fault}).starts == starts
