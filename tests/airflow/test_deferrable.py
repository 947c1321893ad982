"""A deferred task: the worker submits, the triggerer follows, and the state alone says how the run ended.

Here the shared state is a folder, for both sides are in one process; `make airflow` has a real triggerer and PostgreSQL.
"""

import asyncio
import importlib
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.airflow.connection import state_url
from orchestrator.errors import LockedError, UsageError
from orchestrator.journal.postgres import password_of
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.airflow.stand_in import (
    CONNECTIONS,
    MASKED,
    AirflowException,
    AirflowFailException,
    Connection,
    TaskDeferred,
    TaskInstance,
    make_context,
    stand_in,
)
from tests.cli.serving import serving

KEY = "a-secret-key-of-airflow"
MANIFEST = "defaults: {mode: soft, poll: {min: 20ms, max: 100ms}}\nmodels: [{model: Sales}, {model: Finance}]\n"


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The operator's module on the stand-in; the connection `state` is a folder."""
    with stand_in() as module:
        hook, trigger = (importlib.import_module(f"orchestrator.airflow.{name}") for name in ("hook", "trigger"))

        async def aurl(_: str) -> str:
            return str(tmp_path / "state")

        monkeypatch.setattr(hook.StateHook, "url", lambda _: str(tmp_path / "state"))
        monkeypatch.setattr(hook.StateHook, "aurl", aurl)
        monkeypatch.setattr(trigger, "LOOK_EVERY_S", 0.05)
        yield module


@contextmanager
def instance(**traits: Any) -> Iterator[Simulator]:
    """A simulated instance with two models; `traits` are those of Sales."""
    models = [{"name": "Sales", "duration": 2.5, **traits}, {"name": "Finance", "duration": 0}]
    with serving(make_scenario(models=models)) as server:
        CONNECTIONS["omni_default"] = Connection(host=server.url, password=KEY)
        yield server


def posts(server: Simulator) -> int:
    """How many refreshes were sent."""
    return sum(call.method == "POST" for call in server.calls)


def make_task(operator: Any, folder: Path, **options: Any) -> Any:
    """A deferrable task over the two models."""
    path = folder / "nightly.yaml"
    path.write_text(MANIFEST, encoding="utf-8")
    return operator.OmniRefreshOperator(
        task_id="refresh", retries=2, manifest=str(path), state_conn_id="state", deferrable=True, **options
    )


def defer(task: Any, instance: TaskInstance) -> TaskDeferred:
    """Run the task until it is deferred."""
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(make_context(instance))
    assert deferred.value.method_name == "execute_complete"
    return deferred.value


def restored(trigger: Any) -> Any:
    """The trigger as a triggerer makes it from what was stored."""
    from orchestrator.airflow.trigger import OmniRunTrigger

    name, arguments = trigger.serialize()
    assert name == "orchestrator.airflow.trigger.OmniRunTrigger"
    assert all(isinstance(value, str | float | None) for value in arguments.values())
    return OmniRunTrigger(**arguments)


async def event_of(trigger: Any) -> dict[str, Any]:
    """What the trigger yields, once."""
    (event,) = [event.payload async for event in restored(trigger).run()]
    assert isinstance(event, dict)
    return event


def test_the_worker_submits_and_the_triggerer_follows(operator: Any, tmp_path: Path) -> None:
    """The task is deferred when all is sent; the trigger submits nothing; the task then ends as if it had waited itself."""
    report = tmp_path / "report.json"
    with instance() as server:
        task, try_ = make_task(operator, tmp_path, report=str(report)), TaskInstance()
        deferred = defer(task, try_)
        assert (posts(server), report.exists(), "return_value" in try_.xcom) == (2, False, False)
        event = asyncio.run(event_of(deferred.trigger))
        assert event == {"run_id": try_.xcom["run_id"], "error": None}
        assert not report.exists()
        result = make_task(operator, tmp_path, report=str(report)).execute_complete(make_context(try_), event)
        assert posts(server) == 2
    assert (result["counts"], result["reports"]) == ({"succeeded": 2}, [str(report)])
    assert report.exists()
    assert KEY in MASKED


