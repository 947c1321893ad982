"""What a read-back shows: there, missing, or not to be told. Values only."""

from dataclasses import replace

import pytest

from orchestrator.engine.outcome import ContentChanges, Validation
from orchestrator.engine.read_back import (
    MOST_CHARACTERS,
    MOST_DOCUMENTS,
    MOST_ISSUES,
    MOST_ISSUES_OF_ONE,
    ReadBack,
    ReadBackResult,
    compare_content,
    compare_issues,
    find_schema,
    find_table,
    hidden_schemas,
    judge_scope,
)
from orchestrator.omni.answers import ContentDocument, ContentIssue, ValidationIssue, View
from tests.planning.targets import entry
from tests.report.reports import make_outcome

THERE, MISSING, UNCLEAR = ReadBackResult.THERE, ReadBackResult.MISSING, ReadBackResult.UNCLEAR


def view(text: str, table: str | None = "") -> View:
    """A view by its table `schema.table` (its name is `schema__table`); by its name alone where `table` is None."""
    if table is None:
        return View(name=text, catalog=None, schema=None, table=None)
    *catalog, schema, name = text.split(".")
    return View(name=f"{schema}__{name}", catalog=catalog[0] if catalog else None, schema=schema, table=name)


def read(*views: str, schemas: tuple[str, ...] | None = ("finance", "sales")) -> ReadBack:
    """A read that shows these views, and these schemas."""
    return ReadBack(schemas=schemas, views=tuple(view(text) for text in views))


@pytest.mark.parametrize(
    "name, schemas, sight",
    [
        ("finance", ["finance"], THERE),
        ("FINANCE", ["finance"], THERE),
        ("fin*", ["finance"], THERE),
        ("finance", ["finance_eu"], MISSING),
        ("finance", ["warehouse.finance"], THERE),
        ("warehouse.finance", ["warehouse.finance"], THERE),
        ("warehouse.finance", ["lake.finance"], MISSING),
        ("warehouse.finance", ["finance"], THERE),
        ("finance", [], MISSING),
    ],
)
def test_schemas_are_on_the_list_or_missing(name: str, schemas: list[str], sight: ReadBackResult) -> None:
    """The list of schemas is complete: what is on it in any spelling is there, what is not is missing."""
    assert find_schema(name, ReadBack(schemas=tuple(schemas))) is sight


def test_a_schema_is_seen_by_its_views_as_well() -> None:
    """A view of a schema proves it without the list; without list and views the result is unknown."""
    assert find_schema("finance", read("finance.a", schemas=None)) is THERE
    assert find_schema("w.finance", read("w.finance.a", schemas=None)) is THERE
    assert find_schema("l.finance", read("w.finance.a", schemas=None)) is UNCLEAR
    assert find_schema("finance", read("sales.a", schemas=None)) is UNCLEAR
    assert find_schema("finance", ReadBack()) is UNCLEAR
    assert find_schema("finance", ReadBack(views=(view("finance__a", None),))) is UNCLEAR


@pytest.mark.parametrize(
    "name, schemas, views, sight",
    [
        ("finance.a", [], ["finance.a"], THERE),
        ("FINANCE.A", [], ["finance.a"], THERE),
        ("a", [], ["finance.a"], THERE),
        ("a", ["finance"], ["finance.a"], THERE),
        ("a", ["sales"], ["finance.a", "sales.b"], MISSING),
        ("finance.a", ["finance"], ["finance.b", "sales.a"], MISSING),
        ("finance.led_*", ["finance"], ["finance.led_1", "sales.x"], THERE),
        ("finance.led_*", ["finance"], ["finance.ledger", "sales.x"], MISSING),
        ("w.finance.a", [], ["w.finance.a"], THERE),
        ("w.finance.a", [], ["l.finance.a", "l.sales.a"], MISSING),
        ("w.finance.a", [], ["finance.a"], THERE),
        ("a", ["fin*"], ["finance.a"], THERE),
        # nothing is shown of the schema: its views may be hidden
        ("sales.a", [], ["finance.a"], UNCLEAR),
        ("a", ["sales"], ["finance.a"], UNCLEAR),
        ("a", [], ["finance.b"], UNCLEAR),
        # a schema that there is not hides nothing
        ("hr.a", [], ["finance.a"], MISSING),
    ],
)
def test_tables_are_seen_by_their_views(name: str, schemas: list[str], views: list[str], sight: ReadBackResult) -> None:
    """A table is there where a view stands on it in one of the scope's schemas; missing only where all of those are in sight."""
    assert find_table(name, schemas, read(*views)) is sight


