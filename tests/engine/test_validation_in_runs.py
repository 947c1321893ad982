"""Validation in whole runs: reads after a refresh, their results, and their failures."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from orchestrator.engine.outcome import DocumentIssues, Status, Validation
from orchestrator.engine.run import Run
from orchestrator.engine.run_context import RunSettings
from orchestrator.quota.choice import Purpose
from orchestrator.report.findings import exit_code
from orchestrator.simulator.calls import Call
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse, uuid

BRANCH = "bbbbbbbb-0000-4000-8000-000000000001"


def warehouse(
    *faults: Mapping[str, object], models: int = 1, traits: Mapping[str, object] | None = None, **connection: object
) -> Scenario:
    """Models 1 to `models` on one connection: finance and sales, of which the schema model shows little before a refresh."""
    spec: dict[str, object] = {
        "name": "wh",
        "default_schema": "sales",
        "schemas": {"finance": ["invoices", "ledger_1"], "sales": ["orders"], "archive": ["old"]},
        "schemas_before": {"finance": ["invoices"]},
        **connection,
    }
    listed = [{"id": uuid(n), "connection": "wh", "duration": 10, **(traits or {})} for n in range(1, models + 1)]
    return make_scenario(connections=[spec], models=listed, faults=list(faults))


def one(staged: Scenario, **keys: object) -> Rehearsal:
    """A run over model 1."""
    return rehearse(manifest_text(model(1, connection="wh", **keys)), staged)


def proofs(run: Rehearsal) -> list[Call]:
    """The reads of models."""
    return [call for call in run.reads if "/models/" in call.path]


@pytest.mark.parametrize(
    "scope, reads",
    [
        ({"schemas": ["finance"]}, 1),
        ({"schemas": ["FINANCE", "sal*"]}, 1),
        ({"schemas": ["finance"], "tables": ["invoices"]}, 1),
        ({"schemas": ["finance", "sales"], "tables": ["finance.ledger_*", "sales.orders"]}, 1),
        ({"tables": ["finance.invoices"]}, 1),
        ({"tables": ["orders"]}, 1),
    ],
)
def test_what_is_there_is_verified(scope: dict[str, object], reads: int) -> None:
    """Every schema and table that was asked for is read back, and the outcome says so; a read or two are enough."""
    run = one(warehouse(), verify="scope", **scope)
    assert (run.outcome.status, run.outcome.verified, run.outcome.warnings[1:]) == (Status.SUCCEEDED, True, ())
    assert len(proofs(run)) == reads
    assert min(c.t_s for c in proofs(run)) > max(c.t_s for c in run.polls)


@pytest.mark.parametrize(
    "scope, missing",
    [
        ({"schemas": ["finnance"]}, "finnance"),
        ({"schemas": ["finance", "nope*"]}, "nope*"),
        ({"schemas": ["finance"], "tables": ["invoces"]}, "invoces"),
        ({"schemas": ["finance"], "tables": ["invoices", "finance.paper_*"]}, "finance.paper_*"),
        ({"schemas": ["finance"], "tables": ["orders"]}, "orders"),
        ({"schemas": ["hr"], "tables": ["hr.people"]}, "hr, hr.people"),
    ],
)
def test_what_is_missing_is_no_effect(scope: dict[str, object], missing: str) -> None:
    """A name that matched nothing makes the outcome `no_effect`, which names it; the run does not exit 0."""
    outcome = one(warehouse(), verify="scope", **scope).outcome
    assert (outcome.status, outcome.verified, outcome.job_status) == (Status.NO_EFFECT, False, "COMPLETED")
    assert outcome.error is not None
    assert outcome.error.kind == "no_effect"
    assert outcome.error.message.endswith(f": {missing}")
    assert not outcome.status.is_good


def test_similar_names_are_shown() -> None:
    """The error for a mistyped name shows similar names."""
    outcome = one(warehouse(), verify="scope", schemas=["finnance"]).outcome
    assert outcome.error is not None
    assert outcome.error.hint == "did you mean 'finance'?"
    table = one(warehouse(), verify="scope", schemas=["finance"], tables=["finance.invoces"]).outcome
    assert table.error is not None
    assert "'finance.invoices'" in table.error.hint
    far = one(warehouse(), verify="scope", schemas=["zzz"]).outcome
    assert far.error is not None
    assert "names that match nothing" in far.error.hint


def test_an_offloaded_schema_is_asked_for_by_name() -> None:
    """Views that are shown only where their schema is named are found there, and missing only when that shows it."""
    staged = warehouse(offloaded=["archive"])
    found = one(staged, verify="scope", schemas=["archive"], tables=["archive.old"])
    assert (found.outcome.status, found.outcome.verified) == (Status.SUCCEEDED, True)
    assert [c.path.rpartition("/")[2] for c in proofs(found)] == ["yaml", "schemas", "yaml"]
    assert "includeSchemas=archive" in str(proofs(found)[-1])
    lost = one(staged, verify="scope", schemas=["archive"], tables=["archive.new"]).outcome
    assert lost.status is Status.NO_EFFECT


@pytest.mark.parametrize(
    "fault, words",
    [
        ({"status": 500}, "could not be read back"),
        ({"status": 403}, "could not be read back"),
        ({"drop": "reset"}, "could not be read back"),
        ({"status": 200, "raw": "<html>"}, "could not be read back"),
        ({"status": 200, "body": {"files": 7}}, "could not be read back"),
    ],
)
def test_a_read_that_fails_verifies_nothing(fault: dict[str, object], words: str) -> None:
    """A refresh that succeeded stays so: `verified` is null, and a warning says why."""
    rule = {"method": "GET", "path": "/(yaml|schemas)$", "always": True, **fault}
    outcome = one(warehouse(rule), verify="scope", schemas=["finance"], tables=["nope"]).outcome
    assert (outcome.status, outcome.verified, outcome.error) == (Status.SUCCEEDED, None, None)
    assert any(words in warning for warning in outcome.warnings)


def test_a_read_that_fails_once_is_tried_again() -> None:
    """A blip costs a read another call and the target nothing."""
    rule = {"method": "GET", "path": "/yaml$", "nth": [1], "status": 502}
    outcome = one(warehouse(rule), verify="scope", schemas=["finance"], tables=["invoices"]).outcome
    assert outcome.verified is True


def test_an_unknown_result_verifies_nothing() -> None:
    """A view that is known by its name alone may be the table's or another's: null, and a warning names the table."""
    body = {"files": {"model": "x"}, "viewNames": ["invoices"]}
    rule = {"method": "GET", "path": "/yaml$", "always": True, "status": 200, "body": body}
    outcome = one(warehouse(rule), verify="scope", schemas=["finance"], tables=["finance.invoices"]).outcome
    assert (outcome.status, outcome.verified) == (Status.SUCCEEDED, None)
    assert outcome.warnings[-1].endswith(": finance.invoices")


def test_nothing_that_was_asked_for_is_nothing_to_prove() -> None:
    """A refresh without scope has no names to look for: no reads, `verified` null, no warning; nor without `verify`."""
    hard = one(warehouse(), verify="scope", mode="hard")
    assert (hard.outcome.verified, proofs(hard), hard.outcome.warnings) == (None, [], ())
    plain = one(warehouse(), schemas=["finnance"])
    assert (plain.outcome.status, proofs(plain)) == (Status.SUCCEEDED, [])


def test_a_refresh_that_did_not_succeed_is_not_read_back() -> None:
    """There is nothing to prove of a failed job, nor of one that is not followed."""
    failed = one(warehouse(traits={"result": "FAILED"}), verify="scope", schemas=["finance"])
    assert (failed.outcome.status, proofs(failed)) == (Status.FAILED, [])
    text = manifest_text(model(1, connection="wh", schemas=["finance"], verify="scope"))
    accepted = rehearse(text, warehouse(), settings=RunSettings(wait=False))
    assert (accepted.outcome.status, proofs(accepted)) == (Status.ACCEPTED, [])
    validated = rehearse(
        manifest_text(model(1, connection="wh", verify="validate")), warehouse(), settings=RunSettings(wait=False)
    )
    assert (validated.outcome.status, proofs(validated)) == (Status.ACCEPTED, [])


def test_each_covered_target_is_proven_for_its_own_scope() -> None:
    """One hard refresh serves them all; whose names are there is verified, who asked for another one has no effect."""
    text = manifest_text(
        model(1, connection="wh", mode="hard"),
        model(2, connection="wh", schemas=["finance"], verify="scope"),
        model(3, connection="wh", schemas=["finnance"], verify="scope"),
        model(4, connection="wh", schemas=["sales"], tables=["orders"], verify="scope"),
    )
    run = rehearse(text, warehouse(models=4))
    assert len(run.posts) == 1
    assert run.statuses == {
        "m1": Status.SUCCEEDED, "m2": Status.SUCCEEDED, "m3": Status.NO_EFFECT, "m4": Status.SUCCEEDED
    }  # fmt: skip
    assert [o.verified for o in run.outcomes] == [None, True, False, True]
    assert {o.covered_by for o in run.outcomes} == {None, "m1"}


def test_a_branch_is_read_back_as_the_branch() -> None:
    """A branch refresh is proven on its branch; one without effect is not waiting to be promoted."""
    staged = warehouse(branch_based=True, traits={"branches": [{"name": "b", "id": BRANCH}]})
    good = one(staged, branch=BRANCH, schemas=["finance"], tables=["invoices"], verify="scope")
    assert (good.outcome.verified, good.outcome.promotion_pending) == (True, True)
    assert BRANCH in str(proofs(good)[0])
    bad = one(staged, branch=BRANCH, schemas=["finnance"], verify="scope").outcome
    assert (bad.status, bad.promotion_pending) == (Status.NO_EFFECT, False)


def schemas_on_branch(*words: str) -> Rehearsal:
    """A refresh of a branch whose first reads of its schemas are answered 400 with these words."""
    faults = [
        {"method": "GET", "path": "/schemas$", "nth": [number], "status": 400, "message": said}
        for number, said in enumerate(words, 1)
    ]
    staged = warehouse(*faults, branch_based=True, traits={"branches": [{"name": "b", "id": BRANCH}]})
    return one(staged, branch=BRANCH, schemas=["finance"], verify="scope")


def parameters(run: Rehearsal) -> list[set[str]]:
    """What the reads of schemas were sent for the branch."""
    return [set(read.query) for read in proofs(run) if read.path.endswith("/schemas")]


@pytest.mark.parametrize(
    "words, sent",
    [
        ("", [{"branchId", "branch_id"}]),
        ("Unrecognized key(s) in object: 'branch_id'", [{"branchId", "branch_id"}, {"branchId"}]),
        ("Bad Request: Unrecognized key(s) in object: 'branchId'", [{"branchId", "branch_id"}, {"branch_id"}]),
        ("unexpected query parameter", [{"branchId", "branch_id"}, {"branchId"}]),
    ],
)
def test_the_schemas_of_a_branch_are_read_under_either_name(words: str, sent: list[set[str]]) -> None:
    """The vendor's documents disagree on the parameter's name: both are sent, and the one that a server refuses is left out."""
    run = schemas_on_branch(*filter(None, [words]))
    assert parameters(run) == sent
    assert (run.outcome.status, run.outcome.verified) == (Status.SUCCEEDED, True)


@pytest.mark.parametrize(
    "words",
    [
        ("Unrecognized key(s) in object: 'branchId', 'branch_id'",),
        ("Unrecognized key(s) in object: 'branchId'", "Unrecognized key(s) in object: 'branch_id'"),
        ("Schema models do not have branches",),
    ],
)
def test_a_branch_that_cannot_be_read_verifies_nothing(words: tuple[str, ...]) -> None:
    """If the schemas of the branch cannot be read, those of the shared model are not taken for them."""
    run = schemas_on_branch(*words)
    assert len(parameters(run)) == len(words)
    assert all(parameters(run))
    assert (run.outcome.status, run.outcome.verified) == (Status.SUCCEEDED, None)
    assert any(words[-1] in warning for warning in run.outcome.warnings)


def validated(before: list[object], after: list[object]) -> Rehearsal:
    """A refresh whose validation finds this before and after it, in the form of the vendor's command line."""
    faults = [
        {"path": "/validate$", "nth": [n], "status": 200, "body": {"issues": found, "valid": not found}}
        for n, found in ((1, before), (2, after))
    ]
    return one(warehouse(*faults), verify="validate", mode="hard")


