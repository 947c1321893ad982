"""A PostgreSQL store as people meet it: made, checked and trimmed; its rights, its versions, TLS, and a pooler before it."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from orchestrator.journal.database import JournalError
from orchestrator.journal.layout import JOURNAL, SHARED
from tests.cli.commands import call, write_manifest
from tests.journal.postgres_server import Server
from tests.journal.stores import HAS_POSTGRES, PostgresPlace
from tests.omni.certificates import make_server_context, write_authority

if not HAS_POSTGRES:
    # the list of stores says what runs here (`tests.journal.stores`)
    __test__ = False

TABLES = [
    "calls",
    "connection_names",
    "durations",
    "keys",
    "locks",
    "meta",
    "owners",
    "runs",
    "slots",
    "targets",
    "waiting",
]


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a command does to the process that it runs in is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMNI_API_TOKEN", "a-key")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    structlog.reset_defaults()


@pytest.fixture
def server(postgres_place: PostgresPlace) -> Server:
    """The server of this process's tests."""
    return postgres_place.server


def name_of(url: str) -> str:
    """A database's name."""
    return url.rpartition("/")[2]


def owned_by(server: Server, role: str) -> str:
    """The address of a new database in which a role may make a schema, and nothing else."""
    url = server.new_database()
    server.sql(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {name_of(url)} TO {role}")
    return server.url(name_of(url), user=role)


def test_a_store_is_made_checked_and_trimmed(server: Server, capfd: Any) -> None:
    """By a role that may make its own schema; without the schema every command says what to do, with exit code 2."""
    url = owned_by(server, "maker")
    shown = url.replace("maker@", "")
    for command in ("check", "prune"):
        done = call(capfd, "state", command, "--state", url)
        assert done.code == 2
        assert "run `omni-refresh state init`" in done.err
    done = call(capfd, "state", "init", "--state", url)
    assert (done.code, f"{shown}: the state was made" in done.err) == (0, True)
    done = call(capfd, "state", "init", "--state", url)
    assert (done.code, "up to date" in done.err) == (0, True)
    done = call(capfd, "state", "check", "--state", url)
    assert (done.code, "OK (0 runs, 0 other processes at work)" in done.err) == (0, True)
    old = "(key, owner, counts_s, ended_s, ended_mark) VALUES ('k', NULL, 60, extract(epoch FROM now()) - 100, '[\"b\", 1, 0]')"
    server.sql(f"INSERT INTO omni_refresh.slots {old}", name_of(url))
    done = call(capfd, "state", "prune", "--state", url)
    assert (done.code, "0 runs deleted" in done.err) == (0, True)
    assert server.sql("SELECT count(*) FROM omni_refresh.slots WHERE key = 'k'", name_of(url)) == "0"
    assert server.sql("SELECT count(*) FROM omni_refresh.owners", name_of(url)) == "0"


def test_each_right_that_is_missing_is_named(server: Server, capfd: Any) -> None:
    """As the statement that grants it; with all of them the check passes."""
    owner = owned_by(server, "owner")
    assert call(capfd, "state", "init", "--state", owner).code == 0
    server.sql("CREATE ROLE visitor LOGIN")
    url = server.url(name_of(owner), user="visitor")

    def missing() -> list[str]:
        done = call(capfd, "state", "check", "--state", url)
        lines = [line.partition("missing: ")[2] for line in done.err.splitlines()]
        assert done.code == (2 if any(lines) else 0), done.err
        return [line for line in lines if line]

    def grant(statements: list[str]) -> None:
        server.sql("; ".join(f"{statement} TO visitor" for statement in statements), name_of(owner))

    rights = [
        f"GRANT {right} ON omni_refresh.{t}" for t in TABLES for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
    ]
    first = missing()
    assert first[0] == "GRANT USAGE ON SCHEMA omni_refresh"
    assert set(first[1:]) == {*rights, "GRANT SELECT ON omni_refresh.run_records"}
    grant([right for right in first if right != "GRANT DELETE ON omni_refresh.slots"])
    server.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", name_of(owner))
    assert missing() == ["GRANT EXECUTE ON FUNCTION pg_control_system()", "GRANT DELETE ON omni_refresh.slots"]
    grant(missing())
    assert missing() == []
    done = call(capfd, "state", "check", "--state", url)
    assert "OK (0 runs" in done.err


@pytest.mark.parametrize("command", ["run M", "state init", "state check", "history"])
def test_an_older_program_meets_a_newer_store(command: str, server: Server, capfd: Any, tmp_path: Path) -> None:
    """Exit code 2 before anything is sent, and the store stays as it is."""
    from orchestrator.journal.postgres import initialise

    url = server.new_database()
    initialise(url, salt="00")
    server.sql("UPDATE omni_refresh.meta SET value = '99' WHERE name = 'version shared'", name_of(url))
    words = [write_manifest(tmp_path) if word == "M" else word for word in command.split()]
    done = call(capfd, *words, "--state", url) if words[0] != "history" else call_with_state(capfd, url, *words)
    assert done.code == 2
    assert "(format 99, this one knows 4)" in done.err
    assert server.sql("SELECT value FROM omni_refresh.meta WHERE name = 'version shared'", name_of(url)) == "99"


def call_with_state(capfd: Any, url: str, *words: str) -> Any:
    """A command that is told of its state by the variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNI_REFRESH_STATE", url)
        return call(capfd, *words)


def test_a_newer_program_migrates_an_older_store(server: Server) -> None:
    """What is stored stays, and the older program is refused from then on."""
    from orchestrator.journal.postgres import PostgresDatabase, initialise

    url = server.new_database()
    initialise(url, salt="00")
    server.sql("INSERT INTO omni_refresh.keys (key) VALUES ('k')", name_of(url))
    more = ("ALTER TABLE keys ADD COLUMN note TEXT", "UPDATE keys SET note = 'new'")
    newer = replace(SHARED, migrations=(*SHARED.migrations, *more))
    databases = [PostgresDatabase.open(url, newer) for _ in range(2)]
    assert [database.read("SELECT key, note FROM keys") for database in databases] == [[("k", "new")]] * 2
    for database in databases:
        database.close()
    with pytest.raises(JournalError, match="newer omni-refresh"):
        PostgresDatabase.open(url, SHARED)
    # the other part of the state is not concerned
    PostgresDatabase.open(url, JOURNAL).close()


@contextmanager
def tls(server: Server) -> Iterator[None]:
    """The server speaks TLS, with a certificate for 127.0.0.1."""
    make_server_context(server.data)
    path = server.data / "server.pem"
    path.chmod(0o600)
    if server.as_user:
        subprocess.run(["chown", "postgres", str(path)], check=True)
    for name, value in {"ssl_cert_file": "server.pem", "ssl_key_file": "server.pem", "ssl": "on"}.items():
        server.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    server.sql("SELECT pg_reload_conf()")
    try:
        until = time.monotonic() + 20
        while server.sql("SHOW ssl") != "on":
            assert time.monotonic() < until
            time.sleep(0.05)
        yield
    finally:
        server.sql("ALTER SYSTEM RESET ssl")
        server.sql("SELECT pg_reload_conf()")


def test_tls_is_verified_in_full(server: Server, tmp_path: Path, capfd: Any) -> None:
    """With `sslmode=verify-full` the certificate's authority and its name must be right; else nothing is said to the server."""
    url = server.new_database()
    authority, other = write_authority(tmp_path), tmp_path / "other.pem"
    subject = ["-subj", "/CN=other", "-days", "2", "-keyout", str(tmp_path / "k.pem"), "-out", str(other)]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *curve, *subject], check=True, capture_output=True)
    with tls(server):

        def init(ca: Path, *more: str) -> Any:
            options = "&".join(["sslmode=verify-full", f"sslrootcert={ca}", *more])
            return call(capfd, "state", "init", "--state", f"{url}?{options}")

        right, wrong_ca, wrong_name = (
            init(authority),
            init(other),
            init(authority, "host=elsewhere.invalid", "hostaddr=127.0.0.1"),
        )
    assert (right.code, "the state was made" in right.err) == (0, True)
    assert (wrong_ca.code, "certificate verify failed" in wrong_ca.err) == (2, True)
    assert (wrong_name.code, "does not match host name" in wrong_name.err) == (2, True)
