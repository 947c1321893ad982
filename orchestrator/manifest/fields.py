"""Tables of the keys that a mapping can have, and the types of their values: a reader and a JSON Schema for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, TypeAlias, TypeVar

from orchestrator.durations import DURATION_PATTERN, parse_duration
from orchestrator.manifest.diagnostics import InvalidValueError, nearest
from orchestrator.manifest.manifest import UUID_PATTERN, Place, is_id
from orchestrator.manifest.reading import MAX_NAME, ReadContext, kind_of
from orchestrator.manifest.yaml_nodes import BOOLEANS, Mapping, Node, Scalar, Sequence

_T = TypeVar("_T")
_D = TypeVar("_D")
JsonSchema: TypeAlias = "dict[str, object]"

_LONGEST_KEY: Final = 60
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,20}")
_NOT_BOOLEANS: Final = {"yes": "true", "y": "true", "on": "true", "1": "true"} | dict.fromkeys(
    ("no", "n", "off", "0"), "false"
)


@dataclass(frozen=True, slots=True)
class FieldType:
    """A reader of a value (see `ReadContext`), and a JSON Schema for editors, which is never stricter than the reader."""

    read: Callable[[ReadContext, Node, str], object | None]
    schema: JsonSchema


@dataclass(frozen=True, slots=True)
class Field:
    """One key: its type, and for people its meaning, default and example. Without an example, the default is one."""

    key: str
    kind: FieldType
    meaning: str = field(kw_only=True)
    default: str = field(default="", kw_only=True)
    example: object = field(default=None, kw_only=True)
    required: bool = field(default=False, kw_only=True)

    @property
    def sample(self) -> object:
        """A value to show: the example, else the default."""
        return self._default if self.example is None else self.example

    @property
    def _default(self) -> object:
        is_json = self.default in {"true", "false"} or self.default.isdecimal()
        return json.loads(self.default) if is_json else self.default

    def schema(self) -> JsonSchema:
        """Return the key as JSON Schema. A default that is not a single value is part of the description."""
        schema = {**self.kind.schema, "description": self.meaning, "examples": [self.sample]}
        if self.default and " " not in self.default:
            schema["default"] = self._default
        elif self.default:
            schema["description"] = f"{self.meaning} Default: {self.default}."
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The keys of one kind of mapping. `aliases` are wrong keys that people write, with the right key or advice for each."""

    what: str
    fields: MappingOf[str, Field]
    aliases: MappingOf[str, str] = field(default_factory=dict)

    def advice(self, key: str) -> str:
        """Return what to write instead of a key that does not exist."""
        plain = _plain(key)
        meant = self.aliases.get(plain) or (plain if plain in self.fields else None)
        if meant is None and (near := nearest(plain, [*self.fields, *self.aliases])):
            meant = self.aliases.get(near, near)
        if meant is None:
            return f"{self.what} can have {', '.join(self.fields)}"
        return f"did you mean `{meant}`?" if meant in self.fields else meant

    def schema(self) -> JsonSchema:
        """Return the mapping as JSON Schema."""
        schema: JsonSchema = {
            "type": "object",
            "properties": {key: one.schema() for key, one in self.fields.items()},
            "additionalProperties": False,
        }
        if required := [key for key, one in self.fields.items() if one.required]:
            schema["required"] = required
        return schema


def table(what: str, *fields: Field, aliases: MappingOf[str, str]) -> Table:
    """Return a table of these fields, in this order. `aliases` are the wrong keys for each right one (or for advice)."""
    by_wrong_key = {wrong: meant for meant, words in aliases.items() for wrong in words.split()}
    return Table(what=what, fields={one.key: one for one in fields}, aliases=by_wrong_key)


class FieldTable:
    """The values of one mapping that could be read, and their places.

    `below` has the values of the keys that the mapping does not have. It does not replace a wrong value.
    """

    __slots__ = ("_below", "_mapping", "_values")

    def __init__(self, mapping: Mapping, values: dict[str, object], below: FieldTable | None = None) -> None:
        self._mapping = mapping
        self._values = values
        self._below = below

    def over(self, below: FieldTable) -> FieldTable:
        """Return the same table with `below` for the keys that are not written here."""
        return FieldTable(self._mapping, self._values, below)

    def get(self, key: str, kind: type[_T], default: _D) -> _T | _D:
        """Return the value of a key; the default if the key is left out or its value is wrong."""
        value = self._values.get(key)
        if value is None and self._below is not None and key not in self._mapping.pairs:
            return self._below.get(key, kind, default)
        return value if isinstance(value, kind) else default

    def __contains__(self, key: str) -> bool:
        """Return whether the key is written, even with a wrong value."""
        return key in self._mapping.pairs or (self._below is not None and key in self._below)

    def place(self, key: str | None = None) -> Place:
        """Return the place of a key's value, or of the whole mapping."""
        value = None if key is None else self._mapping.value(key)
        if value is None and key is not None and self._below is not None:
            return self._below.place(key)
        return self._mapping.place if value is None else value.place


