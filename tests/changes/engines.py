"""Real database engines, for the corpus's labels: a server of their own, a fresh place for each statement, and the catalog
before and after.

What an engine has is a `Catalog`: what a refresh would see (names, columns, types), and beside it the details that may
change without a name being touched (defaults, nullability, bodies of views).
"""

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PATIENCE_S = 60.0
"""An engine that says nothing for so long has failed."""

Place = tuple[str, ...]
"""(database, schema, relation), or without the database where an engine has none above its schemas. (..., schema, "*") is a
schema, (database, "*", "*") a database.
"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """What an engine holds."""

    columns: Mapping[Place, Mapping[str, str]]
    """The type of each column, by name."""
    details: Mapping[Place, str]
    """All else that the engine tells."""


_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


def differences(before: Catalog, after: Catalog) -> dict[Place, str]:
    """What differs: `+` came or grew, `-` went or lost something, `~` kept its columns and their types."""
    found: dict[Place, str] = {}
    for place in before.columns.keys() | after.columns.keys():
        old, new = before.columns.get(place), after.columns.get(place)
        if old is None:
            found[place] = "+"
        elif new is None or not all(_holds(new.get(column, ""), kind) for column, kind in old.items()):
            found[place] = "-"
        elif new != old:
            found[place] = "+"
        elif before.details[place] != after.details[place]:
            found[place] = "~"
    return found


_INTEGERS = ("smallint", "integer", "bigint")
_LIMITED = re.compile(r"(.*)\((\d+)\)")


def _holds(new: str, old: str) -> bool:
    """Whether a type is the one that was or takes all of its values: a wider one, or a record that has got more fields."""
    if new in _INTEGERS and old in _INTEGERS:
        return _INTEGERS.index(new) >= _INTEGERS.index(old)
    grown, limited = _LIMITED.fullmatch(new), _LIMITED.fullmatch(old)
    if limited and "char" in limited[1] and (new == limited[1] or (grown and grown[1] == limited[1])):
        return not grown or int(grown[2]) >= int(limited[2])
    return new == old or (old.startswith("STRUCT(") and new.startswith(old.removesuffix(")") + ","))


def fits(label: str, place: Place) -> bool:
    """Whether a labelled name speaks of what an engine holds: part by part from the end, `?` and `*` being any."""
    said = [quoted.replace('""', '"') or bare for quoted, bare in _PART.findall(label)]
    return all(part in {"?", "*", held} for part, held in zip(reversed(said), reversed(place), strict=False))


class Engine(Protocol):
    """A running engine."""

    def run(self, given: str, sql: str, default_schema: str | None) -> tuple[Catalog, Catalog]:
        """The catalog with what is given, and after the statements; EngineError says what it refused."""


class EngineError(Exception):
    """An engine refused a statement."""


class Session:
    """A client program that runs one statement after the other, each from a file: an open quote ends with it."""

    def __init__(self, command: list[str], folder: Path, environ: Mapping[str, str], words: "_Words") -> None:
        self._words = words
        self._statement = folder / "statement.sql"
        self._count = 0
        self._state = ""
        self._client = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C", **environ},
        )

    def _ask(self, words: str) -> list[str]:
        """Return what the client prints while it does that."""
        self._count += 1
        mark = f"mark {self._count} {os.getpid()}"
        stdin, stdout = self._client.stdin, self._client.stdout
        if stdin is None or stdout is None:
            raise EngineError("the client has no pipes")
        watch = threading.Timer(PATIENCE_S, self._client.kill)
        watch.start()
        lines: list[str] = []
        try:
            stdin.write(f"{words}\n{self._words.echo.format(mark)}\n".encode())
            stdin.flush()
            while (line := stdout.readline()) and mark.encode() not in line:
                lines.append(line.decode(errors="replace"))
        except BrokenPipeError:
            line = b""
        finally:
            watch.cancel()
        if not line:
            raise EngineError("".join(lines[-3:]) or "the client ended")
        return lines

    def run(self, sql: str) -> str | None:
        """Run one statement; the answer is what the engine refused it with."""
        self._statement.write_text(self._words.wrap.format(sql) if "{}" in self._words.wrap else sql)
        said = self._ask(self._words.run.format(self._statement))
        return next((line.strip() for line in said if self._words.error.match(line)), None)

    def look(self) -> Catalog:
        """Return the catalog as the session sees it."""
        lines: list[str] = []
        for _ in range(3):  # MariaDB refuses now and then, if a table is changed meanwhile
            lines = self._ask(self._words.look)
            if any(line.startswith("[") for line in lines):
                return _read("".join(line for line in lines if line.startswith("[")))
        raise EngineError("".join(lines[-3:]) or "the catalog is empty")

    def may_have_changed(self) -> bool:
        """Whether any definition may have changed since this was asked before."""
        before, self._state = self._state, "".join(self._ask(self._words.state))
        return self._state != before or not before

    def close(self) -> None:
        """End the client."""
        self._client.kill()
        self._client.communicate()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """How an engine's client is told what to do."""

    echo: str
    run: str
    wrap: str
    error: re.Pattern[str]
    look: str
    state: str


