"""API keys and what an instance needs besides: from variables or files only, read again if a run is resumed, never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from orchestrator.errors import UsageError
from orchestrator.input_file import ReadFile, read_small_file, reason
from orchestrator.manifest.addresses import normalize_base_url
from orchestrator.manifest.diagnostics import InvalidValueError
from orchestrator.manifest.fields import JsonSchema
from orchestrator.manifest.manifest import ApiKey, KeySource, Place, Secret
from orchestrator.manifest.reading import ReadContext, kind_of
from orchestrator.manifest.variables import VariableError, expand, only_placeholders, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

MAX_KEY_BYTES: Final = 8_192
"""A longer file is no key."""

# A key file may have blanks and a line end around its key.
_MAX_KEY_FILE: Final = 2 * MAX_KEY_BYTES
# ASCII blanks and the byte order mark that editors leave; a zero-width or no-break space is not trimmed but refused.
_OUTER: Final = " \t\r\n\f\v\ufeff"
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_ReadOne: TypeAlias = Callable[[ReadContext, Scalar, str], ApiKey | None]


class KeyTextError(InvalidValueError):
    """A text that cannot be a key. The message does not show it."""


def clean_key(text: str) -> Secret:
    """The key in `text`, its outer blanks and byte order mark trimmed. Raises KeyTextError."""
    key = text.strip(_OUTER)
    if not key:
        raise _invalid("is empty", "put the key's text there")
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'`":
        raise _invalid("is in quotes", "remove them (`docker run --env-file` keeps quotes as part of the value)")
    if key.lower().startswith("bearer ") or key.lower() == "bearer":
        raise _invalid('begins with "Bearer"', "keep only the key: the program adds the word")
    if "\n" in key or "\r" in key:
        raise _invalid("contains a line break", "one key is one line")
    if not key.isascii():
        raise _invalid("contains a character that is not ASCII (perhaps invisible)")
    if not key.isprintable() or " " in key:
        raise _invalid("contains a blank, a tab or a control character")
    if len(key) > MAX_KEY_BYTES:
        raise _invalid(f"is longer than {MAX_KEY_BYTES} characters")
    return Secret(key)


def _invalid(message: str, hint: str = "copy the key again") -> KeyTextError:
    return KeyTextError(message, code="invalid-api-key", hint=hint)


def key_from_text(text: str, environ: MappingOf[str, str]) -> Secret:
    """The key that a text of placeholders has. Raises KeyTextError or VariableError."""
    named = placeholders(text)
    for name, default in named:
        if default is None and name not in environ:
            hint = "set it to the key's text"
            raise KeyTextError(f"the variable {name} is not set", code="unset-variable", hint=hint)
    try:
        return clean_key(expand(text, environ))
    except KeyTextError as error:
        names = " and ".join(name for name, _ in named)
        raise _invalid(f"the key in the variable {names} {error.message}", error.hint) from None


def key_from_file(path: Path, read_file: ReadFile) -> Secret:
    """The key that is a file's whole content. Raises KeyTextError, which does not name the file."""
    try:
        data = read_file(path)
    except (OSError, ValueError) as error:
        message = f"the key file cannot be read: {reason(error)}"
        raise KeyTextError(message, code="unreadable-file", hint="name a file that contains the key") from None
    if len(data) > _MAX_KEY_FILE:
        raise _invalid(f"the key file is larger than {_MAX_KEY_FILE} bytes", "name a file that contains only the key")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("the key in the key file is not ASCII") from None
    try:
        return clean_key(text)
    except KeyTextError as error:
        raise _invalid(f"the key in the key file {error.message}", error.hint) from None


def api_key_again(source: KeySource, environ: MappingOf[str, str], read_file: ReadFile | None = None) -> Secret:
    """The key of an earlier run, from where it was read then. Raises UsageError, which does not show it."""
    try:
        if source.file is not None:
            return key_from_file(source.file, read_file or read_small_file)
        return key_from_text(source.text or "", environ)
    except (KeyTextError, VariableError) as error:
        where = f" ({source.file})" if source.file is not None else ""
        message = f"an API key of this run cannot be read again{where}: {error.message}"
        raise UsageError(message, code=error.code, hint=error.hint) from None


def name_of(source: KeySource) -> str:
    """What a key is called in messages: its file, or its variables; empty if it has none."""
    if source.file is not None:
        return str(source.file)
    return " and ".join(name for name, _ in placeholders(source.text or ""))


@dataclass(frozen=True, slots=True)
class Address:
    """An instance's base URL."""

    def read(self, reading: ReadContext, node: Node, key: str) -> str | None:
        """The normalized address, or None with an error that shows no password."""
        text = reading.text(node, key)
        return None if text is None else read_address(reading, text, node.place, f"`{key}`")

    def schema(self) -> JsonSchema:
        """An http or https address, or a variable."""
        return {"type": "string", "pattern": r"^https?://[^@?#\s]+$|\$\{"}


