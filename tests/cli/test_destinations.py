"""No output replaces an input, another output or the program's state; what was not written is not listed as written."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.deliver import write_reports
from orchestrator.engine.events import Observer
from orchestrator.report.as_json import JsonLines
from orchestrator.report.report import Report
from tests.cli.commands import KEY, call, write_manifest, write_scenario


def _same(path: Path, by: str) -> str:
    """Another way to name a file."""
    if by == "name":
        return path.name
    if by == "spelling":
        return f"{path.parent}/sub/../{path.name}"
    other = path.with_name(f"other{path.suffix}")
    if by == "symbolic link":
        other.symlink_to(path)
    else:
        os.link(path, other)
    return str(other)


@pytest.fixture
def files(tmp_path: Path, own_state: None) -> Path:
    """A manifest, a scenario, a migration and a key file; each with a suffix that a report may have."""
    (tmp_path / "sub").mkdir()
    write_scenario(tmp_path, "s.json")
    (tmp_path / "ddl.csv").write_text("CREATE TABLE a.b (c int);")
    (tmp_path / "names.csv").write_text("a.b\n")
    (tmp_path / "key.md").write_text(KEY)
    settings = {"base_url": "http://127.0.0.1:1", "api_key_file": "key.md"}
    write_manifest(tmp_path, name="m.json", instances={"sim": settings})
    return tmp_path


def _refused(capfd: Any, files: Path, *args: str) -> str:
    before = {path: path.read_bytes() for path in files.iterdir() if path.is_file()}
    done = call(capfd, *args)
    assert (done.code, done.out) == (2, ""), done.err
    assert before == {path: path.read_bytes() for path in files.iterdir() if path.is_file()}
    (line,) = (line for line in done.err.splitlines() if "warning" not in line and "= help:" not in line)
    return line


VICTIMS = {
    "m.json": (["run", "m.json"], "would replace the manifest"),
    "key.md": (["run", "m.json"], "would replace the key file"),
    "s.json": (["run", "m.json", "--simulate", "--scenario", "s.json"], "would replace the scenario"),
    "ddl.csv": (["run", "m.json", "--ddl", "ddl.csv"], "would replace the migration"),
    "names.csv": (["run", "m.json", "--changed", "@names.csv"], "would replace the list of changes"),
}


@pytest.mark.parametrize("by", ["name", "spelling", "symbolic link", "hard link"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_report_replaces_no_input(victim: str, by: str, capfd: Any, files: Path) -> None:
    """A report over an input, by whatever name, is refused before the first call, and nothing is written."""
    args, says = VICTIMS[victim]
    assert says in _refused(capfd, files, *args, "--report", _same(files / victim, by))


@pytest.mark.parametrize("by", ["name", "spelling", "symbolic link", "hard link"])
def test_two_outputs_are_two_files(by: str, capfd: Any, files: Path) -> None:
    """Two reports, or a report and the metrics, with the same file are refused; also the default report."""
    (files / "r.json").write_text("{}")
    (files / "omni-refresh-report.json").write_text("{}")
    twice = ("run", "m.json", "--report", "r.json", "--report", _same(files / "r.json", by))
    assert "would share the report" in _refused(capfd, files, *twice)
    (files / "other.json").unlink(missing_ok=True)
    metrics = ("run", "m.json", "--metrics-file", _same(files / "omni-refresh-report.json", by))
    assert "would share the report" in _refused(capfd, files, *metrics)
    (files / "other.json").unlink(missing_ok=True)
    assert "would replace the manifest" in _refused(
        capfd, files, "run", "m.json", "--metrics-file", _same(files / "m.json", by)
    )


def test_the_state_folder_is_not_for_reports(capfd: Any, files: Path) -> None:
    """An output in the state folder is refused."""
    (files / "link").symlink_to(files / "state")
    call(capfd, "history")
    assert "state folder" in _refused(capfd, files, "run", "m.json", "--report", "link/r.json")
    assert "state folder" in _refused(capfd, files, "report", "--report", "state/r.json")


def test_what_was_not_written_is_not_listed(capfd: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that could not be written at the end is exit code 5, also the default one, and the summary does not name it."""
    gone = files / "sub" / "gone"

    def lost(
        report: Report, paths: Sequence[str], observe: Observer, growing: Sequence[JsonLines] = ()
    ) -> tuple[str, ...]:
        gone.rename(files / "elsewhere")
        return write_reports(report, paths, observe, growing)

    monkeypatch.setattr("orchestrator.app.execute.write_reports", lost)
    monkeypatch.chdir(files)
    gone.mkdir()
    done = call(capfd, "run", "m.json", "--simulate", "--report", "sub/gone/r.json", "--report", "sub/r.md")
    assert done.code == 5
    assert f"Report: {files}/sub/r.md" in done.out
    assert "gone/r.json" not in done.out
    assert (files / "sub" / "r.md").exists()