def test_a_failed_job_fails_the_task_and_only_it_is_sent_again(operator: Any, tmp_path: Path) -> None:
    """The task that returns from its trigger fails with the cause; the next try sends the failed model alone."""
    with instance(result=["FAILED", "COMPLETED"], duration=1.5) as server:
        task, first = make_task(operator, tmp_path), TaskInstance()
        event = asyncio.run(event_of(defer(task, first).trigger))
        with pytest.raises(operator.OmniRefreshFailed, match="failed: Sales"):
            task.execute_complete(make_context(first), event)
        second = TaskInstance(try_number=2)
        event = asyncio.run(event_of(defer(task, second).trigger))
        result = task.execute_complete(make_context(second), event)
        assert posts(server) == 3
    assert result["counts"] == {"succeeded": 2}


def test_a_second_copy_of_the_trigger_only_watches(
    operator: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two copies at once: one follows, the other waits for it; both tell the same, and each job is polled by one of them."""
    caplog.set_level(logging.INFO)

    async def both(trigger: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return await asyncio.gather(event_of(trigger), event_of(trigger))

    with instance() as server:
        task, try_ = make_task(operator, tmp_path), TaskInstance()
        first, second = asyncio.run(both(defer(task, try_).trigger))
        assert first == second == {"run_id": try_.xcom["run_id"], "error": None}
        assert task.execute_complete(make_context(try_), first)["counts"] == {"succeeded": 2}
        assert posts(server) == 2
    continued = Counter(
        record.getMessage().split(": ")[0] for record in caplog.records if "(resume)" in record.getMessage()
    )
    assert continued.total() == 1
    assert "copy of the trigger" in caplog.text


def test_a_trigger_that_is_stopped_leaves_the_jobs_to_the_next_one(operator: Any, tmp_path: Path) -> None:
    """A cancelled trigger gives the run back at once and yields nothing; until another one ends it, the task has no result."""

    async def stop(trigger: Any) -> None:
        following = asyncio.create_task(event_of(trigger))
        await asyncio.sleep(0.5)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    with instance() as server:
        task, try_ = make_task(operator, tmp_path), TaskInstance()
        trigger = defer(task, try_).trigger
        asyncio.run(stop(trigger))
        for event in (None, {"error": "a cause"}, "of another version"):
            with pytest.raises(AirflowException, match="not ended") as failed:
                task.execute_complete(make_context(try_), event)
            assert not isinstance(failed.value, AirflowFailException)
        asyncio.run(event_of(trigger))
        # the event is lost: the state has the result
        assert task.execute_complete(make_context(try_), None)["counts"] == {"succeeded": 2}
        assert posts(server) == 2


def test_a_task_that_was_cleared_after_its_trigger_starts_anew(operator: Any, tmp_path: Path) -> None:
    """Airflow resumes a cleared task where the earlier one was: without a run of its own, it starts one."""
    with instance(duration=0) as server:
        task = make_task(operator, tmp_path)
        task.execute(make_context(TaskInstance()))
        result = task.execute_complete(make_context(TaskInstance(try_number=2, max_tries=3)), None)
        assert (result["counts"], posts(server)) == ({"succeeded": 2}, 4)


def test_the_next_try_continues_what_a_trigger_left(operator: Any, tmp_path: Path) -> None:
    """If no trigger ended the run, a retry of the task checks the jobs that were started and sends nothing twice."""
    with instance(duration=1.5) as server:
        task = make_task(operator, tmp_path)
        defer(task, TaskInstance())
        second = TaskInstance(try_number=2)
        event = asyncio.run(event_of(defer(task, second).trigger))
        assert task.execute_complete(make_context(second), event)["counts"] == {"succeeded": 2}
        assert posts(server) == 2


def test_what_a_trigger_cannot_do_reaches_the_task(
    operator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trigger without the connection's key says so in its event, and the task fails with these words."""
    with instance() as server:
        task, try_ = make_task(operator, tmp_path), TaskInstance()
        trigger = defer(task, try_).trigger
        CONNECTIONS["omni_default"] = Connection(host=server.url)
        event = asyncio.run(event_of(trigger))
        with pytest.raises(AirflowException, match="OMNI_API_TOKEN"):
            task.execute_complete(make_context(try_), event)


def test_the_deadline_counts_from_the_start_of_the_try(operator: Any, tmp_path: Path) -> None:
    """The trigger ends the run at the earlier of `deadline` and `execution_timeout`; Airflow's own limit comes later."""
    with instance(duration="never"):
        task = make_task(operator, tmp_path, deadline="1h", execution_timeout=timedelta(seconds=3))
        try_ = TaskInstance()
        deferred = defer(task, try_)
        assert deferred.timeout is not None
        assert timedelta(seconds=290) < deferred.timeout <= timedelta(seconds=303)
        event = asyncio.run(event_of(deferred.trigger))
        with pytest.raises(operator.OmniRefreshFailed, match="interrupted: Sales"):
            task.execute_complete(make_context(try_), event)


def test_a_task_whose_jobs_are_done_is_not_deferred(operator: Any, tmp_path: Path) -> None:
    """If no job is left when all was sent, the task ends at once."""
    with instance(duration=0):
        result = make_task(operator, tmp_path).execute(make_context(TaskInstance()))
    assert result["counts"] == {"succeeded": 2}


def test_a_try_waits_for_the_lease_of_a_killed_one(
    operator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On shared state a dead process keeps its locks for a while: the try waits, but not for ever, and a kill ends the wait."""
    from orchestrator import api

    real, locked = api.run, 3

    async def run(*arguments: Any, **options: Any) -> Any:
        nonlocal locked
        locked -= 1
        if locked >= 0:
            raise LockedError("run r (pid 1) works on the same manifest and selection")
        return await real(*arguments, **options)

    monkeypatch.setattr(api, "run", run)
    monkeypatch.setattr(operator, "_LOOK_EVERY_S", 0.01)
    with instance(duration=0) as server:
        assert make_task(operator, tmp_path).execute(make_context(TaskInstance()))["counts"] == {"succeeded": 2}
        assert posts(server) == 2
        monkeypatch.setattr(operator, "_LEASE_PATIENCE_S", 0.02)
        locked = 100
        with pytest.raises(AirflowException, match="pid 1"):
            make_task(operator, tmp_path).execute(make_context(TaskInstance(run_id="another")))
        assert locked == 97


def test_deferring_needs_a_shared_state(operator: Any) -> None:
    """A triggerer on another machine cannot read a worker's folder, and one state has one place."""
    make = operator.OmniRefreshOperator
    with pytest.raises(ValueError, match="deferrable needs state_conn_id"):
        make(task_id="t", manifest="m.yaml", deferrable=True)
    with pytest.raises(ValueError, match="two places"):
        make(task_id="t", manifest="m.yaml", state="/state", state_conn_id="state")


def test_a_postgres_connection_is_an_address_of_the_state() -> None:
    """Every field reaches libpq as it is, whatever its characters; an empty one is left out; another type is refused."""
    from psycopg.conninfo import conninfo_to_dict

    def url(**fields: Any) -> str:
        given = {"conn_type": "postgres", "host": "db", "port": None, "user": None, "password": None, "database": None}
        return state_url(**{**given, "extra": {}, **fields})

    secret = "p@ss/w?rd&=%20:#"
    full = url(host="a,b", port=5433, user="omni", password=secret, database="omni", extra={"sslmode": "verify-full"})
    expected = {
        "host": "a,b",
        "port": "5433",
        "user": "omni",
        "password": secret,
        "dbname": "omni",
        "sslmode": "verify-full",
    }
    assert conninfo_to_dict(full) == expected
    assert (password_of(full, {}), secret in full) == (secret, False)
    assert conninfo_to_dict(url(password="")) == {"host": "db"}
    with pytest.raises(UsageError, match="type 'mysql'"):
        url(conn_type="mysql")


def test_a_connection_of_the_state_is_masked_and_checked() -> None:
    """The password is masked as it is and as the address holds it; a task with another type of connection is not retried."""
    with stand_in() as module:
        from orchestrator.airflow.hook import StateHook

        CONNECTIONS["state"] = Connection(conn_type="postgres", host="db", login="omni", password="p@ss", schema="omni")
        assert StateHook.url("state") == asyncio.run(StateHook.aurl("state"))
        assert {"p@ss", "p%40ss"} <= set(MASKED)
        CONNECTIONS["state"] = Connection(conn_type="http", host="db")
        task = module.OmniRefreshOperator(task_id="t", manifest="m.yaml", omni_conn_id=None, state_conn_id="state")
        with pytest.raises(AirflowFailException, match="type 'http'"):
            task.execute(make_context(TaskInstance()))
