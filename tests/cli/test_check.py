"""`check`: everything that is wrong, at once, each with its place; no key and no call."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import call, write_manifest
from tests.rehearsal import uuid


def test_a_right_manifest_is_ok(tmp_path: Path, capfd: Any) -> None:
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


def test_a_wrong_manifest_has_findings_for_tools(tmp_path: Path, capfd: Any) -> None:
    """`--json` and `--sarif` hold the errors of a manifest that does not load, each with its code and place; exit 2."""
    path = tmp_path / "m.yaml"
    path.write_text("models:\n  - model: Sales\n    hard_refesh: true\n", encoding="utf-8")
    done = call(capfd, "check", str(path), "--json", "--sarif", str(tmp_path / "m.sarif"))
    (found,) = done.document["findings"]
    assert (done.code, found["code"], found["line"], found["column"]) == (2, "unknown-key", 3, 5)
    assert (done.document["manifest"]["sha256"], done.document["summary"]["models"]) == (None, None)
    (run,) = json.loads((tmp_path / "m.sarif").read_text(encoding="utf-8"))["runs"]
    assert run["tool"]["driver"]["rules"] == [{"id": "unknown-key"}]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("unknown-key", "error")
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 5}


def test_warnings_are_in_the_sarif_file(tmp_path: Path, capfd: Any) -> None:
    """A manifest with warnings alone is exit 0, and the file holds them; the file is never the manifest."""
    path = write_manifest(tmp_path, {"id": uuid(1), "name": "a", "tables": ["s.t"]})
    assert call(capfd, "check", path, "--sarif", str(tmp_path / "m.sarif")).code == 0
    (run,) = json.loads((tmp_path / "m.sarif").read_text(encoding="utf-8"))["runs"]
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [("tables-without-schemas", "warning")]
    assert "error[output-conflict]" in call(capfd, "check", path, "--sarif", path).err


def test_the_form_of_an_error(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place, the code and the message; the line with a mark; what to do. In GitHub Actions also an annotation."""
    path = tmp_path / "m.yaml"
    path.write_text("models:\n  - model: Sales\n    hard_refesh: true\n", encoding="utf-8")
    form = (
        f'{path}:3:5: error[unknown-key]: unknown key "hard_refesh" in a model\n'
        "  |\n"
        "3 |     hard_refesh: true\n"
        "  |     ^^^^^^^^^^^\n"
        "  = help: did you mean `mode`?\n"
    )
    assert call(capfd, "check", str(path)).err == form
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    first, annotation = call(capfd, "check", str(path)).err.split("::error ")
    assert first == form
    assert annotation.startswith("file=m.yaml,line=3,title=unknown-key::unknown key ")


@pytest.mark.parametrize(
    "words, code",
    [
        (["--nope"], "unknown-option"),
        (["--progress"], "missing-value"),
        (["--progress", "no"], "invalid-value"),
        (["more"], "unexpected-argument"),
    ],
)
def test_mistakes_of_a_command_line_have_codes(words: list[str], code: str, tmp_path: Path, capfd: Any) -> None:
    """Each kind of mistake that the parser finds has its code, and a line that says what to do."""
    done = call(capfd, "check", write_manifest(tmp_path), *words)
    assert done.code == 2
    assert done.err.startswith(f"error[{code}]: ")
    assert "\n  = help: " in done.err


def test_a_manifest_is_no_scenario(tmp_path: Path, capfd: Any) -> None:
    """`simulate` with a manifest says that it is one, and which command rehearses it."""
    path = write_manifest(tmp_path)
    done = call(capfd, "simulate", path)
    assert (done.code, "error[manifest-not-scenario]" in done.err) == (2, True)
    assert f"omni-refresh run {path} --simulate" in done.err
