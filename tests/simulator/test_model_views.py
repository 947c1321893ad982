"""What a refresh changes can be read back: schemas, views, files, validation issues; on the right branch, at the end."""

from typing import Any

import pytest

from orchestrator.simulator.population import Connection
from orchestrator.simulator.staging import branch_id, connection_id, model_id
from orchestrator.simulator.world import Layer, fits, merge, read_warehouse
from tests.simulator.conversation import Counter

SALES = model_id("sales")
NIGHTLY = branch_id(SALES, "nightly")
WAREHOUSE = connection_id("wh")
HELD = {"public": ["orders", "customers"], "finance": ["invoices", "ledger_2024"], "empty": []}
BEFORE = {"public": ["orders", "dropped"], "gone": ["x"]}


def _counter(**connection: object) -> Counter:
    models = [
        {"name": "sales", "connection": "wh", "branches": ["nightly"], "duration": 8},
        {"name": "twin", "connection": "wh"},
        {"name": "schema", "kind": "SCHEMA", "connection": "wh"},
        {"name": "elsewhere"},
    ]
    held: dict[str, object] = {"name": "wh", "default_schema": "public", "schemas": HELD, "schemas_before": BEFORE}
    return Counter(connections=[{**held, **connection}], models=models)


def _views(counter: Counter, name: str = "sales", query: str = "") -> list[str]:
    status, body = counter.get(f"/models/{model_id(name)}/view{query}")
    assert status == 200
    return [view["name"] for view in body["views"]]


def _refresh(counter: Counter, query: str) -> None:
    assert counter.refresh(SALES, query)[0] == 200
    counter.now_s += 8


def test_a_hard_refresh_rebuilds_the_schema_model_for_every_model_on_it() -> None:
    """What is new appears, what is gone disappears, on all models of the connection and on no other."""
    counter = _counter()
    assert counter.get(f"/models/{SALES}/schemas") == (200, ["gone", "public"])
    _refresh(counter, "?hard_refresh=true")
    for name in ("sales", "twin", "schema"):
        assert counter.get(f"/models/{model_id(name)}/schemas") == (200, ["empty", "finance", "public"])
        assert _views(counter, name) == ["orders", "customers", "finance__invoices", "finance__ledger_2024"]
    assert counter.get(f"/models/{model_id('elsewhere')}/schemas") == (200, [])


def test_nothing_changes_before_the_job_ends() -> None:
    """Until the very end of the job the old schema model shows."""
    counter = _counter()
    counter.refresh(SALES)
    counter.now_s = 7.999
    assert counter.get(f"/models/{SALES}/schemas")[1] == ["gone", "public"]
    counter.now_s = 8.0
    assert counter.get(f"/models/{SALES}/schemas")[1] == ["empty", "finance", "public"]


def test_a_job_that_fails_changes_nothing() -> None:
    """A FAILED refresh leaves the schema model as it was."""
    connection = {"schemas": HELD, "schemas_before": BEFORE}
    counter = Counter(models=[{"name": "sales", "connection": connection, "duration": 8, "result": "FAILED"}])
    _refresh(counter, "")
    assert counter.get(f"/models/{SALES}/schemas")[1] == ["gone", "public"]


def test_a_soft_refresh_adds_and_keeps_what_is_gone() -> None:
    """Without a scope a soft refresh adds everything new; what was dropped stays."""
    counter = _counter()
    _refresh(counter, "?hard_refresh=false")
    assert counter.get(f"/models/{SALES}/schemas")[1] == ["empty", "finance", "gone", "public"]
    assert [view for view in _views(counter) if "__" not in view] == ["orders", "dropped", "customers"]


@pytest.mark.parametrize(
    "scope,added",
    [
        ("schemas=finance", ["finance__invoices", "finance__ledger_2024"]),
        ("schemas=FINANCE&tables=invoices", ["finance__invoices"]),
        ("tables=finance.ledger_*", ["finance__ledger_2024"]),
        ("tables=customers,analytics.finance.invoices", ["customers", "finance__invoices"]),
        ("schemas=analytics.fin*", ["finance__invoices", "finance__ledger_2024"]),
        ("schemas=misspelt", []),
        ("schemas=public&tables=invoices", []),
        ("tables=finance.customers", []),
    ],
)
def test_a_scope_adds_what_it_names_and_nothing_else(scope: str, added: list[str]) -> None:
    """Schemas and tables limit a soft refresh; a misspelt name finds nothing, and the job still completes."""
    counter = _counter()
    before = _views(counter)
    _refresh(counter, f"?hard_refresh=false&{scope}")
    assert sorted(set(_views(counter)) - set(before)) == sorted(added)
    assert set(before) <= set(_views(counter))
    job = counter.calls[1].job_id
    assert counter.get(f"/jobs/{job}/status")[1]["status"] == "COMPLETED"


