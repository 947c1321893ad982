"""The examples for Dagster, Prefect and FastAPI refresh models. Small stand-ins take the places of these libraries."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from orchestrator import api
from orchestrator.app.context import Context
from orchestrator.clock import Clock
from orchestrator.simulator import virtual
from tests.house.tree import ROOT

MANIFEST = str(ROOT / "configs/demo.yaml")
GOOD, BAD = ["Payroll", "Ledger"], ["Contracts"]


class Failed(Exception):
    """Takes the place of a library's own error; keeps what it was raised with."""

    def __init__(self, *words: object, **values: object) -> None:
        super().__init__(*words)
        self.values = values


def _plain(*args: Any, **options: Any) -> Any:
    """A decorator that changes nothing, with or without arguments."""
    del options
    return args[0] if args and callable(args[0]) else lambda function: function


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Import an example with the stand-ins in place; its runs are in virtual time."""
    monkeypatch.setenv("OMNI_REFRESH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("PYTHONASYNCIODEBUG")
    service = SimpleNamespace(post=lambda path: _plain)
    stand_ins: dict[str, dict[str, object]] = {
        "dagster": {
            "Config": SimpleNamespace,
            "asset": _plain,
            "RetryPolicy": SimpleNamespace,
            "AssetExecutionContext": SimpleNamespace,
            "MaterializeResult": SimpleNamespace,
            "Failure": Failed,
        },
        "prefect": {"flow": _plain, "task": _plain, "get_run_logger": lambda: SimpleNamespace(info=lambda *_: None)},
        "prefect.runtime": {"flow_run": SimpleNamespace(get_id=lambda: "a-flow-run")},
        "fastapi": {"FastAPI": lambda: service, "HTTPException": Failed},
    }
    for name, contents in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)

    def example(name: str) -> ModuleType:
        path = ROOT / "configs/python" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return example


def _in_virtual_time(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        clock = Clock(loop.time, virtual.utcnow_of(loop))
        monkeypatch.setattr(api, "Context", partial(Context, clock=clock, rng=Random(0)))
        return await work()

    return virtual.run(main())


def test_the_dagster_asset(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """The asset returns the run's counts, and raises `Failure` with them if a model did not succeed."""
    example = load("dagster_asset")
    context = SimpleNamespace(run_id="r", log=SimpleNamespace(debug=lambda text: None))

    def materialize(select: list[str]) -> Any:
        config = SimpleNamespace(manifest=MANIFEST, select=select, simulate=True)
        return _in_virtual_time(monkeypatch, lambda: example.omni_models(context, config))

    assert materialize(GOOD).metadata["succeeded"] == 2
    with pytest.raises(Failed) as caught:
        materialize(BAD)
    assert str(caught.value) == "did not succeed: Contracts"
    metadata = caught.value.values["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["rejected"] == 1


def test_the_prefect_flow(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow returns the run's id, and its task raises if a model did not succeed, so that Prefect retries it."""
    example = load("prefect_flow")
    assert _in_virtual_time(monkeypatch, lambda: example.refresh_models(MANIFEST, GOOD, simulate=True))
    with pytest.raises(RuntimeError, match="1 models did not succeed"):
        _in_virtual_time(monkeypatch, lambda: example.refresh_models(MANIFEST, BAD, simulate=True))


def test_the_service(load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests at once are two runs, and an unknown model is 422."""
    monkeypatch.setenv("MANIFEST", MANIFEST)
    monkeypatch.setenv("SIMULATE", "1")
    example = load("fastapi_service")

    async def requests() -> list[Any]:
        wanted = (["Payroll"], ["Ledger"], ["Nothing"])
        return await asyncio.gather(*(example.refresh(models) for models in wanted), return_exceptions=True)

    payroll, ledger, unknown = _in_virtual_time(monkeypatch, requests)
    assert payroll["models"] == {"Payroll": "succeeded"}
    assert ledger["models"] == {"Ledger": "succeeded"}
    assert payroll["run"] != ledger["run"]
    assert unknown.args[0] == 422
