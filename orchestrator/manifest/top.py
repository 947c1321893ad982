"""The manifest's top: its version, workers, instances, defaults and models, and where each is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from orchestrator.manifest.field_tables import Field, FieldTable, Nested, Table, read_settings, table
from orchestrator.manifest.field_types import NAME, JsonSchema, Whole
from orchestrator.manifest.keys import DEFAULTS, INSTANCE, MODEL, TOP_WRONG
from orchestrator.manifest.manifest import Secret
from orchestrator.manifest.notices import Notices
from orchestrator.manifest.reading import ReadContext
from orchestrator.manifest.variables import VariableError, expand, placeholders
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
class StatePlace:
    """Where the state is kept: a folder, relative to the manifest's own, or the address of a PostgreSQL database."""

    def read(self, reading: ReadContext, node: Node, key: str) -> Secret | None:
        """Read the place; None if it depends on variables and keys are not asked for."""
        if not isinstance(node, Scalar) or node.is_null:
            reading.text(node, key)
            return None
        source = node.text.strip()
        for password in filter(None, _passwords(source)):
            if not placeholders(password):
                reading.secret(password)
                reading.fault(node.place, f"`{key}` holds a password: put it into PGPASSWORD or a variable, ${{NAME}}")
                return None
        try:
            text = expand(source, reading.environ)
        except VariableError as error:
            if reading.with_keys:
                reading.fault(node.place, f"`{key}`: {error}")
            return None
        for name, default in placeholders(source):
            reading.secret(reading.environ.get(name) or default or "")
        for password in _passwords(text):
            reading.secret(password)
        if "://" in text:
            if not text.startswith(("postgresql://", "postgres://")):
                reading.fault(node.place, f"`{key}` is neither a folder nor a postgresql:// address")
                return None
            return Secret(text)
        return Secret(str(reading.folder / Path(text).expanduser()))

    def schema(self) -> JsonSchema:
        """A path or an address."""
        return {"type": "string", "minLength": 1}


def _passwords(url: str) -> Iterator[str]:
    """Return the passwords that an address holds: before the host, or among its parameters."""
    if "://" not in url:
        return
    userinfo, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at and ":" in userinfo:
        yield unquote(userinfo.partition(":")[2])
        yield userinfo.partition(":")[2]
    for name, value in parse_qsl(url.partition("?")[2]):
        if name in {"password", "sslpassword"}:
            yield value


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
        key="state",
        kind=StatePlace(),
        default="the user's state folder",
        meaning="Where runs, locks and the budget are kept: a folder, or a PostgreSQL database that machines share. The "
        "password comes from PGPASSWORD, a service file or a variable.",
        example="postgresql://omni@db.example.com/omni?sslmode=verify-full",
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
