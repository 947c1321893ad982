"""YAML as it is written: scalars keep their text, nodes their place; too many aliases are an error."""

import json

import pytest

from orchestrator.manifest import yaml_text
from orchestrator.manifest.diagnostics import Diagnostics, ManifestError
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.yaml_nodes import Mapping, PlainData, Scalar, core_value
from orchestrator.manifest.yaml_text import load_yaml, read_yaml
from tests.manifest.manifests import codes


def read(text: str | bytes) -> PlainData:
    """The text's data in YAML 1.2's core schema."""
    return load_yaml(text, path="f.yaml").plain()


def wrong(text: str | bytes, *, use_libyaml: bool = True) -> list[str]:
    """Return the errors of a text that has some: `LINE:COLUMN code` for each."""
    listed = Diagnostics("f.yaml")
    read_yaml(text, listed, use_libyaml=use_libyaml)
    with pytest.raises(ManifestError) as caught:
        listed.stop()
    return codes(caught.value)


@pytest.mark.parametrize(
    "text, value",
    [
        *((word, word) for word in ("no", "on", "yes", "off", "y", "NO", "12:30:00", "2024_01", "1_000", "2024-01-01")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("null", "Null", "NULL", "~", "")),
        *(("0123", 123), ("-7", -7), ("+7", 7), ("0o17", 15), ("0x1F", 31), ("0b1", "0b1"), ("1e3", 1000.0)),
        *((".5", 0.5), ("5.", 5.0), (".inf", float("inf")), ("-.INF", -float("inf")), ("9" * 5000, "9" * 5000)),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    """Plain scalars have the types of YAML 1.2, not of YAML 1.1; very long numbers stay text."""
    result = core_value(text)
    assert (result, type(result)) == (value, type(value))


def test_nan_is_a_number() -> None:
    """`.nan` is a float that equals nothing."""
    value = core_value(".nan")
    assert isinstance(value, float)
    assert value != value


def test_scalars_keep_their_text_and_place() -> None:
    """A plain scalar keeps its text; quoted ones are always texts; columns count characters."""
    root = load_yaml("ü: [日, \"no\", 0123, '~', ~]\n", path="f").root
    assert isinstance(root, Mapping)
    key, value = root.pairs["ü"]
    assert key.place == Place(1, 1)
    assert not isinstance(value, Scalar | Mapping)
    items = [item for item in value.items if isinstance(item, Scalar)]
    assert [(item.text, item.plain, item.column) for item in items] == [
        ("日", True, 5),
        ("no", False, 8),
        ("0123", True, 14),
        ("~", False, 20),
        ("~", True, 25),
    ]
    assert [item.is_null for item in items] == [False, False, False, False, True]


def test_places_by_key() -> None:
    """A document finds the place of a value by keys and indexes, or of the deepest one that exists."""
    document = load_yaml("a:\n  - b: 1\n  - {c: 2}\n", path="f")
    assert document.place("a", 1, "c") == Place(3, 9)
    assert document.place("a", 1, "nope", "deeper") == Place(3, 5)
    assert document.place("a", 7) == document.place("a", "b") == Place(2, 3)
    assert load_yaml("# nothing", path="f").place("a") == Place(1, 1)
    assert load_yaml("# nothing", path="f").plain() is None


def test_merge_keys() -> None:
    """A key of its own overrides a merged one, the first of several merged ones wins; `"<<"` in quotes is a key."""
    text = 'a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {x: 0, <<: [*a, *b]}\nd: {<<: *a, y: 9}\ne: {"<<": 1}\n'
    data = read(text)
    assert isinstance(data, dict)
    assert data["c"] == {"x": 0, "y": 2, "z": 4}
    assert data["d"] == {"x": 1, "y": 9}
    assert data["e"] == {"<<": 1}


@pytest.mark.parametrize("source", ["3", "[*a, 3]", "[[*a]]"])
def test_only_mappings_are_merged(source: str) -> None:
    """Merging anything else is a fault at the merge key."""
    (line,) = wrong(f"a: &a {{x: 1}}\nb: {{<<: {source}}}\n")
    assert line == "2:5 merge-key"


def test_a_second_merge_key_is_a_fault() -> None:
    """Two merge keys in one mapping are an error: their order is unclear."""
    (line,) = wrong("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n")
    assert line == "2:13 merge-key"


def test_duplicate_keys_name_both_lines() -> None:
    """Each repeated key is an error, even if only the quotes differ."""
    assert wrong("a: 1\nb: {c: 1, c: 2}\n'a': 2\na: 3\n") == [
        "2:11 duplicate-key",
        "3:1 duplicate-key",
        "4:1 duplicate-key",
    ]


def test_two_anchors_of_one_name() -> None:
    """Two anchors with one name are an error: the alias is ambiguous."""
    (line,) = wrong("a: &x 1\nb: &x 2\n")
    assert line == "2:4 duplicate-anchor"


def test_keys_are_texts() -> None:
    """A list or mapping as a key is a fault, once for each."""
    lines = wrong("? [a]\n: 1\n? {b: c}\n: 2\nd: 3\n")
    assert lines == ["1:3 key-not-text", "3:3 key-not-text"]


def test_aliases() -> None:
    """An alias has the value of its anchor, which can be a text."""
    assert read("a: &x [1]\nb: *x\nc: &y two\nd: *y\n&k e: *k\n") == {
        "a": [1],
        "b": [1],
        "c": "two",
        "d": "two",
        "e": "e",
    }


@pytest.mark.parametrize(
    "text, says",
    [
        ("a: *nope\n", "1:4 unknown-alias"),
        ("a: &x [1, *x]\n", "1:4 recursive-alias"),
        ("a: &x {b: {<<: *x}}\n", "1:4 recursive-alias"),
        ("- a\n---\n- b\n", "2:1 second-document"),
        ("--- a\n...\n--- b\n", "3:1 second-document"),
    ],
)
def test_what_ends_the_reading(text: str, says: str) -> None:
    """A syntax error is one error at its place."""
    assert wrong(text) == [says]


def test_an_alias_bomb_is_refused() -> None:
    """An alias bomb is refused at once, with its place."""
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 11))
    (line,) = wrong("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n" + levels)
    assert line.endswith(" alias-bomb")


