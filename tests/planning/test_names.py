"""Names in scopes and reads: where their parts end, and which may mean the same."""

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.names import may_be, split_name


@pytest.mark.parametrize(
    "text, parts",
    [
        ("finance", ("finance",)),
        ("finance.invoices", ("finance", "invoices")),
        ("w.finance.invoices", ("w", "finance", "invoices")),
        ('"odd.name".t', ("odd.name", "t")),
        ("`a.b`.[c.d]", ("a.b", "c.d")),
        ('"a""b".t', ('a"b', "t")),
        ('"a" b.t', ('"a" b', "t")),
        ('"open.t', ('"open', "t")),
        ('"', ('"',)),
        ("a.", ("a", "")),
        ("", ("",)),
    ],
)
def test_parts_end_at_dots_outside_of_quotes(text: str, parts: tuple[str, ...]) -> None:
    """Quotes around a whole part hide its dots and are taken off; quotes elsewhere are letters."""
    assert split_name(text) == parts


@pytest.mark.parametrize(
    "one, other, meet",
    [
        ("a", "A", True),
        ("a", "b", False),
        (None, "a", True),
        ("a", None, True),
        ("*", "a", True),
        ("*", "", True),
        ("led_*", "led_", True),
        ("led_*", "*_x", True),
        ("led_*", "lad*", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a?", "?b", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "aXcYb", False),
        ("[ab]", "a", False),
    ],
)
def test_names_that_may_mean_the_same(one: str | None, other: str | None, meet: bool) -> None:
    """Unknown parts match anything; wildcards can be on both sides; the case of letters does not count."""
    assert may_be(one, other) is meet
    assert may_be(other, one) is meet


@given(pattern=st.text("ab*?", max_size=8), name=st.text("ab", max_size=8))
def test_a_pattern_meets_the_names_that_it_matches(pattern: str, name: str) -> None:
    """Compared with the standard library's matching."""
    assert may_be(pattern, name) is fnmatchcase(name, pattern)


@given(one=st.text("ab*?", max_size=5), other=st.text("ab*?", max_size=5))
def test_two_patterns_meet_where_a_name_matches_both(one: str, other: str) -> None:
    """Compared with all short names: if one matches both patterns, they meet."""
    found = any(re.fullmatch(_expression(one), name) and re.fullmatch(_expression(other), name) for name in _NAMES)
    assert may_be(one, other) or not found


def _expression(pattern: str) -> str:
    return pattern.replace("*", ".*").replace("?", ".")


_NAMES = [""]
for _length in range(6):
    _NAMES += [name + letter for name in _NAMES if len(name) == _length for letter in "ab"]
