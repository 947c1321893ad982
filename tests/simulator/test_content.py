"""The content validator: documents break when a refresh takes away what they use, and are found by what they use."""

from typing import Any

import pytest

from orchestrator.simulator.staging import branch_id, model_id
from tests.simulator.conversation import Counter

SALES = model_id("sales")
DOCUMENTS: list[dict[str, Any]] = [
    {
        "name": "Weekly Revenue",
        "identifier": "weekly",
        "folder": "/Reports/Sales",
        "queries": [
            {"name": "Revenue", "fields": ["orders.total", "orders.created_at[week]"]},
            {"name": "Orders", "fields": ["orders.count"]},
        ],
        "filters": ["orders.region"],
    },
    {"name": "Old", "queries": [{"name": "q", "fields": ["legacy.id"]}]},
    {"name": "Mine", "personal": True, "queries": [{"name": "q", "fields": ["orders.total"]}]},
    {"name": "Next", "draft": True, "queries": [{"name": "q", "fields": ["customers.id"]}]},
]


def counter(**answers: object) -> Counter:
    """An instance on which a hard refresh takes away the column `total` and the table `customers`."""
    connection = {
        "name": "wh",
        "default_schema": "shop",
        "schemas": {"shop": ["orders"]},
        "schemas_before": {"shop": ["orders", "customers"]},
        "columns": {"shop.orders": ["created_at", "region"]},
        "columns_before": {"shop.orders": ["created_at", "region", "total"]},
    }
    model = {"name": "sales", "connection": "wh", "duration": 5, "documents": DOCUMENTS}
    return Counter(connections=[connection], models=[model], answers=answers)


def broken(shown: Counter, query: str = "content_filter_mode=WITH_ISSUES", *, at: float = 0.0) -> dict[str, list[str]]:
    """The issues of each listed document."""
    shown.now_s = at
    status, body = shown.get(f"/models/{SALES}/content-validator?{query}")
    assert status == 200
    return {
        document["name"]: [
            *(issue for query in document["queries_and_issues"] for issue in query["issues"]),
            *document["dashboard_filter_issues"],
        ]
        for document in body["content"]
    }


def refresh(shown: Counter, query: str) -> None:
    """Start a refresh, which ends after 5 s."""
    assert shown.refresh(SALES, f"?{query}")[0] == 200


def test_a_hard_refresh_breaks_what_uses_a_dropped_column_or_table() -> None:
    """Until the job ends only the old breakage is told; then what the refresh took away is missing, in queries and drafts."""
    shown = counter()
    old = {"Old": ["View 'legacy' not found in model"]}
    assert broken(shown) == old
    refresh(shown, "hard_refresh=true")
    assert broken(shown, at=4.0) == old
    assert broken(shown, at=6.0) == {
        "Weekly Revenue": ["Field 'orders.total' not found in model"],
        **old,
        "Next": ["View 'customers' not found in model"],
    }
    assert "Mine" in broken(shown, "content_filter_mode=WITH_ISSUES&include_personal_folders=true", at=6.0)


def test_a_soft_refresh_keeps_what_is_gone() -> None:
    """A soft refresh removes neither columns nor tables, so that nothing breaks."""
    shown = counter()
    refresh(shown, "hard_refresh=false&schemas=shop&tables=orders")
    assert list(broken(shown, at=6.0)) == ["Old"]


def test_documents_are_listed_by_filter_and_by_what_they_use() -> None:
    """`content_filter_mode` and `find` choose among the documents; what is found is listed without issues as well."""
    shown = counter()
    assert list(broken(shown, "")) == ["Weekly Revenue", "Old", "Next"]
    assert list(broken(shown, "content_filter_mode=NO_ISSUES")) == ["Weekly Revenue", "Next"]
    assert broken(shown, "find=orders.created_at&find_type=FIELD") == {"Weekly Revenue": []}
    assert broken(shown, "find=customers&find_type=VIEW") == {"Next": []}
    assert broken(shown, "find=orders.nothing&find_type=FIELD") == {}


@pytest.mark.parametrize(
    "query, words",
    [
        ("find=a", "must be provided together"),
        ("find=a&find_type=FIELD", "must be scoped by view name"),
        ("find=a&find_type=TABLE", "Invalid enum value"),
        ("branchId=x", "Unrecognized key(s)"),
        ("content_filter_mode=SOME", "Invalid enum value"),
    ],
)
def test_wrong_questions_are_refused(query: str, words: str) -> None:
    """What the reference pages refuse is answered 400 with their words."""
    status, body = counter().get(f"/models/{SALES}/content-validator?{query}")
    assert (status, words in body["message"]) == (400, True)


def test_an_instance_may_not_know_the_filter() -> None:
    """With `answers.content_filter` off the parameter is refused, as by a server of the reference pages."""
    status, body = counter(content_filter=False).get(f"/models/{SALES}/content-validator?content_filter_mode=ALL")
    assert (status, "content_filter_mode" in body["message"]) == (400, True)


def test_a_branch_shows_what_was_refreshed_on_it() -> None:
    """A refresh of a branch breaks documents on the branch alone, and the answer names the branch."""
    connection = {
        "name": "wh",
        "branch_based": True,
        "default_schema": "shop",
        "schemas": {"shop": []},
        "schemas_before": {"shop": ["orders"]},
    }
    document = {"name": "d", "queries": [{"name": "q", "fields": ["orders.id"]}]}
    model = {"name": "sales", "connection": "wh", "duration": 5, "branches": ["b"], "documents": [document]}
    shown, branch = Counter(connections=[connection], models=[model]), branch_id(SALES, "b")
    refresh(shown, f"hard_refresh=true&branch_id={branch}")
    assert broken(shown, at=6.0) == {}
    assert list(broken(shown, f"content_filter_mode=WITH_ISSUES&branch_id={branch}", at=6.0)) == ["d"]
    _, body = shown.get(f"/models/{SALES}/content-validator?branch_id={branch}")
    assert body["branch"] == {"id": branch, "name": "b"}


def test_files_have_a_field_for_each_listed_column() -> None:
    """A view's file shows the columns that the schema model has at that moment; a table without listed columns shows none."""
    shown = counter()

    def dimensions() -> list[str]:
        _, body = shown.get(f"/models/{SALES}/yaml")
        return [
            line.strip(" :")
            for line in body["files"]["shop/orders.view"].splitlines()
            if line.startswith("  ") and line.endswith(":")
        ]

    assert dimensions() == ["created_at", "region", "total", "count"]
    refresh(shown, "hard_refresh=true")
    shown.now_s = 6.0
    assert dimensions() == ["created_at", "region", "count"]
    _, body = counter().get(f"/models/{SALES}/yaml")
    assert "dimensions" not in body["files"]["shop/customers.view"]