NO_SETTINGS: Final = FieldTable(Mapping(1, 1), {})


def read_settings(reading: ReadContext, node: Node, known: Table) -> FieldTable | None:
    """Read a mapping by its table; return None with an error if the node is not a mapping."""
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
    """Read a mapping by its table. Wrong keys and values are errors."""
    values: dict[str, object] = {}
    fields = known.fields
    for key, (written, value) in node.pairs.items():
        one = fields.get(key)
        if one is None:
            hint = "" if reading.is_full else known.advice(key)
            message = f"unknown key {reading.show(key)} in {known.what}"
            reading.error(written.place, message, code="unknown-key", hint=hint)
        elif (read := reading.attempt(one.kind.read, value, key)) is not None:
            values[key] = read
    for key, one in fields.items():
        if one.required and key not in node.pairs:
            message, hint = f"{known.what} has no `{key}`", f"add `{key}:`"
            reading.error(node.place, message, code="missing-key", hint=hint)
    return FieldTable(node, values)


def _plain(key: str) -> str:
    """Return a key in our spelling: `hardRefresh`, `Hard-Refresh` and `hard refresh` become `hard_refresh`."""
    spaced = _CAMEL.sub("_", key[:_LONGEST_KEY])
    return "_".join(re.split(r"[\s_-]+", spaced.strip().lower()))


def nested(table: Table) -> FieldType:
    """Return the type of a mapping with a table of its own."""
    return FieldType(lambda reading, node, _: read_settings(reading, node, table), table.schema())


def by_name(table: Table) -> FieldType:
    """Return the type of a mapping of names to mappings. The value of a wrong one is None."""

    def read(reading: ReadContext, node: Node, key: str) -> dict[str, FieldTable | None]:
        if not isinstance(node, Mapping) or not node.pairs:
            hint = "write a name, with its settings under it, or remove the key"
            raise InvalidValueError("is not a mapping of names", code="wrong-type", hint=hint)
        found: dict[str, FieldTable | None] = {}
        for name, (written, value) in node.pairs.items():
            named = Scalar(written.line, written.column, name.replace("$", "$$"), plain=False)
            is_name = reading.attempt(ReadContext.name, named, key) is not None
            found[name] = read_settings(reading, value, table) if is_name else None
        return found

    return FieldType(
        read,
        {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"minLength": 1},
            "additionalProperties": table.schema(),
        },
    )


def many(table: Table) -> FieldType:
    """Return the type of a list of mappings. They are read one at a time, when they are needed."""

    def read(reading: ReadContext, node: Node, _: str) -> Iterator[FieldTable]:
        if (isinstance(node, Scalar) and node.is_null) or (isinstance(node, Sequence) and not node.items):
            raise InvalidValueError("is empty", code="empty-value", hint="list at least one model")
        if not isinstance(node, Sequence):
            hint = "write `- id: ...` or `- model: ...` for each"
            raise InvalidValueError("is not a list", code="wrong-type", hint=hint)
        read = (read_settings(reading, item, table) for item in node.items)
        return (settings for settings in read if settings is not None)

    return FieldType(read, {"type": "array", "minItems": 1, "items": table.schema()})


def whole(at_least: int, at_most: int) -> FieldType:
    """Return the type of a whole number between two bounds."""
    bounds = f"write a whole number from {at_least} to {at_most}"

    def read(reading: ReadContext, node: Node, _: str) -> int:
        text = reading.unquoted(node, bounds)
        if not _WHOLE.fullmatch(text) or not at_least <= int(text) <= at_most:
            raise InvalidValueError(f"is {reading.show(text)}", code="invalid-number", hint=bounds)
        return int(text)

    return FieldType(read, _or_variable({"type": "integer", "minimum": at_least, "maximum": at_most}))


