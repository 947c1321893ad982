"""YAML text -> Manifest, or everything that is wrong with it."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from contextlib import contextmanager
from pathlib import Path
from types import GeneratorType
from typing import Final

from orchestrator.input_file import read_input
from orchestrator.manifest.api_keys import ReadFile, read_small_file, reason
from orchestrator.manifest.diagnostics import Diagnostics
from orchestrator.manifest.encoding import MAX_BYTES
from orchestrator.manifest.entries import EntryReader
from orchestrator.manifest.field_tables import NO_SETTINGS, FieldTable, read_mapping
from orchestrator.manifest.instances import DEFAULT_INSTANCE, environment_instance, hide_keys, make_instance
from orchestrator.manifest.manifest import Entry, Instance, Manifest, Place, Secret
from orchestrator.manifest.notices import hide_notices
from orchestrator.manifest.reading import ReadContext, kind_of
from orchestrator.manifest.top import TOP
from orchestrator.manifest.yaml_nodes import Mapping, Scalar
from orchestrator.manifest.yaml_text import read_yaml

_TOP: Final = Place(1, 1)
_DEFAULT_WORKERS: Final = 16


def load_manifest(path: str | Path, *, environ: MappingOf[str, str], with_keys: bool = True) -> Manifest:
    """The manifest in a file. Raises ManifestError with every fault.

    `with_keys=False` reads no key, from variable or file, and needs none; everything else is checked all the same.
    """
    faults = Diagnostics(str(path))
    data = _read(Path(path), faults)
    faults.stop()
    return make_manifest(data, path=str(path), environ=environ, with_keys=with_keys, read_file=read_small_file)


def _read(path: Path, faults: Diagnostics) -> bytes:
    try:
        return read_input(path, MAX_BYTES)
    except IsADirectoryError:
        faults.add(_TOP, "this is a directory: name the manifest's file")
    except (OSError, ValueError) as error:
        faults.add(_TOP, f"the manifest cannot be read: {reason(error)}")
    return b""


def make_manifest(
    text: str | bytes,
    *,
    path: str,
    environ: MappingOf[str, str],
    with_keys: bool = True,
    read_file: ReadFile = read_small_file,
) -> Manifest:
    """The manifest that a text says; `path` names it and is what relative paths start from.

    Of the outside world only `environ` and `read_file` (keys, certificates) are asked. Raises ManifestError.
    """
    faults = Diagnostics(path)
    reading = ReadContext(path=path, environ=environ, with_keys=with_keys, read_file=read_file, faults=faults)
    with _collector_paused():
        manifest = _manifest(reading, text)
    faults.stop()
    assert manifest is not None
    return manifest


def _manifest(reading: ReadContext, text: str | bytes) -> Manifest | None:
    document = read_yaml(text, path=reading.path, faults=reading.faults)
    if document is None:
        return None
    reading.commented = document.commented
    root = document.root
    if root is None or (isinstance(root, Scalar) and root.is_null):
        reading.fault(_TOP, "there is nothing in this file: a manifest needs at least `models`")
        return None
    if not isinstance(root, Mapping):
        reading.fault(
            root.place, f"this file holds a {kind_of(root)}: a manifest is keys with values, such as `models:`"
        )
        return None
    for key in [key for key in root.pairs if key.startswith("x-")]:
        del root.pairs[key]
    hide_keys(reading, root)
    hide_notices(reading, root)
    top = read_mapping(reading, root, TOP)
    instances = _instances(reading, top)
    defaults = top.get("defaults", FieldTable) or NO_SETTINGS
    entries = _entries(reading, top, defaults, instances)
    if reading.faults or instances is None:
        return None
    collapse = defaults.get("collapse", bool)
    return Manifest(
        path=reading.path,
        sha256=hashlib.sha256(text.encode("utf-8") if isinstance(text, str) else text).hexdigest(),
        instances={name: instance for name, instance in instances.items() if instance is not None},
        entries=entries,
        workers=top.get("workers", int) or _DEFAULT_WORKERS,
        collapse=True if collapse is None else collapse,
        notify=top.get("notify", tuple) or (),
        name=top.get("name", str),
        state=top.get("state", Secret),
        warnings=tuple(sorted(reading.faults.warnings, key=lambda warning: warning.place)),
        secrets=tuple(Secret(secret) for secret in reading.faults.secrets),
    )


def _instances(reading: ReadContext, top: FieldTable) -> dict[str, Instance | None] | None:
    """By name; None for one that is wrong, and for all where even their names are not known."""
    if "instances" not in top:
        instance = environment_instance(reading)
        return {DEFAULT_INSTANCE: instance}
    named = top.get("instances", dict)
    if named is None:
        return None
    return {
        name: None if settings is None else make_instance(reading, name, settings) for name, settings in named.items()
    }


def _entries(
    reading: ReadContext, top: FieldTable, defaults: FieldTable, instances: dict[str, Instance | None] | None
) -> tuple[Entry, ...]:
    reader = EntryReader(reading, defaults, instances)
    made = (reader.make(index, own) for index, own in enumerate(top.get("models", GeneratorType) or ()))
    return tuple(entry for entry in made if entry is not None)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of nodes and no cycles: looking for some takes as long again as reading 100,000 models."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