def test_a_merge_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merging counts as well."""
    monkeypatch.setattr(yaml_text, "MAX_ALIASED", 10_000)
    big = "a: &a {" + ", ".join(f"k{i}: 1" for i in range(1000)) + "}\n"
    (line,) = wrong(big + "".join(f"b{i}: {{<<: *a}}\n" for i in range(20)))
    assert line.endswith(" alias-bomb")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 5_000])
@pytest.mark.parametrize("use_libyaml", [True, False])
def test_deep_nesting_is_a_fault(text: str, use_libyaml: bool) -> None:
    """No depth ends in a RecursionError."""
    (line,) = wrong(text if use_libyaml else text[:2_000], use_libyaml=use_libyaml)
    assert line.endswith(" nesting")


def test_depth_through_aliases_is_a_fault() -> None:
    """The depth includes the values of aliases."""
    deep = "a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60
    (line,) = wrong(deep)
    assert line.endswith(" nesting")


@pytest.mark.parametrize(
    "text, value",
    [
        ("!!str 12", "12"),
        ("!!str", ""),
        ('!!int "12"', 12),
        ("!!float 1", 1),
        ("!!bool 'true'", True),
        ("!!null ''", None),
        ("!!map {a: 1}", {"a": 1}),
        ("!!seq [1]", [1]),
        ("! [1]", [1]),
    ],
)
def test_core_tags(text: str, value: object) -> None:
    """The tags of YAML's core say how a value is read."""
    assert read(f"a: {text}") == {"a": value}


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!binary", "!!timestamp", "!mine", "!<tag:example.org,2000:x>", "!!seq"]
)
def test_other_tags_are_refused(tag: str) -> None:
    """No tag makes anything but text, numbers, booleans and nulls."""
    (line,) = wrong(f"a: {tag} x\n")
    assert line == "1:4 tag"


@pytest.mark.parametrize("text", ["a: !!set {b}\n", "a: !!map [b]\n", "a: !!python/tuple [b]\n"])
def test_other_tags_on_collections_are_refused(text: str) -> None:
    """Neither does a tag on a list or mapping."""
    (line,) = wrong(text)
    assert line == "1:4 tag"


@pytest.mark.parametrize("text", ["!!int x", "!!bool yes", "!!null a", "!!int true"])
def test_a_tag_must_be_true(text: str) -> None:
    """A value that is not of the type that its tag says is a fault."""
    (line,) = wrong(f"a: {text}\n")
    assert line == "1:4 tag"


