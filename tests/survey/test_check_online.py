"""What a check finds on an instance, with which places, and how few calls it takes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta, timezone

import pytest

from orchestrator.log.redaction import Redactor
from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.staging import branch_id, connection_id, model_id
from orchestrator.survey.check_online import check_online
from orchestrator.survey.finding import Finding, OnlineCheck, Severity, make_check_document
from orchestrator.survey.survey import Survey
from tests.rehearsal import manifest_text, read_manifest, uuid
from tests.survey.instance import survey

CONNECTIONS: list[dict[str, object]] = [
    {"name": "eu", "role": "MODELER", "schemas": {"finance": ["invoices"], "sales": ["orders"]}},
    {
        "name": "us",
        "branch_based": True,
        "schemas": {"hr": ["people"], "prod.web": ["events"]},
        "schedules": [
            {"schedule": "0 6 ? * MON-FRI *", "timezone": "Europe/Berlin"},
            {"schedule": "15 2 * * ? *", "hard_refresh": True},
            {"schedule": "0 0 1 * ? *", "disabled": True},
        ],
    },
]
MODELS = [
    {"name": "Sales", "connection": "eu"},
    {"name": "Finance", "connection": "eu"},
    {"name": "HR", "connection": "us", "branches": ["nightly"]},
    {"name": "Trash", "connection": "us", "deleted": True},
    {"name": "Book", "connection": "us", "kind": "WORKBOOK"},
]


def scenario(**more: object) -> Scenario:
    """Two connections, on one of which the key has a small role."""
    return make_scenario(**{"connections": CONNECTIONS, "models": MODELS, **more})


def check(*models: Mapping[str, object], staged: Scenario | None = None) -> tuple[Sequence[Finding], Sequence[Call]]:
    """The findings, and the calls that it took."""
    loaded = read_manifest(manifest_text(*models))
    found, calls = survey(loaded, staged or scenario(), lambda opened: check_online(loaded, opened, zone=UTC))
    return found.findings, calls


def said(findings: Sequence[Finding], severity: Severity) -> list[str]:
    """The messages of this severity."""
    return [f.message for f in findings if f.severity is severity]


def codes(findings: Sequence[Finding]) -> set[str]:
    """The codes of the findings."""
    return {finding.code for finding in findings}


def test_a_true_manifest_is_found_true() -> None:
    """Models, branches and connections that are there, by name or id: no error, and reads alone, ten at most."""
    findings, calls = check(
        {"model": "HR", "branch": "nightly", "connection": "us", "schemas": ["h*"]},
        {"id": model_id("HR"), "name": "by id", "branch": branch_id(model_id("HR"), "nightly")},
        {"id": model_id("Sales"), "name": "sales", "connection": "any label", "tables": ["Finance.*", "sales.orders"]},
        {"model": "gone", "enabled": False},
    )
    assert said(findings, Severity.ERROR) == []
    assert {call.method for call in calls} == {"GET"}
    assert len(calls) <= 10


@pytest.mark.parametrize(
    "entry, words, code",
    [
        ({"model": "Finanec"}, "no model is named 'Finanec'", "unresolved-name"),
        ({"id": uuid(7), "name": "x"}, f"there is no model {uuid(7)}", "unknown-model"),
        ({"id": model_id("Trash"), "name": "x"}, "no model", "unknown-model"),
        ({"id": model_id("Book"), "name": "x"}, "of kind WORKBOOK", "model-kind"),
        ({"model": "HR", "branch": "nigthly"}, "no branch named 'nigthly'", "unresolved-name"),
        ({"model": "HR", "branch": uuid(8)}, f"no branch {uuid(8)}", "unknown-branch"),
        (
            {"model": "HR", "connection": "eu"},
            "the manifest says connection eu, the model is on us",
            "wrong-connection",
        ),
        (
            {"model": "HR", "connection": uuid(9)},
            f"the manifest says connection {uuid(9)}, the model is on us",
            "wrong-connection",
        ),
    ],
)
def test_what_is_not_so_is_an_error(entry: Mapping[str, object], words: str, code: str) -> None:
    """Each thing that a manifest names and the instance does not have is one error with its code, at the entry's line."""
    findings, _ = check({"model": "HR", "name": "fine", "branch": "nightly"}, entry)
    (error,) = [f for f in findings if f.severity is Severity.ERROR]
    assert words in error.message
    assert error.place.column > 1
    assert error.code == code


