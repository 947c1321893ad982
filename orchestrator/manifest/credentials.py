"""API keys, and the other values of an instance. Keys come only from variables or files, and no message shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingOf
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from orchestrator.errors import UsageError
from orchestrator.input_file import ReadFile, read_small_file, reason
from orchestrator.manifest.addresses import normalize_base_url
from orchestrator.manifest.diagnostics import InvalidValueError
from orchestrator.manifest.fields import FieldType, JsonSchema
from orchestrator.manifest.manifest import ApiKey, Channel, KeySource, Secret
from orchestrator.manifest.reading import ReadContext, require_value
from orchestrator.manifest.variables import VariableError, expand, only_placeholders, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, items_of

KEY_VARIABLES: Final = ("OMNI_API_TOKEN", "OMNI_API_KEY")
"""The variables that may hold the key of a manifest without `instances`, in this order."""

MAX_KEY_BYTES: Final = 8_192
"""A longer text is not a key."""

# A key file may have blanks and line ends around its key.
_MAX_KEY_FILE: Final = 2 * MAX_KEY_BYTES
# ASCII blanks, and the byte order mark that editors write. Zero-width and no-break spaces are errors.
_OUTER: Final = " \t\r\n\f\v\ufeff"
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class KeyTextError(InvalidValueError):
    """A text that cannot be a key. The message does not show it."""

    is_sentence = True


def clean_key(text: str) -> Secret:
    """Return the key in `text`, without outer blanks and byte order mark. Raises KeyTextError."""
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
    """Return the key in the variables that `text` names. Raises KeyTextError or VariableError."""
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
    """Return the key in a file that contains nothing else. Raises KeyTextError, which does not name the file."""
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
    """Read the key of an earlier run again, from the same place. Raises UsageError, which does not show the key."""
    try:
        if source.file is not None:
            return key_from_file(source.file, read_file or read_small_file)
        return key_from_text(source.text or "", environ)
    except InvalidValueError as error:
        where = f" ({source.file})" if source.file is not None else ""
        message = f"an API key of this run cannot be read again{where}: {error.message}"
        raise UsageError(message, code=error.code, hint=error.hint) from None


def name_of(source: KeySource) -> str:
    """Return the name of a key for messages: its file, or its variables; empty if it has neither."""
    if source.file is not None:
        return str(source.file)
    return " and ".join(name for name, _ in placeholders(source.text or ""))


def _read_address(reading: ReadContext, node: Node, _: str) -> str:
    return normalize_base_url(reading.text(node, is_address=True), show=reading.show)


def _read_variable(reading: ReadContext, node: Scalar, _: str) -> ApiKey:
    """Return a key with its source. Its variables are only read with `with_keys`."""
    text = require_value(node).text
    if not only_placeholders(text):
        hint = 'put it into a variable or a file: write only "${OMNI_API_TOKEN}" here, or use `api_key_file`'
        raise InvalidValueError("contains an API key itself", code="written-out-key", hint=hint)
    secret = key_from_text(text, reading.environ) if reading.with_keys else None
    return ApiKey(source=KeySource(text=text.strip()), secret=secret)


def _read_key_file(reading: ReadContext, node: Scalar, key: str) -> ApiKey | None:
    path = _path(reading, node)
    source = KeySource(file=path)
    if not reading.with_keys:
        return ApiKey(source=source)
    try:
        return ApiKey(source=source, secret=key_from_file(path, reading.read_file))
    except KeyTextError as error:
        reading.reject(node.place, f"`{key}` {reading.show(node.text)}:", error)
        return None


def _read_ca_file(reading: ReadContext, node: Node, _: str) -> Path:
    """Return the path of a file with certificates. Relative paths start from the manifest's folder."""
    path, given = _path(reading, node), reading.show(require_value(node).text)
    hint = "name a file of PEM certificates"
    try:
        data = reading.read_file(path)
    except (OSError, ValueError) as error:
        message = f"{given} cannot be read: {reason(error)}"
        raise InvalidValueError(message, code="unreadable-file", hint=hint) from None
    if not _has_certificates(data):
        message = f"{given} contains no certificate in PEM form"
        raise InvalidValueError(message, code="invalid-certificate", hint=hint)
    return path


