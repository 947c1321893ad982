"""`check`: everything that is wrong, at once, each with its place; no key and no call."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import call, write_manifest
from tests.rehearsal import uuid


def test_a_right_manifest_is_told_to_be_right(tmp_path: Path, capfd: Any) -> None:
    """Exit 0, one line on stdout with the counts; none of the keys' variables is needed."""
    off = {"id": uuid(2), "name": "b", "enabled": False}
    done = call(capfd, "check", write_manifest(tmp_path, {"id": uuid(1), "name": "a"}, off))
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("m.yaml: OK (2 models, 1 instance, 1 disabled)\n")


def test_warnings_are_no_faults(tmp_path: Path, capfd: Any) -> None:
    """A warning stands on stderr with its place, and the exit code is 0."""
    done = call(capfd, "check", write_manifest(tmp_path, {"id": uuid(1), "name": "a", "tables": ["s.t"]}))
    assert done.code == 0
    assert "m.yaml:1:" in done.err
    assert "warning[tables-without-schemas]:" in done.err


def test_every_fault_at_once(tmp_path: Path, capfd: Any) -> None:
    """Exit 2, every fault as FILE:LINE:COLUMN on stderr, a near miss suggested, nothing on stdout, no traceback."""
    path = tmp_path / "m.yaml"
    path.write_text("version: 2\nmodels:\n  - id: nonsense\n    hard_refesh: true\n  - name: a\n    tables: []\n")
    done = call(capfd, "check", str(path))
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert len(lines) >= 4
    for line, place in (("1", "version"), ("3", "id"), ("4", "mode"), ("6", "tables")):
        assert any(f"m.yaml:{line}:" in text and place in text for text in lines)
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"models: []", b"a: &x [*x]", b"- 1", b"\tx: 1"])
def test_no_manifest_is_too_odd(command: str, content: bytes, tmp_path: Path, capfd: Any) -> None:
    """An empty file, another encoding, a list, tabs: exit 2 with a place, whichever command reads it."""
    path = tmp_path / "m.yaml"
    path.write_bytes(content)
    done = call(capfd, command, str(path))
    assert (done.code, done.out) == (2, "")
    assert "m.yaml:1:" in done.err
    assert "Traceback" not in done.err


def test_a_key_is_needed_to_run_and_not_to_check(tmp_path: Path, capfd: Any) -> None:
    """An unset variable is exit 2 for `run`, which names it and sends nothing; `check` does not mind."""
    manifest = write_manifest(tmp_path)
    assert call(capfd, "check", manifest).code == 0
    done = call(capfd, "run", manifest)
    assert (done.code, done.out) == (2, "")
    assert "OMNI_API_TOKEN" in done.err
