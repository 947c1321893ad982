"""A scenario is read whole, or everything that is wrong with it is told with its place; the documents say what is true."""

import json
import re
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
from pydantic.fields import FieldInfo

from orchestrator.errors import UsageError
from orchestrator.simulator.calls import Call
from orchestrator.simulator.faults import InjectedFault
from orchestrator.simulator.field_types import Lognormal, ScenarioPart, TimeRange
from orchestrator.simulator.limits import Key, Limit
from orchestrator.simulator.population import (
    Branch,
    Connection,
    DefaultModel,
    Generate,
    Model,
    ScenarioDocument,
    ScenarioEnvironment,
    ScenarioIssue,
    ScenarioQuery,
    ScenarioSchedule,
    Traits,
)
from orchestrator.simulator.reading import (
    MAX_SHOWN,
    ScenarioError,
    load_scenario,
    make_scenario,
    scenario_json_schema,
)
from orchestrator.simulator.scenario import Answers, Scenario

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGE = (REFERENCE / "scenario.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

UUID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Names stay as they were written, ids become lower case, everything left out has its default."""
    path = tmp_path / "s.yaml"
    path.write_text(
        f"x-anchors: [&d 3.5]\nmodels:\n- {{id: {UUID.upper()}, name: no, duration: *d}}\n"
        "connections: [{name: wh, schemas: {on: [yes, 'a.b'], 2024_01: []}}]\n",
        encoding="utf-8",
    )
    scenario = load_scenario(path)
    (model,) = scenario.models
    assert (model.id, model.name, model.duration) == (UUID, "no", 3.5)
    assert scenario.connections[0].schemas == {"on": ("yes", "a.b"), "2024_01": ()}
    assert scenario.limit == Limit()


def test_an_empty_file_is_an_instance_without_models() -> None:
    """Nothing said means every default."""
    assert load_scenario("# nothing\n") == make_scenario() == Scenario()


def test_every_fault_is_reported_at_once_with_its_place(tmp_path: Path) -> None:
    """Each fault has file, line, column and key; a misspelt key is told what was meant, and it is a usage error."""
    path = tmp_path / "bad.yaml"
    path.write_text(
        "limt: 3\nlimit:\n  requests: 0\nmodels:\n- name: a\n  duration: [5, 1]\n- conection: wh\n"
        "- name: b\n  duration: {median: -1, mode: 2}\nkeys: [{ky: x}]\n",
        encoding="utf-8",
    )
    with pytest.raises(UsageError) as caught:
        load_scenario(path)
    assert str(caught.value).splitlines() == [
        f"{path}:1:7: limt: unknown key: did you mean `limit`?",
        f"{path}:3:13: limit.requests: input should be greater than or equal to 1, not 0",
        f"{path}:6:13: models[0].duration: the first number must not be above the second",
        f"{path}:7:14: models[1].conection: unknown key: did you mean `connection`?",
        f"{path}:9:22: models[2].duration.median: input should be greater than 0, not -1",
        f"{path}:9:32: models[2].duration.mode: unknown key; known: cap, median, sigma",
        f"{path}:10:8: keys[0].key: this key is missing",
        f"{path}:10:13: keys[0].ky: unknown key: did you mean `key`?",
    ]


def test_an_unlike_unknown_key_gets_the_list_of_keys() -> None:
    """Where no key is near, the known ones are listed."""
    with pytest.raises(ScenarioError, match=r"limit\.spells\[0\]\.zzz: unknown key; known: from, until"):
        make_scenario(limit={"spells": [{"from": 1, "until": 2, "zzz": 1}]})


def test_what_is_no_yaml_is_reported_with_its_place() -> None:
    """Broken YAML, and duplicate keys, are faults of the same kind."""
    with pytest.raises(ScenarioError, match=r"<scenario>:\d+:\d+: "):
        load_scenario("models: [\n")
    with pytest.raises(ScenarioError, match="seed"):
        load_scenario("seed: 1\nseed: 2\n")


def test_a_scenario_that_is_no_mapping() -> None:
    """A list is no scenario."""
    with pytest.raises(ScenarioError, match="valid dictionary"):
        load_scenario("- a\n")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """What the system says about a file reaches the caller."""
    with pytest.raises(FileNotFoundError):
        load_scenario(tmp_path / "none.yaml")


def test_hundreds_of_faults_are_cut() -> None:
    """The text holds the first faults and a count; the error keeps all of them."""
    with pytest.raises(ScenarioError) as caught:
        make_scenario(models=[{"name": ""} for _ in range(MAX_SHOWN + 3)])
    assert len(caught.value.faults) == MAX_SHOWN + 3
    assert str(caught.value).endswith("\nand 3 more")


def test_a_long_value_is_not_repeated() -> None:
    """A message holds no long text from the file."""
    with pytest.raises(ScenarioError) as caught:
        make_scenario(limit={"requests": "x" * 1000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "sections,says",
    [
        ({"models": [{"name": "a"}, {"name": "a", "id": UUID}, {"id": UUID}]}, "models[2]: the same id as models[1]"),
        ({"models": [{"name": "a"}, {"name": "a"}]}, "models[1]: the same id as models[0]"),
        (
            {"models": [{"name": "a", "branches": ["b", "b"]}]},
            "models[0].branches[1]: the same id as models[0].branches[0]",
        ),
        ({"models": [{"name": "Model 2"}], "generate": [{"count": 3}]}, "generate[0]: the same id as models[0]"),
        ({"models": [{"kind": "SHARED"}]}, "models[0]: a model needs an `id` or a `name`"),
        ({"models": [{"name": "a", "base": "b"}]}, "models[0].base: no model has the id or name 'b'"),
        ({"connections": [{"name": "a"}, {"name": "a"}]}, "connections[1]: the same id as connections[0]"),
        ({"connections": [{"dialect": "a"}]}, "connections[0]: a listed connection needs an `id` or a `name`"),
        ({"generate": [{"count": 2, "name": "x"}]}, "generate[0].name: needs `{n}`"),
        ({"generate": [{"count": 2, "connection_name": "x"}]}, "generate[0].connection_name: needs `{n}`"),
        (
            {"environments": [{"base": "a", "connection": "b"}], "connections": [{"name": "a"}]},
            "environments[0].connection: no listed connection has the id or name 'b'",
        ),
        ({"outages": [{"from": 5, "until": 5}]}, "outages[0]: `from` must be before `until`"),
        ({"latency": "never"}, "latency: input should be a valid number"),
        ({"version": 2}, "version: input should be 1"),
        ({"models": [{"id": "x"}]}, "models[0].id: string should match pattern"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_contradicts_itself_is_refused(sections: dict[str, object], says: str) -> None:
    """Equal ids, lost references, patterns without a number and the like are told with their key."""
    with pytest.raises(ScenarioError) as caught:
        make_scenario(**sections)
    assert str(caught.value).startswith(says)


def test_one_model_and_one_connection_need_no_number() -> None:
    """A line of one, or on one connection, may have a fixed name."""
    scenario = make_scenario(generate=[{"count": 1, "name": "x", "connection_name": "y"}])
    assert scenario.generate[0].name == "x"
    one_line = make_scenario(generate=[{"count": 9, "connections": 1, "connection_name": "y"}])
    assert one_line.generate[0].connections == 1


def test_the_published_schema_is_the_functions() -> None:
    """The file under docs is what `scenario_json_schema` gives."""
    published = json.loads((REFERENCE / "scenario.schema.json").read_text(encoding="utf-8"))
    assert published == scenario_json_schema()


def test_the_schema_judges_as_the_reader_does() -> None:
    """What the reader takes the schema takes; a wrong key, form or number is refused by both."""
    validator = jsonschema.Draft202012Validator(scenario_json_schema())
    good = {"x-a": 1, "models": [{"name": "a", "duration": [1, 2], "branches": ["b", {"name": "c"}], "connection": {}}]}
    bad: list[dict[str, object]] = [
        {"modles": []},
        {"models": [{"name": "a", "duration": "long"}]},
        {"keys": [{"ky": 1}]},
        {"limit": {"requests": 0}},
        {"faults": [{"status": 99}]},
    ]
    assert validator.is_valid(good)
    assert not any(validator.is_valid(sections) for sections in bad)
    for sections in bad:
        with pytest.raises(ScenarioError):
            make_scenario(**sections)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split(":")[0].splitlines()[-1])
def test_every_example_of_the_page_loads(example: str) -> None:
    """What the page shows can be copied."""
    load_scenario(example)


SECTIONS: dict[str, type[ScenarioPart]] = {
    "The top": Scenario,
    "Keys": Key,
    "Limit": Limit,
    "Spells": TimeRange,
    "Seconds that vary": Lognormal,
    "Answers": Answers,
    "Connections": Connection,
    "Schedules": ScenarioSchedule,
    "Models": Model,
    "Traits": Traits,
    "Branches": Branch,
    "Issues": ScenarioIssue,
    "Documents": ScenarioDocument,
    "Queries": ScenarioQuery,
    "Generate": Generate,
    "default_model": DefaultModel,
    "Environments": ScenarioEnvironment,
    "Faults": InjectedFault,
}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, ScenarioPart):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in (None, "", (), {}):
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _rows(heading: str) -> list[tuple[str, str]]:
    section = re.split(r"^##+ ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|[^|]*\|$", section, re.MULTILINE)


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_documents_every_key_and_its_default(heading: str) -> None:
    """Each part of a scenario has a table of exactly its keys, in their order, with their defaults."""
    part = SECTIONS[heading]
    inherited = Traits.model_fields if part is not Traits and issubclass(part, Traits) else {}
    own = [(f.alias or name, _default(f)) for name, f in part.model_fields.items() if name not in inherited]
    assert _rows(heading) == own


def test_every_part_has_its_table() -> None:
    """No mapping of the schema is missing from the page."""
    definitions = json.loads(json.dumps(scenario_json_schema()))["$defs"]
    parts = {name for name, part in definitions.items() if part.get("type") == "object"}
    assert parts <= {part.__name__ for part in SECTIONS.values()}


def test_the_page_documents_every_key_of_the_call_log() -> None:
    """The table of the call log has each field of a call."""
    table = PAGE.partition("## The call log")[2]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert told == {field.name for field in fields(Call)}
