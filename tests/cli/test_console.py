"""stdout as it is: whatever its encoding, the result is whole and a JSON document is JSON."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.commands import KEY, call_on, spawn, write_manifest
from tests.rehearsal import uuid

NAME = "Verkäufe 🎉 日本"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(encoding: str, tmp_path: Path, own_state: None) -> None:
    """A stdout that cannot hold a name gets its escapes as JSON writes them; reports and the history alike."""
    manifest = write_manifest(tmp_path, {"id": uuid(1), "name": NAME, "connection": "c"})

    def written(*args: str) -> str:
        path = tmp_path / "out"
        with path.open("wb") as out, Path(os.devnull).open("wb") as nowhere:
            assert call_on(*args, stdout=out.fileno(), stderr=nowhere.fileno(), encoding=encoding) == 0
        return path.read_text(encoding=encoding)

    run = written("run", manifest, "--simulate", "-q", "--json")
    assert [o["name"] for o in json.loads(run)["outcomes"]] == [NAME]
    assert NAME in json.dumps(json.loads(written("plan", manifest, "--json")), ensure_ascii=False)
    assert run.isascii() is (encoding != "utf-8")


def test_text_is_spelled_out_where_it_cannot_be_shown(tmp_path: Path) -> None:
    """The summary on an ASCII stdout has escapes for what cannot be shown, and no traceback."""
    manifest = write_manifest(tmp_path, {"id": uuid(1), "name": NAME, "connection": "c"})
    environ = {"PYTHONIOENCODING": "ascii", "OMNI_API_TOKEN": KEY}
    done = spawn(["run", manifest, "--simulate", "-q"], cwd=tmp_path, environ=environ)
    assert (done.code, done.err) == (0, "")
    assert r"Verk\xe4ufe \U0001f389" in done.out
