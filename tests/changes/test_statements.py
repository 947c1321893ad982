"""Where statements begin and end, and on which line."""

import pytest

from orchestrator.changes.dialects import DIALECTS
from orchestrator.changes.lexer import Lexer, TokenKind
from orchestrator.changes.statements import Splitter
from tests.changes.reading import read, touched, unclear


def split(sql: str, dialect: str) -> list[tuple[int, str]]:
    """Each statement that is looked at, with its line."""
    lexer = Lexer(sql, DIALECTS[dialect], source="x")
    return [(lexer.line(each.start), sql[each.start : each.end].strip()) for each in Splitter(lexer, {}).statements()]


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_line_ends_and_marks_change_nothing(dialect: str, end: str) -> None:
    """LF, CRLF and CR, with and without a byte order mark, give the same changes on the same lines."""
    text = end.join(["-- it's; drop table ghost", "CREATE TABLE s.a (x int);", "", "/* it's", "*/", "DROP TABLE s.b"])
    found = read("\ufeff" + text, dialect)
    assert [(str(each.name).lower(), each.line) for each in found.changes] == [("s.a", 2), ("s.b", 6)]


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"tsql"}))
def test_comments_strings_and_bodies_are_skipped(dialect: str) -> None:
    """Comments, strings, dollar-quoted bodies, DELIMITER, GO and temporary tables neither hide nor add changes."""
    sql = """-- drop table ghost1; later
/* create table ghost2 (a int); */
select 'drop table ghost3;';
CREATE FUNCTION f() RETURNS int AS $fn$ create table ghost4(); $fn$ LANGUAGE sql;
-- an apostrophe's comment
CREATE TEMPORARY TABLE tmp1 (a int);
DROP TABLE tmp1;
DELIMITER //
CREATE PROCEDURE p()
BEGIN
  CREATE TABLE ghost5 (a int);
END //
DELIMITER ;
CREATE TABLE s.real (a int)
GO
"""
    assert [name.lower() for name in touched(sql, dialect)] == ["+s.real"]


def test_a_procedure_in_a_batch_is_skipped() -> None:
    """A procedure of T-SQL ends at GO, and the next batch is read."""
    sql = "CREATE PROCEDURE p AS BEGIN CREATE TABLE ghost (a int); END\nGO\nCREATE TABLE s.real (a int)\nGO\n"
    assert touched(sql, "tsql") == ["+s.real"]


def test_statements_need_no_semicolon_in_tsql() -> None:
    """In T-SQL, keywords begin the next statement."""
    sql = (
        "create table a (x int)\nalter table a add constraint fk foreign key (x) references b (x) on delete set null\n"
        "alter table a alter column x bigint\nif exists (select 1) drop table if exists q\n"
        "grant create table to joe with grant option\ndrop view v\nselect case when 1 = 1 then 2 else 3 end as y into n from z"
    )
    assert [text.split("\n")[0][:22].strip() for _, text in split(sql, "tsql")] == [
        "create table a (x int)",
        "alter table a add cons",
        "alter table a alter co",
        "if exists (select 1)",
        "drop table if exists q",
        "grant create table to",
        "drop view v",
        "select case when 1 = 1",
    ]


@pytest.mark.parametrize("trigger", ["FOR INSERT, UPDATE", "AFTER DELETE", "INSTEAD OF INSERT"])
def test_words_in_a_trigger_do_not_begin_statements(trigger: str) -> None:
    """The events and the body of a trigger do not begin statements."""
    assert touched(f"CREATE TRIGGER t ON dbo.x {trigger} AS DROP TABLE ghost\nGO 2\nDROP VIEW dbo.v", "tsql") == [
        "-dbo.v"
    ]


def test_merge_and_grant_are_not_split() -> None:
    """The clauses of MERGE and the rights of GRANT, DENY and REVOKE touch nothing."""
    sql = (
        "MERGE t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT (a) VALUES (1);\n"
        "DENY ALTER ON SCHEMA::dbo TO joe\nREVOKE CREATE VIEW FROM joe\nEXECUTE AS USER = 'joe'\nREVERT\n"
        "ALTER TABLE dbo.t ADD a INT DEFAULT 1\nSET NOCOUNT ON\nUSE master"
    )
    assert touched(sql, "tsql") == ["+dbo.t"]


@pytest.mark.parametrize(
    "sql, dialect",
    [
        ("CREATE TABLE s.a (x int); INSERT INTO s.a VALUES ('open", "postgres"),
        ("INSERT INTO s.a VALUES (1, $$ open", "postgres"),
        ("/* open DROP TABLE s.a", "postgres"),
        ('DROP TABLE s."open', "snowflake"),
        ("DROP TABLE s.`open", "mysql"),
        ("DROP TABLE [open", "tsql"),
        ("CREATE TABLE s.a (x int, y varchar(10) default 'open); DROP TABLE s.b;", "tsql"),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; DROP TABLE s.b;", "mysql"),
        ("SELECT 1; /* a /* b */ DROP TABLE s.c;", "duckdb"),
    ],
)
def test_an_unclosed_quote_or_body_is_not_understood(sql: str, dialect: str) -> None:
    """A quote, comment or body without an end is not understood, because it may hide changes."""
    assert unclear(sql, dialect)