def test_issues_of_the_vendors_command_line() -> None:
    """A new error with an old message in another view is new; a warning is listed as one, and does not fail a run."""
    error = {"message": "no such column", "severity": "error", "view": "orders", "field": "total"}
    elsewhere = {**error, "view": "returns"}
    warning = {"message": "unused", "severity": "warning", "view": "orders"}
    brought = validated([error], [error, elsewhere]).outcome
    assert brought.validation == Validation(new=("returns.total: no such column",))
    warned = validated([error], [error, warning]).outcome
    assert warned.validation == Validation(new=("warning: orders: unused",))
    turned = validated([{**error, "severity": "warning"}], [error]).outcome
    assert turned.validation == Validation(
        new=("orders.total: no such column",), fixed=("warning: orders.total: no such column",)
    )
    codes = [
        exit_code([outcome], signal=None, refused_instances=(), report_failed=False, new_issues_fail=True)
        for outcome in (brought, warned, turned)
    ]
    assert codes == [1, 0, 1]


def test_new_and_fixed_issues_are_listed() -> None:
    """Validation just before the submit and after the job: what came and what went is listed, the status stays."""
    was, now = {"message": "kept"}, {"message": "No view legacy"}
    traits = {"issues_before": [was, {"message": "fixed"}], "issues": [was, now]}
    for shape in ("array", "object"):
        staged = warehouse(traits=traits).model_copy(
            update={"answers": make_scenario(answers={"issues": shape}).answers}
        )
        run = one(staged, verify="validate", mode="hard")
        assert run.outcome.status is Status.SUCCEEDED
        assert run.outcome.validation == Validation(new=("No view legacy",), fixed=("fixed",))
        assert run.outcome.verified is None
        first, last = proofs(run)
        assert first.t_s <= run.posts[0].t_s < run.polls[-1].t_s <= last.t_s


