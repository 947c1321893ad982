"""What migration tools write goes through our reader as their users give it: files in their documented forms, real output of
Alembic and dbt.
"""

from pathlib import Path

import pytest

from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.dbt import COLUMNS_MAY_STAY, read_dbt
from orchestrator.changes.errors import ChangesError, TemplatedError
from orchestrator.changes.files import read_ddl
from orchestrator.engine.outcome import Status
from orchestrator.planning.followed_change import FollowedChange, make_followed_change
from orchestrator.simulator.reading import make_scenario
from tests.changes.reading import told
from tests.rehearsal import Rehearsal, manifest_text, model, rehearse

HERE = Path(__file__).parent
NOTHING = ChangeSet()


def migrations(path: str, dialect: str = "postgres") -> ChangeSet:
    """What the files there touched; all of it must be understood."""
    found = read_ddl([str(HERE / path)], dialect=dialect, stdin=lambda: b"", strict=True)
    assert not found.not_understood
    return found


def refreshed(touched: FollowedChange, *reads: str) -> Rehearsal:
    """A run after the change, over one model that reads `reads`, on an instance where it exists."""
    return rehearse(
        manifest_text(model(1, reads=list(reads), mode=None)),
        make_scenario(default_model={"duration": 3}),
        touched=touched,
    )


@pytest.mark.parametrize(
    "path, dialect, expected",
    [
        (
            "flyway/migrations",
            "postgres",
            ["-reporting.open_invoices", "+billing.invoices", "-billing.invoices", "-reporting.open_invoices"],
        ),
        (
            "liquibase/changelog.sql",
            "postgres",
            ["+billing.invoices", "+billing.invoices", "-billing.payments", "-billing.receipts"],
        ),
        (
            "liquibase/update.sql",
            "postgres",
            ["+?.databasechangeloglock", "+?.databasechangelog", "+billing.invoices", "+billing.invoices"],
        ),
        (
            "schemachange/migrations",
            "snowflake",
            ["-WAREHOUSE.REPORTING.OPEN_INVOICES", "-WAREHOUSE.BILLING.INVOICES", "+WAREHOUSE.BILLING.PAYMENTS"],
        ),
        ("dbmate/migrations", "postgres", ["+billing.invoices", "+billing.invoices"]),
        (
            "atlas/migrations",
            "postgres",
            ["+billing.invoices", "+billing.payments", "-billing.invoices", "-billing.legacy"],
        ),
        ("alembic/postgresql-b2.sql", "postgres", ["+billing.invoices"]),
    ],
)
def test_files_of_migration_tools(path: str, dialect: str, expected: list[str]) -> None:
    """Each tool's files give what they do to the warehouse, its own tables among it: no undo, no rollback, no grants."""
    assert told(migrations(path, dialect)) == expected


@pytest.mark.parametrize("file, dialect", [("postgresql", "postgres"), ("mysql", "mysql"), ("mssql", "tsql")])
def test_what_alembic_really_writes(file: str, dialect: str) -> None:
    """`alembic upgrade head --sql` for three databases: the same changes, each in its own SQL."""
    assert told(migrations(f"alembic/{file}.sql", dialect)) == [
        "+?.alembic_version",
        "+billing.invoices",
        "+billing.payments",
        "+billing.invoices",  # a foreign key of the new table refers to it
        "+billing.invoices",
        "-billing.payments",
        "-billing.receipts",
        "-billing.invoices",
        "-billing.invoices",
    ]


@pytest.mark.parametrize("tool", ["dbmate", "atlas", "flyway"])
def test_files_that_are_piped_together(tool: str) -> None:
    """`cat` of several files into standard input gives what the files give one by one: each mark ends with its file."""
    files = sorted(f for f in (HERE / tool / "migrations").glob("*.sql") if not f.name.startswith("U"))
    joined = b"".join(file.read_bytes() for file in files)
    piped = read_ddl(["-"], dialect="postgres", stdin=lambda: joined, strict=True)
    assert told(piped) == told(migrations(f"{tool}/migrations"))


def test_an_undo_migration_is_left_out_aloud() -> None:
    """Flyway's undo file lies beside the others and is not read; a warning names it."""
    (warning,) = migrations("flyway/migrations").warnings
    assert "U13__drop_notes.sql" in warning


def test_a_templated_migration_is_refused_with_advice() -> None:
    """schemachange renders Jinja before it runs a file: the rendered SQL is what must be given."""
    with pytest.raises(TemplatedError, match=r"templated.sql:1"):
        migrations("schemachange/templated.sql", "snowflake")


