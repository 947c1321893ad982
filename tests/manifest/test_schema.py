"""The JSON Schema and the reference page say what the reader does."""

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestrator.manifest.fields import Table
from orchestrator.manifest.keys import DEFAULTS, INSTANCE, MODEL, POLL, RATE_LIMIT, manifest_json_schema
from orchestrator.manifest.keys import TOP as TOP_TABLE
from orchestrator.manifest.notices import NOTICE
from tests.house.tree import ROOT
from tests.manifest.manifests import ID, load

REFERENCE = ROOT / "docs/reference/manifest.md"
SECTIONS = {
    "The top": TOP_TABLE,
    "instances": INSTANCE,
    "rate_limit": RATE_LIMIT,
    "notify": NOTICE,
    "models": MODEL,
    "poll": POLL,
}
SCHEMA = manifest_json_schema()
ENVIRON = {"OMNI_API_TOKEN": "k"}


def _accepts(text: str) -> bool:
    """Return whether an editor, which reads numbers and booleans as such, reports nothing."""
    return Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))


def _row(table: Table, key: str) -> str:
    one = table.fields[key]
    return one.default or ("required" if one.required else "none")


def test_the_published_schema_is_the_reader_s() -> None:
    """The file that editors fetch is what the program prints; it is a valid schema."""
    published = json.loads((ROOT / "docs/reference/manifest.schema.json").read_text(encoding="utf-8"))
    assert published == SCHEMA
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented(section: str) -> None:
    """Each section of the reference lists its keys in order, with the schema's defaults."""
    page = REFERENCE.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^##+ {section}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", body, re.MULTILINE))
    table = SECTIONS[section]
    assert rows == {key: _row(table, key) for key in table.fields}
    assert list(rows) == list(table.fields)


def test_defaults_are_a_model_s_keys() -> None:
    """All keys but those that name one model are allowed in `defaults`; `collapse` is allowed only there."""
    assert set(DEFAULTS.fields) == set(MODEL.fields) - {"id", "name", "model"} | {"collapse"}
    assert "| `collapse` | true, false | true |" in REFERENCE.read_text(encoding="utf-8")


def test_the_reference_s_example_loads() -> None:
    """The manifest at the top of the page is valid for the program and for editors."""
    (example,) = re.findall(r"```yaml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(load(example).entries) == 2
    assert _accepts(example)


@pytest.mark.parametrize(
    "table", [TOP_TABLE, INSTANCE, RATE_LIMIT, NOTICE, DEFAULTS, MODEL, POLL], ids=lambda table: table.what
)
def test_examples_fit_their_keys(table: Table) -> None:
    """Each key's example passes its own part of the schema, and each default is one that could be written."""
    properties: Any = table.schema()["properties"]
    for one in properties.values():
        for value in [*one["examples"], *([one["default"]] if "default" in one else [])]:
            Draft202012Validator(one).validate(value)


@pytest.mark.parametrize(
    "table", [TOP_TABLE, INSTANCE, RATE_LIMIT, NOTICE, DEFAULTS, MODEL, POLL], ids=lambda table: table.what
)
def test_wrong_names_lead_to_keys(table: Table) -> None:
    """No wrong name is a key; each leads to a key or to a sentence."""
    assert not set(table.aliases) & set(table.fields)
    assert all(meant in table.fields or " " in meant for meant in table.aliases.values())


@pytest.mark.parametrize(
    "lines",
    [
        "schemas: [no, 0123, 1e3, 12:30:00, 2024_01, 0x1F, .5, true]",
        "schemas: no",
        "branch: 2024",
        "connection: 12",
        "name: off",
        "tags: nightly",
        "timeout: 90",
        "timeout: 1.5",
        "timeout: 1h30m",
        "timeout: ${T}",
        "retries: ${N:-3}",
        "wait: ${W}",
        "mode: ${M}",
        "id: ${I}",
        f"id: {ID.upper()}",
        "poll: {min: 50ms}",
        "poll: {min: 1}",
        "verify: validate",
    ],
)
def test_the_schema_is_not_stricter(lines: str) -> None:
    """An editor accepts what the program accepts: names that look like numbers, and variables in any place."""
    text = 'instances: {a: {base_url: "http://127.0.0.1:1", api_keys: "${OMNI_API_TOKEN}"}}\nmodels:\n'
    text += f"  - {lines}\n" if lines.startswith(("name", "id")) else f"  - name: a\n    {lines}\n"
    environ = {**ENVIRON, "T": "5m", "N": "1", "W": "true", "M": "soft", "I": ID}
    assert load(text, environ=environ).entries
    assert _accepts(text)


@pytest.mark.parametrize(
    "text",
    [
        "models: []",
        "{}",
        "models: [{nam: a}]",
        "models: [{name: }]",
        "models: [{name: a, schemas: []}]",
        "models: [{name: a, schemas: ['a,b']}]",
        "models: [{name: a, id: x}]",
        "models: [{name: a, timeout: 5 min}]",
        "models: [{name: a, retries: 101}]",
        "models: [{name: a, mode: sotf}]",
        "models: [{name: a, collapse: true}]",
        "{models: [{name: a}], version: 2}",
        "{models: [{name: a}], worker: 2}",
        "{models: [{name: a}], instances: {}}",
        "{models: [{name: a}], instances: {a: {api_keys: '${K}'}}}",
        "{models: [{name: a}], instances: {a: {base_url: 'https://a.b', api_keys: [omni_osk_x]}}}",
        "{models: [{name: a}], instances: {a: {base_url: 'https://u:p@a.b', api_keys: '${K}'}}}",
        "{models: [{name: a}], notify: []}",
        "{models: [{name: a}], notify: [{webhook: ftp://a.b}]}",
        "{models: [{name: a}], notify: [{webhook: '${A}', apprise: '${B}'}]}",
        "{models: [{name: a}], notify: [{webhook: '${A}', 'on': never}]}",
    ],
)
def test_editors_find_what_they_can(text: str) -> None:
    """The common faults are seen while typing."""
    assert not _accepts(text)


def test_top_keys_for_anchors_are_allowed() -> None:
    """An editor does not complain of the home for anchors."""
    assert _accepts("{models: [{name: a}], x-base: {mode: soft}}")
