"""The Python API: what others import."""

import asyncio
import importlib
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator import (
    LockedError,
    ManifestError,
    Report,
    Status,
    UsageError,
    check,
    discover,
    history,
    load_manifest,
    load_report,
    plan,
    read_changes,
    resume,
    retry,
    run,
    run_sync,
    write_report,
)
from orchestrator.cli.main import COMMANDS
from orchestrator.clock import real_clock
from orchestrator.engine.events import RunEvent, RunFinished, RunPlanned, RunStarted, TargetFinished
from orchestrator.journal.journal import Journal
from orchestrator.journal.records import NewRun, RunRecord
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.rehearsal import manifest_text, model, uuid

ENVIRON = {"OMNI_BASE_URL": "http://127.0.0.1:1", "KEY_1": "api-key-1"}


@asynccontextmanager
async def serving(models: Mapping[int, Mapping[str, Any]], **staged: Any) -> AsyncIterator[Simulator]:
    """A simulated instance with these models."""
    listed = [{"id": uuid(number), **said} for number, said in models.items()]
    scenario = make_scenario(models=listed, limit={"kind": "none"}, **staged)
    async with Simulator(scenario, utcnow=lambda: datetime.now(UTC)) as simulator:
        yield simulator


def make_text(simulator: Simulator, *numbers: int, **top: Any) -> str:
    """A manifest of these models on a simulated instance, polled quickly."""
    defaults = {"poll": {"min": "20ms", "max": "50ms"}}
    instance = {"base_url": simulator.url, "rate_limit": {"requests": 600, "per": "1s"}}
    return manifest_text(*(model(n) for n in numbers), instance=instance, defaults=defaults, **top)


def statuses(report: Report | None) -> dict[str, str]:
    """Each target's status."""
    assert report is not None
    return {outcome.name: outcome.status.value for outcome in report.outcomes}


def posts(simulator: Simulator) -> int:
    """How many refresh calls the server saw."""
    return sum(call.method == "POST" for call in simulator.calls)


