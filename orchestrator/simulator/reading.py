"""From YAML, or from values in a test, to a `Scenario`; or to every fault in it, each with its place."""

import difflib
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from orchestrator.errors import UsageError
from orchestrator.input_file import read_input
from orchestrator.manifest.excerpt import Excerpt
from orchestrator.simulator.field_types import FORMS, ScenarioPart
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import Keys, conflicts, dotted

MAX_SHOWN = 50
"""How many faults are printed; the others are counted."""

_MAX_TEXT = 300
_MANIFEST_KEYS = {"instances", "defaults", "workers", "notify"}
_ENTRY_KEYS = {"model", "tables", "tags", "reads", "timeout", "retries", "enabled", "mode", "on_ambiguous", "verify"}
_Places = Callable[[Keys], tuple[str, int, int]]
"""Where the value under some keys stands: file, line, column; an empty file's name for a scenario that is no file."""


def _nowhere(_: Keys) -> tuple[str, int, int]:
    """The place of every key in a scenario that is no file."""
    return "", 0, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFault:
    """One error: `place` is `FILE:LINE:COLUMN` (empty for a scenario that is no file), `key` its path.

    `excerpt` is the line in the file, if it is known.
    """

    place: str
    key: str
    message: str
    code: str
    hint: str = ""
    excerpt: Excerpt | None = None

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return ": ".join(part for part in (self.place, self.key, self.message) if part) + hint


class ScenarioError(UsageError):
    """A scenario is wrong; its text has one line for each fault."""

    def __init__(self, faults: tuple[ScenarioFault, ...]) -> None:
        self.faults = faults
        lines = [str(fault) for fault in faults[:MAX_SHOWN]]
        if len(faults) > MAX_SHOWN:
            lines.append(f"and {len(faults) - MAX_SHOWN} more")
        super().__init__("\n".join(lines), code=faults[0].code)


def load_scenario(source: Path | str) -> Scenario:
    """The scenario in a YAML file (a path) or in YAML text (a string). Keys at the top that begin with `x-` are ignored.

    Raises ScenarioError with every fault, OSError if the file cannot be read.
    """
    data, place = _read_yaml(source)
    if _is_manifest(data):
        file, line, column = place(())
        hint = f"to rehearse it, run: omni-refresh run {file} --simulate"
        at = f"{file}:{line}:{column}"
        message = "this is a manifest, not a scenario"
        raise ScenarioError(
            (ScenarioFault(place=at, key="", message=message, code="manifest-not-scenario", hint=hint),)
        )
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if not key.startswith("x-")}
    return _validate({} if data is None else data, place)


def _is_manifest(data: object) -> bool:
    """Whether the data has keys that only a manifest has."""
    if not isinstance(data, dict):
        return False
    models = data.get("models")
    entries = [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []
    return bool(_MANIFEST_KEYS & set(data)) or any(_ENTRY_KEYS & set(entry) for entry in entries)


def make_scenario(**sections: object) -> Scenario:
    """The scenario with these top-level keys, as a YAML file would have them. Raises ScenarioError with every fault."""
    return _validate(sections, _nowhere)


def check_scenario(scenario: Scenario, place: _Places = _nowhere) -> Scenario:
    """The scenario itself. Raises ScenarioError with faults that concern several keys."""
    if found := _placed(((keys, "invalid-scenario", message) for keys, message in conflicts(scenario)), place):
        raise ScenarioError(found)
    return scenario


def scenario_json_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of a scenario file, for editors; published as docs/reference/scenario.schema.json."""
    schema = Scenario.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "omni-refresh scenario",
        "patternProperties": {"^x-": {"description": "Ignored: a home for anchors."}},
    }


def _read_yaml(source: Path | str) -> tuple[object, _Places]:
    """The file's data, and the place of each key. The only code of this package that uses YAML."""
    from orchestrator.manifest.diagnostics import ManifestError
    from orchestrator.manifest.yaml_text import MAX_BYTES, load_yaml

    try:
        if isinstance(source, str):
            document = load_yaml(source, path="<scenario>")
        else:
            document = load_yaml(read_input(source, MAX_BYTES), path=str(source))
    except ManifestError as error:
        found = (
            ScenarioFault(
                place=f"{found.path}:{found.place.line}:{found.place.column}",
                key="",
                message=found.message,
                code=found.code,
                hint=found.hint,
                excerpt=found.excerpt,
            )
            for found in error.diagnostics
        )
        raise ScenarioError(tuple(found)) from error

    def place(keys: Keys) -> tuple[str, int, int]:
        at = document.place(*keys)
        return document.path, at.line, at.column

    return document.plain(), place


def _validate(data: object, place: _Places) -> Scenario:
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(_placed(_worded(error), place)) from None
    return check_scenario(scenario, place)


def _placed(wrong: Iterable[tuple[Keys, str, str]], place: _Places) -> tuple[ScenarioFault, ...]:
    """What is wrong, in the file's order."""
    found = sorted(
        ((*place(keys), dotted(keys), code, message) for keys, code, message in wrong), key=lambda fault: fault[:3]
    )
    return tuple(
        ScenarioFault(place=f"{file}:{line}:{column}" if file else "", key=key, message=message, code=code)
        for file, line, column, key, code, message in found
    )


def _worded(error: ValidationError) -> Iterator[tuple[Keys, str, str]]:
    for detail in error.errors(include_url=False, include_context=False):
        keys = tuple(key for key in detail["loc"] if key not in FORMS and key != "[key]")
        if detail["type"] == "extra_forbidden":
            yield keys, "unknown-key", _unknown(keys)
        elif detail["type"] == "missing":
            yield keys, "missing-key", "this key is missing"
        else:
            message = detail["msg"].removeprefix("Value error, ")
            shown = repr(detail["input"])
            is_telling = not isinstance(detail["input"], dict | list) and len(shown) <= _MAX_TEXT
            yield (
                keys,
                "invalid-value",
                f"{message[:1].lower()}{message[1:]}" + (f", not {shown}" if is_telling else ""),
            )


def _unknown(keys: Keys) -> str:
    known = sorted(_keys_at(keys[:-1]))
    near = difflib.get_close_matches(str(keys[-1]), known, n=1, cutoff=0.6)
    return "unknown key" + (f": did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}")


def _keys_at(keys: Keys) -> set[str]:
    """The keys that a mapping at this place may have."""
    parts: set[type[ScenarioPart]] = {Scenario}
    for key in keys:
        if isinstance(key, str):
            parts = {part for owner in parts for part in _parts_in(_annotation(owner, key))}
    return {field.alias or name for part in parts for name, field in part.model_fields.items()}


def _annotation(owner: type[ScenarioPart], key: str) -> object:
    found = (field.annotation for name, field in owner.model_fields.items() if key in (name, field.alias))
    return next(found, None)


def _parts_in(annotation: object) -> Iterator[type[ScenarioPart]]:
    if isinstance(annotation, type) and issubclass(annotation, ScenarioPart):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _parts_in(inner)
