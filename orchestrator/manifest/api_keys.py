"""API keys: from variables or files only, read again where a run is resumed, never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.errors import UsageError
from orchestrator.input_file import read_input
from orchestrator.manifest.manifest import KeySource, Secret
from orchestrator.manifest.variables import VariableError, expand, placeholders

MAX_KEY_BYTES: Final = 8_192
"""A longer file is no key."""

# A key file may hold blanks and a line's end around its key.
_MAX_KEY_FILE: Final = 2 * MAX_KEY_BYTES

MAX_SMALL_FILE: Final = 8 * 1024 * 1024
"""A bundle of every public authority is a quarter of a megabyte."""

# ASCII blanks and the byte order mark that editors leave; a zero-width or no-break space is not trimmed but refused.
_OUTER: Final = " \t\r\n\f\v\ufeff"

ReadFile: TypeAlias = Callable[[Path], bytes]
"""Reads a small file; raises OSError, or ValueError for a path that can be none."""


class KeyTextError(ValueError):
    """A text that cannot be a key; says why without showing it."""


def clean_key(text: str) -> Secret:
    """The key in `text`, its outer blanks and byte order mark trimmed. Raises KeyTextError."""
    key = text.strip(_OUTER)
    if not key:
        raise KeyTextError("is empty: put the key's text there")
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'`":
        raise KeyTextError("stands in quotes: remove them (`docker run --env-file` keeps quotes as part of the value)")
    if key.lower().startswith("bearer ") or key.lower() == "bearer":
        raise KeyTextError('begins with "Bearer": keep the key alone, the word is added when it is sent')
    if "\n" in key or "\r" in key:
        raise KeyTextError("holds a line break: one key is one line")
    if not key.isascii():
        raise KeyTextError("holds a character that is not ASCII (perhaps invisible): copy the key again")
    if not key.isprintable() or " " in key:
        raise KeyTextError("holds a blank, a tab or a control character inside: copy the key again")
    if len(key) > MAX_KEY_BYTES:
        raise KeyTextError(f"is longer than {MAX_KEY_BYTES} characters, which no key is")
    return Secret(key)


def key_from_text(text: str, environ: Mapping[str, str]) -> Secret:
    """The key that a text of placeholders stands for. Raises KeyTextError or VariableError."""
    named = placeholders(text)
    for name, default in named:
        if default is None and name not in environ:
            raise KeyTextError(f"the variable {name} is not set: set it to the key's text")
    try:
        return clean_key(expand(text, environ))
    except KeyTextError as error:
        names = " and ".join(name for name, _ in named)
        raise KeyTextError(f"the key in the variable {names} {error}") from None


def key_from_file(path: Path, read_file: ReadFile) -> Secret:
    """The key that is all of a file's content. Raises KeyTextError, which does not name the file."""
    try:
        data = read_file(path)
    except (OSError, ValueError) as error:
        raise KeyTextError(f"the key file cannot be read: {reason(error)}") from None
    if len(data) > _MAX_KEY_FILE:
        raise KeyTextError(f"the key file is larger than {_MAX_KEY_FILE} bytes, which no key is")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyTextError("the key in the key file is not ASCII: copy the key again") from None
    try:
        return clean_key(text)
    except KeyTextError as error:
        raise KeyTextError(f"the key in the key file {error}") from None


def api_key_again(source: KeySource, environ: Mapping[str, str], read_file: ReadFile | None = None) -> Secret:
    """The key of an earlier run, from where it was read then. Raises UsageError, which does not show it."""
    try:
        if source.file is not None:
            return key_from_file(source.file, read_file or read_small_file)
        return key_from_text(source.text or "", environ)
    except (KeyTextError, VariableError) as error:
        where = f" ({source.file})" if source.file is not None else ""
        raise UsageError(f"an API key cannot be read again{where}: {error}") from None


def name_of(source: KeySource) -> str:
    """What a key is called in messages: its file, or its variables; empty if it has none."""
    if source.file is not None:
        return str(source.file)
    return " and ".join(name for name, _ in placeholders(source.text or ""))


def reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read, in few words that do not repeat its path."""
    if not isinstance(error, OSError):
        return "its path cannot be one"
    words = error.strerror or "no reason given"
    return words[:1].lower() + words[1:]


def read_small_file(path: Path) -> bytes:
    """A key's or certificate's file: a regular one, up to a limit. Raises OSError with the reason, or ValueError."""
    return read_input(path, MAX_SMALL_FILE)
