"""YAML text -> Manifest, or everything that is wrong with it, each error with its line and column.

    bytes ─ decode ─▶ text ─ read_yaml ─▶ nodes with places ─ tables of keys ─▶ settings ─▶ instances, entries ─▶ Manifest

The values (`orchestrator.manifest.manifest`) are light: other rooms use them without loading the reader.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.manifest.addresses import is_loopback, normalize_base_url
    from orchestrator.manifest.credentials import api_key_again
    from orchestrator.manifest.diagnostics import Diagnostic, ManifestError
    from orchestrator.manifest.keys import manifest_json_schema
    from orchestrator.manifest.load import load_manifest, make_manifest
    from orchestrator.manifest.yaml_nodes import Document
    from orchestrator.manifest.yaml_text import load_yaml

__all__ = [
    "Diagnostic",
    "Document",
    "ManifestError",
    "api_key_again",
    "is_loopback",
    "load_manifest",
    "load_yaml",
    "make_manifest",
    "manifest_json_schema",
    "normalize_base_url",
]

_HOMES: Final = {
    "Document": "yaml_nodes",
    "Diagnostic": "diagnostics",
    "ManifestError": "diagnostics",
    "api_key_again": "credentials",
    "is_loopback": "addresses",
    "load_manifest": "load",
    "load_yaml": "yaml_text",
    "make_manifest": "load",
    "manifest_json_schema": "keys",
    "normalize_base_url": "addresses",
}


def __getattr__(name: str) -> object:
    """Loads the reader when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
