"""The Airflow operator: what a try sends, what the next one sends, what it pushes, raises and logs."""

import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.airflow.provider_info import get_provider_info
from orchestrator.airflow.task_run import MOST_ASSET_EVENTS, asset_events, run_key
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.airflow.stand_in import (
    CONNECTIONS,
    MASKED,
    AirflowFailException,
    AirflowSkipException,
    AssetAlias,
    Connection,
    TaskInstance,
    make_context,
    stand_in,
)
from tests.cli.serving import serving
from tests.house.tree import ROOT
from tests.report.reports import make_outcome

KEY = "a-secret-key-of-airflow"
IDS = {name: f"{number}c90c3cc-0d44-4b50-8888-8dd25736052a" for number, name in enumerate(("Sales", "Finance", "Ops"))}
MANIFEST = """
defaults: {mode: soft, poll: {min: 20ms, max: 100ms}}
models: [{model: Sales}, {model: Finance}, {model: Ops}]
"""


@pytest.fixture
def operator() -> Iterator[Any]:
    """The operator's module on the stand-in."""
    with stand_in() as module:
        yield module


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    """A manifest of three models."""
    path = tmp_path / "nightly.yaml"
    path.write_text(MANIFEST, encoding="utf-8")
    return str(path)


def models(**traits: Any) -> list[dict[str, Any]]:
    """Three models on connections of their own; `traits` are those of Ops."""
    kinds: dict[str, dict[str, Any]] = {"Sales": {"duration": 0}, "Finance": {"duration": 0}, "Ops": traits}
    return [{"name": name, "id": IDS[name], **kinds[name]} for name in IDS]


def connect(server: Simulator) -> None:
    """Point the default connection at the server."""
    CONNECTIONS["omni_default"] = Connection(host=server.url, password=KEY)


def posts(server: Simulator) -> Counter[str]:
    """How often each model's refresh was sent, by name."""
    names = {model_id: name for name, model_id in IDS.items()}
    return Counter(names[call.path.split("/")[-2]] for call in server.calls if call.method == "POST")


def execute(operator: Any, task: TaskInstance, manifest: str, **options: Any) -> Any:
    """One try of the task."""
    return operator.OmniRefreshOperator(task_id="refresh", retries=2, manifest=manifest, **options).execute(
        make_context(task)
    )


def test_a_task_refreshes_and_pushes_its_result(operator: Any, manifest: str) -> None:
    """Every model is refreshed; the result holds counts and the run's id, which is pushed at once; the key is masked."""
    task = TaskInstance()
    with serving(make_scenario(models=models(duration=0))) as server:
        connect(server)
        result = execute(operator, task, manifest)
    assert result["counts"] == {"succeeded": 3}
    assert (result["exit_code"], result["not_good"], result["run_id"]) == (0, [], task.xcom["run_id"])
    assert MASKED.count(KEY) >= 1


def test_a_retry_sends_only_what_did_not_succeed(operator: Any, manifest: str) -> None:
    """The next try of the task sends the failed model alone, and its result counts what the first try did."""
    with serving(make_scenario(models=models(duration=0, result=["FAILED", "COMPLETED"]))) as server:
        connect(server)
        first = TaskInstance()
        with pytest.raises(operator.OmniRefreshFailed, match="1 of 3") as failed:
            execute(operator, first, manifest)
        assert first.xcom["return_value"]["not_good"] == ["Ops"]
        result = execute(operator, TaskInstance(try_number=2), manifest)
        assert posts(server) == {"Sales": 1, "Finance": 1, "Ops": 2}
    assert result["counts"] == {"succeeded": 3}
    assert str(failed.value).splitlines()[1].startswith("failed: Ops")


def test_a_clear_starts_anew(operator: Any, manifest: str) -> None:
    """A cleared task, which Airflow gives more tries, refreshes every model again."""
    with serving(make_scenario(models=models(duration=0, result=["FAILED", "COMPLETED"]))) as server:
        connect(server)
        with pytest.raises(operator.OmniRefreshFailed):
            execute(operator, TaskInstance(), manifest)
        execute(operator, TaskInstance(try_number=2, max_tries=3), manifest)
        assert posts(server) == {"Sales": 2, "Finance": 2, "Ops": 2}


def test_a_try_after_a_success_sends_nothing(operator: Any, manifest: str) -> None:
    """If Airflow lost the result of a run that succeeded, the next try returns it and sends nothing."""
    with serving(make_scenario(models=models(duration=0))) as server:
        connect(server)
        first = execute(operator, TaskInstance(), manifest)
        again = execute(operator, TaskInstance(try_number=2), manifest)
        assert posts(server) == {"Sales": 1, "Finance": 1, "Ops": 1}
    assert again == {**first, "reports": []}


