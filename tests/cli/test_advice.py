"""Which command a run advises: the one that does not repeat what went wrong."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.after_run import next_commands
from orchestrator.app.choose_run import working_directory
from orchestrator.app.overrides import Overrides
from orchestrator.app.requests import ChangeRequest, StatedRequest
from orchestrator.app.state import StateOption
from orchestrator.engine.failure import RunKind, make_failure
from orchestrator.engine.outcome import Outcome, Status
from orchestrator.journal.records import NewRun
from orchestrator.manifest.manifest import absolute_path
from orchestrator.omni.errors import CallErrorKind
from orchestrator.planning.selection import Selector
from orchestrator.values import as_data, from_data
from tests.cli.commands import call, write_manifest
from tests.cli.live import Omni, manifest_for
from tests.rehearsal import manifest_text, model, read_manifest, uuid
from tests.report.reports import make_outcome


def run(path: str = "m.yaml") -> NewRun:
    """A run of a manifest that was given by this path."""
    return NewRun(
        id="R1", root="R1", origin=None, trigger="run", manifest_path=path, manifest_file=absolute_path("m.yaml"),
        manifest_identity="m", manifest_sha256="", lock="l", began_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def bad(name: str, status: Status, kind: str, http_status: int | None = None) -> Outcome:
    """A target that did not succeed."""
    error = make_failure(kind, "x", http_status=http_status)
    return replace(make_outcome(1, status), name=name, error=error, job_ids=())


GOOD = replace(make_outcome(1), name="good")
FAILED = bad("b", Status.FAILED, RunKind.JOB_FAILED)


@pytest.mark.parametrize(
    "status, kind, http_status",
    [
        (Status.REJECTED, RunKind.UNRESOLVED, None),
        (Status.REJECTED, CallErrorKind.BAD_REQUEST, 400),
        (Status.REJECTED, CallErrorKind.FORBIDDEN, 403),
        (Status.REJECTED, CallErrorKind.NOT_FOUND, 404),
        (Status.REJECTED, CallErrorKind.REDIRECT, 301),
        (Status.NOT_STARTED, CallErrorKind.KEY_REFUSED, 401),
        (Status.NO_EFFECT, RunKind.NO_EFFECT, None),
        (Status.ERROR, CallErrorKind.DNS, None),
        (Status.ERROR, CallErrorKind.TLS, None),
        (Status.ERROR, CallErrorKind.PROXY, None),
    ],
)
def test_a_wrong_configuration_needs_a_new_run(status: Status, kind: str, http_status: int | None) -> None:
    """Address, name, branch, scope, key, a refused request: the corrected manifest is run, for these targets alone."""
    wrong = bad("a", status, kind, http_status)
    assert next_commands(run(), [GOOD, wrong]) == ("omni-refresh run m.yaml --select a",)
    assert next_commands(run(), [wrong, FAILED]) == (
        "omni-refresh retry R1 --select b",
        "omni-refresh run m.yaml --select a",
    )


@pytest.mark.parametrize(
    "status, kind",
    [
        (Status.FAILED, RunKind.JOB_FAILED),
        (Status.TIMED_OUT, RunKind.TIMED_OUT),
        (Status.UNKNOWN, CallErrorKind.CUT_OFF),
        (Status.REJECTED, CallErrorKind.CONFLICT),
        (Status.THROTTLED, CallErrorKind.THROTTLED),
        (Status.NOT_STARTED, RunKind.LANE_CLOSED),
        (Status.UNKNOWN, RunKind.POLL_REFUSED),
    ],
)
def test_what_no_manifest_can_mend_is_retried(status: Status, kind: str) -> None:
    """A job that failed, or whose end is not known, is retried: a retry checks the job first."""
    assert next_commands(run(), [GOOD, bad("a", status, kind)]) == ("omni-refresh retry R1",)


def test_an_instance_that_never_answered_has_a_wrong_address() -> None:
    """One that answered before was down: its targets are retried."""
    silent = [
        bad(name, Status.ERROR, kind) for name, kind in (("a", CallErrorKind.CONNECT), ("b", RunKind.INSTANCE_DOWN))
    ]
    assert next_commands(run(), silent) == ("omni-refresh run m.yaml --select a --select b",)
    assert next_commands(run(), [*silent, FAILED, make_outcome(2)]) == ("omni-refresh retry R1",)


def test_what_was_cut_off_is_resumed_first() -> None:
    """Whatever else went wrong; and a run that is all good advises nothing."""
    stopped = bad("c", Status.INTERRUPTED, RunKind.STOPPED)
    wrong = bad("a", Status.REJECTED, RunKind.UNRESOLVED)
    assert next_commands(run(), [stopped, wrong, FAILED]) == ("omni-refresh resume R1",)
    assert next_commands(run(), [GOOD]) == ()


def test_names_are_quoted_and_select_themselves() -> None:
    """A shell gives the names back, and each of them selects its own target and no other."""
    names = ["plain", "two words", "it's", "a,b", "tag:x", "m*", "$HOME", "-v", " blank ", "x;y", 'say "hi"']
    wrong = [bad(name, Status.REJECTED, RunKind.UNRESOLVED) for name in names]
    (command,) = next_commands(run(), [GOOD, *wrong])
    words = shlex.split(command)
    assert words[:3] == ["omni-refresh", "run", "m.yaml"]
    told, rest = [], words[3:]
    while rest:
        option, _, value = rest.pop(0).partition("=")
        assert option == "--select"
        told.append(value or rest.pop(0))
    assert told == names
    manifest = read_manifest(manifest_text(*(model(n, name=name) for n, name in enumerate(["m1", *names], 1))))
    for name in names:
        assert [e.name for e in Selector(manifest, [name]).select()] == [name]


def test_many_targets_are_the_runs_own_selection() -> None:
    """When all of many targets failed by one mistake, the command is the one that was given, not a list of names."""
    wrong = [bad(f"m{n}", Status.ERROR, CallErrorKind.DNS) for n in range(20)]
    stated = StatedRequest(select=("tag:a b",), exclude=("-x",), folder=working_directory())
    assert next_commands(run("/else/m.yaml"), wrong, stated=stated) == (
        f"omni-refresh run {absolute_path('m.yaml')} --select 'tag:a b' --exclude=-x",
    )
    part = next_commands(run(), wrong, stated=replace(stated, select=None))[0]
    assert part.count("--select") == 20


def test_the_state_is_named_if_no_other_command_finds_it() -> None:
    """`--state` of the command line is repeated; if only the manifest says where the state is, the manifest is named."""
    stopped, wrong = bad("c", Status.INTERRUPTED, RunKind.STOPPED), bad("a", Status.REJECTED, RunKind.UNRESOLVED)
    place = StateOption(place="/a b")
    assert next_commands(run(), [stopped], state=place) == ("omni-refresh resume R1 --state '/a b'",)
    assert next_commands(run(), [FAILED, wrong], state=place) == (
        "omni-refresh retry R1 --state '/a b' --select b",
        "omni-refresh run m.yaml --state '/a b' --select a",
    )
    assert next_commands(run(), [FAILED], state=StateOption(is_from_manifest=True)) == ("omni-refresh retry m.yaml",)


def test_a_new_run_states_the_whole_request() -> None:
    """Overrides and the change are repeated: without them a limited soft refresh would become a hard one of everything."""
    change = ChangeRequest(
        ddl=("-", "m/*.sql", "@list"), ddl_list=("l",), values={"S": "a b"}, dialect="snowflake", default_schema="x",
        strict=True, dbt_target="target", dbt_state="/state", changed=("s.t", "@names"),
    )  # fmt: skip
    overrides = Overrides(mode="soft", timeout_s=90.0, workers=3)
    stated = StatedRequest(overrides=overrides, change=change, folder="/srv")
    assert from_data(StatedRequest, as_data(stated)) == stated
    command = next_commands(run(), [GOOD, bad("a", Status.REJECTED, RunKind.UNRESOLVED)], stated=stated)[0]
    assert command == (
        "omni-refresh run m.yaml --mode soft --timeout 1m30s --workers 3 --ddl - --ddl '/srv/m/*.sql' --ddl @/srv/list "
        "--ddl-list /srv/l --set S=... --dialect snowflake --default-schema x --dbt-target /srv/target "
        "--dbt-state /state --changed s.t --changed @/srv/names --strict --select a"
    )


def test_a_resumed_or_retried_run_repeats_its_overrides(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """The command after `retry` of a run with `--mode soft` says `--mode soft`, from the request that is stored."""
    faults = [{"method": "POST", "path": uuid(1), "always": True, "status": 400, "message": "no"}]
    instance = omni(default_model={"duration": 0.05}, faults=faults)
    manifest_for(instance, tmp_path, models=2)
    words = ["--mode", "soft", "--timeout", "1m", "--base-url", instance.url]
    expected = f"omni-refresh run m.yaml --mode soft --timeout 1m --base-url {instance.url} --select m1"
    first = call(capfd, "run", "m.yaml", *words)
    assert first.out.splitlines()[-1] == f"Next: {expected}"
    assert call(capfd, "retry").out.splitlines()[-1] == f"Next: {expected}"
    assert call(capfd, "report", "m.yaml").out.splitlines()[-1] == f"Next: {expected}"
    hard = [c.query for c in instance.posts if c.query.get("hard_refresh") != "false"]
    assert (len(instance.posts), hard) == (3, [])


def test_a_mistake_is_not_repeated(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """The command that is advised, given after the manifest was corrected, does what was meant."""
    instance = omni(models=[{"name": "Sales", "duration": 0.05}, {"id": uuid(2), "duration": 0.05}])
    manifest = manifest_for(instance, tmp_path, models=1)
    instances = {"sim": {"base_url": instance.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
    models = [{"model": "Sale", "name": "the sales"}, {"id": uuid(2), "name": "stock"}]
    manifest = write_manifest(tmp_path, *models, instances=instances)
    done = call(capfd, "run", "m.yaml")
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if line.startswith("Next: ")]
    assert line == "Next: omni-refresh run m.yaml --select 'the sales'"
    write_manifest(tmp_path, {**models[0], "model": "Sales"}, models[1], instances=instances)
    done = call(capfd, *shlex.split(line)[2:], "--json")
    assert [(o["name"], o["status"]) for o in done.document["outcomes"]] == [("the sales", "succeeded")]
    assert manifest == str(tmp_path / "m.yaml")


def test_a_retry_belongs_to_the_run_it_retries(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """`retried_from` names the run, also after the retry itself was read back from the journal."""
    faults = [{"method": "POST", "path": uuid(2), "nth": [1], "status": 403}]
    manifest = manifest_for(omni(default_model={"duration": 0.05}, faults=faults), tmp_path, models=2)
    first = call(capfd, "run", manifest, "--json").document["run"]
    assert (first["retried_from"], first["simulated"]) == (None, False)
    again = call(capfd, "retry", "--json").document["run"]
    assert (again["trigger"], again["retried_from"], again["resumed_from"]) == ("retry", first["id"], None)
    assert call(capfd, "report", again["id"], "--json").document["run"] == again


def test_values_of_placeholders_are_neither_shown_nor_stored(
    omni: Callable[..., Omni], tmp_path: Path, capfd: Any
) -> None:
    """A value of `--set` may be a secret: no output, report or file of the state has it, also after a retry."""
    secret = "plant7f3a91"
    faults = [{"method": "POST", "path": uuid(1), "always": True, "status": 400, "message": "no"}]
    manifest_for(omni(default_model={"duration": 0.05}, faults=faults), tmp_path, models=1)
    (tmp_path / "x.sql").write_text("ALTER TABLE a.t ADD COLUMN k text DEFAULT '${part}'", encoding="utf-8")
    words = ["--ddl", "x.sql", "--dialect", "postgres", "--set", f"part={secret}"]
    first = call(capfd, "run", "m.yaml", *words)
    again = call(capfd, "retry", "m.yaml")
    for done in (first, again):
        assert done.code == 1
        assert "--set part=..." in done.out.splitlines()[-1]
        assert secret not in done.out
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name.startswith("omni-refresh-report") for path in written)
    assert [path.name for path in written if secret.encode() in path.read_bytes()] == []
