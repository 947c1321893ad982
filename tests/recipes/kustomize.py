"""Builds a kustomization as `kubectl kustomize` does, as far as those of this repository need it.

`python -m tests.recipes.kustomize FOLDER` prints the objects, for a schema validator.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any, Final

import yaml

_KNOWN: Final = {"apiVersion", "kind", "resources", "configMapGenerator", "images", "patches"}


def build(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization, patched. Raises `ValueError` for what this does not know, or for a wrong patch."""
    top = _load(folder / "kustomization.yaml")
    if unknown := set(top) - _KNOWN:
        raise ValueError(f"{folder}: {', '.join(sorted(unknown))}")
    objects: list[dict[str, Any]] = []
    for name in top["resources"]:
        path = folder / name
        objects += build(path) if path.is_dir() else [_load(path)]
    for generator in top.get("configMapGenerator", []):
        data = {name: (folder / name).read_text(encoding="utf-8") for name in generator["files"]}
        meta = {"name": generator["name"]}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    for patch in top.get("patches", []):
        target = patch["target"]
        found = [o for o in objects if o["kind"] == target["kind"] and o["metadata"]["name"] == target["name"]]
        if len(found) != 1:
            raise ValueError(f"{folder}: a patch for {target} meets {len(found)} objects")
        steps = _load(folder / patch["path"]) if "path" in patch else yaml.safe_load(patch["patch"])
        if isinstance(steps, list):
            for step in steps:
                _apply(found[0], step)
        elif steps.get("$patch") == "delete":
            objects.remove(found[0])
        else:
            raise ValueError(f"{folder}: a patch that is neither a JSON patch nor a removal")
    return objects


def _apply(document: Any, step: dict[str, Any]) -> None:
    """Take one step of a JSON patch (RFC 6902): `test`, `replace`, or `add` at the end of a list."""
    *parents, last = step["path"].removeprefix("/").split("/")
    for part in parents:
        document = document[int(part) if isinstance(document, list) else part]
    if step["op"] == "add" and last == "-":
        document.append(copy.deepcopy(step["value"]))
        return
    key = int(last) if isinstance(document, list) else last
    if step["op"] == "replace" and document[key] is not None:
        document[key] = copy.deepcopy(step["value"])
    elif step["op"] != "test" or document[key] != step["value"]:
        raise ValueError(f"the step {step} does not fit")


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.stdout.write(yaml.safe_dump_all(build(Path(sys.argv[1])), sort_keys=False))