@contextmanager
def _session(command: list[str], words: _Words, environ: Mapping[str, str]) -> Iterator[Session]:
    with tempfile.TemporaryDirectory(prefix="omni-sql-") as name:
        session = Session(command, Path(name), environ, words)
        try:
            yield session
        finally:
            session.close()


def _execute(command: list[str], sql: str, environ: Mapping[str, str] | None = None) -> str:
    ran = subprocess.run(
        command,
        input=sql,
        text=True,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "LC_ALL": "C", "PGCLIENTENCODING": "UTF8", **(environ or {})},
    )
    if ran.returncode:
        raise EngineError(ran.stderr.strip() or ran.stdout.strip())
    return ran.stdout


def _catalog(rows: Iterable[Sequence[Any]]) -> Catalog:
    columns: dict[Place, dict[str, str]] = {}
    details: dict[Place, str] = {}
    for *where, column, kind, detail in rows:
        place = tuple(where)
        held = columns.setdefault(place, {})
        details[place] = details.get(place, "") + f"{column}:{detail};"
        if column is not None:
            held[column] = kind
    return Catalog(columns, details)


def _read(lines: str) -> Catalog:
    return _catalog(json.loads(line) for line in sorted(lines.splitlines()))


_POSTGRES_LOOK = """
WITH relation AS (
    SELECT c.oid, c.relkind, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))
SELECT json_build_array(current_database(), nspname, relname, a.attname,
    CASE WHEN a.atttypid < 16384 THEN format_type(a.atttypid, a.atttypmod) ELSE a.atttypid::text || '/' || a.atttypmod END,
    concat_ws('|', a.attnum, a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)))
FROM relation c
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
UNION ALL
SELECT json_build_array(current_database(), nspname, relname, null, null,
    concat_ws('|', relkind, CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END, pg_get_partkeydef(oid))) FROM relation
UNION ALL
SELECT json_build_array(current_database(), nspname, relname, null, null, inhparent::text)
FROM relation, pg_inherits WHERE oid = inhrelid OR oid = inhparent
UNION ALL
SELECT json_build_array(current_database(), nspname, relname, null, null, conname || pg_get_constraintdef(k.oid))
FROM pg_constraint k, LATERAL (VALUES (conrelid), (confrelid)) AS side (id) JOIN relation c ON c.oid = id
WHERE contype IN ('p', 'u', 'f')
UNION ALL
SELECT json_build_array(current_database(), nspname, '*', null, null, '') FROM pg_namespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
"""A type that is not built in is shown by its number, which a new name leaves as it is."""

_POSTGRES_WORLD = """
CREATE ROLE joe;
CREATE TABLESPACE fast LOCATION '';
CREATE TABLESPACE a LOCATION '';
CREATE TABLESPACE b LOCATION '';
"""

_POSTGRES_ANEW = """
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database WHERE datname !~ '^(postgres|template.)$' \\gexec
CREATE DATABASE corpus;
\\c corpus
"""

_POSTGRES_LOOK_ALL = f"""
SELECT json_build_array(datname, '*', '*', null, null, '') FROM pg_database WHERE datname !~ '^(postgres|template.)$';
SELECT count(*) > 0 AS there FROM pg_database WHERE datname = 'reporting' \\gset
\\if :there
\\c reporting
{_POSTGRES_LOOK};
\\endif
\\c corpus
{_POSTGRES_LOOK};
"""

_POSTGRES_NOTE = """
CREATE FUNCTION information_schema.note() RETURNS event_trigger LANGUAGE plpgsql AS
    $$BEGIN PERFORM set_config('note.count', (coalesce(nullif(current_setting('note.count', true), ''), '0')::int + 1)::text, false); END$$;
CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION information_schema.note();
"""
_PSQL = _Words(
    echo="\\echo {}",
    run="\\o /dev/null\n\\i {}\n\\o",
    wrap="{}",
    error=re.compile(
        r"(?:psql:\S+ )?(?:ERROR|FATAL|PANIC|error|invalid command|unterminated)\b|psql:.*(?:ERROR|error|invalid)"
    ),
    look="\\pset expanded off\n\\pset format unaligned\n\\pset tuples_only on\n"
    "SELECT current_setting('search_path') AS note_path \\gset\nSET search_path = pg_catalog;"
    f"{_POSTGRES_LOOK}UNION ALL SELECT json_build_array(datname, '*', '*', null, null, '') FROM pg_database"
    f";\nSELECT set_config('search_path', :'note_path', false) \\g /dev/null",
    state="SELECT current_setting('note.count', true), (SELECT string_agg(datname, ',') FROM pg_database);",
)
"""The columns' types are shown without a path, whatever the session's own path is."""


class Postgres:
    """PostgreSQL on a socket of its own; each entry in a database of its own, made by a superuser."""

    def __init__(self, bin_folder: Path, socket_folder: Path) -> None:
        self._psql = [str(bin_folder / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        self._psql += ["-h", str(socket_folder), "-U", "postgres"]
        self._sql("postgres", _POSTGRES_WORLD)

    def _sql(self, database: str, sql: str, default_schema: str | None = None) -> str:
        options = {"PGOPTIONS": f"-c search_path={default_schema}"} if default_schema else {}
        return _execute([*self._psql, "-d", database, "-f", "-"], sql, options)

    def run(self, given: str, sql: str, default_schema: str | None) -> tuple[Catalog, Catalog]:
        """See `Engine`. Looked at are the databases `corpus` and `reporting`; of others, that they are there."""
        before = self._sql("postgres", f"{_POSTGRES_ANEW}{given};{_POSTGRES_LOOK_ALL}")
        self._sql("corpus", sql, default_schema)
        return _read(before), _read(self._sql("corpus", _POSTGRES_LOOK_ALL))

    def anew(self) -> None:
        """Make an empty database, in which an event trigger notes that definitions changed."""
        self._sql("postgres", f"{_POSTGRES_ANEW}{_POSTGRES_NOTE}")

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session in the database that `anew` made."""
        options = f"-c search_path=public -c client_min_messages=error -c statement_timeout={int(PATIENCE_S / 2)}s"
        command = [
            *(each for each in self._psql if each not in {"-v", "ON_ERROR_STOP=1"}),
            "-v",
            "ON_ERROR_ROLLBACK=on",
        ]
        with _session([*command, "-d", "corpus"], _PSQL, {"PGOPTIONS": options, "PGCLIENTENCODING": "UTF8"}) as session:
            yield session