@pytest.mark.parametrize("dialect", ["postgres", "tsql", "mysql", "bigquery"])
def test_data_is_skipped(dialect: str) -> None:
    """The end of a long INSERT is found after quotes, semicolons and comments."""
    rows = ",\n".join(f"({n}, 'it''s; drop table ghost', 'a -- b', '/* c')" for n in range(50))
    sql = f"INSERT INTO s.t VALUES {rows};\nCREATE TABLE s.a (x int);\nUPDATE s.t SET a = ';' /* ; */ WHERE b = 1;\nDROP TABLE s.b;"
    found = read(sql, dialect)
    assert [(str(each.name), each.line) for each in found.changes] == [("s.a", 51), ("s.b", 53)]


def test_changes_inside_blocks_have_lines_of_the_file() -> None:
    """A statement in a DO block or a string has its line in the file."""
    sql = "SELECT 1;\nDO $$\nBEGIN\n  EXECUTE 'CREATE TABLE s.a (x int);\n   DROP TABLE s.b';\n  DROP TABLE s.c;\nEND $$;\nDROP TABLE s.d"
    assert [each.line for each in read(sql).changes] == [4, 5, 6, 8]


def test_copied_rows_are_skipped() -> None:
    """The text after COPY ... FROM stdin is data, up to its end mark or the end of the file."""
    assert touched("COPY s.t FROM stdin;\nit's; drop table ghost;\n\\.\nDROP TABLE s.a;") == ["-s.a"]
    assert touched("COPY s.t FROM STDIN WITH (FORMAT csv);\ndrop table ghost;\n") == []


def test_client_commands_end_statements() -> None:
    """Commands of psql, sqlcmd, SnowSQL and DuckDB are not SQL; those that run other files are not understood."""
    assert touched(
        "CREATE TABLE s.a (x int)\n\\g\nINSERT INTO x VALUES (1)\n\\echo drop table ghost\nDROP VIEW s.v;"
    ) == ["+s.a", "-s.v"]
    assert unclear("\\ir more.sql\n\\gexec") == [(1, "\\ir more.sql"), (2, "\\gexec")]
    assert unclear(":r more.sql\n:setvar x 1\n:on error exit", "tsql") == [(1, ":r more.sql")]
    assert unclear("!source more.sql\n!set a=b", "snowflake") == [(1, "!source more.sql")]


def test_a_slash_alone_ends_a_statement() -> None:
    """A slash or GO alone on a line ends a statement; a division does not."""
    assert touched("CREATE TABLE s.a (x int)\n/\nDROP TABLE s.b\nGO\nSELECT 4\n/ 2;") == ["+s.a", "-s.b"]
    assert touched("INSERT INTO x VALUES (1)\n/\nDROP TABLE s.b") == ["-s.b"]


def test_any_delimiter_is_understood() -> None:
    """DELIMITER changes the sign that ends a statement, also to dollar signs."""
    for mark in ("//", "$$", ";;", "|", "@@"):
        sql = f"DELIMITER {mark}\nCREATE PROCEDURE p() BEGIN DROP TABLE ghost; END{mark}\nDROP TABLE s.a; DROP TABLE s.b {mark}\nDELIMITER ;\nDROP TABLE s.c;"
        assert touched(sql, "mysql") == ["-s.a", "-s.b", "-s.c"]


def test_versioned_comments_are_read() -> None:
    """Comments with a version are SQL in MySQL and MariaDB."""
    assert touched(
        "/*!50001 DROP TABLE s.a */; /*M!100100 DROP TABLE s.b */; /* DROP TABLE ghost */ /*+ hint */ INSERT INTO x /*! IGNORE */ VALUES (1);",
        "mysql",
    ) == ["-s.a", "-s.b"]
    assert touched("/*!50001 DROP TABLE ghost */;", "duckdb") == []


def test_the_end_of_a_body_is_found() -> None:
    """BEGIN, CASE, IF and loops are matched with their ENDs in every dialect."""
    body = (
        "BEGIN DECLARE x INT; CASE x WHEN 1 THEN SELECT 1; ELSE SELECT 2; END CASE; "
        "lbl: WHILE x < 3 DO SET x = x + 1; END WHILE; REPEAT SET x = 1; UNTIL x END REPEAT; "
        "IF x THEN BEGIN SELECT CASE WHEN 1 THEN 2 END; END; END IF; l2: LOOP LEAVE l2; END LOOP l2; DROP TABLE ghost; END"
    )
    assert touched(f"CREATE PROCEDURE p() {body}; DROP TABLE s.a;", "mysql") == ["-s.a"]
    assert touched(f"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO {body}; DROP TABLE s.a;", "mysql") == ["-s.a"]
    assert touched(
        "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW IF 1 THEN DROP TABLE g; END IF; DROP TABLE s.a;", "mysql"
    ) == ["-s.a"]
    assert touched(
        "CREATE TASK s.t AS BEGIN BEGIN TRANSACTION; DROP TABLE g; COMMIT; END; DROP TABLE s.a;", "snowflake"
    ) == ["-S.A"]


def test_tokens_know_their_position() -> None:
    """Each token has its start and end in the text, and a string has its value."""
    lexer = Lexer("SELECT 'a''b' , \"c\" FROM x", DIALECTS["postgres"], source="x")
    tokens = []
    while (token := lexer.next()).kind is not TokenKind.END:
        tokens.append(token)
    assert [lexer.text[token.start : token.end] for token in tokens] == ["SELECT", "'a''b'", ",", '"c"', "FROM", "x"]
    assert [token.text for token in tokens[1:4:2]] == ["a'b", "c"]
