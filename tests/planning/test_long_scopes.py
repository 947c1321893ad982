"""A scope that is too long for one URL is divided into calls that together mean the same."""

from itertools import groupby, pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.address import request_bytes
from orchestrator.omni.answers import RefreshRequest
from orchestrator.planning.lanes import URL_LIMIT, split_refused, split_request
from tests.planning.targets import INSTANCE
from tests.rehearsal import uuid

names = st.text(
    st.characters(codec="utf-8", exclude_characters=",", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30
).filter(str.strip)


def bytes_of(ask: RefreshRequest) -> int:
    """How long the call's target is."""
    return request_bytes(INSTANCE, ask)


def ask(schemas: list[str], tables: list[str]) -> RefreshRequest:
    """A soft refresh of a scope."""
    return RefreshRequest(model_id=uuid(1), hard=False, schemas=tuple(schemas), tables=tuple(tables))


@given(
    schemas=st.lists(names, max_size=8, unique=True),
    tables=st.lists(names, max_size=40, unique=True),
    limit=st.integers(120, 900),
)
def test_parts_cover_the_scope_exactly(schemas: list[str], tables: list[str], limit: int) -> None:
    """Each name once and in order, each part within the limit (or one name alone), no part without a scope."""
    whole = ask(schemas, tables)
    parts = split_request(whole, INSTANCE, limit)
    assert parts
    if bytes_of(whole) <= limit:
        assert parts == (whole,)
        return
    divided = [part.tables if tables else part.schemas for part in parts]
    # a table that is too long for one call with all its schemas is asked for within some, then within the others
    assert [name for name, _ in groupby(name for part in divided for name in part)] == (tables or schemas)
    for part, own in zip(parts, divided, strict=True):
        assert own
        assert bytes_of(part) <= limit or len(own) == 1
        assert (part.model_id, part.hard, part.branch_id) == (whole.model_id, whole.hard, whole.branch_id)
        assert set(part.schemas) <= set(schemas)
        if tables:
            assert bool(part.schemas) is bool(schemas)


@given(count=st.integers(2, 300), schema_count=st.integers(1, 6))
def test_a_part_keeps_the_schemas_that_its_tables_name(count: int, schema_count: int) -> None:
    """A part has only the schemas that its tables name, and there are as few parts as possible."""
    schemas = [f"schema_{n}" for n in range(schema_count)]
    tables = [f"schema_{n * schema_count // count}.table_{n:05}" for n in range(count)]
    parts = split_request(ask(schemas, tables), INSTANCE, 700)
    for part in parts:
        if len(parts) > 1:
            assert set(part.schemas) == {table.split(".")[0] for table in part.tables}
    assert sum(len(part.tables) for part in parts) == count
    for one, other in pairwise(parts):
        joined = RefreshRequest(
            model_id=one.model_id,
            hard=False,
            schemas=tuple(s for s in schemas if s in (*one.schemas, *other.schemas)),
            tables=(*one.tables, other.tables[0]),
        )
        assert bytes_of(joined) > 700 - len("%2Cschema_0") * schema_count


def test_tables_that_name_no_schema_keep_all_of_them() -> None:
    """A table without a schema can be in any of them, so its part keeps all schemas."""
    tables = [f"table_{n:04}" for n in range(1500)]
    parts = split_request(ask(["one", "two"], tables), INSTANCE)
    assert len(parts) > 1
    assert all(part.schemas == ("one", "two") for part in parts)
    assert all(bytes_of(part) <= URL_LIMIT for part in parts)


def test_qualified_names_find_their_schema() -> None:
    """`catalog.schema.table` belongs to `schema` as well as to `catalog.schema`, in any letter case."""
    tables = [f"Prod.Sales.t{n:03}" for n in range(60)] + [f"prod.hr.t{n:03}" for n in range(60)]
    parts = split_request(ask(["prod.sales", "HR", "prod.hr", "other"], tables), INSTANCE, 600)
    assert {part.schemas for part in parts} <= {("prod.sales",), ("prod.hr",), ("prod.sales", "prod.hr")}


def test_a_table_in_many_schemas() -> None:
    """A bare table within more schemas than fit is asked for within some of them, then within the others."""
    schemas = [f"schema_{n:04}" for n in range(1500)]
    parts = split_request(ask(schemas, ["orders", "schema_0007.items"]), INSTANCE)
    assert all(bytes_of(part) <= URL_LIMIT for part in parts)
    assert [s for part in parts if part.tables == ("orders",) for s in part.schemas] == schemas
    assert [part.schemas for part in parts if part.tables != ("orders",)] == [("schema_0007",)]


def test_a_refresh_without_a_scope_is_one_call() -> None:
    """A refresh without a scope is never divided."""
    whole = RefreshRequest(model_id=uuid(1), hard=True)
    assert split_request(whole, INSTANCE, 10) == (whole,)
    assert split_refused((whole,), 0, INSTANCE) is None


@given(count=st.integers(2, 300), limit=st.integers(200, 2000), data=st.data())
def test_a_refused_length_is_halved(count: int, limit: int, data: st.DataObject) -> None:
    """After a 414 what was sent stays, the refused call is divided under half its bytes, and no name is lost or doubled."""
    whole = ask(["s"], [f"s.table_{n:05}" for n in range(count)])
    parts = split_request(whole, INSTANCE, limit)
    part = data.draw(st.integers(0, len(parts) - 1))
    again = split_refused(parts, part, INSTANCE)
    if len(parts[part].tables) == 1:
        assert again is None
        return
    assert again is not None
    assert again[:part] == parts[:part]
    assert again[part] != parts[part]
    assert [t for p in again for t in p.tables] == list(whole.tables)
    for piece in again[part:]:
        assert bytes_of(piece) <= bytes_of(parts[part]) // 2 or len(piece.tables) == 1


def test_halving_comes_to_an_end() -> None:
    """A server that refuses everything is asked a few times, with less each time, until one name is left."""
    parts: tuple[RefreshRequest, ...] | None = split_request(
        ask([], [f"s.table_{n:05}" for n in range(1000)]), INSTANCE
    )
    refused = []
    while parts is not None:
        refused.append(bytes_of(parts[0]))
        parts = split_refused(parts, 0, INSTANCE)
    assert refused == sorted(set(refused), reverse=True)
    assert len(refused) <= 10