def test_without_a_baseline_nothing_is_new() -> None:
    """Where validation cannot be read before or after, `validation` is null and a warning says so; the refresh goes its way."""
    before = {"method": "GET", "path": "/validate$", "nth": [1, 2, 3, 4], "status": 500}
    run = one(warehouse(before), verify="validate", mode="hard")
    assert (run.outcome.status, run.outcome.validation) == (Status.SUCCEEDED, None)
    assert "could not be read" in run.outcome.warnings[0]
    after = {"method": "GET", "path": "/validate$", "nth": [2, 3, 4, 5], "status": 500}
    late = one(warehouse(after), verify="validate", mode="hard")
    assert (late.outcome.status, late.outcome.validation) == (Status.SUCCEEDED, None)
    assert "read back" in late.outcome.warnings[0]


DOCUMENTS = [
    {"name": "Weekly", "identifier": "weekly", "queries": [{"name": "Total", "fields": ["orders.total", "orders.id"]}]},
    {"name": "Old", "queries": [{"name": "q", "fields": ["legacy.id"]}]},
    {"name": "New", "queries": [{"name": "q", "fields": ["returns.id"]}]},
]


def content_scenario(
    *faults: Mapping[str, object],
    documents: Sequence[Mapping[str, object]] | None = None,
    branches: Sequence[str] = (),
    branch_based: bool = False,
) -> Scenario:
    """A hard refresh takes away `orders.total`, which Weekly uses, and brings `returns`, which New uses; Old stays broken."""
    return warehouse(
        *faults,
        traits={"documents": list(DOCUMENTS if documents is None else documents), "branches": list(branches)},
        schemas={"sales": ["orders", "returns"]},
        schemas_before={"sales": ["orders"]},
        columns={"sales.orders": ["id"]},
        columns_before={"sales.orders": ["id", "total"]},
        branch_based=branch_based,
    )


