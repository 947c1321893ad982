"""The keys that a mapping may have, and the types of their values: how each is read, and its JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeAlias, TypeVar

from orchestrator.durations import DURATION_PATTERN, parse_duration
from orchestrator.manifest.diagnostics import nearest
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.reading import MAX_NAME, ReadContext, kind_of
from orchestrator.manifest.yaml_nodes import BOOLEANS, Mapping, Node, Scalar, Sequence

_T = TypeVar("_T")
JsonSchema: TypeAlias = "dict[str, object]"

PLACEHOLDER: Final[JsonSchema] = {"type": "string", "pattern": r"\$\{"}
"""A variable in place of a value that is no text."""

NAME: Final[JsonSchema] = {"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": MAX_NAME}
"""A name. What an editor takes for a number or a boolean is a name as it is written."""

_LONGEST_KEY: Final = 60
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,20}")
_NOT_BOOLEANS: Final = {"yes": "true", "y": "true", "on": "true", "1": "true"} | dict.fromkeys(
    ("no", "n", "off", "0"), "false"
)


class FieldType(Protocol):
    """How a value is read and described."""

    def read(self, reading: ReadContext, node: Node, key: str) -> object | None:
        """The value, or None with an error."""

    def schema(self) -> JsonSchema:
        """The same as JSON Schema, for editors: never stricter than `read`."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key: its type, and for people its meaning, its default and an example. Without an example the default is one."""

    key: str
    kind: FieldType
    meaning: str = field(kw_only=True)
    default: str = field(default="", kw_only=True)
    example: object = field(default=None, kw_only=True)
    required: bool = field(default=False, kw_only=True)

    @property
    def sample(self) -> object:
        """A value to show: the example, or the default."""
        return self._default if self.example is None else self.example

    @property
    def _default(self) -> object:
        is_json = self.default in {"true", "false"} or self.default.isdecimal()
        return json.loads(self.default) if is_json else self.default

    def schema(self) -> JsonSchema:
        """The key as JSON Schema. The description gives a default that is no single value."""
        schema = {**self.kind.schema(), "description": self.meaning, "examples": [self.sample]}
        if self.default and " " not in self.default:
            schema["default"] = self._default
        elif self.default:
            schema["description"] = f"{self.meaning} Default: {self.default}."
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The keys of one kind of mapping. `aliases` are what people write instead, with the key (or the advice) for each."""

    what: str
    fields: MappingOf[str, Field]
    aliases: MappingOf[str, str] = field(default_factory=dict)

    def advice(self, key: str) -> str:
        """What to write instead of a key that does not exist."""
        plain = _plain(key)
        meant = self.aliases.get(plain) or (plain if plain in self.fields else None)
        if meant is None and (near := nearest(plain, [*self.fields, *self.aliases])):
            meant = self.aliases.get(near, near)
        if meant is None:
            return f"{self.what} can have {', '.join(self.fields)}"
        return f"did you mean `{meant}`?" if meant in self.fields else meant

    def schema(self) -> JsonSchema:
        """The mapping as JSON Schema."""
        schema: JsonSchema = {
            "type": "object",
            "properties": {key: one.schema() for key, one in self.fields.items()},
            "additionalProperties": False,
        }
        if required := [key for key, one in self.fields.items() if one.required]:
            schema["required"] = required
        return schema


def table(what: str, *fields: Field, aliases: MappingOf[str, str] | None = None) -> Table:
    """A table of these fields, in their order."""
    return Table(what=what, fields={one.key: one for one in fields}, aliases=aliases or {})


class FieldTable:
    """What one mapping contains: the values that could be read, and their places."""

    __slots__ = ("_mapping", "_values")

    def __init__(self, mapping: Mapping, values: dict[str, object]) -> None:
        self._mapping = mapping
        self._values = values

    def get(self, key: str, kind: type[_T]) -> _T | None:
        """The value of a key; None if it is left out, or was wrong."""
        value = self._values.get(key)
        return value if isinstance(value, kind) else None

    def __contains__(self, key: str) -> bool:
        """Whether the key is written, with a right or a wrong value."""
        return key in self._mapping.pairs

    def place(self, key: str | None = None) -> Place:
        """The place of a key's value, or of the whole mapping."""
        pair = self._mapping.pairs.get(key) if key is not None else None
        return self._mapping.place if pair is None else pair[1].place


NO_SETTINGS: Final = FieldTable(Mapping(1, 1), {})