def test_near_names_are_hints() -> None:
    """A mistyped name, branch or schema is told with what may be meant."""
    findings, _ = check(
        {"model": "Finanec"}, {"model": "HR", "branch": "nigthly"}, {"model": "Sales", "schemas": ["sale"]}
    )
    hints = " ".join(f.hint for f in findings)
    assert "'Finance'" in hints
    assert "'nightly'" in hints
    assert "'sales'" in hints


@pytest.mark.parametrize(
    "scope, bad",
    [
        ({"schemas": ["finance", "SALES", "f*", "*"]}, []),
        ({"schemas": ["finances", "x*"]}, ["finances", "x*"]),
        ({"tables": ["finance.nothing", "bare", "fin*.x"]}, []),
        ({"tables": ["nowhere.x"], "schemas": ["sales"]}, ["nowhere.x"]),
    ],
)
@pytest.mark.parametrize("form", ["array", "object"])
def test_scopes_are_held_against_the_schemas(scope: Mapping[str, object], bad: list[str], form: str) -> None:
    """A name or pattern that fits no schema is a warning: Omni would refresh nothing and call that completed."""
    findings, calls = check({"model": "Sales", **scope}, staged=scenario(answers={"schemas": form}))
    told = [message for message in said(findings, Severity.WARNING) if "no schema" in message]
    assert len(told) == len(bad)
    assert ("unmatched-scope" in codes(findings)) is bool(bad)
    assert all(any(repr(name) in message for message in told) for name in bad)
    assert sum("/schemas" in call.path for call in calls) == 1


def test_catalogs_are_part_of_a_schemas_name() -> None:
    """`web` and `prod.web` fit the schema `prod.web`; another catalog does not."""
    entry = {"model": "HR", "branch": "nightly", "schemas": ["web", "prod.web", "dev.web"]}
    findings, _ = check(entry)
    (unmatched,) = [f.message for f in findings if f.code == "unmatched-scope"]
    assert "'dev.web'" in unmatched
    assert "'web'" not in unmatched
    assert "'prod.web'" not in unmatched


def test_roles_are_warned_of() -> None:
    """A modeler on a connection with two shared models is warned of; with one it is fine, and so is an admin."""
    findings, _ = check({"model": "Sales"}, {"model": "HR", "branch": "nightly"})
    roles = [message for message in said(findings, Severity.WARNING) if "role" in message]
    assert len(roles) == 1
    assert "missing-role" in codes(findings)
    assert "MODELER" in roles[0]
    assert "2 shared models" in roles[0]
    alone = scenario(models=[MODELS[0], MODELS[2]])
    findings, _ = check({"model": "Sales"}, staged=alone)
    assert not [message for message in said(findings, Severity.WARNING) if "role" in message]
    querier = scenario(connections=[{**CONNECTIONS[0], "role": "QUERIER"}, CONNECTIONS[1]])
    findings, _ = check({"model": "Sales"}, staged=querier)
    assert any("QUERIER" in message for message in said(findings, Severity.WARNING))