@pytest.mark.parametrize(
    "name, schemas, seen, sight",
    [
        ("finance.a", [], "finance__a", THERE),
        ("finance.a", [], "w_finance__a", UNCLEAR),
        ("w.finance.a", [], "w_finance__a", THERE),
        ("finance.a", [], "a", UNCLEAR),
        ("a", [], "a", THERE),
        ("a", [], "finance__a", THERE),
        ("a", ["finance"], "finance__a", THERE),
        ("a", ["finance"], "sales__a", UNCLEAR),
        ("my table", ["finance"], "finance__my_table", THERE),
    ],
)
def test_names_of_views_tell_what_they_can(name: str, schemas: list[str], seen: str, sight: ReadBackResult) -> None:
    """A view without a file is known by its name alone: with its schema it proves, without it the result is unknown."""
    only = ReadBack(schemas=("finance", "sales"), views=(view(seen, None), view("finance.z"), view("sales.z")))
    assert find_table(name, schemas, only) is sight


def test_a_file_without_a_table_is_on_the_table_of_its_name() -> None:
    """A view in a schema's folder that names no table stands on the table of its own name."""
    plain = View(name="finance__a", catalog=None, schema="finance", table=None)
    assert find_table("finance.a", [], ReadBack(schemas=("finance",), views=(plain,))) is THERE
    assert find_table("finance.b", [], ReadBack(schemas=("finance",), views=(plain,))) is MISSING
    bare = View(name="a", catalog=None, schema=None, table="b")
    assert find_table("a", [], ReadBack(schemas=("finance",), views=(bare, view("finance.z")))) is MISSING
    assert find_table("b", [], ReadBack(schemas=("finance",), views=(bare,))) is THERE


def test_without_a_read_the_result_is_unknown() -> None:
    """What was not read proves neither presence nor absence."""
    assert find_table("finance.a", [], ReadBack()) is UNCLEAR
    assert find_table("finance.a", [], ReadBack(views=(view("finance.b"),))) is UNCLEAR
    assert hidden_schemas(["finance.a"], [], ReadBack()) is None


def test_schemas_without_a_view_are_asked_for_by_name() -> None:
    """Only schemas that may hold the table, have no view in sight, and were not asked for yet are worth a call."""
    shown = read("finance.a", schemas=("finance", "sales", "hr", "w.archive"))
    assert hidden_schemas(["x"], [], shown) == ("sales", "hr", "w.archive")
    assert hidden_schemas(["sales.x"], [], shown) == ("sales",)
    assert hidden_schemas(["x"], ["sales", "arch*"], shown) == ("sales", "w.archive")
    asked = ReadBack(schemas=shown.schemas, views=shown.views, within=(("sales", (view("sales.b"),)),))
    assert hidden_schemas(["sales.x"], [], asked) == ()
    assert find_table("sales.x", [], asked) is MISSING
    assert find_table("sales.b", [], asked) is THERE


def test_a_scope_is_judged_name_by_name() -> None:
    """Everything that was requested must exist; what is missing and what is unknown are different results."""
    scoped = entry(0, schemas=("finance", "salse"), tables=("a", "nope", "hidden"))
    shown = ReadBack(schemas=("finance",), views=(view("finance.a"), view("x__hidden", None)))
    found = judge_scope(scoped, shown)
    assert (found.missing, found.unclear, found.is_proven) == (("salse", "nope"), ("hidden",), False)
    assert judge_scope(entry(0, schemas=("finance",), tables=("a",)), shown).is_proven


def test_new_and_fixed_issues_are_listed() -> None:
    """Issues that were there before are no news; what came and what went are lines of text, each once."""
    old = ValidationIssue(message="gone", is_warning=False, yaml_path="a.view")
    kept = ValidationIssue(message="kept", is_warning=True, yaml_path=None)
    new = ValidationIssue(message="no\nview", is_warning=True, yaml_path="b.topic")
    found = compare_issues([old, kept], [kept, new, new])
    assert found.new == ("warning: b.topic: no view",)
    assert found.fixed == ("a.view: gone",)
    assert compare_issues([kept], [kept]) == compare_issues([], [])


