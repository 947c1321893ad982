"""Files, folders, globs and standard input; and the marks of migration tools."""

from pathlib import Path

import pytest

from orchestrator.changes.change_set import ChangeSet
from orchestrator.changes.errors import ChangesError
from orchestrator.changes.files import read_ddl
from orchestrator.changes.reader import read_sql
from tests.changes.reading import told, touched


def write(folder: Path, **files: str) -> None:
    """Writes SQL files; a double underscore in a keyword stands as it is, a `/` is made with `_in_`."""
    for name, text in files.items():
        path = folder / (name.replace("_in_", "/").replace("_dot_", ".") + ".sql")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def ddl(*paths: str | Path, dialect: str = "postgres", stdin: bytes = b"", strict: bool = False) -> ChangeSet:
    """What lies at these paths."""
    return read_ddl([str(path) for path in paths], dialect=dialect, stdin=lambda: stdin, strict=strict)


def test_folders_files_globs_and_stdin_are_read_once(tmp_path: Path) -> None:
    """A file that matches several arguments is read once; each change has the file name as it was given."""
    write(tmp_path, V1__a="DROP TABLE s.a", sub_in_V2__b="DROP TABLE s.b", _dot_hidden_in_V3__c="DROP TABLE ghost")
    (tmp_path / "notes.txt").write_text("DROP TABLE ghost")
    found = ddl(tmp_path, tmp_path / "V1__a.sql", tmp_path / "**" / "*.sql", "-", "-", stdin=b"DROP TABLE s.z")
    assert told(found) == ["-s.a", "-s.b", "-s.z"]
    assert [each.source for each in found.changes] == [
        str(tmp_path / "V1__a.sql"),
        str(tmp_path / "sub/V2__b.sql"),
        "<stdin>",
    ]
    assert told(ddl(tmp_path / "*")) == ["-s.a", "-s.b"]
    assert told(ddl(tmp_path / "notes.txt")) == ["-?.ghost"]


def test_a_session_ends_with_its_file(tmp_path: Path) -> None:
    """USE, temporary tables and variables of one file do not affect the next."""
    write(tmp_path, V1__a="USE s; CREATE TEMPORARY TABLE t (a int);", V2__b="DROP TABLE t;")
    assert told(ddl(tmp_path, dialect="mysql")) == ["-?.t"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "U3__x",
            "U1.2.3__x",
            "20260101_x.down",
            "x-down",
            "x_down",
            "down",
            "001.undo.x",
            "x.rollback",
            "rollback",
            "V0005.x.down",
            "V0005.x.mysql.down",
        ),
    ],
)
def test_undo_migrations_are_left_out(tmp_path: Path, name: str) -> None:
    """Flyway's U files, `.down.sql` and similar files next to their forward migration are left out with a warning."""
    write(tmp_path, V1__a="DROP TABLE s.a")
    (tmp_path / f"{name}.sql").write_text("DROP TABLE s.ghost")
    forward = name.replace("U", "V").replace("down", "up").replace("rollback", "up").replace("undo.x", "do.x")
    (tmp_path / f"{forward}.sql").touch()
    for found in (ddl(tmp_path), ddl(tmp_path / "V1__a.sql", tmp_path / f"{name}.sql")):
        assert told(found) == ["-s.a"]
        assert len(found.warnings) == 1
        assert name in found.warnings[0]


@pytest.mark.parametrize("name", ["5533460_spread_limits_top_down", "shut-down", "down", "undo"])
def test_a_down_file_without_a_forward_migration_is_read(tmp_path: Path, name: str) -> None:
    """A file whose name ends in `_down.sql` is read if its folder has no forward migration for it."""
    (tmp_path / f"{name}.sql").write_text("DROP TABLE s.a")
    (tmp_path / "other.sql").touch()
    found = ddl(tmp_path)
    assert (told(found), found.warnings) == (["-s.a"], ())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"], ids=["lf", "crlf", "nul"])
def test_lists_name_files(tmp_path: Path, end: str) -> None:
    """`--ddl-list FILE`, `--ddl-list -` and `--ddl @FILE` read the listed files separately, in the order of the list."""
    write(tmp_path, V10__b="DROP TABLE s.b", V2__a="CREATE TABLE s.a (x int)")
    names = [str(tmp_path / "V2__a.sql"), str(tmp_path / "V10__b.sql"), str(tmp_path / "V2__a.sql")]
    text = end.join([*names, ""]).encode()
    listed = tmp_path / "list.txt"
    listed.write_bytes(text)
    for found in (
        ddl(f"@{listed}"),
        read_ddl([], lists=[str(listed)], dialect="postgres", stdin=bytes),
        read_ddl([], lists=["-"], dialect="postgres", stdin=lambda: text),
    ):
        assert [(str(each.name), each.source) for each in found.changes] == [("s.a", names[0]), ("s.b", names[1])]


