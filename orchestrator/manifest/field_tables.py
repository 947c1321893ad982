"""A mapping of the manifest read by its table: which keys it may have, of which kind, and what was found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Final, TypeVar

from orchestrator.manifest.diagnostics import nearest
from orchestrator.manifest.field_types import FieldType, JsonSchema
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.reading import ReadContext, kind_of
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar

_T = TypeVar("_T")
_LONGEST_KEY: Final = 60
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key: its kind, and for people its default, its meaning and an example."""

    key: str
    kind: FieldType
    default: str
    meaning: str
    example: object
    required: bool = False

    def schema(self) -> JsonSchema:
        """The key as JSON Schema. A default that is no single value is told in the description."""
        schema = {**self.kind.schema(), "description": self.meaning, "examples": [self.example]}
        if self.default in {"true", "false"} or self.default.isdecimal():
            schema["default"] = json.loads(self.default)
        elif self.default and " " not in self.default:
            schema["default"] = self.default
        elif self.default:
            schema["description"] = f"{self.meaning} Default: {self.default}."
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The keys that one place of the manifest knows. `wrong` says what people write instead, and which key they mean."""

    what: str
    fields: MappingOf[str, Field]
    wrong: MappingOf[str, str] = field(default_factory=dict)

    def unknown(self, key: str) -> str:
        """The fault for a key that this place does not know, with what was probably meant."""
        plain = _plain(key)
        meant = self.wrong.get(plain) or (plain if plain in self.fields else None)
        if meant is None and (near := nearest(plain, [*self.fields, *self.wrong])):
            meant = self.wrong.get(near, near)
        if meant is None:
            return f"{self.what} has no such key; it may have {', '.join(self.fields)}"
        if meant in self.fields:
            return f"{self.what} has no such key: did you mean `{meant}`?"
        return f"{self.what} has no such key: {meant}"

    def schema(self) -> JsonSchema:
        """The place as JSON Schema."""
        schema: JsonSchema = {
            "type": "object",
            "properties": {key: one.schema() for key, one in self.fields.items()},
            "additionalProperties": False,
        }
        if required := [key for key, one in self.fields.items() if one.required]:
            schema["required"] = required
        return schema


def table(what: str, *fields: Field, wrong: MappingOf[str, str] | None = None) -> Table:
    """A table of these fields, in their order."""
    return Table(what=what, fields={one.key: one for one in fields}, wrong=wrong or {})


class FieldTable:
    """What one mapping said: the values that could be read, and where they stand."""

    __slots__ = ("_mapping", "_values")

    def __init__(self, mapping: Mapping, values: dict[str, object]) -> None:
        self._mapping = mapping
        self._values = values

    def get(self, key: str, kind: type[_T]) -> _T | None:
        """The value of a key; None where it is left out, or was wrong."""
        value = self._values.get(key)
        return value if isinstance(value, kind) else None

    def __contains__(self, key: str) -> bool:
        """Whether the key is written, rightly or wrongly."""
        return key in self._mapping.pairs

    def place(self, key: str | None = None) -> Place:
        """Where the value of a key stands, or the whole."""
        pair = self._mapping.pairs.get(key) if key is not None else None
        return self._mapping.place if pair is None else pair[1].place


NO_SETTINGS: Final = FieldTable(Mapping(1, 1), {})


def read_settings(reading: ReadContext, node: Node, known: Table) -> FieldTable | None:
    """What a mapping says, by its table; None with a fault where there is none."""
    if not isinstance(node, Mapping):
        if isinstance(node, Scalar) and node.is_null:
            reading.fault(node.place, f"{known.what} is empty: {_shape(known)}")
        else:
            reading.fault(node.place, f"{known.what} is a {kind_of(node)}: {_shape(known)}")
        return None
    return read_mapping(reading, node, known)


def read_mapping(reading: ReadContext, node: Mapping, known: Table) -> FieldTable:
    """What a mapping says, by its table. Wrong keys and values are faults."""
    values: dict[str, object] = {}
    fields = known.fields
    for key, (written, value) in node.pairs.items():
        one = fields.get(key)
        if one is None:
            advice = "" if reading.faults.is_full else known.unknown(key)
            reading.fault(written.place, f"unknown key {reading.show(key)}: {advice}")
        elif (read := one.kind.read(reading, value, key)) is not None:
            values[key] = read
    for key, one in fields.items():
        if one.required and key not in node.pairs:
            reading.fault(node.place, f"{known.what} needs `{key}`")
    return FieldTable(node, values)


@dataclass(frozen=True, slots=True)
class Nested:
    """A mapping under a key, with a table of its own."""

    table: Table

    def read(self, reading: ReadContext, node: Node, key: str) -> FieldTable | None:
        """What the mapping says; None with a fault where there is none."""
        del key
        return read_settings(reading, node, self.table)

    def schema(self) -> JsonSchema:
        return self.table.schema()


def _shape(known: Table) -> str:
    first = next(iter(known.fields.values()))
    return f"write `{first.key}: {first.example}` and the like under it"


def _plain(key: str) -> str:
    """A key as people may have meant it: `hardRefresh`, `Hard-Refresh` and `hard refresh` are `hard_refresh`."""
    spaced = _CAMEL.sub("_", key[:_LONGEST_KEY])
    return "_".join(re.split(r"[\s_-]+", spaced.strip().lower()))