def test_a_schema_without_tables_is_found_by_its_name_alone() -> None:
    """An empty schema appears where schemas are named, and not where tables are."""
    spec = Connection.model_validate({"name": "x", "schemas": HELD})
    assert read_warehouse(spec, ("empty",), ()) == {"empty": ()}
    assert read_warehouse(spec, (), ("*",)).keys() == {"public", "finance"}


@pytest.mark.parametrize(
    "pattern,name,does",
    [("a*c", "abbc", True), ("A.B", "a.b", True), ("a.b", "axb", False), ("*", "", True), ("a", "ab", False)],
)
def test_only_a_star_means_anything_in_a_scope(pattern: str, name: str, does: bool) -> None:
    """`*` stands for any text, letter case is ignored, everything else is literal, dots too."""
    assert fits(pattern, (name,)) is does


def test_merging_keeps_order_and_repeats_nothing() -> None:
    """Old tables come first, new ones after them, each once."""
    old: Layer = {"a": ("x", "y"), "b": ()}
    assert merge(old, {"a": ("y", "z"), "c": ("w",)}) == {"a": ("x", "y", "z"), "b": (), "c": ("w",)}
    assert old == {"a": ("x", "y"), "b": ()}


def test_a_branch_refresh_shows_on_its_branch_alone() -> None:
    """Until it is promoted, what a refresh found shows on its branch and not on the shared model."""
    counter = _counter(branch_based=True)
    assert counter.get(f"/models/{SALES}/schemas?branchId={NIGHTLY}")[1] == ["gone", "public"]
    _refresh(counter, f"?branch_id={NIGHTLY}")
    assert counter.get(f"/models/{SALES}/schemas")[1] == ["gone", "public"]
    fresh = (200, ["empty", "finance", "public"])
    assert counter.get(f"/models/{SALES}/schemas?branchId={NIGHTLY}") == fresh
    assert counter.get(f"/models/{SALES}/schemas?branch_id={NIGHTLY}") == fresh
    assert counter.get(f"/models/{NIGHTLY}/schemas") == fresh
    assert "customers" in _views(counter, query=f"?branch_id={NIGHTLY}")
    assert "customers" not in _views(counter)


@pytest.mark.parametrize(
    "verb,parameter", [("schemas", "branchId"), ("validate", "branchId"), ("yaml", "branchId"), ("view", "branch_id")]
)
def test_branches_of_reads_are_checked(verb: str, parameter: str) -> None:
    """A branch must be a uuid, belong to the model, and schema models have none."""
    counter = _counter()
    assert counter.words(f"/models/{SALES}/{verb}?{parameter}=x") == f"400 Bad Request: {parameter}: Invalid uuid"
    told = counter.words(f"/models/{SALES}/{verb}?{parameter}={SALES}")
    assert told == f"404 Branch model with id {SALES} does not exist"
    schema = counter.words(f"/models/{model_id('schema')}/{verb}?{parameter}={NIGHTLY}")
    assert schema == "400 Bad Request: Schema models do not have branches"
    assert counter.words(f"/models/{SALES}/{verb}?x=1") == "400 Bad Request: Unrecognized key(s) in object: 'x'"
    assert counter.words(f"/models/x/{verb}") == "400 Bad Request: modelId: Invalid uuid"
    assert counter.words(f"/models/{WAREHOUSE}/{verb}").startswith("404 Model with id ")


def test_the_validator_takes_only_its_own_spelling_of_the_branch() -> None:
    """`branch_id` is unknown to the validator and to the files: the name differs by endpoint."""
    counter = _counter()
    for verb in ("validate", "yaml"):
        told = counter.words(f"/models/{SALES}/{verb}?branch_id={NIGHTLY}")
        assert told == "400 Bad Request: Unrecognized key(s) in object: 'branch_id'"


def test_without_access_nothing_is_read() -> None:
    """A caller without access to the connection is refused."""
    counter = _counter(role="NO_ACCESS")
    assert counter.words(f"/models/{SALES}/schemas") == "403 Permission denied"


def test_schemas_as_an_object() -> None:
    """The vendor's CLI describes the list within an object."""
    connection: dict[str, object] = {"schemas": {"b": [], "a": []}}
    counter = Counter(answers={"schemas": "object"}, models=[{"name": "sales", "connection": connection}])
    assert counter.get(f"/models/{SALES}/schemas") == (200, {"schemas": ["a", "b"]})