def test_a_list_is_checked(tmp_path: Path) -> None:
    """A missing file is an error with its line in the list; an empty list gives a warning."""
    listed = tmp_path / "list.txt"
    listed.write_text("\nnowhere.sql\n")
    with pytest.raises(ChangesError, match=r"nowhere\.sql") as refused:
        ddl(f"@{listed}")
    assert (refused.value.code, refused.value.source, refused.value.line) == ("missing-migration", str(listed), 2)
    listed.write_text("\n")
    found = ddl(f"@{listed}")
    assert found.changes == ()
    assert "names no file" in found.warnings[0]


@pytest.mark.parametrize(
    "name", ["V1__down", "R__undo_log", "B1__x", "20260101_x.up", "A__always", "U_turns", "download", "001.do.x"]
)
def test_other_migrations_are_read(tmp_path: Path, name: str) -> None:
    """Names that only look a little like an undo migration are read: versioned, repeatable, baseline, always."""
    (tmp_path / f"{name}.sql").write_text("DROP TABLE s.a")
    assert told(ddl(tmp_path)) == ["-s.a"]


def test_sqitch_deploys_alone_are_read(tmp_path: Path) -> None:
    """The folders revert and verify next to a deploy folder are left out."""
    write(tmp_path, deploy_in_a="DROP TABLE s.a", revert_in_a="DROP TABLE ghost", verify_in_a="DROP TABLE ghost")
    write(tmp_path, other_in_verify_in_b="DROP TABLE s.b")
    assert told(ddl(tmp_path)) == ["-s.a", "-s.b"]


def test_migrations_in_other_languages_give_a_warning(tmp_path: Path) -> None:
    """Java and Python migrations, changelogs and empty folders give a warning."""
    for name in ("V1__x.java", "V2__y.py", "db.changelog-1.xml", "a.yaml", "V3__z.sql.conf"):
        (tmp_path / name).write_text("x")
    warnings = ddl(tmp_path).warnings
    assert len(warnings) == 2
    assert all(each in warnings[0] for each in ("V1__x.java", "V2__y.py", "changelog"))
    assert "no SQL files" in warnings[1]


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    """A missing path or a glob without a match is an error of one line."""
    for path in (tmp_path / "nowhere.sql", tmp_path / "*.sql"):
        with pytest.raises(ChangesError) as refused:
            ddl(path)
        assert (refused.value.code, refused.value.source) == ("missing-migration", str(path))
    with pytest.raises(ChangesError, match=r"'oracle'.*snowflake") as refused:
        ddl("-", dialect="oracle")
    assert refused.value.code == "unknown-dialect"
    with pytest.raises(ChangesError, match=r"'a\.b\.c'") as refused:
        read_ddl(["-"], dialect="postgres", default_schema="a.b.c", stdin=bytes)
    assert refused.value.code == "invalid-name"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large or not readable is an error of one line with its name."""
    file = tmp_path / "x.sql"
    file.write_text("DROP TABLE s.a")
    monkeypatch.setattr("orchestrator.changes.files.MAX_BYTES", 5)
    with pytest.raises(ChangesError, match=r"x\.sql: ") as refused:
        ddl(file)
    assert refused.value.code == "file-too-large"
    monkeypatch.undo()

    def refuse(path: Path, limit: int) -> bytes:
        del path, limit
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("orchestrator.changes.files.read_input", refuse)
    with pytest.raises(ChangesError, match="Permission denied"):
        ddl(file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_byte_order_mark_names_the_encoding(encoding: str) -> None:
    """UTF-8 and UTF-16 with a byte order mark are decoded, as SQL Server Management Studio saves files."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    assert told(ddl("-", stdin=f"{mark}DROP TABLE s.ä".encode(encoding))) == ["-s.ä"]


@pytest.mark.parametrize("data", ["DROP TABLE a".encode("utf-16-le"), b"\xff\xfea", "DROP TABLE a".encode("utf-32")])
def test_binary_data_is_refused(data: bytes) -> None:
    """UTF-16 without a byte order mark, or cut short, and other encodings with zeros are refused."""
    with pytest.raises(ChangesError, match="UTF-16") as refused:
        ddl("-", stdin=data)
    assert refused.value.code == "not-utf8"


