"""The operator in a real Airflow: scheduler, API server, DAG processor and triggerer on SQLite, against the simulator. The
state that worker and triggerer share is in a real PostgreSQL, if one is installed.

`make airflow` runs this, `make test` does not. AIRFLOW names the program of an environment that holds Airflow and this tree.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.cli.serving import serving
from tests.house.tree import ROOT
from tests.journal.postgres_server import IS_INSTALLED, running_server

AIRFLOW = Path(os.environ["AIRFLOW"])
KEY = "a-secret-key-of-airflow"
DAGS = """
from datetime import datetime, timedelta
from airflow.sdk import DAG, AssetAlias
from orchestrator.airflow import OmniRefreshOperator

with DAG("omni", schedule=None, start_date=datetime(2026, 1, 1)):
    OmniRefreshOperator(
        task_id="refresh", manifest={manifest!r}, select="{{{{ dag_run.conf['select'] }}}}", state={state!r},
        outlets=[AssetAlias("omni-refresh")], retries=1, retry_delay=timedelta(seconds=0),
    )
with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)):
    OmniRefreshOperator.partial(task_id="refresh", manifest={manifest!r}, state={state!r}).expand(
        select=["tag:one", "tag:two"]
    )
for name in ("shared", "deferred", "cleared"):
    with DAG(name, schedule=None, start_date=datetime(2026, 1, 1)):
        OmniRefreshOperator(
            task_id="refresh", manifest={manifest!r}, select="{{{{ dag_run.conf['select'] }}}}", deferrable=name != "shared",
            state_conn_id="omni_state", deadline="10m", retries=1, retry_delay=timedelta(seconds=0),
        )