def read_address(reading: ReadContext, text: str, place: Place, what: str) -> str | None:
    """The normalized address, or None with an error about `what`."""
    try:
        return normalize_base_url(text, show=reading.show)
    except InvalidValueError as error:
        reading.reject(place, what, error)
        return None


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Keys from variables: texts of placeholders, or one such text. Without `with_keys` none is read."""

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[ApiKey, ...] | None:
        """The keys, read from their variables; None with an error for each that is wrong."""
        return _each(reading, node, key, self._one)

    def _one(self, reading: ReadContext, node: Scalar, key: str) -> ApiKey | None:
        try:
            if not only_placeholders(node.text):
                hint = 'put it into a variable or a file: write only "${OMNI_API_TOKEN}" here, or use `api_key_file`'
                reading.error(node.place, f"`{key}` contains an API key itself", code="written-out-key", hint=hint)
                return None
            secret = key_from_text(node.text, reading.environ) if reading.with_keys else None
        except (VariableError, KeyTextError) as error:
            reading.reject(node.place, f"`{key}`:", error)
            return None
        return ApiKey(source=KeySource(text=node.text.strip()), secret=secret)

    def schema(self) -> JsonSchema:
        """Only placeholders: an editor marks a key that is written out."""
        key = {"type": "string", "pattern": r"^\s*(\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}\s*)+$"}
        return {"anyOf": [{"type": "array", "minItems": 1, "items": key}, key]}


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Files with one key each: a path from the manifest's folder, or several."""

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[ApiKey, ...] | None:
        """The keys, read from their files; None with an error for each that is wrong."""
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
            reading.reject(node.place, f"`{key}` {reading.show(node.text)}:", error)
            return None

    def schema(self) -> JsonSchema:
        """One path, or several."""
        path = {"type": "string", "minLength": 1}
        return {"anyOf": [{"type": "array", "minItems": 1, "items": path}, path]}


@dataclass(frozen=True, slots=True)
class CaFile:
    """A file of PEM certificates, which must exist and be readable."""

    def read(self, reading: ReadContext, node: Node, key: str) -> Path | None:
        """The file's path, from the manifest's folder. Its content is checked once, here."""
        path = _path(reading, node, key)
        if path is None or not isinstance(node, Scalar):
            return None
        given = reading.show(node.text)
        try:
            data = reading.read_file(path)
        except (OSError, ValueError) as error:
            message, hint = f"`{key}` {given} cannot be read: {reason(error)}", "name a file of PEM certificates"
            reading.error(node.place, message, code="unreadable-file", hint=hint)
            return None
        if not _has_certificates(data):
            message, hint = f"`{key}` {given} contains no certificate in PEM form", "name a file of PEM certificates"
            reading.error(node.place, message, code="invalid-certificate", hint=hint)
            return None
        return path

    def schema(self) -> JsonSchema:
        """One path."""
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class StatePlace:
    """Where the state is kept: a folder, relative to the manifest's own, or the address of a PostgreSQL database."""

    def read(self, reading: ReadContext, node: Node, key: str) -> Secret | None:
        """The place; None if it depends on variables and keys are not read."""
        if not isinstance(node, Scalar) or node.is_null:
            reading.text(node, key)
            return None
        source = node.text.strip()
        for password in filter(None, _passwords(source)):
            if not placeholders(password):
                reading.secret(password)
                hint = "put it into PGPASSWORD or a variable, ${NAME}"
                reading.error(node.place, f"`{key}` contains a password", code="password-in-address", hint=hint)
                return None
        try:
            text = expand(source, reading.environ)
        except VariableError as error:
            if reading.with_keys:
                reading.reject(node.place, f"`{key}`:", error)
            return None
        for name, default in placeholders(source):
            reading.secret(reading.environ.get(name) or default or "")
        for password in _passwords(text):
            reading.secret(password)
        if "://" in text:
            if not text.startswith(("postgresql://", "postgres://")):
                message, hint = f"`{key}` is neither a folder nor a postgresql:// address", "write one of them"
                reading.error(node.place, message, code="invalid-state", hint=hint)
                return None
            return Secret(text)
        return Secret(str(reading.folder / Path(text).expanduser()))

    def schema(self) -> JsonSchema:
        """A path or an address."""
        return {"type": "string", "minLength": 1}


def _passwords(url: str) -> Iterator[str]:
    """Return the passwords that an address contains: before the host, or among its parameters."""
    if "://" not in url:
        return
    userinfo, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at and ":" in userinfo:
        yield unquote(userinfo.partition(":")[2])
        yield userinfo.partition(":")[2]
    for name, value in parse_qsl(url.partition("?")[2]):
        if name in {"password", "sslpassword"}:
            yield value


def note_key_files(reading: ReadContext, node: Node) -> None:
    """Make the keys in these files known as secrets before anything else is read. Wrong files are found later."""
    for item in node.items if isinstance(node, Sequence) else [node]:
        if reading.with_keys and isinstance(item, Scalar) and not item.is_null:
            try:
                path = reading.folder / expand(item.text, reading.environ)
                reading.secret(key_from_file(path, reading.read_file).reveal(), is_key=True)
            except (VariableError, KeyTextError, ValueError):
                continue


def note_secrets(reading: ReadContext, node: Node, *, is_key: bool) -> None:
    """Make the values of all variables in a value known as secrets, before an error can show them."""
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
        reading.error(node.place, f"`{key}` is a mapping", code="wrong-type", hint="write a list")
        return None
    items = node.items if isinstance(node, Sequence) else [node]
    if not items:
        reading.error(node.place, f"`{key}` is empty", code="empty-value", hint="name at least one key")
    keys = []
    for item in items:
        if not isinstance(item, Scalar):
            message = f"`{key}` contains a {kind_of(item)} in its list"
            reading.error(item.place, message, code="wrong-type", hint="write one text for each key")
        elif item.is_null:
            reading.null(item, key)
        elif read := one(reading, item, key):
            keys.append(read)
    return tuple(keys) if keys and len(keys) == len(items) else None


def _path(reading: ReadContext, node: Node, key: str) -> Path | None:
    text = reading.text(node, key)
    if text is None:
        return None
    if not text.strip() or "\0" in text:
        hint = "name a file, from the manifest's folder or from the root"
        reading.error(node.place, f"`{key}` is not a path", code="invalid-path", hint=hint)
        return None
    return reading.folder / text


def _has_certificates(data: bytes) -> bool:
    import ssl

    blocks = b"\n".join(_CERTIFICATE.findall(data))
    if not blocks:
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=blocks.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return False
    return True