def test_shared_models_are_counted_where_they_were_not_read() -> None:
    """On a big instance a modeler's connection is asked for its shared models: one call."""
    many = [{"name": f"M{n}", "connection": f"c{n}"} for n in range(450)]
    named = [{"name": f"c{n}"} for n in range(450)]
    staged = scenario(models=[*many, *MODELS], connections=[*named, *CONNECTIONS], limit={"kind": "none"})
    findings, calls = check({"model": "Sales"}, staged=staged)
    assert any("2 shared models" in message for message in said(findings, Severity.WARNING))
    assert sum(call.query.get("connectionId") == connection_id("eu") for call in calls) == 1
    assert len(calls) <= 5


def test_schedules_are_reported() -> None:
    """Native schedules that are on are told with their time, kind and connection; those that are off are not."""
    findings, _ = check({"model": "HR", "branch": "nightly"})
    told = [message for message in said(findings, Severity.WARNING) if "Omni itself" in message]
    mine = "the manifest refreshes it (hard) for HR@nightly"
    next_at, omni = (
        "next 2026-01-01 {0} +00:00 and 2026-01-02 {0} +00:00".format,
        "Omni itself refreshes this connection",
    )
    assert "native-schedule" in codes(findings)
    assert told == [
        f"{omni} every day at 02:15 (UTC), hard; {next_at('02:15')}; {mine}",
        f"{omni} on MON-FRI at 06:00 (Europe/Berlin), soft; {next_at('05:00')}; {mine}",
    ]


def test_schedules_are_facts_of_the_instance() -> None:
    """The JSON document has every schedule, disabled ones too, with its next moments and the entries on its connection."""
    loaded = read_manifest(manifest_text({"model": "HR", "branch": "nightly", "mode": "soft"}))
    zone = timezone(timedelta(hours=5, minutes=30))
    found, _ = survey(loaded, scenario(), lambda opened: check_online(loaded, opened, zone=zone))
    told = [f.message for f in found.findings if f.code == "native-schedule"]
    assert "07:45 +05:30" in told[0]
    assert "refreshes it (soft) for" in told[0]
    (facts,) = make_check_document(
        loaded, found.findings, calls=0, redact=Redactor().redact, instances=found.instances
    )["instances"]
    assert (facts["name"], facts["knows_dbt_sync"]) == ("sim", True)
    assert facts["refresh_parameters"] == ["branch_id", "hard_refresh", "schemas", "tables"]
    by_cron = {one["schedule"]: one for one in facts["schedules"]}
    assert [one["disabled"] for one in facts["schedules"]].count(True) == 1
    assert by_cron["15 2 * * ? *"]["next"][0].endswith("T02:15:00.000Z")
    assert by_cron["0 0 1 * ? *"]["next"] == []
    assert {tuple(one["names"]) for one in facts["schedules"]} == {("HR@nightly",)}


def test_what_the_instance_does_not_know_is_a_warning() -> None:
    """The instance's own document decides: what the manifest sends and it does not list is a warning at the entry's line."""
    old = scenario(answers={"refresh_parameters": ["branch_id"]})
    findings, calls = check({"model": "Sales", "schemas": ["sales"]}, {"model": "HR", "branch": "nightly"}, staged=old)
    told = [(f.entry, f.message) for f in findings if f.code == "api-unknown"]
    assert [(entry, message.split("`")[1], "1 more" in message) for entry, message in told] == [
        ("Sales", "hard_refresh", True),
        ("Sales", "schemas", False),
    ]
    (note,) = [f for f in findings if f.severity is Severity.NOTE]
    assert (note.code, note.message.split()[-1]) == ("api-parameters", "branch_id")
    assert [call.path for call in calls].count("/openapi.json") == 1