def _path(reading: ReadContext, node: Node) -> Path:
    text = reading.text(node, is_address=True)
    if not text.strip() or "\0" in text:
        hint = "name a file, from the manifest's folder or from the root"
        raise InvalidValueError("is not a path", code="invalid-path", hint=hint)
    return reading.folder / text


def _read_state(reading: ReadContext, node: Node, _: str) -> Secret | None:
    """Return the folder or the address of the state; None without `with_keys` if one of its variables is not set."""
    source = require_value(node).text.strip()
    for password in filter(None, _passwords(source)):
        if not placeholders(password):
            reading.secret(password)
            hint = "put it into PGPASSWORD or a variable, ${NAME}"
            raise InvalidValueError("contains a password", code="password-in-address", hint=hint)
    try:
        text = expand(source, reading.environ)
    except VariableError:
        if reading.with_keys:
            raise
        return None
    for name, default in placeholders(source):
        reading.secret(reading.environ.get(name) or default or "")
    for password in _passwords(text):
        reading.secret(password)
    if "://" not in text:
        return Secret(str(reading.folder / Path(text).expanduser()))
    if not text.startswith(("postgresql://", "postgres://")):
        message = "is neither a folder nor a postgresql:// address"
        raise InvalidValueError(message, code="invalid-state", hint="write one of them")
    return Secret(text)


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


def note_secrets(reading: ReadContext, root: Mapping) -> None:
    """Register all keys and all variables of notifications as secrets, before any error can show them.

    Wrong ones are reported later.
    """
    instances = root.value("instances")
    if instances is None:
        for variable in KEY_VARIABLES:
            reading.secret_variable(variable, is_key=True)
    elif isinstance(instances, Mapping):
        for _, settings in instances.pairs.values():
            if isinstance(settings, Mapping):
                _note_variables(reading, settings.value("api_keys"), is_key=True)
                _note_key_files(reading, settings.value("api_key_file"))
    for notice in items_of(root.value("notify")):
        if isinstance(notice, Mapping):
            for channel in Channel:
                _note_variables(reading, notice.value(channel), is_key=False)


def _note_variables(reading: ReadContext, node: Node | None, *, is_key: bool) -> None:
    for item in items_of(node):
        if isinstance(item, Scalar):
            with suppress(VariableError):
                for name, default in placeholders(item.text):
                    reading.secret_variable(name, is_key=is_key)
                    reading.secret(default, is_key=is_key)


def _note_key_files(reading: ReadContext, node: Node | None) -> None:
    for item in items_of(node):
        if reading.with_keys and isinstance(item, Scalar) and not item.is_null:
            # also VariableError and KeyTextError
            with suppress(ValueError):
                path = reading.folder / expand(item.text, reading.environ)
                reading.secret(key_from_file(path, reading.read_file).reveal(), is_key=True)


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


def _one_or_list(read: Callable[[ReadContext, Scalar, str], ApiKey | None], schema: JsonSchema) -> FieldType:
    hint = "write a list, with one text for each key"
    return FieldType(
        partial(ReadContext.each, read=read, hint=hint, if_empty="name at least one key"),
        {"anyOf": [{"type": "array", "minItems": 1, "items": schema}, schema]},
    )


_ONLY_PLACEHOLDERS: Final = r"^\s*(\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}\s*)+$"
_TEXT: Final[JsonSchema] = {"type": "string", "minLength": 1}

ADDRESS: Final = FieldType(_read_address, {"type": "string", "pattern": r"^https?://[^@?#\s]+$|\$\{"})
"""An instance's base URL; it is normalized."""

API_KEYS: Final = _one_or_list(_read_variable, {"type": "string", "pattern": _ONLY_PLACEHOLDERS})
"""Keys as `${VARIABLE}`: one, or a list. An editor marks a key that is written out."""

KEY_FILES: Final = _one_or_list(_read_key_file, _TEXT)
"""Files with one key each: one path, or a list. Relative paths start from the manifest's folder."""

CA_FILE: Final = FieldType(_read_ca_file, _TEXT)
"""A file of PEM certificates. It must exist and be readable."""

STATE_PLACE: Final = FieldType(_read_state, _TEXT)
"""Where the state is: a folder (relative to the manifest's), or the address of a PostgreSQL database."""
