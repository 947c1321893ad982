"""Reads a manifest from a file or a text, or reports every error in it."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from contextlib import contextmanager
from pathlib import Path
from types import GeneratorType
from typing import Final

from orchestrator.input_file import ReadFile, read_input, read_small_file, reason
from orchestrator.manifest.addresses import normalize_base_url
from orchestrator.manifest.credentials import KEY_VARIABLES, key_from_text, note_secrets
from orchestrator.manifest.diagnostics import Diagnostics, InvalidValueError
from orchestrator.manifest.entries import EntryReader
from orchestrator.manifest.fields import NO_SETTINGS, FieldTable, read_mapping
from orchestrator.manifest.keys import TOP
from orchestrator.manifest.manifest import ApiKey, Entry, Instance, KeySource, Manifest, Place, RateLimit, Secret
from orchestrator.manifest.reading import ReadContext, kind_of
from orchestrator.manifest.yaml_nodes import Mapping, Scalar
from orchestrator.manifest.yaml_text import MAX_BYTES, read_yaml

DEFAULT_INSTANCE: Final = "default"
BASE_URL_VARIABLE: Final = "OMNI_BASE_URL"

_TOP: Final = Place(1, 1)
# their fields are the defaults of a manifest and an instance
_NO_MANIFEST: Final = Manifest(path="", sha256="", instances={}, entries=())
_NO_INSTANCE: Final = Instance(name="", base_url="", keys=())


def load_manifest(path: str | Path, *, environ: MappingOf[str, str], with_keys: bool = True) -> Manifest:
    """Return the manifest in a file. Raises ManifestError with every error.

    `with_keys=False` reads and needs no key, from a variable or a file. It checks everything else.
    """
    diagnostics = Diagnostics(str(path))
    data = b""
    try:
        data = read_input(path, MAX_BYTES)
    except IsADirectoryError:
        diagnostics.error(_TOP, "this is a folder", code="unreadable-file", hint="name the manifest's file")
    except (OSError, ValueError) as error:
        message, hint = f"the manifest cannot be read: {reason(error)}", "name a file that exists and is readable"
        diagnostics.error(_TOP, message, code="unreadable-file", hint=hint)
    diagnostics.stop()
    return make_manifest(data, path=str(path), environ=environ, with_keys=with_keys, read_file=read_small_file)


def make_manifest(
    text: str | bytes,
    *,
    path: str,
    environ: MappingOf[str, str],
    with_keys: bool = True,
    read_file: ReadFile = read_small_file,
) -> Manifest:
    """Return the manifest in a text. Raises ManifestError with every error.

    `path` is its name; relative paths start from the folder of `path`. `read_file` reads keys and certificates.
    """
    reading = ReadContext(path, environ=environ, with_keys=with_keys, read_file=read_file)
    with _collector_paused():
        manifest = _manifest(reading, text)
    reading.stop()
    assert manifest is not None
    return manifest


def _manifest(reading: ReadContext, text: str | bytes) -> Manifest | None:
    document = read_yaml(text, reading)
    if document is None:
        return None
    reading.commented = document.commented
    root = document.root
    if root is None or (isinstance(root, Scalar) and root.is_null):
        reading.error(_TOP, "this file is empty", code="empty-file", hint="a manifest needs at least `models`")
        return None
    if not isinstance(root, Mapping):
        hint = "a manifest consists of keys with values, such as `models:`"
        reading.error(root.place, f"this file contains a {kind_of(root)}", code="wrong-type", hint=hint)
        return None
    for key in [key for key in root.pairs if key.startswith("x-")]:
        del root.pairs[key]
    note_secrets(reading, root)
    top = read_mapping(reading, root, TOP)
    instances = _instances(reading, top)
    defaults = top.get("defaults", FieldTable, NO_SETTINGS)
    entries = _entries(reading, top, defaults, instances)
    if reading.has_errors or instances is None:
        return None
    return Manifest(
        path=reading.path,
        sha256=hashlib.sha256(text.encode("utf-8") if isinstance(text, str) else text).hexdigest(),
        instances={name: instance for name, instance in instances.items() if instance is not None},
        entries=entries,
        workers=top.get("workers", int, _NO_MANIFEST.workers),
        collapse=defaults.get("collapse", bool, _NO_MANIFEST.collapse),
        notify=top.get("notify", tuple, ()),
        name=top.get("name", str, None),
        state=top.get("state", Secret, None),
        warnings=tuple(sorted(reading.warnings, key=lambda warning: warning.place)),
        secrets=tuple(Secret(secret) for secret in reading.secrets),
    )


def _entries(
    reading: ReadContext, top: FieldTable, defaults: FieldTable, instances: dict[str, Instance | None] | None
) -> tuple[Entry, ...]:
    reader = EntryReader(reading, defaults, instances)
    made: list[Entry] = []
    index = 0
    for own in top.get("models", GeneratorType, ()):
        entry = reader.make(index, own)
        if entry is not None:
            made.append(entry)
            # the branches of a pattern get the numbers after its own
            index += entry.max_branches if entry.has_branch_pattern else 0
        index += 1
    return tuple(made)


def _instances(reading: ReadContext, top: FieldTable) -> dict[str, Instance | None] | None:
    """Return the instances by name; None for a wrong one. Return None if not even their names are known."""
    if "instances" not in top:
        return {DEFAULT_INSTANCE: _environment_instance(reading)}
    named = top.get("instances", dict, None)
    if named is None:
        return None
    return {name: settings and _make_instance(reading, name, settings) for name, settings in named.items()}


def _make_instance(reading: ReadContext, name: str, settings: FieldTable) -> Instance | None:
    """Return an instance of the manifest, or None with errors."""
    if "api_keys" not in settings and "api_key_file" not in settings:
        message, hint = f"the instance {reading.show(name)} has no API key", 'add `api_keys: ["${OMNI_API_TOKEN}"]`'
        reading.error(settings.place(), message, code="no-api-key", hint=hint)
    base_url = settings.get("base_url", str, None)
    keys = [
        (key, settings.place(source))
        for source in ("api_keys", "api_key_file")
        for key in settings.get(source, tuple, ())
    ]
    if base_url is None or not keys:
        return None
    limit = settings.get("rate_limit", FieldTable, NO_SETTINGS)
    at = settings.place("base_url")
    return Instance(
        name=name,
        base_url=base_url,
        base_url_place=f"base_url in {reading.path}:{at.line}:{at.column}",
        keys=_once(reading, keys),
        rate_limit=RateLimit(
            requests=limit.get("requests", int, _NO_INSTANCE.rate_limit.requests),
            per_s=limit.get("per", float, _NO_INSTANCE.rate_limit.per_s),
        ),
        request_timeout_s=settings.get("request_timeout", float, _NO_INSTANCE.request_timeout_s),
        ca_file=settings.get("ca_file", Path, None),
    )


def _environment_instance(reading: ReadContext) -> Instance | None:
    """Return the instance of a manifest without `instances`, or None with errors."""
    what = f"the variable {BASE_URL_VARIABLE}"
    base_url = secret = None
    try:
        base_url = _environment_address(reading)
    except InvalidValueError as error:
        reading.reject(_TOP, what, error)
    variable = next((name for name in KEY_VARIABLES if reading.environ.get(name)), KEY_VARIABLES[0])
    source = KeySource(text=f"${{{variable}}}")
    try:
        if reading.with_keys:
            secret = key_from_text(f"${{{variable}}}", reading.environ)
    except InvalidValueError as error:
        reading.reject(_TOP, "the manifest has no `instances`, and", error)
        return None
    if base_url is None:
        return None
    keys = (ApiKey(source=source, secret=secret),)
    return Instance(name=DEFAULT_INSTANCE, base_url=base_url, base_url_place=what, keys=keys)


def _environment_address(reading: ReadContext) -> str | None:
    """Return the instance's address; empty if it is missing and not needed, since keys are not read."""
    text = reading.environ.get(BASE_URL_VARIABLE, "")
    if text.strip():
        reading.refuse_secrets("", text, is_address=True)
        return normalize_base_url(text, show=reading.show)
    if not reading.with_keys:
        return ""
    message = f"the manifest has no `instances`, and the variable {BASE_URL_VARIABLE} is not set"
    hint = "set it to the instance's address, or add `instances:`"
    reading.error(_TOP, message, code="unset-variable", hint=hint)
    return None


def _once(reading: ReadContext, keys: list[tuple[ApiKey, Place]]) -> tuple[ApiKey, ...]:
    """Return each key once: a key that is written twice has only one quota."""
    found: dict[object, ApiKey] = {}
    for key, place in keys:
        if key.secret is not None:
            reading.secret(key.secret.reveal(), is_key=True)
        identity = key.source if key.secret is None else key.secret
        if identity in found:
            reading.warn(place, "this API key is given twice", code="repeated-key", hint="remove one; it is used once")
        else:
            found[identity] = key
    return tuple(found.values())


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the search for cycles: a large file makes a million objects without cycles, and the search doubles the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