def contents(run: Rehearsal) -> list[Call]:
    """The calls of the content validator."""
    return [call for call in proofs(run) if call.path.endswith("/content-validator")]


BROKEN = DocumentIssues(name="Weekly", identifier="weekly", issues=("Total: Field 'orders.total' not found in model",))


def test_broken_and_repaired_documents_are_listed() -> None:
    """Content just before the submit and after the job: what broke and what was repaired is listed; old breakage is no news."""
    run = one(content_scenario(), verify="content", mode="hard")
    content = run.outcome.content
    assert (run.outcome.status, run.outcome.validation, run.outcome.verified) == (Status.SUCCEEDED, None, None)
    assert content is not None
    assert (content.new, content.new_documents, content.fixed_documents) == ((BROKEN,), 1, 1)
    assert [document.name for document in content.fixed] == ["New"]
    assert run.outcome.new_issues == ("Weekly: Total: Field 'orders.total' not found in model",)
    first, last = contents(run)
    assert first.t_s <= run.posts[0].t_s < run.polls[-1].t_s <= last.t_s
    assert {tuple(sorted(call.query)) for call in (first, last)} == {("content_filter_mode",)}
    purposes = [purpose for purpose, _ in run.result.stats.calls]
    assert purposes.count(Purpose.PROOF) == 1
    codes = [
        exit_code(run.outcomes, signal=None, refused_instances=(), report_failed=False, new_issues_fail=fails)
        for fails in (False, True)
    ]
    assert codes == [0, 1]