@pytest.mark.parametrize(
    "path, dialect, mode, scope",
    [
        ("dbmate/migrations", "postgres", "soft", ("billing.invoices",)),
        ("liquibase/update.sql", "postgres", "soft", ("billing.invoices",)),
        ("alembic/postgresql-b2.sql", "postgres", "soft", ("billing.invoices",)),
        ("flyway/migrations", "postgres", "hard", ()),
        ("alembic/mssql.sql", "tsql", "hard", ()),
        ("schemachange/migrations", "snowflake", "hard", ()),
        ("atlas/migrations", "postgres", "hard", ()),
    ],
)
def test_a_run_after_each_tool(path: str, dialect: str, mode: str, scope: tuple[str, ...]) -> None:
    """The model that reads what was migrated is refreshed as narrowly as that allows; one that reads something else is not."""
    touched = make_followed_change(ddl=migrations(path, dialect), dbt=NOTHING, listed=NOTHING)
    outcome = refreshed(touched, "billing").outcome
    assert (outcome.status, outcome.mode.value, outcome.tables) == (Status.SUCCEEDED, mode, scope)
    assert outcome.schemas == (("billing",) if scope else ())
    other = refreshed(touched, "hr")
    assert (other.outcome.status, other.calls) == (Status.SKIPPED, [])


def dbt(folder: str, state: str | None = None) -> ChangeSet:
    """What the dbt invocation built whose artifacts lie there: real ones of dbt 1.10 with DuckDB, without their macros."""
    return read_dbt(HERE / "dbt" / folder, state_dir=None if state is None else HERE / "dbt" / state)


def test_a_dbt_build_is_what_it_built() -> None:
    """A build with a failure, a skip, an ephemeral model, tests, a seed and a snapshot: exactly what is new in the warehouse."""
    found = dbt("first")
    assert told(found) == [
        "+warehouse.shop_staging.stg_orders",
        "+warehouse.shop.countries",
        "+warehouse.shop_snapshots.orders_snapshot",
        "+warehouse.shop_marts.orders",
        "+warehouse.shop_marts.daily_orders",
    ]
    assert [(n.node, n.reason.partition(":")[0]) for n in found.not_refreshed] == [
        ("model.shop.broken", "error"),
        ("model.shop.after_broken", "skipped"),
    ]
    assert found.warnings == (COLUMNS_MAY_STAY,)


def test_a_part_of_a_dbt_project_is_only_that_part() -> None:
    """`dbt build --select orders+` lists what it ran; the rest of the project is in the manifest and is not refreshed."""
    assert told(dbt("second")) == ["+warehouse.shop_marts.orders", "+warehouse.shop_marts.daily_orders"]


def test_dbt_state_shows_what_lost_a_column() -> None:
    """A column was dropped from a table: against the artifacts before, that node is destructive and the incremental one is not."""
    assert told(dbt("second", state="first")) == ["-warehouse.shop_marts.orders", "+warehouse.shop_marts.daily_orders"]
    with pytest.raises(ChangesError, match="is the target folder itself"):
        dbt("first", state="first")


def test_another_command_left_its_results() -> None:
    """After `dbt test` the file says nothing of what was built: refused, with what to do."""
    with pytest.raises(ChangesError, match="was left by dbt test, which builds nothing"):
        dbt("test")


def test_nothing_eligible_is_no_change() -> None:
    """An invocation that ran an ephemeral model alone built nothing, and that is no error."""
    assert dbt("nothing") == NOTHING


def test_a_run_after_dbt() -> None:
    """A model that reads a mart gets a soft refresh of the tables that dbt built there, or a hard one where a column went."""
    first = refreshed(make_followed_change(ddl=NOTHING, dbt=dbt("first"), listed=NOTHING), "shop_marts")
    assert (first.outcome.schemas, first.outcome.tables) == (
        ("shop_marts",),
        ("shop_marts.orders", "shop_marts.daily_orders"),
    )
    assert " model.shop.broken, model.shop.after_broken" in first.result.plan.remarks[0]
    assert COLUMNS_MAY_STAY in first.result.plan.remarks
    second = refreshed(
        make_followed_change(ddl=NOTHING, dbt=dbt("second", state="first"), listed=NOTHING), "shop_marts"
    )
    assert second.outcome.mode.value == "hard"
    staging = refreshed(make_followed_change(ddl=NOTHING, dbt=dbt("second"), listed=NOTHING), "shop_staging")
    assert staging.outcome.status is Status.SKIPPED
