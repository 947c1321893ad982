"""`run` and `plan` after a change, as people use them: options, streams, exit codes."""

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Done, call, write_manifest, write_scenario
from tests.rehearsal import uuid

Here = Callable[..., Done]

SQL = "CREATE TABLE finance.paid (id int);\nALTER TABLE finance.invoices ADD COLUMN x int;\n"
MODELS: list[dict[str, object]] = [
    {"id": uuid(1), "name": "fin", "connection": "wh", "reads": ["finance"]},
    {"id": uuid(2), "name": "hr", "connection": "wh", "reads": ["hr"]},
    {"id": uuid(3), "name": "all", "connection": "lake"},
]
WAREHOUSES: list[dict[str, object]] = [
    {"name": "wh", "schemas": {"finance": ["invoices", "paid"], "hr": ["people"]}},
    {"name": "lake", "schemas": {"events": ["clicks"]}},
]


@pytest.fixture
def here(capfd: Any) -> Here:
    """Runs a command in this process."""
    return partial(call, capfd)


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    """Three models, their scenario, and a migration in the working directory."""
    (tmp_path / "V3__x.sql").write_text(SQL, encoding="utf-8")
    path = write_manifest(tmp_path, *MODELS)
    staged = [
        {"id": uuid(n), "connection": c, "duration": 0.05, "issues_before": [], "issues": [{"message": "No view"}]}
        for n, c in ((1, "wh"), (2, "wh"), (3, "lake"))
    ]
    write_scenario(tmp_path, name="m.scenario.yaml", connections=WAREHOUSES, models=staged)
    return path


def test_run_refreshes_what_the_migration_changed(here: Here, manifest: str) -> None:
    """The report says `change`, each target what it got, and the run exits 0; what was not touched says what it reads."""
    done = here("run", manifest, "--simulate", "--ddl", "V3__x.sql", "--dialect", "postgres", "--json")
    assert done.code == 0
    assert done.document["run"]["trigger"] == "change"
    fin, hr, everything = done.document["outcomes"]
    assert (fin["status"], fin["mode"]) == ("succeeded", "soft")
    assert (fin["schemas"], fin["tables"]) == (["finance"], ["finance.paid", "finance.invoices"])
    assert (hr["status"], [warning.split()[-1] for warning in hr["warnings"]]) == ("skipped", ["hr"])
    assert everything["status"] == "skipped"
    # the model that reads all of its connection was asked which schemas those are
    assert done.document["summary"]["requests"] - done.document["summary"]["polls"] == 2


def test_plan_says_what_uses_a_dropped_column(here: Here, manifest: str) -> None:
    """`plan --online` names fields and documents below each change, and in its JSON; without the option nothing is read for it."""
    document = {
        "name": "Paid\x1b[31m",
        "identifier": "p/1",
        "queries": [{"name": "q", "fields": ["finance__paid.vat"]}],
    }
    staged = [{"id": uuid(1), "connection": "wh", "documents": [document]}, {"id": uuid(2), "connection": "wh"}]
    connection = {**WAREHOUSES[0], "columns": {"finance.paid": ["id", "vat"]}}
    write_scenario(
        Path(manifest).parent, name="m.scenario.yaml", connections=[connection, WAREHOUSES[1]], models=staged
    )
    Path("V3__x.sql").write_text("ALTER TABLE finance.paid DROP COLUMN vat, DROP COLUMN vat_2;", encoding="utf-8")
    options = ("--simulate", "--ddl", "V3__x.sql", "--dialect", "postgres", "--exclude", "all")
    plain = here("plan", manifest, *options)
    assert ": vat, vat_2 -> fin" in plain.out
    assert "Paid" not in plain.out
    done = here("plan", manifest, *options, "--online")
    assert done.code == 0
    assert "    fin: field finance__paid.vat; 1 document uses it\n      Paid" in done.out
    assert "\x1b" not in done.out
    assert ": 2 calls" in done.out
    told = here("plan", manifest, *options, "--online", "--json").document["usage"]
    assert told["reads"] == 2
    (use,) = told["uses"]
    assert (use["name"], use["fields"], use["problem"]) == ("fin", ["finance__paid.vat"], None)
    assert use["change"] == {"name": "finance.paid", "source": "V3__x.sql", "line": 1, "columns": ["vat", "vat_2"]}
    assert [each["identifier"] for each in use["documents"]] == ["p/1"]


def test_online_needs_a_change(here: Here, manifest: str) -> None:
    """`plan --online` without a change is exit 2, and says what to add."""
    done = here("plan", manifest, "--simulate", "--online")
    assert (done.code, done.out) == (2, "")
    assert "--ddl FILE" in done.err


