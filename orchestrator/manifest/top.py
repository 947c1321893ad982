"""The manifest's top: its version, workers, instances, defaults and models, and where each is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator.manifest.field_tables import Field, FieldTable, Nested, Table, read_settings, table
from orchestrator.manifest.field_types import NAME, JsonSchema, Whole
from orchestrator.manifest.keys import DEFAULTS, INSTANCE, MODEL, TOP_WRONG
from orchestrator.manifest.notices import Notices
from orchestrator.manifest.reading import ReadContext
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

VERSION: Final = "1"
MAX_WORKERS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Version:
    """The manifest's own version."""

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        text = reading.text(node, key)
        if text is None or text == VERSION:
            return text
        reading.fault(
            node.place,
            f"version {reading.show(text)} is not known: this program reads version {VERSION} of the manifest",
        )
        return None

    def schema(self) -> JsonSchema:
        """The one version that there is."""
        return {"enum": [int(VERSION), VERSION]}


@dataclass(frozen=True, slots=True)
class ManifestName:
    """What the manifest is called. It holds no slash, so that it is never taken for a path."""

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        text = reading.name(node, key)
        if text is not None and re.search(r"[/\\]", text):
            reading.fault(node.place, f"`{key}` holds a slash: {reading.show(text)}; write a name, not a path")
            return None
        return text

    def schema(self) -> JsonSchema:
        """A name without a slash."""
        return {**NAME, "pattern": r"^[^/\\]*$|\$\{"}


@dataclass(frozen=True, slots=True)
class ByName:
    """A mapping of names to settings."""

    table: Table

    def read(self, reading: ReadContext, node: Node, key: str) -> dict[str, FieldTable | None] | None:
        """Each name with its settings; None in the place of settings that are none."""
        if not isinstance(node, Mapping) or not node.pairs:
            reading.fault(
                node.place,
                f"`{key}` is no mapping of names: write a name, with its settings under it, or remove the key",
            )
            return None
        found: dict[str, FieldTable | None] = {}
        for name, (written, value) in node.pairs.items():
            named = Scalar(name.replace("$", "$$"), False, written.line, written.column)
            found[name] = read_settings(reading, value, self.table) if reading.name(named, key) else None
        return found

    def schema(self) -> JsonSchema:
        """Any names, one at least."""
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
        """Those that are settings, read one by one as they are asked for; the others are faults."""
        if (isinstance(node, Scalar) and node.is_null) or (isinstance(node, Sequence) and not node.items):
            reading.fault(node.place, f"there are no models: `{key}` is empty, list at least one")
            return None
        if not isinstance(node, Sequence):
            reading.fault(node.place, f"`{key}` is not a list: write `- id: ...` or `- model: ...` for each")
            return None
        read = (read_settings(reading, item, self.table) for item in _taken(node.items))
        return (settings for settings in read if settings is not None)

    def schema(self) -> JsonSchema:
        """One item at least."""
        return {"type": "array", "minItems": 1, "items": self.table.schema()}


def _taken(items: list[Node]) -> Iterator[Node]:
    """The items in their order, each let go of: 100,000 models are not held as nodes and as entries at once."""
    items.reverse()
    while items:
        yield items.pop()


TOP: Final = table(
    "a manifest",
    Field(
        key="version",
        kind=Version(),
        default="1",
        meaning="The version of this format.",
        example=1,
    ),
    Field(
        key="name",
        kind=ManifestName(),
        default="its path",
        meaning="What history, metrics and the lock against a second run know the manifest by. Without it: the path as "
        "given, made absolute without following links.",
        example="nightly",
    ),
    Field(
        key="workers",
        kind=Whole(1, MAX_WORKERS),
        default="16",
        meaning="Calls on the wire at once; any number of jobs may be in flight.",
        example=16,
    ),
    Field(
        key="instances",
        kind=ByName(INSTANCE),
        default="one, from OMNI_BASE_URL and OMNI_API_TOKEN (or OMNI_API_KEY)",
        meaning="The Omni instances, by a name of yours.",
        example={"prod": {"base_url": "https://blobsrus.omniapp.co", "api_keys": ["${OMNI_API_TOKEN}"]}},
    ),
    Field(
        key="defaults",
        kind=Nested(DEFAULTS),
        default="",
        meaning="Settings for every model that does not say otherwise.",
        example={"mode": "hard", "timeout": "30m"},
    ),
    Field(
        key="notify",
        kind=Notices(),
        default="",
        meaning="Who is told of a run, and when.",
        example=[{"apprise": "${SLACK_URL}", "on": "change"}],
    ),
    Field(
        key="models",
        kind=Many(MODEL),
        default="",
        meaning="What is refreshed.",
        example=[{"id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "name": "sales"}],
        required=True,
    ),
    wrong=TOP_WRONG,
)