def test_other_encodings_are_read_with_a_warning() -> None:
    """A file that is not UTF-8 is read as Windows-1252, with a warning that names the first such line."""
    found = ddl("-", stdin="-- Größe\nDROP TABLE s.ä".encode("cp1252"))
    assert told(found) == ["-s.ä"]
    assert found.warnings[0].startswith("not UTF-8")
    assert "<stdin>:1" in found.warnings[0]


def test_strict_refuses_unknown_statements() -> None:
    """With `strict`, the error lists the statements that are not understood, with their lines."""
    sql = "DROP TABLE s.a;\nFROBNICATE x;\n" + "\\i a.sql\n" * 8
    with pytest.raises(ChangesError, match=r"^<stdin>:2: .*FROBNICATE x.*<stdin>:3.* 3 more") as refused:
        ddl("-", stdin=sql.encode(), strict=True)
    assert (refused.value.code, refused.value.exit_code) == ("not-understood", 2)
    assert "\n" not in str(refused.value)
    with pytest.raises(ChangesError, match="FROBNICATE x; say"):
        ddl("-", stdin=b"FROBNICATE x", strict=True)
    assert told(ddl("-", stdin=b"DROP TABLE s.a", strict=True)) == ["-s.a"]


@pytest.mark.parametrize(
    "up, down",
    [
        ("-- migrate:up transaction:false", "-- migrate:down"),
        ("-- +goose Up", "-- +goose Down"),
        ("-- +migrate Up", "-- +migrate Down notransaction"),
        ("-- +micrate Up", "-- +micrate Down"),
        ("# --- !Ups", "# --- !Downs"),
        ("-- !Ups", "-- !Downs"),
        ("-- // first", "-- //@UNDO"),
        ("-- first", "--//@UNDO"),
        ("-- rambler up", "-- rambler down"),
        ("-- Up Migration", "-- Down Migration"),
        ("-- Write your migrate up statements here", "---- create above / drop below ----"),
        ("-- Up", "-- Down"),
    ],
)
@pytest.mark.parametrize("dialect", ["mysql", "snowflake"])
def test_the_down_part_of_a_file_is_left_out(up: str, down: str, dialect: str) -> None:
    """The down part of a file is left out, and the statements after it keep their lines."""
    sql = f"{up}\nCREATE TABLE S.A (x int);\n{down}\nDROP TABLE S.GHOST;\n"
    found = read_sql(sql, source="migrations/001-a.sql", dialect=dialect)
    assert (told(found), found.not_understood) == (["+S.A"], ())
    (warning,) = found.warnings
    assert "migrations/001-a.sql:3" in warning


def test_up_may_follow_down() -> None:
    """A second up part after a down part is read, on its own lines."""
    from tests.changes.reading import read

    found = read("-- migrate:down\nDROP TABLE ghost;\n-- migrate:down\n-- migrate:up\nCREATE TABLE s.a (x int);")
    assert [(str(each.name), each.line) for each in found.changes] == [("s.a", 5)]
    assert touched("-- Down\nDROP TABLE s.a;") == ["-s.a"]


def test_goose_statements_hold_bodies() -> None:
    """StatementBegin and StatementEnd enclose a body."""
    sql = "-- +goose Up\n-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS int AS $$ BEGIN DROP TABLE ghost; END; $$ LANGUAGE plpgsql;\n-- +goose StatementEnd\nDROP TABLE s.a;"
    assert touched(sql) == ["-s.a"]


def test_liquibase_formatted_sql() -> None:
    """Rollbacks are left out, in lines and in blocks; each change set may have its own delimiter."""
    sql = """--liquibase formatted sql
--changeset ann:1 labels:x context:y
--preconditions onFail:MARK_RAN
--comment: it's the first
CREATE TABLE s.a (x int);
--rollback DROP TABLE s.ghost;
/* liquibase rollback
DROP TABLE s.ghost;
*/
--changeset ann:2 endDelimiter:// splitStatements:true
CREATE PROCEDURE p() BEGIN DROP TABLE s.ghost; END //
DROP TABLE s.b //
--changeset ann:3 endDelimiter:"/"
DROP TABLE s.c;
--changeset ann:4
DROP TABLE s.d;
--changeset ann:5 endDelimiter:\\nGO
DROP TABLE s.e;
GO
"""
    assert touched(sql, "mysql") == ["+s.a", "-s.b", "-s.c", "-s.d", "-s.e"]


