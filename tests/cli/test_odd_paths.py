"""Whatever a path names, for every option and argument that takes one: exit code 2, one line, no traceback, no hang."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import call, write_manifest, write_scenario

KINDS = ("fifo", "socket", "folder", "device", "missing", "empty", "line break", "nul", "long", "below a file")

INPUTS = {
    "run": ["run", "{}"],
    "plan": ["plan", "{}"],
    "check": ["check", "{}"],
    "check --online": ["check", "{}", "--online"],
    "--scenario": ["run", "m.yaml", "--simulate", "--scenario", "{}"],
    "--ddl": ["changes", "--ddl", "{}"],
    "--ddl-list": ["changes", "--ddl-list", "{}"],
    "--dbt-target": ["changes", "--dbt-target", "{}"],
    "--dbt-state": ["changes", "--dbt-target", "target", "--dbt-state", "{}"],
    "--changed": ["changes", "--changed", "@{}"],
    "resume": ["resume", "{}"],
    "retry": ["retry", "{}"],
    "report": ["report", "{}"],
    "--like": ["discover", "--like", "{}"],
    "--diff": ["discover", "--diff", "{}"],
    "simulate": ["simulate", "{}"],
}
OUTPUTS = {
    "--report": ["run", "m.yaml", "--simulate", "--report", "{}"],
    "report --report": ["report", "--report", "{}"],
    "--metrics-file": ["run", "m.yaml", "--metrics-file", "{}"],
    "--output": ["discover", "--output", "{}"],
    "--calls": ["simulate", "--calls", "{}"],
}


@contextmanager
def odd(kind: str, folder: Path) -> Iterator[str]:
    """A path of this kind."""
    path = folder / "odd.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "below a file":
        path = folder / "m.yaml" / "odd.json"
    names = {"empty": "", "line break": "a\nb.json", "nul": "a\0b.json", "long": "x" * 5_000 + ".json"}
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            yield str(path)
    else:
        yield names.get(kind, str(path))


def _check(capfd: Any, args: list[str], path: str) -> None:
    done = call(capfd, *(word.replace("{}", path) for word in args))
    lines = [line for line in done.err.splitlines() if not line.startswith(("Usage: ", "  = help: "))]
    assert (done.code, done.out) == (2, ""), done
    assert len(lines) == 1, lines
    assert "Traceback" not in done.err
    assert "internal error" not in done.err


@pytest.fixture
def files(tmp_path: Path, own_state: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest, a scenario and dbt's artifacts in the working directory."""
    write_manifest(tmp_path)
    write_scenario(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    metadata = {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json", "adapter_type": "postgres"}
    (target / "manifest.json").write_text(json.dumps({"metadata": metadata, "nodes": {}}))
    (target / "run_results.json").write_text(json.dumps({"metadata": {}, "args": {"which": "build"}, "results": []}))
    monkeypatch.setenv("OMNI_BASE_URL", "http://127.0.0.1:1")
    return tmp_path


# a folder is what belongs there; an empty one is no error of --ddl
FOLDERS_WELCOME = ("--ddl", "--dbt-target", "--dbt-state")


@pytest.mark.parametrize(
    "where, kind",
    [(where, kind) for where in INPUTS for kind in KINDS if kind != "folder" or where not in FOLDERS_WELCOME],
)
def test_inputs(where: str, kind: str, capfd: Any, files: Path) -> None:
    """An input that cannot be read is one line and exit code 2, at once."""
    with odd(kind, files) as path:
        _check(capfd, INPUTS[where], path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
@pytest.mark.parametrize("where", OUTPUTS)
def test_outputs(where: str, kind: str, capfd: Any, files: Path) -> None:
    """An output that cannot be written is one line and exit code 2, before the first call."""
    with odd(kind, files) as path:
        _check(capfd, OUTPUTS[where], path)


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "missing", "long", "below a file"])
def test_a_key_or_certificate_file(kind: str, capfd: Any, files: Path) -> None:
    """A key file or a certificate file that cannot be read is a fault of the manifest, at once."""
    for key in ("api_key_file", "ca_file"):
        with odd(kind, files) as path:
            settings = {"base_url": "http://127.0.0.1:1", "api_keys": ["${OMNI_API_TOKEN}"], key: path}
            write_manifest(files, instances={"sim": settings}, name="k.yaml")
            _check(capfd, ["run", "k.yaml"], "")
        for left in files.glob("odd.json"):
            left.rmdir() if left.is_dir() else left.unlink()


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "nul", "long"])
def test_a_job_summary(kind: str, capfd: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job summary that cannot be written is a line in the log; the run is not held, and its code is its own."""
    with odd(kind, files) as path:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", path.replace("\0", "/\n"))
        done = call(capfd, "run", "m.yaml", "--simulate")
    assert done.code == 0
    assert " was not written: " in done.err


@pytest.mark.parametrize("text", ["[" * 200_000, '{"nodes": ' + "9" * 5_000 + "}", '{"a": ' * 100_000])
def test_hostile_artifacts(text: str, capfd: Any, files: Path) -> None:
    """JSON that is nested without end, or holds an integer of thousands of digits, is one line."""
    (files / "target" / "manifest.json").write_text(text)
    _check(capfd, ["changes", "--dbt-target", "target"], "")


def test_a_pipe_of_the_shell(capfd: Any, files: Path) -> None:
    """A pipe that the program inherited, as a shell's `<(command)`, is read like a file."""
    read, written = os.pipe()
    os.write(written, b"CREATE TABLE a.b (c int);\n")
    os.close(written)
    done = call(capfd, "changes", "--ddl", f"/dev/fd/{read}", "--json")
    os.close(read)
    assert [change["name"] for change in done.document["changes"]] == ["a.b"]
