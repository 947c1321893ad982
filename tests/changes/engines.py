"""Real database engines, for the corpus's labels: a server of their own, a fresh place for each statement, and the catalog
before and after.

What an engine has is a `Catalog`: what a refresh would see (names, columns, types), and beside it the details that may
change without a name being touched (defaults, nullability, bodies of views).
"""

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import tempfile
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


class Engine(Protocol):
    """A running engine."""

    def run(self, given: str, sql: str, default_schema: str | None) -> tuple[Catalog, Catalog]:
        """The catalog with what is given, and after the statements; EngineError says what it refused."""


class EngineError(Exception):
    """An engine refused a statement."""


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
    return _catalog(json.loads(line) for line in lines.splitlines())


_POSTGRES_LOOK = """
SELECT json_build_array(current_database(), n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
    concat_ws('|', c.relkind, a.attnum, a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, pg_get_partkeydef(c.oid),
        (SELECT string_agg(inhparent::text, ',') FROM pg_inherits WHERE inhrelid IN (c.oid) OR inhparent IN (c.oid)),
        (SELECT string_agg(conname || pg_get_constraintdef(k.oid), ',' ORDER BY conname) FROM pg_constraint k
            WHERE c.oid IN (conrelid, confrelid) AND contype IN ('p', 'u', 'f'))))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT json_build_array(current_database(), nspname, '*', null, null, '') FROM pg_namespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""

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
    CONCAT_WS('|', (SELECT GROUP_CONCAT(CONCAT(k.constraint_name, k.column_name) ORDER BY 1)
            FROM information_schema.key_column_usage k WHERE t.table_name IN (k.table_name, k.referenced_table_name)
            AND t.table_schema IN (k.table_schema, k.referenced_table_schema)), t.table_type, c.ordinal_position, c.is_nullable, c.column_default, c.extra, c.generation_expression,
        c.character_set_name, c.collation_name, c.column_comment, v.view_definition))
FROM information_schema.tables t
LEFT JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
LEFT JOIN information_schema.views v ON v.table_schema = t.table_schema AND v.table_name = t.table_name
WHERE t.table_schema NOT IN {_MARIADB_OWN}
    AND t.table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')
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