def test_content_of_a_branch_is_read_as_the_branch() -> None:
    """Both reads name the branch under the name that this call gives it."""
    staged = content_scenario(branch_based=True, branches=[BRANCH])
    run = one(staged, verify="content", mode="hard", branch=BRANCH)
    assert [call.query.get("branch_id") for call in contents(run)] == [BRANCH, BRANCH]
    assert run.outcome.content is not None
    assert run.outcome.content.new == (BROKEN,)


def test_an_instance_that_does_not_know_the_filter_is_asked_without() -> None:
    """The vendor's documents disagree on `content_filter_mode`: if a server refuses it, all documents are read instead."""
    staged = content_scenario().model_copy(update={"answers": make_scenario(answers={"content_filter": False}).answers})
    run = one(staged, verify="content", mode="hard")
    assert ["content_filter_mode" in call.query for call in contents(run)] == [True, False, False]
    assert run.outcome.content is not None
    assert run.outcome.content.new == (BROKEN,)


@pytest.mark.parametrize(
    "fault, words",
    [
        ({"status": 403, "message": "Permission denied"}, "403 Permission denied"),
        ({"status": 404, "message": "Not Found"}, "404 Not Found"),
        ({"status": 200, "body": {"content": "soon"}}, "the answer holds no list"),
        ({"status": 200, "body": {"content": [], "error": "timeout"}}, "the answer does not hold all documents"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_content_that_cannot_be_read_leaves_the_status(fault: dict[str, object], words: str, when: str) -> None:
    """Refused, unreadable or not whole, before or after: `content` is null, a warning has the reason, nothing is called fixed."""
    first = 1 if when == "before" else 2
    rule = {"path": "/content-validator$", "nth": [*range(first, first + 4)], **fault}
    run = one(content_scenario(rule), verify="content", mode="hard")
    assert (run.outcome.status, run.outcome.content) == (Status.SUCCEEDED, None)
    (warning,) = run.outcome.warnings
    assert f"the broken documents {'before' if when == 'before' else 'could not'}" in warning
    assert words in warning
    # what cannot be read is read again, what is refused is not
    assert len(contents(run)) == first + 3 * (fault["status"] == 200)


def test_targets_of_one_model_share_their_reads() -> None:
    """Two targets of one model and one refresh cost two reads, and two kinds of verification four."""
    text = manifest_text(
        *(
            {"id": uuid(1), "name": name, "connection": "wh", "mode": "hard", "verify": verify}
            for name, verify in (("a", "content"), ("b", "content"), ("c", "validate"))
        )
    )
    run = rehearse(text, content_scenario())
    assert len(proofs(run)) == 4
    assert [o.content is not None for o in run.outcomes] == [True, True, False]
    assert run.of("c").validation == Validation()


def test_a_secret_in_a_document_is_taken_out() -> None:
    """Names and issues of documents go through the redaction like everything that a server says."""
    document = {"name": "KEY", "folder": "/KEY", "queries": [{"name": "KEY", "fields": ["orders.total"]}]}
    text = manifest_text(model(1, connection="wh", mode="hard", verify="content"))
    staged = content_scenario(documents=[document])
    run = rehearse(text, staged, redact=lambda said: said.replace("KEY", "***"))
    content = run.outcome.content
    assert content is not None
    ((name, folder, issue),) = ((d.name, d.folder, d.issues[0]) for d in content.new)
    assert (name, folder, issue) == ("***", "/***", "***: Field 'orders.total' not found in model")


def test_verification_comes_last() -> None:
    """With the budget spent on many refreshes, reads of the first wait for the submits of the last; all are proven."""
    models = [model(n, schemas=["finance"], verify="scope") for n in range(1, 101)]
    spec = {"schemas": {"finance": ["invoices"]}, "schemas_before": {}}
    staged = make_scenario(default_model={"duration": 5, "connection": spec})
    run = rehearse(manifest_text(*models), staged)
    assert {o.verified for o in run.outcomes} == {True}
    assert min(c.t_s for c in proofs(run)) >= max(c.t_s for c in run.posts)
    assert not [c for c in run.calls if c.status == 429]


def test_a_baseline_goes_right_before_its_submit() -> None:
    """Many models that are validated do not wait for each other's baselines: each is read when its submit is next."""
    models = [model(n, mode="hard", verify="validate") for n in range(1, 81)]
    run = rehearse(manifest_text(*models), make_scenario(default_model={"duration": 5}))
    order = [c.path.rsplit("/", 2)[1] for c in run.calls if c.path.endswith(("/validate", "/refresh"))]
    at: dict[str, float] = {}
    for call in run.calls:
        if call.path.endswith("/validate"):
            at.setdefault(call.path.rsplit("/", 2)[1], call.t_s)
    gaps = [post.t_s - at[post.path.rsplit("/", 2)[1]] for post in run.posts]
    assert max(gaps) < 61.0
    assert sorted(gaps)[70] < 1.0
    assert len(order) == 3 * 80


def test_a_baseline_that_gets_no_turn_costs_no_target() -> None:
    """Where the deadline comes while a baseline waits for its turn, its target was never sent, and says so."""
    models = [model(n, mode="hard", verify="validate") for n in range(1, 81)]
    run = rehearse(
        manifest_text(*models), make_scenario(default_model={"duration": 5}), settings=RunSettings(deadline_s=30)
    )
    unsent = [o for o in run.outcomes if o.status is Status.NOT_STARTED]
    assert unsent
    assert len(run.posts) == len(run.outcomes) - len(unsent)


def test_a_secret_in_an_issue_is_taken_out() -> None:
    """What validation says goes through the redaction like everything that a server says."""
    traits = {"issues_before": [{"message": "KEY gone"}], "issues": [{"message": "KEY here"}]}
    text = manifest_text(model(1, connection="wh", verify="validate"))
    run = rehearse(text, warehouse(traits=traits), redact=lambda said: said.replace("KEY", "***"))
    assert run.outcome.validation == Validation(new=("*** here",), fixed=("*** gone",))


def test_the_lane_does_not_wait_for_verification() -> None:
    """The next refresh of a connection goes while the one before it is read back."""
    slow = {"method": "GET", "path": "/schemas$", "always": True, "delay": 20}
    text = manifest_text(
        model(1, connection="wh", schemas=["finance"], verify="scope"), model(2, connection="wh", schemas=["sales"])
    )
    run = rehearse(text, warehouse(slow, models=2))
    assert run.of("m1").verified is True
    assert run.posts[1].t_s < proofs(run)[0].t_s + 20


@pytest.mark.parametrize("verify", ["scope", "validate"])
def test_a_run_that_is_stopped_keeps_what_succeeded(verify: str) -> None:
    """Stopped while a model is read back, its target has succeeded; a warning says that it was not proven."""

    async def stop(run: Run) -> None:
        await asyncio.sleep(20)
        run.stop()

    slow = {"method": "GET", "path": "/(schemas|validate)$", "nth": [1 if verify == "scope" else 2], "delay": 29}
    text = manifest_text(model(1, connection="wh", schemas=["finance"], verify=verify))
    run = rehearse(text, warehouse(slow), act=stop)
    assert (run.outcome.status, run.outcome.verified, run.outcome.validation) == (Status.SUCCEEDED, None, None)
    (warning,) = run.outcome.warnings
    assert "stopped" in warning


def test_a_key_that_is_refused_meanwhile_verifies_nothing() -> None:
    """A key that is refused while models are read back leaves what succeeded."""
    staged = warehouse().model_copy(update={"keys": make_scenario(keys=[{"key": "k", "refused_from": 13}]).keys})
    slow = {"method": "GET", "path": "/schemas$", "nth": [1], "delay": 8, "status": 500}
    staged = staged.model_copy(update={"faults": warehouse(slow).faults})
    run = one(staged, schemas=["finance"], verify="scope")
    assert run.outcome.status is Status.SUCCEEDED
    assert any("refused every key" in warning for warning in run.outcome.warnings)


def test_verification_reads_are_counted_as_such() -> None:
    """Reads for a proof are requests, and no polls."""
    run = one(warehouse(), verify="scope", schemas=["finance"])
    purposes = {purpose for purpose, _ in run.result.stats.calls}
    assert purposes == {Purpose.SUBMIT, Purpose.POLL, Purpose.PROOF}
    assert run.result.stats.requests == len(run.calls)