def test_a_run_returns_its_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A run returns the same document as --json, reports its events, writes no file that was not asked for, says nothing."""
    events: list[RunEvent] = []
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def main() -> Report:
        async with serving({1: {"duration": 0.02}, 2: {"duration": 0.02, "result": "FAILED"}}) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1, 2), environ=ENVIRON)
            return await run(manifest, select=["m*"], state=tmp_path / "state", on_event=events.append)

    before = set(Path.cwd().iterdir())
    report = asyncio.run(main())
    assert statuses(report) == {"m1": "succeeded", "m2": "failed"}
    assert report.outcomes[0].status is Status.SUCCEEDED
    assert report.exit_code == 1
    document = report.to_dict()
    assert (document["schema_version"], document["summary"]["failed"]) == (1, 1)
    assert [type(e) for e in events if isinstance(e, RunStarted | RunPlanned | RunFinished)] == [
        RunStarted,
        RunPlanned,
        RunFinished,
    ]
    assert {e.outcome.name for e in events if isinstance(e, TargetFinished)} == {"m1", "m2"}
    assert set(Path.cwd().iterdir()) == before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not logging.getLogger("orchestrator").handlers
    assert capfd.readouterr() == ("", "")


def test_two_runs_share_a_loop(tmp_path: Path) -> None:
    """Two runs of different manifests go on in one event loop, each with its own report and events."""

    async def main() -> tuple[Report, Report]:
        async with serving({n: {"duration": 0.1} for n in range(1, 5)}) as simulator:
            texts = make_text(simulator, 1, 2, name="one"), make_text(simulator, 3, 4, name="two")
            one, two = (load_manifest(text=text, environ=ENVIRON) for text in texts)
            first, second = await asyncio.gather(run(one, state=tmp_path), run(two, state=tmp_path))
            return first, second

    first, second = asyncio.run(main())
    assert statuses(first) == {"m1": "succeeded", "m2": "succeeded"}
    assert statuses(second) == {"m3": "succeeded", "m4": "succeeded"}
    assert first.run.id != second.run.id


def test_cancelling_stops_in_order(tmp_path: Path) -> None:
    """Cancelling the task ends the run like SIGTERM, and what it left is resumed without a second refresh."""

    async def main() -> tuple[Report | None, int]:
        async with serving({1: {"duration": 2}, 2: {"duration": 0.02}}) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1, 2), environ=ENVIRON)
            finished = asyncio.Event()

            def watch(event: RunEvent) -> None:
                if isinstance(event, TargetFinished):
                    finished.set()

            task = asyncio.create_task(run(manifest, state=tmp_path, grace="50ms", on_event=watch))
            await finished.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await resume(state=tmp_path, environ=ENVIRON), posts(simulator)

    report, sent = asyncio.run(main())
    assert statuses(report) == {"m1": "succeeded", "m2": "succeeded"}
    assert sent == 2


def test_a_key_continues_retries_or_starts(tmp_path: Path) -> None:
    """A run with a key continues what is unfinished, retries what failed, and starts anew when all succeeded."""
    seen: list[tuple[str, dict[str, str], int]] = []

    async def main() -> None:
        fault = {"method": "POST", "path": uuid(2), "status": 400, "nth": [1]}
        async with serving({1: {"duration": 0.3}, 2: {"duration": 0.02}}, faults=[fault]) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1, 2), environ=ENVIRON)
            planned = asyncio.Event()

            def watch(event: RunEvent) -> None:
                if isinstance(event, RunPlanned):
                    planned.set()

            task = asyncio.create_task(
                run(manifest, state=tmp_path, key="dag/1", grace="1ms", environ=ENVIRON, on_event=watch)
            )
            await planned.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for _ in range(3):
                report = await run(manifest, state=tmp_path, key="dag/1", environ=ENVIRON)
                seen.append((report.run.trigger.value, statuses(report), posts(simulator)))

    asyncio.run(main())
    assert [trigger for trigger, _, _ in seen] == ["resume", "retry", "run"]
    assert seen[1][1] == {"m2": "succeeded"}
    assert seen[2][1] == {"m1": "succeeded", "m2": "succeeded"}
    assert seen[2][2] - seen[1][2] == 2


def test_two_processes_with_one_key_start_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look before either begins, and no lock keeps them apart: the second sends nothing and says why."""
    look = Journal.latest_with_key

    def look_and_be_overtaken(journal: Journal, key: str) -> RunRecord | None:
        found = look(journal, key)
        new = NewRun(
            id="quicker", root="quicker", origin=None, trigger="run", manifest_path="m", manifest_file="m",
            manifest_identity="m", manifest_sha256="0", lock="l", began_at=datetime.now(UTC), key=key,
        )  # fmt: skip
        with closing(Journal.open(tmp_path, clock=real_clock(), boot="")) as other:
            other.begin(new)
        return found

    async def main() -> int:
        async with serving({1: {"duration": 0.02}}) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1), environ=ENVIRON)
            monkeypatch.setattr(Journal, "latest_with_key", look_and_be_overtaken)
            with pytest.raises(LockedError, match="quicker") as locked:
                await run(manifest, state=tmp_path, key="k", on_overlap="proceed", environ=ENVIRON)
            assert locked.value.code == "run-locked"
            return posts(simulator)

    assert asyncio.run(main()) == 0
    assert [one["id"] for one in history(state=tmp_path)["runs"]] == ["quicker"]


def test_retry_and_nothing_to_do(tmp_path: Path) -> None:
    """`retry` sends what failed again; without anything to retry or to resume both return None."""

    async def main() -> None:
        fault = {"method": "POST", "path": uuid(1), "status": 404, "nth": [1]}
        async with serving({1: {"duration": 0.02}, 2: {"duration": 0.02}}, faults=[fault]) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1, 2), environ=ENVIRON)
            first = await run(manifest, state=tmp_path)
            assert statuses(first) == {"m1": "rejected", "m2": "succeeded"}
            again = await retry(first.run.id, state=tmp_path, environ=ENVIRON)
            assert statuses(again) == {"m1": "succeeded"}
            assert await retry(first.run.id, state=tmp_path, environ=ENVIRON) is None
            assert await resume(first.run.id, state=tmp_path, environ=ENVIRON) is None

    asyncio.run(main())


