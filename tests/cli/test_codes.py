"""The codes of errors that end a command: each from a command that ends with it. Those of a manifest are in `tests/manifest`."""

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import orchestrator.journal
from orchestrator.journal.layout import JOURNAL
from tests.cli.commands import Done, call, write_manifest, write_scenario
from tests.cli.live import Omni, manifest_for, run_until

DBT = {"metadata": {"invocation_id": "x"}, "args": {"which": "test"}, "results": []}


def codes(done: Done) -> list[str]:
    """The codes of the errors on stderr; the exit code is 2."""
    assert done.code == 2, done
    return [line.partition("error[")[2].partition("]")[0] for line in done.err.splitlines() if "error[" in line]


@pytest.mark.parametrize(
    "line, code",
    [
        ("frob", "unknown-command"),
        ("--frob", "unknown-option"),
        ("run", "missing-argument"),
        ("run m.yaml more", "unexpected-argument"),
        ("run m.yaml --rate", "missing-value"),
        ("run m.yaml --rate 0", "invalid-value"),
        ("run m.yaml --scenario s.yaml", "missing-option"),
        ("run m.yaml --model x", "option-conflict"),
        ("run m.yaml -s foo:bar", "invalid-selection"),
        ("run m.yaml -s nowhere", "unknown-selection"),
        ("run m.yaml -s zzz*", "nothing-selected"),
        ("run m.yaml -o r.pdf", "unknown-format"),
        ("run m.yaml -o nowhere/r.json", "unwritable-output"),
        ("run m.yaml -o m.json -o ./m.json", "output-conflict"),
        ("run m.yaml --simulate -o m.json", "output-exists"),
        ("retry nowhere", "unknown-run"),
        ("report", "no-run"),
        ("run m.yaml --ddl gone.sql", "missing-migration"),
        ("run m.yaml --ddl odd.sql --strict", "not-understood"),
        ("run m.yaml --ddl open.sql", "unfilled-placeholder"),
        ("run m.yaml --ddl odd.sql --dialect oracle", "unknown-dialect"),
        ("run m.yaml --changed a..b", "invalid-name"),
        ("run m.yaml --dbt-target target", "dbt-artifacts"),
        ("run m.yaml --mode hard", "hard-with-scope"),
        ("run gone.yaml", "unreadable-file"),
        ("simulate m.yaml", "manifest-not-scenario"),
        ("simulate wrong.yaml", "invalid-scenario"),
        ("history --state mysql://x", "invalid-state"),
        ("report nowhere.yaml --state postgresql://%zz/x", "invalid-state"),
    ],
)
def test_a_command_ends_with_its_code(line: str, code: str, tmp_path: Path, own_state: None, capfd: Any) -> None:
    """One error with this code, exit code 2."""
    del own_state
    entry = {"id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "name": "a", "schemas": ["x"]}
    write_manifest(tmp_path, entry)
    (tmp_path / "m.json").write_text("{}")
    (tmp_path / "odd.sql").write_text("FROBNICATE x;")
    (tmp_path / "open.sql").write_text("DROP TABLE ${schema}.x;")
    (tmp_path / "wrong.yaml").write_text("models: [{name: a}, {name: a}]")
    (tmp_path / "target").mkdir()
    (tmp_path / "target/run_results.json").write_text(json.dumps(DBT))
    found = codes(call(capfd, *line.split()))
    assert found == [code]


def test_codes_of_earlier_runs(omni: Callable[..., Omni], tmp_path: Path, capfd: Any, monkeypatch: Any) -> None:
    """A run without a report, an id that is not unique, a folder without runs, a document of another version."""
    instance = omni(default_model={"duration": 20})
    manifest = manifest_for(instance, tmp_path, models=1)
    done = run_until(instance, manifest, tmp_path, lambda seen: bool(seen.posts), 9)
    assert done.code == -9
    assert codes(call(capfd, "report")) == ["no-report"]
    call(
        capfd,
        "run",
        manifest,
        "--no-wait",
        "--on-overlap",
        "proceed",
        "-o",
        "again.json",
        "-s",
        "m1",
        "--deadline",
        "1s",
    )
    assert codes(call(capfd, "report", "20")) == ["ambiguous-run"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert codes(call(capfd, "retry")) == ["no-run-here"]


def test_codes_of_a_state_folder(own_state: None, tmp_path: Path, capfd: Any) -> None:
    """A damaged file, one of a newer version, a folder that is a file, no driver for a database."""
    del own_state
    call(capfd, "history")
    journal = tmp_path / "state" / "journal.db"
    with sqlite3.connect(journal) as database:
        database.execute(f"PRAGMA user_version = {len(JOURNAL.migrations) + 1}")
    database.close()
    assert codes(call(capfd, "history")) == ["newer-state"]
    journal.write_bytes(b"no database" * 99)
    assert codes(call(capfd, "history")) == ["damaged-state"]
    (tmp_path / "file").write_text("")
    assert codes(call(capfd, "history", "--state", "file")) == ["unusable-state"]


def test_a_database_needs_its_driver(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, a state in PostgreSQL names what to install."""
    monkeypatch.setitem(sys.modules, "orchestrator.journal.postgres", None)
    monkeypatch.delattr(orchestrator.journal, "postgres", raising=False)
    assert codes(call(capfd, "history", "--state", "postgresql://127.0.0.1:1/x")) == ["missing-extra"]


def test_a_scenario_that_is_named_without_simulating(tmp_path: Path, capfd: Any) -> None:
    """`--scenario` alone would be a real run."""
    write_manifest(tmp_path)
    assert codes(call(capfd, "run", "m.yaml", "--scenario", write_scenario(tmp_path))) == ["missing-option"]
