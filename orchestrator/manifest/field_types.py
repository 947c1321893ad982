"""The kinds of values that a manifest's keys take: how each is read, and how each looks in the JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from orchestrator.durations import DURATION_PATTERN, parse_duration
from orchestrator.manifest.diagnostics import nearest
from orchestrator.manifest.reading import MAX_NAME, ReadContext
from orchestrator.manifest.yaml_nodes import BOOLEANS, Node, Scalar

JsonSchema: TypeAlias = "dict[str, object]"

PLACEHOLDER: Final[JsonSchema] = {"type": "string", "pattern": r"\$\{"}
"""Where a variable may stand instead of a value that is no text."""

NAME: Final[JsonSchema] = {"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": MAX_NAME}
"""A name. What an editor takes for a number or a boolean is a name as it is written."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,20}")
_NOT_BOOLEANS: Final = {"yes": "true", "y": "true", "on": "true", "1": "true"} | dict.fromkeys(
    ("no", "n", "off", "0"), "false"
)


class FieldType(Protocol):
    """How a value is read and described."""

    def read(self, reading: ReadContext, node: Node, key: str) -> object | None:
        """The value, or None with a fault on the list."""

    def schema(self) -> JsonSchema:
        """The same as JSON Schema, for editors: never stricter than `read`."""


@dataclass(frozen=True, slots=True)
class NameField:
    """A text of the user's, as written."""

    any_character: bool = False

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        return reading.name(node, key, any_character=self.any_character)

    def schema(self) -> JsonSchema:
        return dict(NAME)


@dataclass(frozen=True, slots=True)
class Names:
    """A list of names, or one name."""

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[str, ...] | None:
        return reading.names(node, key)

    def schema(self) -> JsonSchema:
        name = {**NAME, "pattern": "^[^,]*$"}
        return {"anyOf": [{"type": "array", "minItems": 1, "items": name}, name]}


@dataclass(frozen=True, slots=True)
class Uuid:
    """An id, in any case; it becomes lower case."""

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        text = reading.text(node, key)
        if text is None or _UUID.fullmatch(text.lower()):
            return text if text is None else text.lower()
        reading.fault(
            node.place,
            f"`{key}` is not an id like 3c90c3cc-0d44-4b50-8888-8dd25736052a: {reading.show(text)}; "
            f"a model's name belongs under `model`",
        )
        return None

    def schema(self) -> JsonSchema:
        hexadecimal = "[0-9a-fA-F]"
        uuid = "-".join(f"{hexadecimal}{{{length}}}" for length in (8, 4, 4, 4, 12))
        return {"type": "string", "pattern": rf"^{uuid}$|\$\{{"}


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds, as a float."""

    def read(self, reading: ReadContext, node: Node, key: str) -> float | None:
        text = reading.text(node, key)
        if text is None:
            return None
        try:
            return parse_duration(text)
        except ValueError as error:
            reading.fault(node.place, f"`{key}` {error}; this is {reading.show(text)}")
            return None

    def schema(self) -> JsonSchema:
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
        text = reading.text(node, key)
        if text is None or not isinstance(node, Scalar):
            return None
        bounds = f"a whole number from {self.at_least} to {self.at_most}"
        if not node.plain and "$" not in node.text:
            reading.fault(node.place, f"`{key}` is a text: write {bounds}, without quotes")
        elif not _WHOLE.fullmatch(text) or not self.at_least <= int(text) <= self.at_most:
            reading.fault(node.place, f"`{key}` is not {bounds}: {reading.show(text)}")
        else:
            return int(text)
        return None

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"type": "integer", "minimum": self.at_least, "maximum": self.at_most}, PLACEHOLDER]}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def read(self, reading: ReadContext, node: Node, key: str) -> bool | None:
        text = reading.text(node, key)
        if text is None or not isinstance(node, Scalar):
            return None
        value = BOOLEANS.get(text)
        if not node.plain and "$" not in node.text:
            reading.fault(node.place, f"`{key}` is a text: write true or false, without quotes")
        elif value is None:
            meant = _NOT_BOOLEANS.get(text.lower(), "true or false")
            reading.fault(node.place, f"`{key}` is {reading.show(text)}: write {meant}")
        else:
            return value
        return None

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"type": "boolean"}, PLACEHOLDER]}


@dataclass(frozen=True, slots=True)
class Word:
    """One of a few words."""

    words: type[StrEnum]

    def read(self, reading: ReadContext, node: Node, key: str) -> StrEnum | None:
        text = reading.text(node, key)
        if text is None:
            return None
        try:
            return self.words(text)
        except ValueError:
            listed = " or ".join(self.words)
            near = nearest(text.lower(), self.words)
            meant = f"; did you mean {near}?" if near else ""
            reading.fault(node.place, f"`{key}` is {reading.show(text)}: write {listed}{meant}")
            return None

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"enum": [str(word) for word in self.words]}, PLACEHOLDER]}