def test_a_plan_is_what_a_run_does(tmp_path: Path) -> None:
    """`plan` names the refreshes and their cost, and sends none."""

    async def main() -> dict[str, Any]:
        async with serving({1: {"duration": 0.02}}) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1), environ=ENVIRON)
            planned = await plan(manifest, state=tmp_path)
            assert planned.exit_code == 0
            assert posts(simulator) == 0
            return dict(planned.to_dict())

    document = asyncio.run(main())
    assert [refresh["name"] for refresh in document["refreshes"]] == ["m1"]


def test_scripts_need_no_loop(tmp_path: Path) -> None:
    """`run_sync` runs to the end by itself, also against the simulator, whose runs are marked."""
    report = run_sync(load_manifest(text=manifest_text(model(1)), environ=ENVIRON), simulate=True, state=tmp_path)
    assert statuses(report) == {"m1": "succeeded"}
    assert report.run.simulated


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda: load_manifest(text="models: [{}]", environ=ENVIRON), "manifest:1:10"),
        (load_manifest, "a path or a text"),
        (lambda: run_sync(load_manifest(text=manifest_text(model(1)), environ=ENVIRON), deadline="soon"), "deadline"),
        (
            lambda: run_sync(load_manifest(text=manifest_text(model(1)), environ=ENVIRON), state="mysql://x"),
            "folder",
        ),
        (lambda: run_sync(load_manifest(text=manifest_text(model(1)), environ=ENVIRON), select=["no"]), "no"),
    ],
)
def test_what_is_wrong_is_a_usage_error(wrong: Callable[[], object], words: str) -> None:
    """What is wrong before the first call raises `UsageError`; a wrong manifest carries each fault with its line."""
    with pytest.raises(UsageError) as caught:
        wrong()
    assert words in str(caught.value)
    if isinstance(caught.value, ManifestError):
        assert caught.value.diagnostics[0].place.line == 1


def test_a_manifest_is_checked_and_discovered() -> None:
    """`check` reports what the instance lacks, `discover` writes a manifest that loads and compares one."""

    async def main() -> None:
        async with serving({1: {"name": "One"}, 2: {"name": "Two"}}) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1, 3), environ=ENVIRON)
            offline, online = await check(manifest), await check(manifest, online=True)
            assert (offline.exit_code, online.exit_code) == (0, 1)
            assert [each["name"] for each in online.to_dict()["findings"] if each["severity"] == "error"] == ["m3"]
            found = await discover(manifest)
            assert found.difference is not None
            assert [model.name for model in found.difference.new] == ["Two"]
            assert [entry.name for entry in found.difference.gone] == ["m3"]
            environ = {"OMNI_BASE_URL": simulator.url, "OMNI_API_TOKEN": "api-key-1"}
            alone = await discover(environ=environ, name=["T*"])
            again = load_manifest(text=alone.to_yaml(), environ=environ)
            assert [entry.model_id for entry in again.entries] == [uuid(2)]

    asyncio.run(main())


