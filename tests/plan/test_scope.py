"""A scope that is too long for one URL: divided, and together the same."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.answers import RefreshAsk
from orchestrator.plan.scope import URL_LIMIT, split_ask
from tests.plan.targets import length
from tests.rehearsal import uuid

names = st.text(
    st.characters(codec="utf-8", exclude_characters=",", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30
).filter(str.strip)


def bytes_of(ask: RefreshAsk) -> int:
    """How long the call's target is."""
    return length("sim", ask)


def ask(schemas: list[str], tables: list[str]) -> RefreshAsk:
    """A soft refresh of a scope."""
    return RefreshAsk(model_id=uuid(1), hard=False, schemas=tuple(schemas), tables=tuple(tables))


@given(schemas=st.lists(names, max_size=8), tables=st.lists(names, max_size=40), limit=st.integers(120, 900))
def test_parts_cover_the_scope_exactly(schemas: list[str], tables: list[str], limit: int) -> None:
    """Each name once and in order, each part within the limit (or one name alone), no part without a scope."""
    whole = ask(schemas, tables)
    parts = split_ask(whole, bytes_of, limit)
    assert parts
    if bytes_of(whole) <= limit:
        assert parts == (whole,)
        return
    divided = [part.tables if tables else part.schemas for part in parts]
    assert [name for part in divided for name in part] == (tables or schemas)
    for part, own in zip(parts, divided, strict=True):
        assert own
        assert bytes_of(part) <= limit or len(own) == 1
        assert (part.model_id, part.hard, part.branch_id) == (whole.model_id, whole.hard, whole.branch_id)
        assert set(part.schemas) <= set(schemas)
        if tables:
            assert bool(part.schemas) is bool(schemas)


@given(count=st.integers(2, 300), schema_count=st.integers(1, 6))
def test_a_part_keeps_the_schemas_that_its_tables_name(count: int, schema_count: int) -> None:
    """Tables that say their schema bring it along, and only those; parts are as few as the limit allows."""
    schemas = [f"schema_{n}" for n in range(schema_count)]
    tables = [f"schema_{n * schema_count // count}.table_{n:05}" for n in range(count)]
    parts = split_ask(ask(schemas, tables), bytes_of, 700)
    for part in parts:
        if len(parts) > 1:
            assert set(part.schemas) == {table.split(".")[0] for table in part.tables}
    assert sum(len(part.tables) for part in parts) == count
    for one, other in pairwise(parts):
        joined = RefreshAsk(
            model_id=one.model_id,
            hard=False,
            schemas=tuple(s for s in schemas if s in (*one.schemas, *other.schemas)),
            tables=(*one.tables, other.tables[0]),
        )
        assert bytes_of(joined) > 700 - len("%2Cschema_0") * schema_count


def test_tables_that_name_no_schema_keep_all_of_them() -> None:
    """A bare table may be in any of the schemas, so that its part keeps them all."""
    tables = [f"table_{n:04}" for n in range(1500)]
    parts = split_ask(ask(["one", "two"], tables), bytes_of)
    assert len(parts) > 1
    assert all(part.schemas == ("one", "two") for part in parts)
    assert all(bytes_of(part) <= URL_LIMIT for part in parts)


def test_qualified_names_find_their_schema() -> None:
    """`catalog.schema.table` belongs to `schema` as well as to `catalog.schema`, in any letter case."""
    tables = [f"Prod.Sales.t{n:03}" for n in range(60)] + [f"prod.hr.t{n:03}" for n in range(60)]
    parts = split_ask(ask(["prod.sales", "HR", "prod.hr", "other"], tables), bytes_of, 600)
    assert {part.schemas for part in parts} <= {("prod.sales",), ("prod.hr",), ("prod.sales", "prod.hr")}