def read_settings(reading: ReadContext, node: Node, known: Table) -> FieldTable | None:
    """The contents of a mapping, by its table; None with an error if the node is none."""
    if isinstance(node, Mapping):
        return read_mapping(reading, node, known)
    first = next(iter(known.fields.values()))
    hint = f"write its keys under it, for example `{first.key}: {first.sample}`"
    if isinstance(node, Scalar) and node.is_null:
        reading.error(node.place, f"{known.what} is empty", code="empty-value", hint=hint)
    else:
        reading.error(node.place, f"{known.what} is a {kind_of(node)}", code="wrong-type", hint=hint)
    return None


def read_mapping(reading: ReadContext, node: Mapping, known: Table) -> FieldTable:
    """The contents of a mapping, by its table. Wrong keys and values are errors."""
    values: dict[str, object] = {}
    fields = known.fields
    for key, (written, value) in node.pairs.items():
        one = fields.get(key)
        if one is None:
            hint = "" if reading.diagnostics.is_full else known.advice(key)
            message = f"unknown key {reading.show(key)} in {known.what}"
            reading.error(written.place, message, code="unknown-key", hint=hint)
        elif (read := one.kind.read(reading, value, key)) is not None:
            values[key] = read
    for key, one in fields.items():
        if one.required and key not in node.pairs:
            message, hint = f"{known.what} has no `{key}`", f"add `{key}:`"
            reading.error(node.place, message, code="missing-key", hint=hint)
    return FieldTable(node, values)


def _plain(key: str) -> str:
    """A key as people may have meant it: `hardRefresh`, `Hard-Refresh` and `hard refresh` are `hard_refresh`."""
    spaced = _CAMEL.sub("_", key[:_LONGEST_KEY])
    return "_".join(re.split(r"[\s_-]+", spaced.strip().lower()))


@dataclass(frozen=True, slots=True)
class Nested:
    """A mapping under a key, with a table of its own."""

    table: Table

    def read(self, reading: ReadContext, node: Node, key: str) -> FieldTable | None:
        """The contents of the mapping; None with an error if there is none."""
        del key
        return read_settings(reading, node, self.table)

    def schema(self) -> JsonSchema:
        """The schema of the table."""
        return self.table.schema()


@dataclass(frozen=True, slots=True)
class ByName:
    """A mapping of names to settings."""

    table: Table

    def read(self, reading: ReadContext, node: Node, key: str) -> dict[str, FieldTable | None] | None:
        """Each name with its settings; None for settings that are no mapping."""
        if not isinstance(node, Mapping) or not node.pairs:
            hint = "write a name, with its settings under it, or remove the key"
            reading.error(node.place, f"`{key}` is not a mapping of names", code="wrong-type", hint=hint)
            return None
        found: dict[str, FieldTable | None] = {}
        for name, (written, value) in node.pairs.items():
            named = Scalar(name.replace("$", "$$"), False, written.line, written.column)
            found[name] = read_settings(reading, value, self.table) if reading.name(named, key) else None
        return found

    def schema(self) -> JsonSchema:
        """Any names, at least one."""
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"minLength": 1},
            "additionalProperties": self.table.schema(),
        }


@dataclass(frozen=True, slots=True)
class Many:
    """A list of settings."""

    table: Table

    def read(self, reading: ReadContext, node: Node, key: str) -> Iterator[FieldTable] | None:
        """Those items that are mappings, read when they are needed; the others are errors."""
        if (isinstance(node, Scalar) and node.is_null) or (isinstance(node, Sequence) and not node.items):
            reading.error(node.place, f"`{key}` is empty", code="empty-value", hint="list at least one model")
            return None
        if not isinstance(node, Sequence):
            hint = "write `- id: ...` or `- model: ...` for each"
            reading.error(node.place, f"`{key}` is not a list", code="wrong-type", hint=hint)
            return None
        read = (read_settings(reading, item, self.table) for item in node.items)
        return (settings for settings in read if settings is not None)

    def schema(self) -> JsonSchema:
        """At least one item."""
        return {"type": "array", "minItems": 1, "items": self.table.schema()}


@dataclass(frozen=True, slots=True)
class NameField:
    """A text of the user's, as written. `no_slash` refuses what looks like a path."""

    any_character: bool = False
    no_slash: bool = False

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        """The name, or None with an error."""
        text = reading.name(node, key, any_character=self.any_character)
        if self.no_slash and text is not None and re.search(r"[/\\]", text):
            message = f"`{key}` contains a slash: {reading.show(text)}"
            reading.error(node.place, message, code="invalid-name", hint="write a name, not a path")
            return None
        return text

    def schema(self) -> JsonSchema:
        """A name."""
        return {**NAME, "pattern": r"^[^/\\]*$|\$\{"} if self.no_slash else dict(NAME)


