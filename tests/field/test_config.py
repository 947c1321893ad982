"""What people met with configuration in tools like this one, seen from the wire."""

from pathlib import Path

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.manifest.diagnostics import ManifestError
from orchestrator.manifest.load import load_manifest, make_manifest
from orchestrator.simulator.reading import make_scenario
from tests.rehearsal import Rehearsal, rehearse, uuid

TOP = f"""
instances:
  sim: {{base_url: http://127.0.0.1:1, api_keys: ["${{KEY_1}}"]}}
models:
  - id: {uuid(1)}
    connection: c
"""
EVERYTHING = make_scenario(default_model={"duration": 1})


def run(*lines: str) -> Rehearsal:
    """A run over one model that has these lines."""
    return rehearse(TOP + "".join(f"    {line}\n" for line in lines), EVERYTHING)


def faults(*lines: str, top: str = TOP) -> list[str]:
    """What is wrong with a manifest of one model that has these lines; it must be wrong, and so nothing is sent."""
    with pytest.raises(ManifestError) as caught:
        rehearse(top + "".join(f"    {line}\n" for line in lines), EVERYTHING)
    return str(caught.value).splitlines()


WORDS = [
    "no",
    "on",
    "yes",
    "off",
    "y",
    "NO",
    "true",
    "null_",
    "2024_01",
    "0123",
    "1e3",
    "12:30:00",
    "0x1F",
    "2024-01-01",
    "1.0",
]


@pytest.mark.parametrize("word", WORDS)
def test_words_that_yaml_takes_for_something_else(word: str) -> None:
    """They are names, and reach the server exactly as they were typed; `mode: on` is no mode."""
    (post,) = run(f"schemas: [{word}]", f"tables: [a.{word}, {word}]").posts
    assert (post.query["schemas"], post.query["tables"]) == (word, f"a.{word},{word}")
    (fault,) = faults("mode: on")
    assert "mode" in fault


@pytest.mark.parametrize(
    "lines, places",
    [
        (["mode: soft", "mode: hard"], ["7", "8"]),
        (["tables: [a]", "schemas: [s]", "tables: [b]"], ["7", "9"]),
        (["id: " + uuid(2)], ["5", "7"]),
    ],
)
def test_keys_that_stand_twice(lines: list[str], places: list[str]) -> None:
    """A key that stands twice is an error that gives both lines; so is a second list of models; a merge key is meant."""
    text = "\n".join(faults(*lines))
    assert all(place in text for place in places)
    assert "models" in "\n".join(faults(top=TOP + "models: []\n"))
    anchored = "x-soft: &soft {mode: soft, tags: [t]}\n" + TOP + "    <<: *soft\n    tags: [own]\n"
    (outcome,) = rehearse(anchored, EVERYTHING).outcomes
    assert (outcome.mode, outcome.tags) == ("soft", ("own",))


@pytest.mark.parametrize(
    "line",
    [
        "tables:", "tables: []", "tables: ['']", "schemas: ''", "schemas: [null]", "schemas: [~]", "tables: [[a],[b]]",
        "schemas: ['  ']", "tables: {}", "schemas: ~", "tables: [a, '']",
    ],
)  # fmt: skip
def test_an_empty_scope_is_never_everything(line: str) -> None:
    """Null, empty, blank and nested scopes are errors that name the key: no refresh of everything ever comes of them."""
    assert all(line.split(":", maxsplit=1)[0] in fault for fault in faults(line))


def test_one_name_is_one_name() -> None:
    """A scope that is a text is that one name, never its letters."""
    assert [post.query["schemas"] for post in run("schemas: analytics").posts] == ["analytics"]


@pytest.mark.parametrize("value", [None, "", "  ", "in\nner", "\u00e9", "Bearer x"])
def test_keys_from_variables_that_cannot_be(value: str | None) -> None:
    """An unset, empty or odd key is an error that names the variable and shows nothing of the value."""
    environ = {} if value is None else {"KEY_1": value}
    with pytest.raises(ManifestError) as caught:
        make_manifest(TOP, path="m.yaml", environ=environ)
    assert "KEY_1" in str(caught.value)
    assert value is None or not value.strip() or value not in str(caught.value)


@pytest.mark.parametrize("value", ["pa$HOME$$x${Y}", "a\\b'\"c", "${KEY_1}", "#x", "0123", "null"])
def test_a_value_is_taken_as_it_is(value: str) -> None:
    """What a variable holds is used verbatim: no second expansion, no YAML."""
    (key,) = make_manifest(TOP, path="m.yaml", environ={"KEY_1": value}).instances["sim"].keys
    assert key.secret is not None
    assert key.secret.reveal() == value


def test_dollars_in_names() -> None:
    """A bare dollar in a name is a dollar; an unclosed placeholder is an error."""
    (post,) = run("schemas: [s]", "tables: ['a$b', 'c$$d', '${NONE:-e}']").posts
    assert post.query["tables"] == "a$b,c$d,e"
    assert "never closed" in faults("tables: ['${KEY_1']")[0]


@pytest.mark.parametrize("outer", ["\n", "\r\n", " ", "\t", "\ufeff"])
def test_keys_with_outer_blanks(outer: str, tmp_path: Path) -> None:
    """A trailing newline, blanks or a BOM around a key are trimmed, from a variable as from a file."""
    (tmp_path / "key").write_text(
        f"SECRETKEY123{outer}" if outer != "\ufeff" else f"{outer}SECRETKEY123", encoding="utf-8"
    )
    by_file = TOP.replace('api_keys: ["${KEY_1}"]', "api_key_file: key")
    (tmp_path / "m.yaml").write_text(by_file, encoding="utf-8")
    loaded = [
        load_manifest(tmp_path / "m.yaml", environ={}),
        make_manifest(TOP, path="m.yaml", environ={"KEY_1": f"SECRETKEY123{outer}"}),
    ]
    for manifest in loaded:
        (key,) = manifest.instances["sim"].keys
        assert key.secret is not None
        assert key.secret.reveal() == "SECRETKEY123"
    run_ = rehearse(loaded[0], make_scenario(default_model={"duration": 1}, keys=["SECRETKEY123"]))
    assert run_.outcome.status is Status.SUCCEEDED