def test_nothing_affected_is_exit_0_without_a_call(here: Here, manifest: str) -> None:
    """A change that no model reads, and one that changes nothing, end with exit code 0."""
    done = here("run", manifest, "--simulate", "--changed", "marketing.leads", "--exclude", "all", "--json")
    assert (done.code, done.document["summary"]["requests"]) == (0, 0)
    assert done.document["summary"]["skipped"] == 2
    Path("V3__x.sql").write_text("GRANT SELECT ON finance.paid TO r;", encoding="utf-8")
    none = here("run", manifest, "--simulate", "--ddl", "V3__x.sql", "--dialect", "postgres", "--json")
    assert (none.code, none.document["summary"]["requests"], none.document["summary"]["skipped"]) == (0, 0, 3)


def test_a_change_that_cannot_be_read(here: Here, manifest: str) -> None:
    """A change that cannot be read is exit 2, and nothing is sent."""
    for command in ("run", "plan"):
        done = here(command, manifest, "--simulate", "--ddl", "missing.sql", "--dialect", "postgres")
        assert (done.code, done.out) == (2, "")
        assert "missing.sql" in done.err
    Path("t.sql").write_text("CREATE TABLE {{ this }} AS SELECT 1", encoding="utf-8")
    templated = here("run", "m.yaml", "--simulate", "--ddl", "t.sql", "--dialect", "postgres")
    assert templated.code == 2
    assert "t.sql:1" in templated.err
    assert "--dbt-target" in templated.err
    Path("u.sql").write_text("FROBNICATE x", encoding="utf-8")
    assert here("plan", "m.yaml", "--ddl", "u.sql", "--dialect", "postgres", "--strict").code == 2


def test_what_was_not_understood_is_reported_everywhere(here: Here, manifest: str) -> None:
    """It refreshes all, and stands in the report, on the terminal and in the log, with file and line."""
    Path("u.sql").write_text("SELECT 1;\nFROBNICATE x;", encoding="utf-8")
    done = here("run", manifest, "--simulate", "--ddl", "u.sql", "--dialect", "postgres", "--report", "r.json")
    assert done.code == 0
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert [o["mode"] for o in report["outcomes"]] == ["hard"] * 3
    assert "u.sql:2 was not understood" in report["run"]["warnings"][0]
    assert "u.sql:2 was not understood" in done.out
    assert "warn   " in done.err


def test_plan_shows_each_change_and_its_targets(here: Here, manifest: str) -> None:
    """Each change with its line and its models, what each of them gets and why, and who gets nothing."""
    Path("V3__x.sql").write_text(SQL + "DROP TABLE hr.people;", encoding="utf-8")
    done = here("plan", manifest, "--simulate", "--ddl", "V3__x.sql", "--dialect", "postgres", "--changed", "marts")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:4] == [
        "+ finance.paid      V3__x.sql:1  creates the table -> fin",
        "+ finance.invoices  V3__x.sql:2  adds a column -> fin",
        "- hr.people         V3__x.sql:3  drops the table -> hr",
        "+ marts.*           --changed    is listed -> no model",
    ]
    assert lines[5].startswith("fin: soft: finance.paid (V3__x.sql:1: creates the table)")
    assert lines[6] == "hr: hard: hr.people (V3__x.sql:3: drops the table)"
    assert [line for line in lines if line.startswith("skipped: all: ")]
    assert "warning: " in done.out
    assert "1 to look up" in done.out
    assert "1 skipped" in done.out


def test_plan_as_a_document(here: Here, manifest: str) -> None:
    """--json has the change, and for each model whether it is concerned, why, and by which lines."""
    done = here("plan", manifest, "--simulate", "--ddl", "V3__x.sql", "--dialect", "postgres", "--json")
    assert [c["name"] for c in done.document["change"]["changes"]] == ["finance.paid", "finance.invoices"]
    fin, hr, everything = done.document["concerns"]
    assert (fin["name"], fin["skipped"]) == ("fin", False)
    assert fin["changes"][1] == {"name": "finance.invoices", "source": "V3__x.sql", "line": 2}
    assert (hr["skipped"], hr["why"].split()[-1], hr["changes"]) == (True, "hr", [])
    assert everything["skipped"]
    assert done.document["summary"]["calls"]["look_ups"] == 1
    (refresh,) = done.document["refreshes"]
    assert (refresh["mode"], refresh["schemas"]) == ("soft", ["finance"])
    assert "change" not in here("plan", manifest, "--simulate", "--json").document