ISSUE = {"message": 'No view "x"', "is_warning": False, "yaml_path": "x.topic"}
WARNING = {"message": "unused", "is_warning": True}
SEVERE = {"message": 'No view "x"', "severity": "error", "view": "orders", "field": "id"}
MILD = {"message": "unused", "severity": "warning"}


@pytest.mark.parametrize(
    "form,before,after",
    [
        ("array", [ISSUE], [WARNING]),
        ("object", {"issues": [SEVERE], "valid": False}, {"issues": [MILD], "valid": True}),
    ],
)
def test_a_refresh_breaks_and_mends(form: str, before: Any, after: Any) -> None:
    """Until a refresh ends the old issues are told, then the new ones; errors make a model invalid, warnings do not."""
    models = [
        {
            "name": "sales",
            "duration": 8,
            "issues": [WARNING],
            "issues_before": [{**ISSUE, "view": "orders", "field": "id"}],
        }
    ]
    counter = Counter(answers={"issues": form}, models=models)
    assert counter.get(f"/models/{SALES}/validate") == (200, before)
    counter.refresh(SALES)
    assert counter.get(f"/models/{SALES}/validate") == (200, before)
    counter.now_s = 8
    assert counter.get(f"/models/{SALES}/validate") == (200, after)


def test_issues_that_no_refresh_changes() -> None:
    """Issues without a before are there all along."""
    counter = Counter(models=[{"name": "sales", "issues": [ISSUE]}])
    assert counter.get(f"/models/{SALES}/validate") == (200, [ISSUE])


def test_offloaded_schemas_are_listed_and_not_shown_unless_named() -> None:
    """An offloaded schema is in the list of schemas; its views show only where the files are asked for it by name."""
    counter = _counter(schemas_before=None, offloaded=["finance", "cold"])
    assert counter.get(f"/models/{SALES}/schemas")[1] == ["cold", "empty", "finance", "public"]
    assert _views(counter) == ["orders", "customers"]
    shown = counter.get(f"/models/{SALES}/yaml?includeSchemas=finance")[1]["viewNames"]
    assert shown == {
        "finance/finance__invoices.view": "finance__invoices",
        "finance/finance__ledger_2024.view": "finance__ledger_2024",
    }
    assert list(counter.get(f"/models/{SALES}/yaml?includeSchemas=public")[1]["viewNames"].values()) == [
        "orders",
        "customers",
    ]


def test_files_name_schema_and_table() -> None:
    """The combined files hold one view a table; a name or a pattern chooses among them; checksums on demand."""
    counter = _counter(schemas_before=None)
    status, body = counter.get(f"/models/{SALES}/yaml?mode=combined&includeChecksums=true")
    assert status == 200
    assert body["files"]["public/orders.view"] == 'schema: "public"\ntable_name: "orders"\n'
    assert body["checksums"].keys() == body["files"].keys()
    one = counter.get(f"/models/{SALES}/yaml?fileName=public/orders.view")[1]
    assert list(one["files"]) == list(one["viewNames"]) == ["public/orders.view"]
    assert "checksums" not in one
    some = counter.get(f"/models/{SALES}/yaml?fileName=finance/.*2024")[1]
    assert list(some["files"]) == ["finance/finance__ledger_2024.view"]
    assert list(counter.get(f"/models/{SALES}/yaml?mode=extension")[1]["files"]) == ["model"]
    told = counter.words(f"/models/{SALES}/yaml?mode=all")
    assert told.startswith("400 Bad Request: mode: Invalid enum value. Expected 'combined'")


@pytest.mark.parametrize(
    "connection,schema,name",
    [
        ({"default_schema": "Ecomm"}, "Ecomm", "users"),
        ({}, "Ecomm", "ecomm__users"),
        ({"default_schema": "Ecomm"}, "lake.Ecomm", "lake_ecomm__users"),
        ({"default_schema": "Ecomm", "scope_view_names": True, "database": "Prod"}, "Ecomm", "prod_ecomm__users"),
        ({"scope_view_names": True, "database": "Prod"}, "lake.Ecomm", "lake_ecomm__users"),
    ],
    ids=str,
)
def test_how_views_are_called(connection: dict[str, object], schema: str, name: str) -> None:
    """A view's name has no prefix in the default schema, else schema or catalog and schema; always, where it is scoped."""
    spec = {**connection, "schemas": {schema: ["Users"]}}
    counter = Counter(models=[{"name": "sales", "connection": spec}])
    assert _views(counter) == [name]