def word(words: type[StrEnum]) -> FieldType:
    """Return the type of one of a few words."""

    def read(reading: ReadContext, node: Node, _: str) -> StrEnum:
        text = reading.text(node)
        if text not in list(words):
            near = nearest(text, words)
            hint = f"did you mean {near}?" if near else f"write {' or '.join(words)}"
            raise InvalidValueError(f"is {reading.show(text)}", code="invalid-choice", hint=hint)
        return words(text)

    return FieldType(read, _or_variable({"enum": [str(word) for word in words]}))


def _or_variable(schema: JsonSchema) -> JsonSchema:
    """Return a schema that also allows a variable in place of the value."""
    return {"anyOf": [schema, {"type": "string", "pattern": r"\$\{"}]}


def _read_flag(reading: ReadContext, node: Node, _: str) -> bool:
    text = reading.unquoted(node, "write true or false")
    if text not in BOOLEANS:
        meant = _NOT_BOOLEANS.get(text.lower(), "true or false")
        raise InvalidValueError(f"is {reading.show(text)}", code="invalid-boolean", hint=f"write {meant}")
    return BOOLEANS[text]


def _read_duration(reading: ReadContext, node: Node, _: str) -> float:
    text = reading.text(node)
    try:
        return parse_duration(text)
    except ValueError as error:
        message, _, hint = str(error).partition(": ")
        raise InvalidValueError(f"{message}: {reading.show(text)}", code="invalid-duration", hint=hint) from None


def _read_uuid(reading: ReadContext, node: Node, _: str) -> str:
    text = reading.text(node)
    if not is_id(text):
        hint = "an id looks like 3c90c3cc-0d44-4b50-8888-8dd25736052a; a model's name belongs under `model`"
        raise InvalidValueError(f"is not an id: {reading.show(text)}", code="invalid-id", hint=hint)
    return text.lower()


def _read_names(reading: ReadContext, node: Node, key: str) -> tuple[str, ...] | None:
    names: dict[str, None] = {}

    def read(reading: ReadContext, item: Scalar, key: str) -> str:
        name = reading.name(item, key)
        if "," in name:
            message = f"has a comma in {reading.show(name)}: the API cannot receive such a name"
            hint = "several names are a list: [one, other]"
            raise InvalidValueError(message, code="comma-in-name", hint=hint)
        if name in names:
            message = f"`{key}` contains {reading.show(name)} more than once"
            reading.warn(item.place, message, code="repeated-name", hint="remove one; it is used once")
        names[name] = None
        return name

    found = reading.each(node, key, read, hint="write a list of names: [one, other]")
    return None if found is None else tuple(names)


def _read_manifest_name(reading: ReadContext, node: Node, key: str) -> str:
    name = reading.name(node, key)
    if "/" in name or "\\" in name:
        message = f"contains a slash: {reading.show(name)}"
        raise InvalidValueError(message, code="invalid-name", hint="write a name, not a path")
    return name


# An editor may take a name for a number or a boolean.
_NAME_SCHEMA: Final[JsonSchema] = {"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": MAX_NAME}
_LISTED_NAME: Final = {**_NAME_SCHEMA, "pattern": "^[^,]*$"}

NAME: Final = FieldType(ReadContext.name, _NAME_SCHEMA)
"""A name, as written."""

LABEL: Final = FieldType(partial(ReadContext.name, any_character=True), _NAME_SCHEMA)
"""A label. Only this program uses it, so it can contain any character."""

MANIFEST_NAME: Final = FieldType(_read_manifest_name, {**_NAME_SCHEMA, "pattern": r"^[^/\\]*$|\$\{"})
"""The manifest's own name, which must not look like a path."""

NAMES: Final = FieldType(
    _read_names, {"anyOf": [{"type": "array", "minItems": 1, "items": _LISTED_NAME}, _LISTED_NAME]}
)
"""A list of names, or one name, without commas."""

UUID: Final = FieldType(_read_uuid, {"type": "string", "pattern": rf"^{UUID_PATTERN}$|\$\{{"})
"""An id; it becomes lower case."""

DURATION: Final = FieldType(
    _read_duration,
    {
        "anyOf": [
            {"type": "string", "pattern": rf"{DURATION_PATTERN}|\$\{{"},
            {"type": "number", "exclusiveMinimum": 0},
        ]
    },
)
"""Seconds as a float, written as 1h30m or as a number."""

FLAG: Final = FieldType(_read_flag, _or_variable({"type": "boolean"}))
"""true or false."""