def test_atlas_delimiters() -> None:
    """Atlas may end statements with empty lines, a comment, or any sign."""
    assert touched("-- atlas:delimiter \\n\\n\\n\nCREATE TABLE s.a (x int)\n\n\nDROP TABLE s.b\n\n\n") == [
        "+s.a",
        "-s.b",
    ]
    assert touched("-- atlas:delimiter -- end\nCREATE TABLE s.a (x int)\n-- end\nDROP TABLE s.b\n-- end") == [
        "+s.a",
        "-s.b",
    ]
    assert touched("-- atlas:delimiter //\nDROP TABLE s.a; DROP TABLE s.b //", "mysql") == ["-s.a", "-s.b"]
    assert touched("-- see atlas:delimiter\nDROP TABLE s.a") == ["-s.a"]


def test_column_types_are_known_from_earlier_files(tmp_path: Path) -> None:
    """Types carry over from earlier files of a list, unless the numbers in the file names contradict its order."""
    write(
        tmp_path,
        V1="CREATE TABLE s.t (D int, e varchar(5))",
        V2="ALTER TABLE s.t MODIFY D INT, MODIFY e varchar(9)",
        V10="ALTER TABLE s.t MODIFY D INT NOT NULL; ALTER TABLE s.t RENAME TO s.u; ALTER TABLE s.u MODIFY e varchar(9)",
    )
    in_order = [tmp_path / f"{name}.sql" for name in ("V1", "V2", "V10")]
    assert told(ddl(*in_order, dialect="mysql")) == ["+s.t", "+s.t", "-s.t", "-s.u"]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, in_order)))
    assert told(ddl(f"@{listed}", dialect="mysql")) == ["+s.t", "+s.t", "-s.t", "-s.u"]
    assert told(ddl(tmp_path, dialect="mysql")) == ["+s.t", "-s.t", "-s.t", "-s.u", "-s.u", "-s.t"]
    assert told(ddl(*in_order[1:], dialect="mysql")) == ["-s.t", "-s.t", "-s.t", "-s.u", "-s.u"]


@pytest.mark.parametrize(
    "dialect, first, second, effect",
    [
        # the old type has another name now, and the column gets the new one
        ("postgres", "CREATE TABLE s.t (a mood)", "ALTER TABLE s.t ALTER a TYPE mood USING a::text::mood", "-"),
        ("postgres", "CREATE TABLE s.t (a jsonb)", "ALTER TABLE s.t ALTER a TYPE jsonb", ""),
        # MySQL and MariaDB then spell the column as this statement does
        ("mysql", "CREATE TABLE s.t (userName varchar(9))", "ALTER TABLE s.t MODIFY username varchar(9)", "-"),
        ("mysql", "CREATE TABLE s.t (aB int)", "ALTER TABLE s.t CHANGE aB ab int", "-"),
        ("mysql", "CREATE TABLE s.t (aB int)", "ALTER TABLE s.t CHANGE AB aB int", ""),
        ("mysql", "CREATE TABLE s.t (a point)", "ALTER TABLE s.t MODIFY a point", ""),
    ],
)
def test_an_equal_type_is_no_change_only_if_it_is_the_same(
    dialect: str, first: str, second: str, effect: str, tmp_path: Path
) -> None:
    """A type of a user's own may be another one under the same name, and a column may get another spelling."""
    write(tmp_path, V1=first, V2=second)
    found = told(ddl(tmp_path / "V1.sql", tmp_path / "V2.sql", dialect=dialect))
    assert found == ["+s.t", *([f"{effect}s.t"] if effect else [])]


def test_the_first_definition_of_a_table_counts(tmp_path: Path) -> None:
    """CREATE TABLE IF NOT EXISTS keeps the known columns; a dropped table has none."""
    write(
        tmp_path,
        V1="CREATE TABLE s.t (a bigint); CREATE TABLE s.x (a int); DROP TABLE s.x; CREATE TABLE s.y (a int)",
        V2="CREATE TABLE IF NOT EXISTS s.t (a int); ALTER TABLE s.t ALTER a TYPE bigint; DROP SCHEMA s",
        V3="ALTER TABLE s.x ALTER a TYPE int; ALTER TABLE s.y ALTER a TYPE int",
    )
    assert told(ddl(tmp_path))[4:] == ["+s.t", "-s.*", "-s.x", "-s.y"]