def test_targets_are_listed_and_a_set_up_examined(tmp_path: Path) -> None:
    """`ls` and `doctor` give the documents of their commands; neither prints, and `ls` needs no key."""
    text = manifest_text(model(1, tags=["a"]), model(2))
    targets = orchestrator.ls(load_manifest(text=text, environ=ENVIRON, with_keys=False), select=["tag:a"])["targets"]
    assert isinstance(targets, list)
    assert [(each["name"], each["mode"]) for each in targets] == [("m1", "hard")]
    with pytest.raises(UsageError):
        orchestrator.ls(load_manifest(text=text, environ=ENVIRON), select=["nothing"])

    async def main() -> None:
        async with serving({1: {"name": "One"}}) as simulator:
            manifest = load_manifest(text=make_text(simulator, 1), environ=ENVIRON)
            found = await orchestrator.doctor(manifest, state=tmp_path / "state")
            assert found["exit_code"] == 0
            assert isinstance(found["examined"], list)
            assert [each["what"] for each in found["examined"]] == ["address", "key", "role", "clock", "state"]

    asyncio.run(main())


def test_changes_are_read_without_a_manifest(tmp_path: Path) -> None:
    """`read_changes` gives the document of `changes --json`."""
    migration = tmp_path / "V1__x.sql"
    migration.write_text("ALTER TABLE sales.orders DROP COLUMN x;")
    document = read_changes(ddl=[str(migration)], changed=["finance"]).to_dict()
    assert [(each["name"], each["effect"]) for each in document["changes"]] == [
        ("sales.orders", "destructive"),
        ("finance.*", "additive"),
    ]
    assert not read_changes().changes
    with pytest.raises(UsageError) as refused:
        read_changes(ddl=["-"])
    assert refused.value.code == "no-stdin"


def test_an_earlier_report_is_read_again(tmp_path: Path) -> None:
    """`load_report` returns the report of a run that ended, `write_report` renders it, `history` lists the run."""
    state = tmp_path / "state"

    async def main() -> Report:
        async with serving({1: {"duration": 0.02}}) as simulator:
            return await run(load_manifest(text=make_text(simulator, 1), environ=ENVIRON), state=state)

    report = asyncio.run(main())
    again = load_report(report.run.id[:20], state=state)
    assert again.to_dict() == report.to_dict()
    write_report(again, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8")) == report.to_dict()
    assert [each["id"] for each in history(state=state)["runs"]] == [report.run.id]
    with pytest.raises(UsageError):
        write_report(again, tmp_path / "again.pdf")


_DISPLAY = {"as_json", "sarif", "log_format", "log_file", "verbose", "quiet", "no_color", "progress"}
"""Options about what a command prints, which a function does not do."""

_OF_MANIFESTS = {"mode", "timeout", "workers", "base_url", "models", "schemas", "tables", "branch"}
"""Options about the manifest: `override_manifest` and `load_manifest(text=...)` make one that says the same."""


@pytest.mark.parametrize("name", ["run", "plan", "resume", "retry", "check"])
def test_options_and_arguments_have_the_same_names(name: str) -> None:
    """What the command line can say, the function can: each option of the command is an argument of the function."""
    command = getattr(importlib.import_module(f"orchestrator.cli.{COMMANDS[name][0]}"), name)
    options = {each.name for each in command.params if each.name is not None} - _DISPLAY - _OF_MANIFESTS
    assert options <= set(inspect.signature(getattr(orchestrator, name)).parameters)


def test_importing_costs_little() -> None:
    """`import orchestrator` loads no room and no library."""
    code = "import sys; before = set(sys.modules); import orchestrator; print(sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "orchestrator." not in loaded
    assert not any(name in loaded for name in ("aiohttp", "yaml", "structlog", "click"))


@pytest.mark.parametrize("first", ["Report", "run", "plan", "Status"])
def test_names_are_the_same_in_any_order(first: str) -> None:
    """Whichever public name is used first, `run` and `plan` are functions."""
    code = (
        f"import orchestrator; orchestrator.{first}; import orchestrator.api;"
        " print(all(callable(getattr(orchestrator, name)) for name in ('run', 'plan', 'resume', 'retry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "True"


def test_every_public_name_is_there() -> None:
    """Each name of `__all__` can be imported, and an unknown one is an AttributeError."""
    assert all(hasattr(orchestrator, name) for name in orchestrator.__all__)
    with pytest.raises(AttributeError):
        _ = orchestrator.no_such_name
