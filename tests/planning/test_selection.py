"""`--select` and `--exclude`."""

import pytest

from orchestrator.errors import UsageError, UsageErrors
from orchestrator.manifest.manifest import Entry
from orchestrator.planning.selection import Selector
from tests.planning.targets import BRANCHES, entry, manifest
from tests.rehearsal import uuid

ENTRIES = (
    entry(0, name="sales", tags=("nightly", "emea"), connection="wh-eu"),
    entry(1, name="sales@b", branch=BRANCHES[0], tags=("nightly",)),
    entry(2, name="finance, old", instance="test"),
    entry(3, name="tag:odd", connection="wh:us"),
    entry(4, name="A*", enabled=False),
)


def names(*include: str, exclude: tuple[str, ...] = ()) -> list[str]:
    """Return the names of the selected entries."""
    return [e.name for e in Selector(manifest(*ENTRIES), include, exclude).select()]


@pytest.mark.parametrize(
    "expression, selected",
    [
        ("sales", ["sales"]),
        ("sales*", ["sales", "sales@b"]),
        ("*@?", ["sales@b"]),
        ("[fs]*", ["sales", "sales@b", "finance, old"]),
        (uuid(1), ["sales@b"]),
        (uuid(10).upper(), None),
        (uuid(1).upper(), ["sales@b"]),
        ("tag:nightly", ["sales", "sales@b"]),
        ("instance:test", ["finance, old"]),
        ("connection:wh:us", ["tag:odd"]),
        (f"branch:{BRANCHES[0]}", ["sales@b"]),
        ("finance, old", ["finance, old"]),
        ("tag:odd", ["tag:odd"]),
        ("A*", ["A*"]),
        ("tag:nightly,tag:emea", ["sales"]),
        ("tag:nightly, sales@b", ["sales@b"]),
        ("sales, tag:nightly", ["sales"]),
        ("zzz*", []),
        (" sales ", ["sales"]),
    ],
)
def test_an_expression_selects(expression: str, selected: list[str] | None) -> None:
    """Names, globs over names, ids, tags, instances, connections, branches; joined by comma all must hold."""
    if selected is None:
        with pytest.raises(UsageError):
            names(expression)
    else:
        assert names(expression) == selected


def test_all_without_a_word() -> None:
    """Without expressions everything is selected, in manifest order; also disabled entries, to be reported as skipped."""
    assert names() == [e.name for e in ENTRIES]


def test_any_of_several_and_none_of_the_excluded() -> None:
    """Repeated expressions add up in manifest order, and what is excluded is out whatever selects it."""
    assert names("tag:odd", "sales*") == ["sales", "sales@b", "tag:odd"]
    assert names("sales*", exclude=("tag:emea", "A*")) == ["sales@b"]
    assert names(exclude=("instance:sim",)) == ["finance, old"]


@pytest.mark.parametrize(
    "expression, words",
    [
        ("sale", "did you mean 'sales'?"),
        ("SALES", "did you mean 'sales'?"),
        ("tags:nightly", "did you mean 'tag:nightly'?"),
        ("connection:WH-EU", "did you mean 'wh-eu'?"),
        ("connection:x", "there is: wh-eu, wh:us"),
        ("tag:nightly,instance:prod", "no instance 'prod'"),
        ("zzz", "no model is called 'zzz'"),
        ("tag:nightli", "did you mean 'nightly'?"),
        ("instance:prod", "there is: sim, test"),
        ("branch:none", "no branch 'none'"),
        ("", "empty selection"),
        ("sales,", "empty selection"),
    ],
)
def test_a_word_that_names_nothing_is_an_error(expression: str, words: str) -> None:
    """An unknown name, tag, instance, connection or branch is an error that lists the known ones."""
    with pytest.raises(UsageError) as caught:
        names(expression)
    assert words in str(caught.value)


def test_a_field_that_no_model_has() -> None:
    """If no entry has a connection, the error says so."""
    bare: tuple[Entry, ...] = (entry(0),)
    with pytest.raises(UsageError, match="no model has a connection"):
        Selector(manifest(*bare), ["connection:x"]).select()


def test_what_there_is_is_cut() -> None:
    """Of very many words, the first are listed, with the number of the others."""
    many = tuple(entry(n, tags=(f"t{n:03}",)) for n in range(100))
    with pytest.raises(UsageError, match=r"t000, t001, .* and 80 more"):
        Selector(manifest(*many), ["tag:zzz"]).select()


def test_a_connections_id_in_any_letter_case() -> None:
    """Ids are the same in capital letters; labels are not."""
    shown = uuid(0xABC)
    entries = (entry(0, connection=shown), entry(1, connection="wh"))
    assert [e.index for e in Selector(manifest(*entries), [f"connection:{shown.upper()}"]).select()] == [0]


def test_an_unknown_prefix_lists_the_prefixes() -> None:
    """An unknown prefix is an error that lists the known ones."""
    with pytest.raises(UsageError) as caught:
        Selector(manifest(*ENTRIES), ["foo:bar"]).select()
    assert caught.value.code == "invalid-selection"
    assert "tag:, instance:, connection:, branch:" in caught.value.hint


def test_all_wrong_words_at_once() -> None:
    """All wrong words of all expressions are reported together."""
    with pytest.raises(UsageErrors) as caught:
        Selector(manifest(*ENTRIES), ["nope1,tag:nope2"], ["nope3"]).select()
    assert [error.code for error in caught.value.errors] == ["unknown-selection"] * 3
