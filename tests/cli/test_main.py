"""The command line itself: help, version, errors of wrong words, and the exit code of each end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import COMMANDS, main
from orchestrator.errors import LockedError, OmniRefreshError, UsageError
from tests.cli.commands import KEY, call, write_manifest


def test_help_lists_every_command(capfd: Any) -> None:
    """`--help` names each command with one line about it, and the exit codes."""
    done = call(capfd, "--help")
    assert (done.code, done.err) == (0, "")
    assert all(f"  {name} " in done.out for name in COMMANDS)
    assert "Exit codes" in done.out
    assert call(capfd, "-h").out == done.out


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str, capfd: Any) -> None:
    """`COMMAND --help` exits 0, says what the command does, and shows its options."""
    done = call(capfd, name, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: omni-refresh {name}")
    assert "--help" in done.out


def test_version(capfd: Any) -> None:
    """`--version` is one line."""
    done = call(capfd, "--version")
    assert done.code == 0
    assert done.out.startswith("omni-refresh ")
    assert done.out.count("\n") == 1


@pytest.mark.parametrize(
    "args, words",
    [
        (["rn", "m.yaml"], "did you mean run?"),
        (["xyzzy"], "there is: run"),
        (["run"], "MANIFEST"),
        (["run", "m.yaml", "--no-such-option"], "--no-such-option"),
        (["run", "m.yaml", "extra"], "extra"),
        (["run", "m.yaml", "--rate", "0"], "--rate"),
        (["run", "m.yaml", "--max-failures", "x"], "--max-failures"),
        (["run", "m.yaml", "--deadline", "soon"], "--deadline"),
        (["run", "m.yaml", "--log-format", "xml"], "--log-format"),
        (["schema", "nothing"], "nothing"),
        (["simulate", "--port", "70000"], "--port"),
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["check", "nowhere.yaml"], "nowhere.yaml"),
        (["check", "."], "folder"),
    ],
)
def test_a_wrong_command_line_is_exit_2(args: list[str], words: str, tmp_path: Path, capfd: Any) -> None:
    """What is wrong stands on stderr in a few lines without a traceback; stdout stays empty."""
    write_manifest(tmp_path)
    done = call(capfd, *args)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err
    assert done.err.count("\n") <= 4


WRONG_MANIFEST = """\
models:
  - model: Sales
    hard_refesh: true
  - model: Finance
    timeout: soon
"""


def test_all_faults_of_a_command_line_and_its_files_are_reported_together(tmp_path: Path, capfd: Any) -> None:
    """Unknown options, bad values, each fault of the manifest, each missing file and each report path: one error each."""
    (tmp_path / "m.yaml").write_text(WRONG_MANIFEST, encoding="utf-8")
    done = call(
        capfd, "run", "m.yaml", "--frobnicate", "3", "--workers", "0", "--deadline", "soon", "--ddl", "one.sql",
        "--ddl", "two.sql", "-o", "r.pdf", "-o", "nowhere/r.json",
    )  # fmt: skip
    assert (done.code, done.out) == (2, "")
    found = [line for line in done.err.splitlines() if "error[" in line]
    codes = [line.partition("error[")[2].partition("]")[0] for line in found]
    assert codes == [
        *("unknown-option", "invalid-value", "invalid-value", "unknown-key", "invalid-duration"),
        *("missing-migration", "missing-migration", "unknown-format", "unwritable-output"),
    ]
    assert [line for line in found if line.startswith("m.yaml:")] == found[3:5]
    assert "  |     ^^^^^^^^^^^\n" in done.err
    assert done.err.count("Usage: ") == 1


def test_the_faults_behind_the_first_one_are_reported_too(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correct command line with a wrong key, selection and migration: all three errors, the key's once."""
    monkeypatch.delenv("OMNI_API_TOKEN", raising=False)
    write_manifest(tmp_path)
    done = call(capfd, "run", "m.yaml", "-s", "nowhere", "--ddl", "gone.sql")
    assert done.code == 2
    codes = [line.partition("error[")[2].partition("]")[0] for line in done.err.splitlines() if "error[" in line]
    assert codes == ["unset-variable", "unknown-selection", "missing-migration"]


@pytest.mark.parametrize(
    "words, codes",
    [
        (["--modle", "Sales"], ["unknown-option"]),
        (["--frobnicate", "3", "m.yaml"], ["unknown-option"]),
        (["--frobnicate", "m.yaml"], ["unknown-option"]),
        (["m.yaml", "-qzy"], ["unknown-option", "unknown-option"]),
        (["m.yaml", "-ooz.json", "-z"], ["unknown-option"]),
        (["m.yaml", "--quiet=yes", "--scenario", "s.yaml"], ["missing-value", "missing-option"]),
        (["m.yaml", "--timeout"], ["missing-value"]),
        (["m.yaml", "more", "--frobnicate"], ["unknown-option"]),
    ],
)
def test_an_unknown_option_causes_no_other_error(
    words: list[str], codes: list[str], tmp_path: Path, capfd: Any
) -> None:
    """What may be the value of an unknown option is neither a missing manifest nor an unexpected argument."""
    write_manifest(tmp_path)
    done = call(capfd, "run", *words)
    found = [line.partition("error[")[2].partition("]")[0] for line in done.err.splitlines() if "error[" in line]
    assert (done.code, found) == (2, codes)


def test_hostile_words_do_no_harm(capfd: Any) -> None:
    """A word of the command line that would steer a terminal or a CI log is spelled out."""
    done = call(capfd, "run\x1b[31m\n::error::x")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert not any(line.startswith("::") for line in done.err.splitlines())


def test_without_a_command_there_is_help(capfd: Any) -> None:
    """No word at all is answered with the help."""
    done = call(capfd)
    assert "Usage: omni-refresh" in done.out + done.err


def test_main_exits_with_the_code() -> None:
    """The console script's entry point leaves with the command's exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["check", "nowhere.yaml"])
    assert ended.value.code == 2


def test_a_signal_at_the_end_of_the_process_changes_nothing() -> None:
    """The result is out when the interpreter ends: its exit code stays, whatever signal comes then."""
    program = (
        "import os, signal\n"
        "from orchestrator.cli.main import main\n"
        "class Late:\n"
        "    def __init__(self, kill, pid): self.kill, self.pid = kill, pid\n"
        "    def __del__(self): [self.kill(self.pid, number) for number in (15, 2, 1)]\n"
        "import click; click.late = Late(os.kill, os.getpid())\n"
        "main(['--version'])"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, timeout=25, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_internal_error_is_one_line(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the program did not foresee is one line without the error's own text, which may hold a key."""

    def broken(args: object) -> int:
        del args
        raise ValueError(KEY)

    monkeypatch.setattr("orchestrator.cli.main.run", broken)
    with pytest.raises(SystemExit) as ended:
        main([])
    out, err = capfd.readouterr()
    assert (ended.value.code, out) == (1, "")
    assert err.startswith("omni-refresh: internal error: ValueError in ")
    assert err.count("\n") == 1
    assert KEY not in err


def test_exit_codes_stand_on_the_errors() -> None:
    """Each error that ends a command knows its exit code."""
    assert (OmniRefreshError.exit_code, UsageError.exit_code, LockedError.exit_code) == (1, 2, 4)
    assert (UsageError("x").code, LockedError("x").code) == ("invalid-usage", "run-locked")


@pytest.mark.parametrize("what", ["manifest", "report", "scenario"])
def test_schemas(what: str, capfd: Any) -> None:
    """`schema WHAT` is one JSON Schema on stdout."""
    done = call(capfd, "schema", what)
    schema = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
