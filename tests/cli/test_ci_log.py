"""What CI systems and mail get: sections, annotations, a log that is said once, a log file; and nothing that steers them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.terminal.ci_log import annotation
from tests.cli.commands import call, start, write_manifest, write_scenario
from tests.rehearsal import uuid

HOSTILE = "no\n::error::x\r\n::endgroup::\x1b[0Ksection_end:1:omni_refresh\r ##[endgroup] 100%,:"


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    """Three models; the server refuses one of them with a hostile text."""
    models = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}"} for n in (1, 2, 3)]
    path = write_manifest(tmp_path, *models)
    faults = [{"method": "POST", "path": uuid(2), "always": True, "status": 400, "message": HOSTILE}]
    write_scenario(tmp_path, name="m.scenario.yaml", faults=faults, default_model={"duration": 0.05})
    return path


def test_github_gets_a_group_and_annotations(manifest: str, tmp_path: Path, capfd: Any, monkeypatch: Any) -> None:
    """The log is one group; what did not succeed is an annotation at the manifest's line; stdout is as everywhere."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    done = call(capfd, "run", manifest, "--simulate")
    lines = done.err.splitlines()
    assert lines[0] == "::group::omni-refresh m.yaml"
    assert lines[-2] == "::endgroup::"
    assert [line for line in lines if line.startswith("::")] == [lines[0], *lines[-2:]]
    match = re.fullmatch(r"::warning file=m\.yaml,line=1,title=rejected%3A m2::400 no (.*)%0A-> .*", lines[-1])
    assert match is not None, lines[-1]
    assert "%250" not in lines[-1]
    assert "100%25" in lines[-1]
    assert done.out.startswith("SIMULATED")
    assert "::" not in {line[:2] for line in done.out.splitlines()}


def test_many_causes_are_ten_annotations(tmp_path: Path, capfd: Any, monkeypatch: Any) -> None:
    """GitHub shows ten: the last one counts the rest. A quiet log has annotations, and no group."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    models = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}"} for n in range(1, 13)]
    manifest = write_manifest(tmp_path, *models)
    faults = [
        {"method": "POST", "path": uuid(n), "always": True, "status": 400, "message": f"reason {n * 'x'}"}
        for n in range(1, 13)
    ]
    write_scenario(tmp_path, name="m.scenario.yaml", faults=faults)
    done = call(capfd, "run", manifest, "--simulate", "-q")
    marks = [line for line in done.err.splitlines() if line.startswith("::")]
    assert len(marks) == 10
    assert all(mark.startswith("::warning ") for mark in marks)
    assert marks[-1].split("::")[-1].startswith("3 more ")


def test_gitlab_gets_a_section(manifest: str, capfd: Any, monkeypatch: Any) -> None:
    """The log is one section, and no text of the server's ends it."""
    monkeypatch.setenv("GITLAB_CI", "true")
    done = call(capfd, "run", manifest, "--simulate")
    assert re.match(r"\x1b\[0Ksection_start:\d+:omni_refresh\r\x1b\[0Komni-refresh m\.yaml\n", done.err)
    assert re.search(r"\n\x1b\[0Ksection_end:\d+:omni_refresh\r\x1b\[0K\n$", done.err)
    assert done.err.count("\x1b") == 4
    assert "\x1b" not in done.out


def test_a_json_log_has_no_marks(manifest: str, capfd: Any, monkeypatch: Any) -> None:
    """A log in JSON is JSON in every CI system; `OMNI_REFRESH_LOG_FORMAT` asks for it as the option does."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("OMNI_REFRESH_LOG_FORMAT", "json")
    done = call(capfd, "run", manifest, "--simulate")
    events = [json.loads(line)["event"] for line in done.err.splitlines()]
    assert events[0] == "run_started"
    assert events[-1] == "run_finished"


def test_cron_mails_each_failure_once(manifest: str, tmp_path: Path) -> None:
    """With both streams in one mail, `--quiet` leaves the summary; with the summary elsewhere, what went wrong."""
    for out, told in ((subprocess.STDOUT, ""), (subprocess.PIPE, " FAIL   m2")):
        with start("run", manifest, "--simulate", "-q", cwd=tmp_path, stdout=subprocess.PIPE, stderr=out) as process:
            printed, logged = process.communicate(timeout=60)
        mail = printed.decode()
        assert process.returncode == 1
        assert sum(line.startswith("rejected ") for line in mail.splitlines()) == 1
        assert "FAIL" not in mail
        assert told in (logged or b"").decode()
        assert mail.startswith("SIMULATED")


def test_a_log_file_beside_the_log(manifest: str, tmp_path: Path, capfd: Any) -> None:
    """`--log-file` adds JSON to a file, also of a quiet run, while stderr is for people."""
    path = tmp_path / "run.log"
    done = call(capfd, "run", manifest, "--simulate", "--log-file", str(path))
    assert "start  " in done.err
    first = path.read_text().splitlines()
    assert call(capfd, "run", manifest, "--simulate", "-q", "--log-file", str(path)).code == 1
    both = path.read_text().splitlines()
    assert both[: len(first)] == first
    ended = [json.loads(line) for line in both if json.loads(line)["event"] == "target_settled"]
    assert sorted(line["target"] for line in ended) == ["m1", "m1", "m2", "m2", "m3", "m3"]


@pytest.mark.parametrize("name, words", [("m.yaml", "is not a log"), (".", "Is a directory"), ("no/x", "No such file")])
def test_a_log_file_replaces_nothing(name: str, words: str, manifest: str, tmp_path: Path, capfd: Any) -> None:
    """A file that holds something else is exit 2, before anything is sent; so is a path that cannot be written."""
    before = (tmp_path / "m.yaml").read_text()
    done = call(capfd, "run", manifest, "--simulate", "--log-file", str(tmp_path / name))
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert (tmp_path / "m.yaml").read_text() == before


def test_a_log_file_is_no_report(manifest: str, tmp_path: Path, capfd: Any) -> None:
    """A report in the place of the log would replace it: exit 2."""
    path = str(tmp_path / "x.jsonl")
    done = call(capfd, "run", manifest, "--simulate", "--log-file", path, "--report", path)
    assert (done.code, "the log file" in done.err) == (2, True)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=40))
def test_any_text_is_one_annotation(message: str, title: str, file: str) -> None:
    """No text ends an annotation, adds a property to it or begins another command."""
    command = annotation(message, title=title, file=file, line=3)
    assert len(command.splitlines()) == 1
    assert re.fullmatch(r"::warning file=[^,:]*,line=3,title=[^,:]*::.*", command)