def _postgres_folders() -> list[str]:
    """Where Debian keeps the server's programs, the newest version first."""
    return sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)


@contextmanager
def postgres() -> Iterator[Postgres | None]:
    """A PostgreSQL server as long as the block lasts, or None where it is not installed."""
    program = shutil.which("initdb", path=os.pathsep.join([*_postgres_folders(), os.environ["PATH"]]))
    if program is None:
        yield None
        return
    bin_folder = Path(program).parent
    with tempfile.TemporaryDirectory(prefix="omni-pg-") as name:
        folder = Path(name)
        # the server refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        data = str(folder / "data")
        _execute(
            [
                *as_user,
                str(bin_folder / "initdb"),
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
            ],
            "",
        )
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c autovacuum=off"
        settings += " -c allow_in_place_tablespaces=on"
        control = [*as_user, str(bin_folder / "pg_ctl"), "-D", data, "-w", "-t", str(PATIENCE_S), "-l", f"{folder}/log"]
        # a foreign server without a host is this one
        _execute([*control, "-o", settings, "start"], "", {"PGHOST": name})
        try:
            yield Postgres(bin_folder, folder)
        finally:
            _execute([*control, "-m", "immediate", "stop"], "")


_MARIADB_OWN = "('mysql', 'sys', 'information_schema', 'performance_schema')"

_MARIADB_LOOK = f"""
SELECT JSON_ARRAY(t.table_schema, t.table_name, c.column_name, c.column_type,
    CONCAT_WS('|', t.table_type, c.ordinal_position, c.is_nullable, c.column_default, c.extra, c.generation_expression,
        c.character_set_name, c.collation_name, c.column_comment, v.view_definition))
FROM information_schema.tables t
LEFT JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
LEFT JOIN information_schema.views v ON v.table_schema = t.table_schema AND v.table_name = t.table_name
WHERE t.table_schema NOT IN {_MARIADB_OWN}
    AND t.table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')
UNION ALL
SELECT JSON_ARRAY(table_schema, table_name, null, null, CONCAT_WS('|', constraint_name, column_name))
FROM information_schema.key_column_usage WHERE table_schema NOT IN {_MARIADB_OWN}
UNION ALL
SELECT JSON_ARRAY(referenced_table_schema, referenced_table_name, null, null, CONCAT_WS('|', constraint_name, column_name))
FROM information_schema.key_column_usage
WHERE table_schema NOT IN {_MARIADB_OWN} AND referenced_table_name IS NOT NULL
UNION ALL
SELECT JSON_ARRAY(schema_name, '*', null, null, '') FROM information_schema.schemata
WHERE schema_name NOT IN {_MARIADB_OWN}
"""

_MARIADB_WORLD = f"""
DELIMITER //
CREATE PROCEDURE mysql.begin_anew() BEGIN
    FOR it IN (
        SELECT CONCAT('DROP DATABASE `', schema_name, '`') AS words FROM information_schema.schemata
        WHERE schema_name NOT IN {_MARIADB_OWN}
        UNION ALL SELECT IF(is_role = 'Y', CONCAT('DROP ROLE ', QUOTE(user)), CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host)))
        FROM mysql.user
        WHERE user NOT IN ('root', 'mariadb.sys', 'mysql')
    ) DO EXECUTE IMMEDIATE it.words;
    END FOR;
    CREATE DATABASE corpus;
END //
DELIMITER ;
"""

_MARIADB = _Words(
    echo="SELECT '{}';",
    run="source {}",
    wrap="DELIMITER $it$\n{}\n$it$\nDELIMITER ;\n",
    error=re.compile(r"ERROR\b"),
    look=f"{_MARIADB_LOOK};",
    state="SELECT SUM(variable_value) FROM information_schema.global_status"
    " WHERE variable_name REGEXP '^COM_(ALTER|CREATE|DROP|RENAME)_';",
)


