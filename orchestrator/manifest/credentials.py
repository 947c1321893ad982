"""The kinds of values that an instance alone has: its address, its keys, its certificate authority."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.manifest.addresses import normalize_base_url
from orchestrator.manifest.api_keys import KeyTextError, key_from_file, key_from_text, reason
from orchestrator.manifest.field_types import JsonSchema
from orchestrator.manifest.manifest import ApiKey, KeySource, Place
from orchestrator.manifest.reading import ReadContext, empty, kind_of
from orchestrator.manifest.variables import VariableError, expand, only_placeholders, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_WRITTEN_OUT: Final = (
    "a key stands in the manifest itself: put it into a variable or a file, and write only "
    '"${OMNI_API_TOKEN}" here, or use `api_key_file`'
)

_ReadOne: TypeAlias = Callable[[ReadContext, Scalar, str], ApiKey | None]


@dataclass(frozen=True, slots=True)
class Address:
    """An instance's base URL."""

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        """The normalized address, or None with a fault that shows no password."""
        text = reading.text(node, key)
        return None if text is None else read_address(reading, text, node.place, f"`{key}`")

    def schema(self) -> JsonSchema:
        """An http or https address, or a variable."""
        return {"type": "string", "pattern": r"^https?://[^@?#\s]+$|\$\{"}


def read_address(reading: ReadContext, text: str, place: Place, what: str) -> str | None:
    """The normalized address, or None with a fault about `what`."""
    try:
        return normalize_base_url(text, show=reading.show)
    except ValueError as error:
        reading.fault(place, f"{what} {error}")
        return None


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Keys from variables: texts of placeholders, or one such text. Where keys are not asked for, none is read."""

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[ApiKey, ...] | None:
        """The keys, read from their variables; None with a fault for each that is wrong."""
        return _each(reading, node, key, self._one)

    def _one(self, reading: ReadContext, node: Scalar, key: str) -> ApiKey | None:
        try:
            if not only_placeholders(node.text):
                reading.fault(node.place, f"`{key}`: {_WRITTEN_OUT}")
                return None
            secret = key_from_text(node.text, reading.environ) if reading.with_keys else None
        except (VariableError, KeyTextError) as error:
            reading.fault(node.place, f"`{key}`: {error}")
            return None
        return ApiKey(source=KeySource(text=node.text.strip()), secret=secret)

    def schema(self) -> JsonSchema:
        """Placeholders and nothing else: an editor marks a key that is written out."""
        key = {"type": "string", "pattern": r"^\s*(\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}\s*)+$"}
        return {"anyOf": [{"type": "array", "minItems": 1, "items": key}, key]}


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Files that hold one key each: a path from the manifest's folder, or several."""

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[ApiKey, ...] | None:
        """The keys, read from their files; None with a fault for each that is wrong."""
        return _each(reading, node, key, self._one)

    def _one(self, reading: ReadContext, node: Scalar, key: str) -> ApiKey | None:
        path = _path(reading, node, key)
        if path is None:
            return None
        source = KeySource(file=path)
        if not reading.with_keys:
            return ApiKey(source=source)
        try:
            return ApiKey(source=source, secret=key_from_file(path, reading.read_file))
        except KeyTextError as error:
            reading.fault(node.place, f"`{key}`: {error}; it is given as {reading.show(node.text)}")
            return None

    def schema(self) -> JsonSchema:
        """One path, or several."""
        path = {"type": "string", "minLength": 1}
        return {"anyOf": [{"type": "array", "minItems": 1, "items": path}, path]}


@dataclass(frozen=True, slots=True)
class CaFile:
    """A file of PEM certificates, which must be there and readable."""

    def read(self, reading: ReadContext, node: Node, key: str) -> Path | None:
        """The file's path, from the manifest's folder; what is in it is looked at once, here."""
        path = _path(reading, node, key)
        if path is None or not isinstance(node, Scalar):
            return None
        given = reading.show(node.text)
        try:
            data = reading.read_file(path)
        except (OSError, ValueError) as error:
            reading.fault(node.place, f"`{key}` cannot be read: {reason(error)}; it is given as {given}")
            return None
        if not _holds_certificates(data):
            reading.fault(node.place, f"`{key}` holds no certificate in PEM form; it is given as {given}")
            return None
        return path

    def schema(self) -> JsonSchema:
        """One path."""
        return {"type": "string", "minLength": 1}


def note_key_files(reading: ReadContext, node: Node) -> None:
    """Makes the keys in these files known as secrets, before anything else is read; wrong files are found later."""
    for item in node.items if isinstance(node, Sequence) else [node]:
        if reading.with_keys and isinstance(item, Scalar) and not item.is_null:
            try:
                path = reading.folder / expand(item.text, reading.environ)
                reading.secret(key_from_file(path, reading.read_file).reveal(), is_key=True)
            except (VariableError, KeyTextError, ValueError):
                continue


def note_secrets(reading: ReadContext, node: Node, *, is_key: bool) -> None:
    """Makes every value under an `api_keys`, or in an address, known as a secret before any of them can show in a fault."""
    for item in node.items if isinstance(node, Sequence) else [node]:
        if not isinstance(item, Scalar):
            continue
        try:
            named = placeholders(item.text)
        except VariableError:
            continue
        for name, default in named:
            reading.secret_variable(name, is_key=is_key)
            reading.secret(default, is_key=is_key)


def _each(reading: ReadContext, node: Node, key: str, one: _ReadOne) -> tuple[ApiKey, ...] | None:
    if isinstance(node, Mapping):
        reading.fault(node.place, f"`{key}` is a mapping: write a list")
        return None
    items = node.items if isinstance(node, Sequence) else [node]
    if not items:
        reading.fault(node.place, f"`{key}` is empty: name at least one key")
    keys = []
    for item in items:
        if not isinstance(item, Scalar):
            reading.fault(item.place, f"`{key}` holds a {kind_of(item)} in its list: write one text for each key")
        elif item.is_null:
            reading.fault(item.place, empty(key, item))
        elif read := one(reading, item, key):
            keys.append(read)
    return tuple(keys) if keys and len(keys) == len(items) else None


def _path(reading: ReadContext, node: Node, key: str) -> Path | None:
    text = reading.text(node, key)
    if text is None:
        return None
    if not text.strip() or "\0" in text:
        reading.fault(node.place, f"`{key}` is not a path: name a file, from the manifest's folder or from the root")
        return None
    return reading.folder / text


def _holds_certificates(data: bytes) -> bool:
    import ssl

    blocks = b"\n".join(_CERTIFICATE.findall(data))
    if not blocks:
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=blocks.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return False
    return True