def test_plan_needs_no_key_where_nothing_must_be_asked(here: Here, manifest: str) -> None:
    """Models that say what they read are planned offline, without a key."""
    done = here("plan", manifest, "--exclude", "all", "--changed", "finance.paid")
    assert done.code == 0
    assert "soft refresh of fin" in done.out
    asks = here("plan", manifest, "--changed", "finance.paid")
    assert asks.code == 2
    assert "OMNI_API_TOKEN" in asks.err


def test_many_changes_are_cut_in_a_plan(here: Here, manifest: str, tmp_path: Path) -> None:
    """A plan for people shows the first of many changes and models; the document has them all."""
    models = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}", "reads": ["s"]} for n in range(1, 30)]
    many = write_manifest(tmp_path, *models, name="many.yaml")
    names = "\n".join(f"s.t{n}" for n in range(300))
    Path("names.txt").write_text(names, encoding="utf-8")
    done = here("plan", many, "--changed", "@names.txt")
    assert "and 100 more changes; --json has them all" in done.out
    assert "and 9 more models; --json has them all" in done.out
    assert len(here("plan", many, "--changed", "@names.txt", "--json").document["change"]["changes"]) == 300


def test_resume_is_for_the_same_change(manifest: str) -> None:
    """`run --resume` starts a new run where another change is given than the one that was cut off."""
    from orchestrator.app.requests import RunRequest
    from orchestrator.app.runs import selection_of
    from orchestrator.manifest.load import load_manifest
    from tests.planning.changing import touched

    loaded = load_manifest(manifest, environ={}, with_keys=False)
    request = RunRequest(manifest=loaded)
    one, other = (selection_of(request, touched(change)) for change in ("+finance.paid", "-finance.paid"))
    assert one != other == selection_of(request, touched("-finance.paid"))
    assert selection_of(request, None) == ()


def test_new_issues_fail_where_that_is_asked(here: Here, tmp_path: Path, manifest: str) -> None:
    """With --fail-on-new-issues an issue that a refresh brought is exit 1; the status stays, and without it so does 0."""
    verified = [{**MODELS[0], "verify": "validate"}]
    write_manifest(tmp_path, *verified, name="v.yaml")
    write_scenario(
        tmp_path,
        name="v.scenario.yaml",
        models=[{"id": uuid(1), "duration": 0.05, "issues_before": [], "issues": [{"message": "No view"}]}],
    )
    plain = here("run", "v.yaml", "--simulate", "--json")
    assert plain.code == 0
    strict = here("run", "v.yaml", "--simulate", "--json", "--fail-on-new-issues")
    assert (strict.code, strict.document["summary"]["exit_code"]) == (1, 1)
    assert strict.document["outcomes"][0]["status"] == "succeeded"
    assert strict.document["outcomes"][0]["validation"] == {"new": ["No view"], "fixed": []}


def test_made_up_instances_hold_what_a_scope_names(here: Here, tmp_path: Path) -> None:
    """--simulate without a scenario: schemas and tables that the manifest names exist, so that proof finds them."""
    models: list[dict[str, object]] = [
        {"id": uuid(1), "connection": "wh", "schemas": ["fin*", "w.sales"], "tables": ["invoices", "fin*.led_?"]},
        {"id": uuid(2), "tables": ["orders"]},
        {"id": uuid(2), "name": "again", "schemas": ["hr"]},
        {"id": uuid(2), "name": "known", "connection": "wh", "schemas": ["a"]},
        {"id": uuid(2), "name": "late", "schemas": ["b"]},
    ]
    path = write_manifest(tmp_path, *({"verify": "scope", **m} for m in models), name="own.yaml")
    Path("own.scenario.yaml").unlink()
    from orchestrator.app.simulation import stage
    from orchestrator.manifest.load import load_manifest

    (staged,) = stage(load_manifest(path, environ={}, with_keys=False)).values()
    (warehouse,) = staged.connections
    assert dict(warehouse.schemas) == {
        "finx": ("invoices", "led_x"), "w.sales": ("invoices",), "public": ("orders",), "hr": (), "a": (), "b": (),
    }  # fmt: skip


def test_plan_reads_a_migration_on_standard_input(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read only once, and is: the plan is that of the same migration in a file."""
    manifest = write_manifest(tmp_path, *MODELS[:2])
    (tmp_path / "V1__x.sql").write_text(SQL, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SQL.encode())))
    plans = [
        here("plan", manifest, "--ddl", source, "--dialect", "postgres", "--json").document
        for source in ("-", "V1__x.sql")
    ]
    assert [[one["name"] for one in plan["skipped"]] for plan in plans] == [["hr"], ["hr"]]
    assert [len(plan["refreshes"]) for plan in plans] == [1, 1]