@pytest.mark.parametrize(
    "staged",
    [
        {"answers": {"api_document": False}},
        {"faults": [{"path": "/openapi.json", "always": True, "status": 401}]},
        {"faults": [{"path": "/openapi.json", "always": True, "status": 200, "body": "<html>"}]},
        {"faults": [{"path": "/openapi.json", "always": True, "status": 500}]},
    ],
    ids=["absent", "refused", "a page", "broken"],
)
def test_without_the_document_nothing_is_wrong(staged: dict[str, object]) -> None:
    """One call, one note, no error, and the key is still good."""
    loaded = read_manifest(manifest_text({"model": "HR", "branch": "nightly"}))

    async def work(opened: Survey) -> tuple[OnlineCheck, tuple[str, ...]]:
        return await check_online(loaded, opened), opened.refused

    (found, refused), calls = survey(loaded, scenario(**staged), work)
    assert refused == ()
    assert [f.severity for f in found.findings if f.code == "api-document"] == [Severity.NOTE]
    assert said(found.findings, Severity.ERROR) == []
    assert [call.path for call in calls].count("/openapi.json") == 1
    assert found.instances[0].api_document is None


def test_schedules_that_the_key_may_not_read_are_not_asked_for() -> None:
    """Without the admin's role no call is spent on them, and the finding says that the answer is unknown."""
    findings, calls = check({"model": "Sales"})
    (unknown,) = [f for f in findings if f.code == "schedules-unknown"]
    assert unknown.severity is Severity.WARNING
    assert "1 of 1" in unknown.message
    assert not [call for call in calls if "schedules" in call.path]


def test_a_branch_on_a_connection_of_several_models_is_doubtful() -> None:
    """Branch-based refresh cannot be on where a connection has several shared models."""
    models = [{"name": "A", "connection": "eu", "branches": ["b"]}, {"name": "B", "connection": "eu"}]
    findings, _ = check({"model": "A", "branch": "b"}, staged=scenario(models=models))
    assert [f.severity for f in findings if f.code == "branch-mode"] == [Severity.WARNING]


@pytest.mark.parametrize("path", ["/connections$", "/whoami$", "/schemas$", "/schedules$"])
@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_read_that_fails_is_no_error(path: str, status: int) -> None:
    """What cannot be asked is told as a warning, or left out; it never makes a manifest wrong."""
    staged = scenario(faults=[{"path": path, "always": True, "status": status}])
    findings, _ = check({"model": "HR", "branch": "nightly", "connection": "us", "schemas": ["hr"]}, staged=staged)
    assert said(findings, Severity.ERROR) == []
    if path == "/whoami$":
        assert "roles-unknown" in codes(findings)


def test_models_that_could_not_be_looked_up_are_errors() -> None:
    """Where the list itself is refused nothing can be said of the models, and that is an error, with the server's words."""
    staged = scenario(faults=[{"path": "/models$", "always": True, "status": 403}])
    findings, _ = check({"model": "Sales"}, {"id": model_id("HR"), "name": "hr"}, staged=staged)
    errors = [f.code for f in findings if f.severity is Severity.ERROR]
    assert sorted(errors) == ["look-up-failed", "unresolved-name"]


def test_a_refused_key_is_one_finding() -> None:
    """A key that the instance does not accept is one error, and the rest is not asked for."""
    findings, calls = check({"model": "Sales"}, {"model": "HR"}, staged=scenario(keys=["another"]))
    (message,) = said(findings, Severity.ERROR)
    assert codes(findings) == {"instance-unreachable"}
    assert "KEY_1 at 127.0.0.1:" in message
    assert len(calls) == 1


def test_findings_stand_in_the_files_order() -> None:
    """Sorted by line and column, whichever instance answered first."""
    findings, _ = check({"model": "Finanec"}, {"model": "Sales", "schemas": ["x"]}, {"model": "Slaes"})
    assert [f.place for f in findings] == sorted(f.place for f in findings)
    assert len(findings) >= 3


