"""Manifests for tests: the lines that each one needs, and what a text is read as."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.manifest.diagnostics import ManifestError
from orchestrator.manifest.load import make_manifest
from orchestrator.manifest.manifest import Manifest

KEY = "omni_osk_CANARY7f3a9d"
ENVIRON = {"OMNI_API_TOKEN": KEY, "OMNI_BASE_URL": "https://blobsrus.omniapp.co"}
ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
OTHER_ID = "7d0c5ad1-7d0d-4f2c-9a57-0c1f6e1f9a10"

TOP = """version: 1
instances:
  sim:
    base_url: http://127.0.0.1:8080
    api_keys: ["${OMNI_API_TOKEN}"]
"""
MODEL = f"models:\n  - id: {ID}\n    name: m0\n"


def no_file(path: Path) -> bytes:
    """Raise the error of a missing file, for any path."""
    raise FileNotFoundError(2, "No such file or directory", str(path))


def load(
    text: str | bytes,
    *,
    environ: Mapping[str, str] = ENVIRON,
    with_keys: bool = True,
    files: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Return the manifest in `text`, named m.yaml; `files` are in the same folder, by name."""

    def read_file(path: Path) -> bytes:
        data = (files or {}).get(path.name)
        return no_file(path) if data is None else data

    return make_manifest(text, path="m.yaml", environ=environ, with_keys=with_keys, read_file=read_file)


def faults(
    text: str | bytes,
    *,
    environ: Mapping[str, str] = ENVIRON,
    with_keys: bool = True,
    files: Mapping[str, bytes] | None = None,
) -> list[str]:
    """Return the errors of `text`, which must have some: `LINE:COLUMN code` for each."""
    with pytest.raises(ManifestError) as caught:
        load(text, environ=environ, with_keys=with_keys, files=files)
    _check_secrets(caught.value)
    return codes(caught.value)


def _check_secrets(error: ManifestError) -> None:
    """No error shows a secret, neither in its text nor in the line of the file."""
    shown = str(error) + "".join(d.excerpt.line for d in error.diagnostics if d.excerpt is not None)
    assert not any(secret in shown for secret in ("CANARY", "canary-token", "secretpw"))
    assert all(str(d).startswith(f"{d.path}:{d.place.line}:{d.place.column}: error[") for d in error.diagnostics)


def codes(error: ManifestError) -> list[str]:
    """`LINE:COLUMN code` for each error that was kept."""
    return [f"{d.place.line}:{d.place.column} {d.code}" for d in error.diagnostics]


def entry(*lines: str, defaults: str = "") -> str:
    """A manifest with one model that has these lines."""
    return TOP + (f"defaults: {defaults}\n" if defaults else "") + MODEL + "".join(f"    {line}\n" for line in lines)