def test_the_same_message_elsewhere_is_another_issue() -> None:
    """An issue is known by its message, severity, file, view and field, and by how often it is there."""
    here = ValidationIssue(message="no such column", is_warning=False, view="orders", field="total")
    for other in (
        ValidationIssue(message="no such column", is_warning=False, view="returns", field="total"),
        ValidationIssue(message="no such column", is_warning=False, view="orders", field="tax"),
        ValidationIssue(message="no such column", is_warning=True, view="orders", field="total"),
        ValidationIssue(
            message="no such column", is_warning=False, view="orders", field="total", yaml_path="orders.view"
        ),
    ):
        assert len(compare_issues([here], [here, other]).new) == 1
        assert len(compare_issues([here, other], [here]).fixed) == 1
    assert compare_issues([here], [here, here]).new == ("orders.total: no such column",)


def test_a_warning_is_distinguished_from_an_error() -> None:
    """Errors come first, a warning's line says so, and an error cannot pass for one by its words."""
    error = ValidationIssue(message="warning: not really", is_warning=False)
    found = compare_issues([], [ValidationIssue(message="unused", is_warning=True), error])
    assert found.new == ("error: warning: not really", "warning: unused")
    assert has_new_errors(found)
    many = [ValidationIssue(message=f"{n}", is_warning=True) for n in range(MOST_ISSUES + 7)]
    assert not has_new_errors(compare_issues([], many))
    assert has_new_errors(compare_issues([], [*many, error]))


def has_new_errors(found: Validation) -> bool:
    """Whether an outcome with these issues makes the exit code 1."""
    return replace(make_outcome(1), validation=found).has_new_errors


def document(name: str, *issues: str, key: str = "", kind: str = "Published", query: str = "q") -> ContentDocument:
    """A document with issues of one query."""
    return ContentDocument(
        id=key or name,
        name=name,
        identifier=f"slug-{key or name}",
        kind=kind,
        folder="/F",
        issues=tuple(ContentIssue(message=text, query=query, query_id="1") for text in issues),
    )


def test_broken_and_repaired_documents_are_listed() -> None:
    """Old breakage is no news; a document that was broken before is listed with its new issues alone."""
    found = compare_content(
        [document("Old", "a"), document("Worse", "a"), document("Better", "a", "b")],
        [document("Old", "a"), document("Worse", "a", "b\nc"), document("Better", "b"), document("broken", "x", "y")],
    )
    assert [(d.name, d.identifier, d.folder, d.issues) for d in found.new] == [
        ("broken", "slug-broken", "/F", ("q: x", "q: y")),
        ("Worse", "slug-Worse", "/F", ("q: b c",)),
    ]
    assert [(d.name, d.issues) for d in found.fixed] == [("Better", ("q: a",))]
    assert (found.new_documents, found.fixed_documents) == (2, 1)


def test_a_document_is_known_by_its_id() -> None:
    """Another name, folder or name of a query is no change; a draft and what is published are two; equal issues are counted."""
    before = document("Before", "a", key="7")
    after = replace(document("After", "a", key="7", query="renamed"), folder="/G")
    assert compare_content([before], [after]) == ContentChanges()
    drafted = compare_content([before], [before, document("After", "a", key="7", kind="Draft")])
    assert [each.name for each in drafted.new] == ["After (draft)"]
    assert [each.issues for each in compare_content([before], [document("After", "a", "a", key="7")]).new] == [
        ("q: a",)
    ]


def test_content_is_bounded() -> None:
    """Thousands of broken documents, and thousands of issues of one, do not fill the report; the counts are whole."""
    found = compare_content([], [document(f"d{n:04}", "x" * 9999) for n in range(MOST_DOCUMENTS + 7)])
    assert (len(found.new), found.new_documents) == (MOST_DOCUMENTS, MOST_DOCUMENTS + 7)
    assert len(found.new[0].issues[0]) == MOST_CHARACTERS
    (one,) = compare_content([], [document("d", *(f"{n}" for n in range(MOST_ISSUES_OF_ONE + 3)))]).new
    assert one.issues[-1] == "and 3 more"
    (odd,) = compare_content([], [document("warning: not really", "x")]).new
    assert replace(make_outcome(1), content=ContentChanges(new=(odd,))).has_new_errors


def test_issues_are_bounded() -> None:
    """A model with many thousands of issues, or one of many thousands of letters, does not fill the report."""
    many = [
        ValidationIssue(message=f"{n} " + "x" * 9999, is_warning=False, yaml_path=None) for n in range(MOST_ISSUES + 7)
    ]
    found = compare_issues([], many)
    assert len(found.new) == MOST_ISSUES + 1
    assert found.new[-1] == "and 7 more"
    assert {len(line) for line in found.new[:-1]} == {MOST_CHARACTERS}