@dataclass(frozen=True, slots=True)
class Names:
    """A list of names, or one name."""

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[str, ...] | None:
        """The names, or None with an error for each wrong one."""
        return reading.names(node, key)

    def schema(self) -> JsonSchema:
        """One name, or several; none with a comma."""
        name = {**NAME, "pattern": "^[^,]*$"}
        return {"anyOf": [{"type": "array", "minItems": 1, "items": name}, name]}


@dataclass(frozen=True, slots=True)
class Uuid:
    """An id, in upper or lower case; it becomes lower case."""

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        """The id, or None with an error."""
        text = reading.text(node, key)
        if text is None or _UUID.fullmatch(text.lower()):
            return text if text is None else text.lower()
        reading.error(
            node.place,
            f"`{key}` is not an id: {reading.show(text)}",
            code="invalid-id",
            hint="an id looks like 3c90c3cc-0d44-4b50-8888-8dd25736052a; a model's name belongs under `model`",
        )
        return None

    def schema(self) -> JsonSchema:
        """An id, or a variable."""
        hexadecimal = "[0-9a-fA-F]"
        uuid = "-".join(f"{hexadecimal}{{{length}}}" for length in (8, 4, 4, 4, 12))
        return {"type": "string", "pattern": rf"^{uuid}$|\$\{{"}


@dataclass(frozen=True, slots=True)
class DurationField:
    """Seconds, as a float."""

    def read(self, reading: ReadContext, node: Node, key: str) -> float | None:
        """The seconds, or None with an error."""
        text = reading.text(node, key)
        if text is None:
            return None
        try:
            return parse_duration(text)
        except ValueError as error:
            message, _, hint = f"`{key}` {error}".partition(": ")
            reading.error(node.place, f"{message}: {reading.show(text)}", code="invalid-duration", hint=hint)
            return None

    def schema(self) -> JsonSchema:
        """A text such as 1h30m, a number of seconds, or a variable."""
        return {
            "anyOf": [
                {"type": "string", "pattern": rf"{DURATION_PATTERN}|\$\{{"},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        }


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds."""

    at_least: int
    at_most: int

    def read(self, reading: ReadContext, node: Node, key: str) -> int | None:
        """The number, or None with an error."""
        text = reading.text(node, key)
        if text is None or not isinstance(node, Scalar):
            return None
        bounds = f"write a whole number from {self.at_least} to {self.at_most}"
        if not node.plain and "$" not in node.text:
            reading.error(node.place, f"`{key}` is a text", code="wrong-type", hint=f"{bounds}, without quotes")
        elif not _WHOLE.fullmatch(text) or not self.at_least <= int(text) <= self.at_most:
            reading.error(node.place, f"`{key}` is {reading.show(text)}", code="invalid-number", hint=bounds)
        else:
            return int(text)
        return None

    def schema(self) -> JsonSchema:
        """A number, or a variable."""
        return {"anyOf": [{"type": "integer", "minimum": self.at_least, "maximum": self.at_most}, PLACEHOLDER]}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, reading: ReadContext, node: Node, key: str) -> bool | None:
        """The value, or None with an error."""
        text = reading.text(node, key)
        if text is None or not isinstance(node, Scalar):
            return None
        value = BOOLEANS.get(text)
        if not node.plain and "$" not in node.text:
            reading.error(
                node.place, f"`{key}` is a text", code="wrong-type", hint="write true or false, without quotes"
            )
        elif value is None:
            meant = _NOT_BOOLEANS.get(text.lower(), "true or false")
            reading.error(node.place, f"`{key}` is {reading.show(text)}", code="invalid-boolean", hint=f"write {meant}")
        else:
            return value
        return None

    def schema(self) -> JsonSchema:
        """A boolean, or a variable."""
        return {"anyOf": [{"type": "boolean"}, PLACEHOLDER]}


@dataclass(frozen=True, slots=True)
class Word:
    """One of a few words."""

    words: type[StrEnum]

    def read(self, reading: ReadContext, node: Node, key: str) -> StrEnum | None:
        """The word, or None with an error."""
        text = reading.text(node, key)
        if text is None:
            return None
        try:
            return self.words(text)
        except ValueError:
            near = nearest(text.lower(), self.words)
            hint = f"did you mean {near}?" if near else f"write {' or '.join(self.words)}"
            reading.error(node.place, f"`{key}` is {reading.show(text)}", code="invalid-choice", hint=hint)
            return None

    def schema(self) -> JsonSchema:
        """The words, or a variable."""
        return {"anyOf": [{"enum": [str(word) for word in self.words]}, PLACEHOLDER]}
