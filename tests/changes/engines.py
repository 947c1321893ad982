"""Real database engines, for the corpus's labels: a server of their own, a fresh place for each statement, and the catalog
before and after.

What an engine has is a `Catalog`: what a refresh would see (names, columns, types), and beside it the details that may
change without a name being touched (defaults, nullability, bodies of views).
"""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from tests.changes.catalogs import (
    PATIENCE_S,
    Catalog,
    ClientWords,
    EngineError,
    Session,
    make_catalog,
    open_session,
    read_catalog,
)


class Engine(Protocol):
    """A running engine."""

    def run(self, given: str, sql: str, default_schema: str | None) -> tuple[Catalog, Catalog]:
        """The catalog with what is given, and after the statements; EngineError says what it refused."""


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

_POSTGRES_EMPTY = "template2"
"""A database that `_POSTGRES_ANEW` leaves alone."""

_POSTGRES_NOT_TAKEN_BACK = re.compile(r"\\|\b(?:COMMIT|ROLLBACK|END\s*;|LOCAL\s+\w+\s*=|RESET|DISCARD)", re.IGNORECASE)
"""What ends a transaction, is another thing in one, or is a command to psql."""

_POSTGRES_NEW_SESSION = "RESET ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; DISCARD TEMP"

_POSTGRES_WORLD = f"""
CREATE DATABASE {_POSTGRES_EMPTY};
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
ALTER EVENT TRIGGER note ENABLE ALWAYS;
"""
_PSQL = ClientWords(
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
    """PostgreSQL on a socket of its own; what each entry does is made by a superuser.

    An entry runs in a transaction that is rolled back: a new database costs a fifth of a second. An entry that does not run so, or
    may do something else there, runs by psql in a database of its own.
    """

    def __init__(self, bin_folder: Path, socket_folder: Path) -> None:
        self._psql = [str(bin_folder / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        self._psql += ["-h", str(socket_folder), "-U", "postgres"]
        self._sql("postgres", _POSTGRES_WORLD)
        address = f"host={socket_folder} user=postgres dbname={_POSTGRES_EMPTY}"
        self.connection = psycopg.connect(address, autocommit=True)

    def _sql(self, database: str, sql: str, default_schema: str | None = None) -> str:
        options = {"PGOPTIONS": f"-c search_path={default_schema}"} if default_schema else {}
        return _execute([*self._psql, "-d", database, "-f", "-"], sql, options)

    def run(self, given: str, sql: str, default_schema: str | None) -> tuple[Catalog, Catalog]:
        """See `Engine`. Looked at are the databases `corpus` and `reporting`; of others, that they are there."""
        if not default_schema and not _POSTGRES_NOT_TAKEN_BACK.search(sql):
            with contextlib.suppress(psycopg.Error):
                return self._run_and_roll_back(given, sql)
        before = self._sql("postgres", f"{_POSTGRES_ANEW}{given};{_POSTGRES_LOOK_ALL}")
        self._sql("corpus", sql, default_schema)
        return read_catalog(before), read_catalog(self._sql("corpus", _POSTGRES_LOOK_ALL))

    def _run_and_roll_back(self, given: str, sql: str) -> tuple[Catalog, Catalog]:
        self.connection.execute("DISCARD ALL")
        with self.connection.transaction(force_rollback=True):
            number = self.connection.execute("SELECT pg_current_xact_id()").fetchall()
            self.connection.execute(given.encode())
            before = self._look()
            self.connection.execute(sql.encode())
            after = self._look()
            if number != self.connection.execute("SELECT pg_current_xact_id()").fetchall():
                raise EngineError("ended the transaction")
        return before, after

    def _look(self) -> Catalog:
        self.connection.execute(_POSTGRES_NEW_SESSION)
        rows = self.connection.execute(f"SELECT row::text FROM ({_POSTGRES_LOOK}) AS it (row)".encode())
        return read_catalog("\n".join(row for (row,) in rows))

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
        with open_session(
            [*command, "-d", "corpus"], _PSQL, {"PGOPTIONS": options, "PGCLIENTENCODING": "UTF8"}
        ) as session:
            yield session


def _postgres_folders() -> list[str]:
    """Where Debian keeps the server's programs, the newest version first."""
    return sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)


@contextmanager
def postgres() -> Iterator[Postgres | None]:
    """Run a PostgreSQL server in the block; None if it is not installed."""
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
            engine = Postgres(bin_folder, folder)
            with engine.connection:
                yield engine
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
DROP DATABASE sys;
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

_MARIADB = ClientWords(
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
        return read_catalog(before), read_catalog(self._sql(_MARIADB_LOOK))

    def anew(self) -> None:
        """Make an empty database."""
        self._sql("CALL begin_anew()")

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session in the database that `anew` made."""
        with open_session([*self._client, "--database=corpus", "--force", "--unbuffered"], _MARIADB, {}) as session:
            yield session


@contextmanager
def mariadb() -> Iterator[Mariadb | None]:
    """Run a MariaDB server in the block; None if it is not installed."""
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
        options.append(f"--tmpdir={folder}")  # two servers may not share one
        options += [
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M",
            "--innodb-doublewrite=0",
            "--secure-file-priv=",
        ]
        running = subprocess.Popen([server, *data, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not socket.exists() and running.poll() is None:  # its client would wait in steps of five seconds
                time.sleep(0.05)
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
                before = make_catalog(connection.execute(_DUCKDB_LOOK).fetchall())
                connection.execute(sql)
                return before, make_catalog(connection.execute(_DUCKDB_LOOK).fetchall())
            except duckdb.Error as error:
                raise EngineError(str(error)) from error


@contextmanager
def duckdb_engine() -> Iterator[Duckdb]:
    """DuckDB: always there, with the libraries of the tests."""
    yield Duckdb()