class Mariadb:
    """MariaDB on a socket of its own, by its own client; each entry in a server without other databases."""

    def __init__(self, socket: Path) -> None:
        self._client = ["mariadb", "--no-defaults", "--user=root", f"--socket={socket}", "--batch", "--raw", "-N"]
        self._sql(_MARIADB_WORLD)

    def _sql(self, sql: str, database: str = "mysql") -> str:
        return _execute([*self._client, f"--database={database}"], sql)

    def run(self, given: str, sql: str, default_schema: str | None) -> tuple[Catalog, Catalog]:
        """See `Engine`."""
        before = self._sql(f"CALL begin_anew(); USE corpus; {given};{_MARIADB_LOOK}")
        self._sql(sql, default_schema or "corpus")
        return _read(before), _read(self._sql(_MARIADB_LOOK))

    def anew(self) -> None:
        """Make an empty database."""
        self._sql("CALL begin_anew()")

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session in the database that `anew` made."""
        with _session([*self._client, "--database=corpus", "--force", "--unbuffered"], _MARIADB, {}) as session:
            yield session


@contextmanager
def mariadb() -> Iterator[Mariadb | None]:
    """A MariaDB server as long as the block lasts, or None where it is not installed."""
    install, server = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if install is None or server is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="omni-my-") as name:
        folder = Path(name)
        user = "mysql" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(folder, "mysql")
        data = ["--no-defaults", f"--datadir={folder}/data", f"--user={user}"]
        _execute([install, *data, "--auth-root-authentication-method=normal", "--skip-test-db"], "")
        socket = folder / "socket"
        options = ["--skip-networking", f"--socket={socket}", f"--pid-file={folder}/pid", f"--log-error={folder}/log"]
        options += [
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
            "--innodb-doublewrite=0",
            "--secure-file-priv=",
        ]
        running = subprocess.Popen([server, *data, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            admin = ["mariadb-admin", "--no-defaults", "--user=root", f"--socket={socket}"]
            _execute([*admin, f"--wait={int(PATIENCE_S)}", "--connect-timeout=5", "ping"], "")
            yield Mariadb(socket)
        finally:
            running.kill()
            running.wait()


_DUCKDB_LOOK = """
SELECT database_name, schema_name, table_name, column_name, data_type,
    concat_ws('|', column_index, is_nullable, column_default)
FROM duckdb_columns() WHERE NOT internal AND database_name NOT IN ('system', 'temp')
UNION ALL
SELECT database_name, schema_name, table_name, NULL, NULL, string_agg(constraint_text, ',' ORDER BY constraint_text)
FROM duckdb_constraints() WHERE constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY') GROUP BY ALL
UNION ALL
SELECT database_name, schema_name, view_name, NULL, NULL, sql
FROM duckdb_views() WHERE NOT internal AND database_name NOT IN ('system', 'temp')
UNION ALL
SELECT database_name, schema_name, '*', NULL, NULL, '' FROM duckdb_schemas()
WHERE database_name NOT IN ('system', 'temp') AND schema_name NOT IN ('information_schema', 'pg_catalog')
UNION ALL
SELECT database_name, '*', '*', NULL, NULL, '' FROM duckdb_databases() WHERE NOT internal
"""


class Duckdb:
    """DuckDB in this process; each entry in an instance of its own."""

    def run(self, given: str, sql: str, default_schema: str | None) -> tuple[Catalog, Catalog]:
        """See `Engine`. Files are made in a folder of the entry's own."""
        import duckdb

        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), duckdb.connect() as connection:
            try:
                connection.execute(given)
                before = _catalog(connection.execute(_DUCKDB_LOOK).fetchall())
                connection.execute(sql)
                return before, _catalog(connection.execute(_DUCKDB_LOOK).fetchall())
            except duckdb.Error as error:
                raise EngineError(str(error)) from error


@contextmanager
def duckdb_engine() -> Iterator[Duckdb]:
    """DuckDB: always there, with the libraries of the tests."""
    yield Duckdb()