def test_two_instances_are_checked_side_by_side() -> None:
    """Each instance answers for its own entries; one that refuses its key does not hide what the other says."""
    instances = {name: {"base_url": "http://127.0.0.1:1", "api_keys": ["${KEY_1}"]} for name in ("one", "two")}
    entries = [{"model": "Sales", "instance": "one"}, {"model": "Slaes", "instance": "two"}]
    loaded = read_manifest(manifest_text(*entries, instances=instances))
    staged = {"one": scenario(keys=["another"]), "two": scenario()}
    found, _ = survey(loaded, staged, lambda opened: check_online(loaded, opened))
    refused, unknown = (f for f in found.findings if f.severity is Severity.ERROR)
    assert (refused.code, " one " in refused.message) == ("instance-unreachable", True)
    assert (unknown.code, "'Slaes'" in unknown.message) == ("unresolved-name", True)


def test_a_model_in_the_trash_is_reported() -> None:
    """If the list still shows a deleted model, it is no model to refresh."""
    record = {"id": uuid(7), "name": "Old", "modelKind": "SHARED", "connectionId": uuid(1), "deletedAt": "2026-01-01"}
    body = {"records": [record], "pageInfo": {"hasNextPage": False, "nextCursor": None, "totalRecords": 1}}
    staged = scenario(faults=[{"path": "/models$", "always": True, "status": 200, "body": body}])
    findings, _ = check({"id": uuid(7), "name": "old"}, staged=staged)
    assert said(findings, Severity.ERROR) == [f"the model {uuid(7)} is in the trash"]
    assert "deleted-model" in codes(findings)


def test_a_key_that_is_refused_half_way() -> None:
    """What was found until then is told, and that not everything could be asked."""
    staged = scenario(faults=[{"path": "/connections$", "always": True, "status": 401}])
    findings, _ = check({"model": "Slaes"}, {"model": "HR", "connection": "us", "branch": "nightly"}, staged=staged)
    errors = {f.code for f in findings if f.severity is Severity.ERROR}
    assert errors == {"instance-unreachable", "unresolved-name"}


def test_shared_models_that_could_not_be_counted() -> None:
    """A modeler gets no warning if it is unknown how many models share the connection."""
    many = [{"name": f"M{n}", "connection": "us"} for n in range(450)]
    faults = [{"path": "/models$", "nth": [3], "status": 403}]
    findings, _ = check(
        {"model": "Sales"}, staged=scenario(models=[*many, *MODELS], faults=faults, limit={"kind": "none"})
    )
    assert not [message for message in said(findings, Severity.WARNING) if "MODELER" in message]
    assert said(findings, Severity.ERROR) == []


def test_a_branch_pattern_is_one_entry() -> None:
    """A finding about several branches of a pattern is said once, of the entry; a pattern without a branch is a warning."""
    models = [*MODELS[1:], {"name": "Sales", "connection": "eu", "branches": ["pr-1", "pr-2"]}]
    findings, _ = check(
        {"model": "Sales", "branch": "pr-*"},
        {"model": "HR", "branch": "hotfix-*"},
        {"model": "Sales", "branch": "*", "name": "all", "max_branches": 1},
        staged=scenario(models=models),
    )
    assert [f.entry for f in findings if f.code == "branch-mode"] == ["Sales@pr-*"]
    (empty, taken) = [f for f in findings if f.code == "no-branch"]
    assert (empty.severity, empty.entry) == (Severity.WARNING, "HR@hotfix-*")
    assert "'hotfix-*'" in empty.message
    assert (taken.entry, "'*'" in taken.message) == ("all", True)


def test_a_dbt_sync_that_the_instance_does_not_know() -> None:
    """It is a warning by the instance's own document; a sync sends none of the refresh call's parameters."""
    entry = {"model": "HR", "branch": "nightly", "refresh": "dbt_sync"}
    old = scenario(answers={"dbt_sync": False, "refresh_parameters": ["branch_id"]})
    findings, _ = check(entry, staged=old)
    (unknown,) = [f.message for f in findings if f.code == "api-unknown"]
    assert "dbt sync" in unknown
    findings, _ = check(entry)
    assert [f for f in findings if f.code == "api-unknown"] == []
    assert any("(dbt sync)" in f.message for f in findings)