def test_a_killed_task_raises_and_its_next_try_follows_the_job(operator: Any, manifest: str) -> None:
    """`on_kill` stops the run in order and the task raises; the next try polls the job that ran and sends nothing twice."""
    with serving(make_scenario(models=models(duration=1.5))) as server:
        connect(server)
        task = TaskInstance()
        running = operator.OmniRefreshOperator(task_id="refresh", retries=2, manifest=manifest, grace="50ms")
        seen = threading.Event()

        class Watch(logging.Handler):
            """Kills the task as soon as its log tells of the first model that is done."""

            def emit(self, record: logging.LogRecord) -> None:
                if "succeeded" in record.getMessage() and not seen.is_set():
                    seen.set()
                    running.on_kill()

        watch = Watch()
        running.log.addHandler(watch)
        running.log.setLevel(logging.INFO)
        with pytest.raises(operator.OmniRefreshStopped):
            running.execute(make_context(task))
        running.log.removeHandler(watch)
        result = execute(operator, TaskInstance(try_number=2), manifest)
        assert posts(server) == {"Sales": 1, "Finance": 1, "Ops": 1}
    assert result["counts"] == {"succeeded": 3}


def test_a_kill_before_the_run_stops_it(operator: Any, manifest: str) -> None:
    """A kill that comes before the run begins is not lost: nothing is sent, and the task raises."""
    with serving(make_scenario(models=models(duration=0))) as server:
        connect(server)
        task = operator.OmniRefreshOperator(task_id="refresh", manifest=manifest)
        task.on_kill()
        with pytest.raises(operator.OmniRefreshStopped):
            task.execute(make_context(TaskInstance()))
        assert not posts(server)


def test_an_exception_in_the_main_thread_ends_the_run_first(operator: Any, manifest: str) -> None:
    """What a signal handler raises (the execution timeout) leaves the task only after the run has ended in order."""

    class TimedOut(BaseException):
        pass

    class Task(TaskInstance):
        def xcom_push(self, *, key: str, value: Any) -> None:
            raise TimedOut

    with serving(make_scenario(models=models(duration="never"))) as server:
        connect(server)
        before = threading.active_count()
        with pytest.raises(TimedOut):
            execute(operator, Task(), manifest, grace="50ms")
        assert threading.active_count() <= before + 1


def test_what_a_task_becomes_if_targets_fail(operator: Any, manifest: str) -> None:
    """`on_failed` decides whether the task fails, is skipped, or succeeds; the result is there in each case."""
    with serving(make_scenario(models=models(duration=0, result="FAILED"))) as server:
        connect(server)
        failed, skipped = TaskInstance(), TaskInstance(run_id="another")
        with pytest.raises(operator.OmniRefreshFailed):
            execute(operator, failed, manifest)
        with pytest.raises(AirflowSkipException):
            execute(operator, skipped, manifest, on_failed="skip")
        result = execute(operator, TaskInstance(run_id="a third"), manifest, on_failed="ignore")
    for each in (failed.xcom["return_value"], skipped.xcom["return_value"], result):
        assert (each["counts"], each["not_good"]) == ({"failed": 1, "succeeded": 2}, ["Ops"])


def test_what_waiting_cannot_cure_is_not_retried(operator: Any, tmp_path: Path, manifest: str) -> None:
    """A wrong manifest, an empty selection and a refused key fail without a retry, in few words; an allowed one is a skip."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("models: [{modell: x}]\n" + "".join(f"k{n}: 1\n" for n in range(30)), encoding="utf-8")
    with serving(make_scenario(models=models(duration=0), keys=["another"])) as server:
        connect(server)
        with pytest.raises(AirflowFailException) as told:
            execute(operator, TaskInstance(), str(wrong))
        assert len(str(told.value).splitlines()) == 10
        with pytest.raises(AirflowFailException, match="no tag 'none'"):
            execute(operator, TaskInstance(), manifest, select="tag:none")
        with pytest.raises(AirflowSkipException, match="nothing was selected"):
            execute(operator, TaskInstance(), manifest, select="Sales", exclude="Sales", allow_empty=True)
        with pytest.raises(AirflowFailException, match="did not succeed"):
            execute(operator, TaskInstance(run_id="refused"), manifest)


def test_asset_events_go_through_an_alias(operator: Any, manifest: str) -> None:
    """Each refreshed model is an event of the alias in `outlets`, with its job; a failed one is none."""
    alias = AssetAlias("omni-refresh")
    context = make_context(TaskInstance())
    with serving(make_scenario(models=models(duration=0, result="FAILED"))) as server:
        connect(server)
        task = operator.OmniRefreshOperator(
            task_id="refresh", manifest=manifest, outlets=[alias, "another"], on_failed="ignore"
        )
        task.execute(context)
        host = server.url.removeprefix("http://")
    added = dict(context["outlet_events"][alias].added)
    assert set(added) == {f"omni://{host}/{IDS[name]}" for name in ("Sales", "Finance")}
    assert [details["target"] for details in added.values()] == ["Sales", "Finance"]
    assert all(details["job_ids"] and details["mode"] == "soft" for details in added.values())


def test_too_many_asset_events_are_none() -> None:
    """A branch is a part of the URI; above 500 targets there are no events at all."""
    one = replace(make_outcome(0), model_id="m", branch="nightly/schema")
    addresses = {"prod": "https://blobsrus.omniapp.co"}
    ((uri, _),) = asset_events([one], addresses, "r")
    assert uri == "omni://blobsrus.omniapp.co/m/nightly%2Fschema"
    assert asset_events([one] * (MOST_ASSET_EVENTS + 1), addresses, "r") == []


def test_a_lost_state_is_said(operator: Any, manifest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second try that finds no run of the first one warns that refreshes are sent again; a first try does not."""
    caplog.set_level(logging.INFO)
    with serving(make_scenario(models=models(duration=0))) as server:
        connect(server)
        execute(operator, TaskInstance(max_tries=2), manifest, state=str(tmp_path / "a"))
        assert "knows no run" not in caplog.text
        execute(operator, TaskInstance(try_number=2, max_tries=2), manifest, state=str(tmp_path / "b"))
        assert "knows no run" in caplog.text
    assert KEY not in caplog.text


