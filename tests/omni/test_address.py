"""Request targets: what the server decodes is what the manifest says, and nothing else is sent."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.address import (
    UnsendableName,
    connection_target,
    job_target,
    model_target,
    models_target,
    refresh_target,
    request_bytes,
    whoami_target,
)
from orchestrator.omni.answers import ModelsQuery, RefreshRequest
from tests.omni.raw_server import instance

ODD = ("a b", "100%25", "a+b", "x&hard_refresh=true", "q=1#f", "Ünï", '"Q.uoted"', "slash/t", "no", "*", "ledger_*")

names = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters=","), min_size=1, max_size=20
).filter(str.strip)


def _decoded(target: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(target).query, keep_blank_values=True, strict_parsing=True)


def test_only_what_is_set_is_sent() -> None:
    """The mode is always told; branch and scopes only where they are set."""
    assert refresh_target(RefreshRequest(model_id="m", hard=True)) == "/api/v1/models/m/refresh?hard_refresh=true"
    whole = RefreshRequest(model_id="m", hard=False, branch_id="b", schemas=("s",), tables=("t", "u"))
    assert _decoded(refresh_target(whole)) == [
        *(("hard_refresh", "false"), ("branch_id", "b"), ("schemas", "s"), ("tables", "t,u")),
    ]


def test_odd_names_arrive_as_they_are_written() -> None:
    """Percent signs, plus signs, ampersands, hashes, quotes and letters of any language survive; nothing is injected."""
    target = refresh_target(RefreshRequest(model_id="m", hard=False, tables=ODD))
    assert target.isascii()
    assert _decoded(target) == [("hard_refresh", "false"), ("tables", ",".join(ODD))]


@given(st.lists(names, min_size=1, max_size=5), st.lists(names, max_size=3))
def test_any_names_arrive_as_they_are_written(tables: list[str], schemas: list[str]) -> None:
    """For all names without a comma, the server's decoded query holds exactly them, one value a parameter."""
    ask = RefreshRequest(model_id="m", hard=False, schemas=tuple(schemas), tables=tuple(tables))
    query = dict(_decoded(refresh_target(ask)))
    assert query.pop("tables").split(",") == tables
    assert query.pop("schemas", "") == ",".join(schemas)
    assert query == {"hard_refresh": "false"}


@pytest.mark.parametrize("name", ["", " ", "a,b", "\ud800"])
def test_names_that_cannot_be_sent(name: str) -> None:
    """An empty name would widen the scope, a comma would make two of one: neither is ever sent."""
    with pytest.raises(UnsendableName):
        refresh_target(RefreshRequest(model_id="m", hard=False, tables=("t", name)))


def test_the_length_is_what_a_server_counts() -> None:
    """The length of a target includes the base URL's path, and is that of the encoded names."""
    ask = RefreshRequest(model_id="m", hard=False, tables=tuple(f"schema.table_{n:08}" for n in range(400)))
    at_root = request_bytes(instance("https://example.invalid"), ask)
    assert at_root == len(refresh_target(ask).encode())
    assert request_bytes(instance("https://example.invalid/bi/omni"), ask) == at_root + len("/bi/omni")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_job_id_is_one_segment(job_id: str) -> None:
    """An id never leaves its place in the path, not even with slashes or dots."""
    target = job_target(job_id)
    assert target.count("/") == len(["", "api", "v1", "jobs", "x", "status"]) - 1
    assert not {"?", "#"} & set(target)
    assert unquote(target) == f"/api/v1/jobs/{job_id}/status"
    assert target.split("/")[4] not in {".", ".."}


def test_an_empty_id_is_refused() -> None:
    """Without an id the path would be another one."""
    with pytest.raises(UnsendableName):
        job_target("")


def test_lists_and_their_filters() -> None:
    """Filters that are not set are left out; names are encoded in filters, too."""
    query = ModelsQuery(kind="BRANCH", name="feat/ui#1", base_model_id="b", active_branches=True, cursor="x=")
    assert _decoded(models_target(query)) == [
        *(("modelKind", "BRANCH"), ("name", "feat/ui#1"), ("baseModelId", "b"), ("include", "activeBranches")),
        *(("sortField", "createdAt"), ("sortDirection", "asc"), ("pageSize", "100"), ("cursor", "x=")),
    ]
    assert model_target("m/1", "schemas", branchId=None) == "/api/v1/models/m%2F1/schemas"
    assert connection_target("c") == "/api/v1/connections/c"
    assert connection_target("c", "schedules") == "/api/v1/connections/c/schedules"
    assert whoami_target(()) == "/api/v1/whoami"
    assert _decoded(whoami_target(("a", "b"))) == [("modelId", "a,b")]