@pytest.mark.parametrize(
    "text, says",
    [
        ("a:\n\tb: c\n", "2:1 tab"),
        ("a:\n  b: 1\n  \tc: 2\n", "3:3 tab"),
        ("a: [${B}]\n", "1:5 unquoted-variable"),
        ("a: [b\n", "1:4 yaml-syntax"),
        ("a: {b: c\n", "1:4 yaml-syntax"),
        ("a: 'b\n", "1:4 yaml-syntax"),
        ('a: "b\n---\n', "1:4 yaml-syntax"),
        ("a: b: c\n", "1:5 yaml-syntax"),
        ("a: 1\nb\nc: 2\n", "2:1 yaml-syntax"),
        ("a: 'it's'\n", "1:8 yaml-syntax"),
        ("- a\nb: c\n", "2:1 yaml-syntax"),
        ("a: - b\n", "1:4 yaml-syntax"),
        ("a: @b\n", "1:4 yaml-syntax"),
        ("a: %b\n", "1:4 yaml-syntax"),
        ('a: "\\q"\n', "1:5 invalid-escape"),
        ('a: "\\xzz"\n', "1:7 invalid-escape"),
        ("a: *\n", "1:5 yaml-syntax"),
        ("a: & b\n", "1:5 yaml-syntax"),
        ("a: !x!y b\n", "1:4 tag"),
        ("a: |0\n b\n", "1:5 yaml-syntax"),
        ("a: >x\n b\n", "1:5 yaml-syntax"),
        ("%YAML 2.0\n---\na: 1\n", "1:1 yaml-syntax"),
        ("a: ]\n", "1:4 yaml-syntax"),
        ('{"a": 1} b\n', "1:10 yaml-syntax"),
        ('a: "\\ud83d"\n', "1:4 invalid-escape"),
    ],
)
def test_syntax_errors_say_what_to_do(text: str, says: str) -> None:
    """The library's errors are reported in our words, at the place to correct."""
    assert wrong(text) == [says]


def test_both_parsers_report_tabs() -> None:
    """Without libyaml, a tab is an error even if libyaml allows it."""
    assert wrong("a:\n\tb: c\n", use_libyaml=False) == ["2:1 tab"]
    assert wrong("a:\tb\n", use_libyaml=False) == ["1:3 tab"]


def test_a_tab_is_not_blamed_for_brackets() -> None:
    """In brackets a tab can indent; the error is another one."""
    assert wrong("a: [b,\n\tc\nd: e\n") == ["1:4 yaml-syntax"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: [1, 'two', \"three\"], c: |\n  text\n  more\n}\n",
        "a: &x {b: [1, 'two']}\nd: *x\ne: {<<: *x, f: ~}\n# end\n",
        "- - a\n  - b\n- ? c\n  : d\n- >-\n  folded\n  text\n- ! x\n",
        "%YAML 1.2\n---\na: !!str 1\n...\n",
        "",
    ],
)
def test_both_parsers_agree(text: str) -> None:
    """Without libyaml the result is the same: data, places and errors."""
    results = []
    for use_libyaml in (True, False):
        listed = Diagnostics("f")
        document = read_yaml(text, listed, use_libyaml=use_libyaml)
        results.append((document and document.plain(), document and document.place("a", "b"), listed.has_errors))
    assert results[0] == results[1]


def test_json_is_yaml() -> None:
    """Any JSON document is read correctly, even with surrogate pairs."""
    data = {"a\u2028b": ["\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), 1.5, True, None], "/": {}}
    assert read(json.dumps(data)) == data
    assert read(json.dumps(data, ensure_ascii=False)) == data


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\u2029", "\ufeff"])
def test_characters_that_libyaml_misunderstands(char: str) -> None:
    """In YAML 1.2 these characters do not end a line; they stay in texts, quoted or not."""
    assert read(f"a: x{char}y\nb: 'x{char}y'\n# \ue000 \ue001\nc: \"\\ue002\"\n") == {
        "a": f"x{char}y",
        "b": f"x{char}y",
        "c": "\ue002",
    }


def test_a_pattern_that_is_read_as_an_alias() -> None:
    """A text that begins with a star and stands without quotes is an alias to YAML: the fault says to quote it."""
    with pytest.raises(ManifestError, match=r"unknown-alias.*quote it"):
        load_yaml("tables: [*_raw]\n", path="m.yaml")