"""
PASSWORD = "a-secret-p@ssword-of-the-state"
TAGS = {
    "Good": ["retried", "one"],
    "Flaky": ["retried"],
    "Broken": ["two"],
    "Stopped": ["stopped"],
    "Killed": ["killed"],
    "Before": ["stopped", "killed"],
    "Shared": ["shared"],
    "Late": ["late"],
    "Later": ["late"],
    "Twice": ["twice"],
    "Moved": ["moved"],
    "Again": ["again"],
}
"""The models of the manifest and their tags there; all exist on the simulator, and do at once what these do not."""
TRAITS: dict[str, dict[str, Any]] = {
    "Flaky": {"result": ["FAILED", "COMPLETED"]},
    "Broken": {"result": "FAILED"},
    "Stopped": {"duration": 20},
    "Killed": {"duration": 20},
    "Shared": {"duration": 60},
    "Late": {"duration": 20},
    "Later": {"duration": 20, "result": ["FAILED", "COMPLETED"]},
    "Twice": {"duration": 90},
    "Moved": {"duration": 30},
    "Again": {"duration": 40},
}
IDS = {name: f"{number:x}c90c3cc-0d44-4b50-8888-8dd25736052a" for number, name in enumerate(TAGS)}
SCENARIO = [{"id": IDS[name], "name": name, "duration": 0, **TRAITS.get(name, {})} for name in TAGS]
ENDED = {"success", "failed", "skipped", "upstream_failed"}

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A running Airflow: the folder of its files, its environment, and the simulator."""

    home: Path
    environ: dict[str, str]
    server: Simulator
    stack: ExitStack

    def start(self, service: str) -> subprocess.Popen[bytes]:
        """Start one of Airflow's services; it is killed at the end."""
        with (self.home / f"{service}.log").open("ab") as log:
            process = subprocess.Popen(
                [AIRFLOW, service], env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0
            )
        self.stack.callback(process.wait)
        self.stack.callback(signal_group, process, signal.SIGKILL)
        return process

    def cli(self, *words: str) -> str:
        """Run a command of Airflow's and return what it printed."""
        done = subprocess.run([AIRFLOW, *words], env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def trigger(self, run_id: str, select: str, dag: str = "omni") -> None:
        """Start a run of a DAG."""
        self.cli("dags", "trigger", dag, "-r", run_id, "--conf", json.dumps({"select": select}))

    def is_followed(self, run_id: str) -> bool:
        """Whether a trigger follows the run's jobs."""
        return self.tasks(run_id)[0][0] == "deferred" and "(resume)" in self.log(run_id)

    def query(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Read Airflow's database."""
        with closing(sqlite3.connect(self.home / "airflow.db", timeout=30)) as database:
            return database.execute(sql, values).fetchall()

    def tasks(self, run_id: str) -> list[tuple[Any, ...]]:
        """The state and the try of each task of a run."""
        return self.query("SELECT state, try_number FROM task_instance WHERE run_id = ? ORDER BY map_index", run_id)

    def ends(self, run_id: str, *expected: tuple[str, int]) -> None:
        """Wait until the tasks of a run ended, and expect these states after so many tries."""
        wait(lambda: bool(rows := self.tasks(run_id)) and {row[0] for row in rows} <= ENDED, f"the end of {run_id}")
        assert self.tasks(run_id) == list(expected), self.log(run_id)

    def log(self, run_id: str) -> str:
        """Everything that the tries of a run's tasks logged."""
        # a trigger's log has its number behind the suffix
        paths = sorted(path for path in (self.home / "logs").rglob("*.log*") if f"run_id={run_id}/" in str(path))
        return "".join(path.read_text("utf-8") for path in paths)

    def xcom(self, run_id: str, key: str) -> Any:
        """What the run's task pushed."""
        ((value,),) = self.query("SELECT value FROM xcom WHERE run_id = ? AND key = ?", run_id, key)
        found = json.loads(value)
        return json.loads(found) if isinstance(found, str) and found.startswith("{") else found

    def posts(self, *names: str) -> dict[str, int]:
        """How often the refreshes of these models were sent."""
        sent = Counter(call.path.split("/")[-2] for call in self.server.calls if call.method == "POST")
        return {name: sent[IDS[name]] for name in names}

    def task_process(self, run_id: str, model: str) -> int:
        """The process of the run's task, once it follows the model's job."""
        wait(
            lambda: any(call.method == "GET" and call.model_id == IDS[model] for call in self.server.calls),
            f"a poll of {model}",
        )
        ((pid,),) = self.query("SELECT pid FROM task_instance WHERE run_id = ?", run_id)
        assert b"airflow worker -- " in Path(f"/proc/{pid}/cmdline").read_bytes()
        return int(pid)


def wait(condition: Callable[[], bool], what: str, at_most_s: float = 180) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a service with all its processes, if it is still there."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether the API for workers answers in time. Its first answer is slow, and a task that waits for it in vain fails."""
    with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as server:
        server.request("GET", "/execution/health")
        return server.getresponse().status == 200
    return False


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An Airflow with the DAGs above."""
    home = tmp_path_factory.mktemp("airflow")
    manifest = home / "models.yaml"
    lines = [f"  - {{id: {IDS[name]}, name: {name}, tags: {tags}}}" for name, tags in TAGS.items()]
    manifest.write_text(
        "\n".join(["defaults: {mode: soft, poll: {min: 1s, max: 1s}}", "models:", *lines, ""]), encoding="utf-8"
    )
    (home / "dags").mkdir()
    text = DAGS.format(manifest=str(manifest), state=str(home / "state"))
    (home / "dags" / "omni.py").write_text(text, encoding="utf-8")
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "AIRFLOW"))}
    environ |= {
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }
    with ExitStack() as stack:
        server = stack.enter_context(serving(make_scenario(models=SCENARIO)))
        connection = {"conn_type": "omni", "host": server.url, "password": KEY}
        environ["AIRFLOW_CONN_OMNI_DEFAULT"] = json.dumps(connection)
        subprocess.run([AIRFLOW, "db", "migrate"], env=environ, capture_output=True, check=True)
        deployment = Deployment(home=home, environ=environ, server=server, stack=stack)
        if IS_INSTALLED:
            postgres = stack.enter_context(running_server())
            postgres.sql(f"CREATE ROLE omni LOGIN PASSWORD '{PASSWORD}'")
            postgres.sql("CREATE DATABASE omni OWNER omni")
            shared = {
                "conn_type": "postgres",
                "host": "127.0.0.1",
                "port": postgres.port,
                "login": "omni",
                "password": PASSWORD,
                "schema": "omni",
                "extra": {"sslmode": "disable"},
            }
            environ["AIRFLOW_CONN_OMNI_STATE"] = json.dumps(shared)
            address = postgres.url("omni", user="omni")
            subprocess.run([sys.executable, "-m", "orchestrator", "state", "init", "--state", address], check=True)
        for service in ("api-server", "dag-processor", "scheduler"):
            deployment.start(service)
        wait(lambda: answers(port), "the API server")
        wait(lambda: len(deployment.query("SELECT dag_id FROM dag")) == 5, "the DAGs to be parsed")
        yield deployment


def test_a_retry_sends_what_failed_and_a_clear_sends_all(airflow: Deployment) -> None:
    """The retry sends the failed model alone and the task succeeds; a clear of the task refreshes both again."""
    airflow.trigger("retried", "tag:retried")
    airflow.ends("retried", ("success", 2))
    assert airflow.posts("Good", "Flaky") == {"Good": 1, "Flaky": 2}
    result = airflow.xcom("retried", "return_value")
    assert (result["counts"], result["run_id"]) == ({"succeeded": 2}, airflow.xcom("retried", "run_id"))
    log = airflow.log("retried")
    assert "1 of 2 targets did not succeed" in log
    assert "failed: Flaky: the job ended FAILED" in log
    assert KEY not in log
    events = airflow.query("SELECT asset.uri, asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_id")
    host = airflow.server.url.removeprefix("http://")
    assert {uri for uri, _ in events} == {f"omni://{host}/{IDS[name]}" for name in ("Good", "Flaky")}
    assert all(json.loads(extra)["job_ids"] for _, extra in events)
    airflow.cli("tasks", "clear", "omni", "-y")
    wait(lambda: airflow.posts("Good")["Good"] == 2, "the cleared task to run")
    airflow.ends("retried", ("success", 3))
    assert airflow.posts("Good", "Flaky") == {"Good": 2, "Flaky": 3}


@pytest.mark.parametrize("model, number", [("Stopped", signal.SIGTERM), ("Killed", signal.SIGKILL)])
def test_a_killed_task_continues_in_its_next_try(airflow: Deployment, model: str, number: signal.Signals) -> None:
    """A task whose process is stopped or killed while a job runs is retried: the job is followed, and nothing is sent twice."""
    before = airflow.posts("Before")["Before"]
    airflow.trigger(model.lower(), f"tag:{model.lower()}")
    os.kill(airflow.task_process(model.lower(), model), number)
    airflow.ends(model.lower(), ("success", 2))
    assert airflow.posts(model, "Before") == {model: 1, "Before": before + 1}
    assert airflow.xcom(model.lower(), "return_value")["counts"] == {"succeeded": 2}
    assert ("OmniRefreshStopped" in airflow.log(model.lower())) is (number == signal.SIGTERM)


def test_a_mapped_task_has_a_run_for_each_index(airflow: Deployment) -> None:
    """Each index runs its own selection; the one that fails does not fail the other, and still pushes its result."""
    airflow.cli("dags", "trigger", "mapped", "-r", "mapped")
    airflow.ends("mapped", ("success", 1), ("failed", 1))
    rows = airflow.query("SELECT value FROM xcom WHERE run_id = 'mapped' AND key = 'return_value' ORDER BY map_index")
    assert ["Broken" in str(value) for (value,) in rows] == [False, True]


def test_examples_parse_without_a_network(airflow: Deployment) -> None:
    """The DAG processor reads every example DAG in a network of its own, without one connection, and finds no error."""
    code = (
        "import sys\n"
        "try:\n    from airflow.dag_processing.dagbag import DagBag\n"
        "except ImportError:\n    from airflow.models.dagbag import DagBag\n"
        f"bag = DagBag({str(ROOT / 'configs' / 'airflow')!r})\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "print(sorted(bag.dags), {'aiohttp', 'orchestrator.api'} & set(sys.modules))\n"
    )
    python = str(AIRFLOW.with_name("python"))
    command = ["unshare", "--net", "--map-root-user", python, "-c", code]
    done = subprocess.run(command, env=airflow.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.splitlines()[-1]
        == "['omni_after_dbt', 'omni_deferrable', 'omni_nightly', 'omni_per_instance'] set()"
    )


def test_airflow_knows_the_provider_and_its_form(airflow: Deployment) -> None:
    """Airflow lists the provider with its hook, whose form names the fields as a user of Omni knows them."""
    assert "omni-refresh" in airflow.cli("providers", "list")
    assert "orchestrator.airflow.hook.OmniHook" in airflow.cli("providers", "hooks", "-o", "plain")
    behaviours = airflow.cli("providers", "behaviours", "-o", "plain")
    assert "omni" in behaviours


@pytest.fixture(scope="module")
def triggerers(airflow: Deployment) -> list[subprocess.Popen[bytes]]:
    """The triggerers of the deployment, the one that works last; tests stop them and start others."""
    if not IS_INSTALLED:
        pytest.skip("PostgreSQL is not installed: no state that worker and triggerer share")
    return [airflow.start("triggerer")]


def test_a_deferred_task_ends_as_if_it_had_waited(airflow: Deployment, triggerers: object) -> None:
    """The worker submits, the triggerer follows; the failed job fails the try, and the retry sends it alone. No key is shown."""
    airflow.trigger("late", "tag:late", "deferred")
    airflow.ends("late", ("success", 2))
    assert airflow.posts("Late", "Later") == {"Late": 1, "Later": 2}
    assert airflow.xcom("late", "return_value")["counts"] == {"succeeded": 2}
    log = airflow.log("late")
    assert log.count("the triggerer follows the jobs") == 2
    assert "failed: Later: the job ended FAILED" in log
    for secret in (KEY, PASSWORD, PASSWORD.replace("@", "%40")):
        assert secret not in log
        assert not [path for path in airflow.home.glob("*.log") if secret.encode() in path.read_bytes()]


def test_a_killed_worker_loses_nothing_on_shared_state(airflow: Deployment, triggerers: object) -> None:
    """The next try of a task whose process was killed waits for the lease of the dead one, and follows its job."""
    airflow.trigger("shared", "tag:shared", "shared")
    os.kill(airflow.task_process("shared", "Shared"), signal.SIGKILL)
    airflow.ends("shared", ("success", 2))
    assert airflow.posts("Shared") == {"Shared": 1}
    assert airflow.xcom("shared", "return_value")["counts"] == {"succeeded": 1}


def test_a_killed_triggerer_loses_nothing(airflow: Deployment, triggerers: list[subprocess.Popen[bytes]]) -> None:
    """The triggerer is killed while it follows a job; another one continues when the lease has ended."""
    airflow.trigger("moved", "tag:moved", "deferred")
    wait(lambda: airflow.is_followed("moved"), "the trigger")
    signal_group(triggerers[-1], signal.SIGKILL)
    triggerers.append(airflow.start("triggerer"))
    airflow.ends("moved", ("success", 1))
    assert airflow.posts("Moved") == {"Moved": 1}


def test_a_trigger_that_runs_twice_works_once(airflow: Deployment, triggerers: list[subprocess.Popen[bytes]]) -> None:
    """A triggerer that was suspended for longer than its lease wakes up beside the one that took its trigger over: it stops,
    and the other one follows the job to its end.
    """
    airflow.trigger("twice", "tag:twice", "deferred")
    wait(lambda: airflow.is_followed("twice"), "the trigger")
    suspended = triggerers[-1]
    signal_group(suspended, signal.SIGSTOP)
    triggerers.append(airflow.start("triggerer"))
    wait(lambda: airflow.log("twice").count("(resume)") == 2, "the second copy")
    signal_group(suspended, signal.SIGCONT)
    airflow.ends("twice", ("success", 1))
    wait(lambda: airflow.log("twice").count("trigger completed") == 2, "the end of the first copy")
    assert airflow.posts("Twice") == {"Twice": 1}
    assert airflow.xcom("twice", "return_value")["counts"] == {"succeeded": 1}
    signal_group(suspended, signal.SIGKILL)


def test_a_clear_while_deferred_starts_anew(airflow: Deployment, triggerers: object) -> None:
    """The trigger leaves the job, the new run waits for it on its connection, and then refreshes again, never beside it."""
    airflow.trigger("again", "tag:again", "cleared")
    wait(lambda: airflow.is_followed("again"), "the trigger")
    airflow.cli("tasks", "clear", "cleared", "-y")
    wait(lambda: airflow.posts("Again")["Again"] == 2, "the second run")
    airflow.ends("again", ("success", 2))
    sent_s = [call.t_s for call in airflow.server.calls if call.method == "POST" and IDS["Again"] in call.path]
    assert len(sent_s) == 2
    assert sent_s[1] - sent_s[0] >= 40
