"""A PostgreSQL server for tests and benchmarks: its own cluster in a temporary folder, on a socket and on loopback."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DEBIAN = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_SETTINGS = {
    "fsync": "off",
    "autovacuum": "off",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "listen_addresses": "127.0.0.1",
}


def find_program(name: str) -> str | None:
    """Where one of the server's programs is; None if it is not installed."""
    return shutil.which(name, path=os.pathsep.join([*_DEBIAN, os.environ["PATH"], "/usr/sbin"]))


IS_INSTALLED = find_program("initdb") is not None


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def execute(command: list[str], *, check: bool = True) -> str:
    """Run a program; its output, or an error with what it said."""
    with tempfile.TemporaryFile("w+") as output:
        # a server that a program starts keeps its output open: no pipe
        # the server's user may not enter the folder of the test
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60, check=False, cwd="/"
        )
        output.seek(0)
        said = output.read()
    assert not check or ran.returncode == 0, said
    return said


class Server:
    """A running cluster. `databases` are made as they are needed; its superuser is `postgres`, without a password."""

    def __init__(self, folder: Path, port: int, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = port
        self._settings = {**_SETTINGS, "unix_socket_directories": str(folder), "port": str(port), **(settings or {})}
        # the server refuses to run as root
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self._made = 0

    def initialise(self) -> None:
        """Make the cluster."""
        if self.as_user:
            shutil.chown(self.folder, "postgres", "postgres")
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")

    def run(self, program: str, *words: str, check: bool = True) -> str:
        """Run one of the server's programs as its user."""
        path = find_program(program)
        assert path is not None
        return execute([*self.as_user, path, *words], check=check)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = " ".join(f"-c {name}={value}" for name, value in self._settings.items())
        self.run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "30", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop it."""
        self.run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop", check=False)

    def pid(self) -> int:
        """The server's main process."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the superuser."""
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database]
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *where, "-c", statement).strip()

    def url(self, database: str, *, user: str = "postgres", port: int | None = None) -> str:
        """The address of a database."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self) -> str:
        """The address of a new, empty database."""
        self._made += 1
        name = f"state{self._made}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)


@contextmanager
def running_server(settings: dict[str, str] | None = None) -> Iterator[Server]:
    """A server as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="omni-state-") as name:
        server = Server(Path(name), free_port(), settings)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def pooler_before(server: Server) -> Iterator[int]:
    """PgBouncer in transaction mode, with fewer connections to the server than its clients have; its port."""
    program, port, folder = find_program("pgbouncer"), free_port(), server.folder / "pooler"
    assert program is not None
    settings = {
        "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any", "pool_mode": "transaction",
        "default_pool_size": 2, "max_client_conn": 50,
    }  # fmt: skip
    target = f"* = host=127.0.0.1 port={server.port} user=postgres"
    folder.mkdir()
    path = folder / "pgbouncer.ini"
    lines = [f"{name} = {value}" for name, value in settings.items()]
    path.write_text("\n".join(["[databases]", target, "[pgbouncer]", *lines, ""]))
    with subprocess.Popen(
        [*server.as_user, program, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            until = time.monotonic() + 10
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


@contextmanager
def replica_of(primary: Server) -> Iterator[Server]:
    """A copy of a server that receives what is committed there, as long as the block lasts."""
    folder = primary.folder / "replica"
    folder.mkdir()
    replica = Server(folder, free_port())
    if primary.as_user:
        shutil.chown(folder, "postgres", "postgres")
    source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
    primary.run("pg_basebackup", *source, "-D", str(replica.data), "-R", "-c", "fast", "--no-sync", "--no-manifest")
    replica.start()
    try:
        yield replica
    finally:
        replica.stop()