def test_the_key_of_a_run() -> None:
    """Retries share a key; another task, run, map index or a clear has another one."""
    first = run_key(TaskInstance())
    assert run_key(TaskInstance(try_number=3)) == first
    others = [
        TaskInstance(dag_id="x"),
        TaskInstance(run_id="x"),
        TaskInstance(task_id="x"),
        TaskInstance(map_index=0),
        TaskInstance(max_tries=4),
    ]
    assert len({first, *map(run_key, others)}) == 6


def test_a_connection_sets_variables_for_the_manifest_alone(
    operator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further keys come from the connection's extra; a host without a scheme is https; nothing enters the environment."""
    from orchestrator.airflow.connection import connection_variables

    assert connection_variables(host="blobsrus.omniapp.co", port=None, key="k", extra={"OMNI_EMEA_KEY": "e"}) == {
        "OMNI_BASE_URL": "https://blobsrus.omniapp.co",
        "OMNI_API_TOKEN": "k",
        "OMNI_EMEA_KEY": "e",
    }
    path = tmp_path / "m.yaml"
    with serving(make_scenario(models=models(duration=0))) as server:
        path.write_text(
            f"instances: {{emea: {{base_url: '{server.url}', api_keys: ['${{EMEA_KEY}}']}}}}\n"
            "defaults: {poll: {min: 20ms, max: 100ms}}\nmodels: [{model: Sales}]\n",
            encoding="utf-8",
        )
        CONNECTIONS["omni_default"] = Connection(extra='{"EMEA_KEY": "another-secret-key"}')
        assert execute(operator, TaskInstance(), str(path))["counts"] == {"succeeded": 1}
        assert "another-secret-key" in MASKED
        CONNECTIONS["omni_default"] = Connection(extra='{"EMEA_KEY": 1}')
        with pytest.raises(AirflowFailException, match="'EMEA_KEY' is no text"):
            execute(operator, TaskInstance(run_id="another"), str(path))


def test_the_connection_is_tested_by_one_call(operator: Any) -> None:
    """The form's test button asks the instance once which user the key belongs to, and reports what is wrong."""
    from orchestrator.airflow.hook import OmniHook

    with serving(make_scenario(models=models(duration=0), keys=[KEY])) as server:
        connect(server)
        good, told = OmniHook().test_connection()
        assert (good, told.startswith("the key is valid")) == (True, True)
        assert [call.path for call in server.calls] == ["/api/v1/whoami"]
        CONNECTIONS["omni_default"] = Connection(host=server.url, password="wrong-key")
        assert OmniHook().test_connection()[0] is False
        CONNECTIONS["omni_default"] = Connection(host="http://example.com", password=KEY)
        good, told = OmniHook().test_connection()
        assert (good, "https" in told) == (False, True)


def test_importing_an_example_dag_loads_nothing_heavy(tmp_path: Path) -> None:
    """The DAG processor imports the operator many times a minute: no HTTP client, no database, no YAML reader, no network."""
    code = (
        "import runpy, socket, sys\n"
        "from tests.airflow.stand_in import stand_in\n"
        "socket.socket.connect = lambda *_: sys.exit('a connection at parse time')\n"
        "before = set(sys.modules)\n"
        "with stand_in() as operator:\n"
        "    operator.OmniRefreshOperator(task_id='t', manifest='no such file.yaml')\n"
        "heavy = {'aiohttp', 'sqlite3', 'yaml', 'pydantic', 'rich', 'jinja2', 'orchestrator.api', 'orchestrator.engine.run'}\n"
        "print(*sorted(heavy & (set(sys.modules) - before)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_the_provider_names_what_exists(operator: Any) -> None:
    """The metadata that Airflow reads names the hook and the operator's module, and the hook tells the same form."""
    from orchestrator.airflow.hook import OmniHook

    info = get_provider_info()
    (connection,) = info["connection-types"]
    assert connection["hook-class-name"] == f"{OmniHook.__module__}.{OmniHook.__qualname__}"
    assert connection["connection-type"] == OmniHook.conn_type
    assert info["operators"][0]["python-modules"] == [operator.__name__]
    assert OmniHook.get_ui_field_behaviour()["hidden_fields"] == ["schema", "login", "port"]
    with pytest.raises(ValueError, match="on_failed"):
        operator.OmniRefreshOperator(task_id="t", manifest="m.yaml", on_failed="never")
