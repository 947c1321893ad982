"""The client against the simulated instance: every question has its answer, in each form that the API is known in."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from orchestrator.manifest.manifest import Instance, Secret
from orchestrator.omni.answers import JobState, ModelsQuery, RefreshRequest, View
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallErrorKind, KeyRefused, Refused
from orchestrator.simulator import virtual
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator

T = TypeVar("T")
KEY = Secret("a-key-of-the-simulator")
MODEL = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
FORMS: list[dict[str, str]] = [{}, {"schemas": "object", "issues": "object"}]


def _with(use: Callable[[OmniClient, Simulator], Awaitable[T]], **sections: object) -> T:
    connection = {
        "name": "warehouse",
        "schemas": {"PUBLIC": ["ORDERS", "2024_01"], "SALES": ["ORDERS"], "OLD": ["X"]},
        "offloaded": ["OLD"],
        "schedules": [{"schedule": "0 6 * * ? *", "hard_refresh": True}],
    }
    model = {
        "id": MODEL,
        "name": "Sales",
        "connection": "warehouse",
        "branches": ["feat/ui"],
        "issues": [{"message": "no such column", "yaml_path": "a.view"}],
    }
    scenario = make_scenario(connections=[connection], models=[model], **sections)

    async def main() -> T:
        utcnow = virtual.utcnow_of(asyncio.get_running_loop())
        async with Simulator(scenario, utcnow=utcnow) as simulator:
            instance = Instance(name="prod", base_url=simulator.url, keys=())
            async with OmniClient(instance, utcnow=utcnow, user_agent="test") as omni:
                return await use(omni, simulator)

    return virtual.run(main(), debug=True)


def test_a_refresh_from_start_to_end() -> None:
    """A refresh gives a job; its polls tell that it runs, then how it ended."""

    async def use(omni: OmniClient, simulator: Simulator) -> None:
        answer = await omni.refresh(RefreshRequest(model_id=MODEL, hard=True), KEY)
        assert answer.job_id is not None
        assert (await omni.job(answer.job_id, KEY)).state is JobState.RUNNING
        await asyncio.sleep(10)
        assert (await omni.job(answer.job_id, KEY)).state is JobState.SUCCEEDED
        assert len(simulator.calls) == 3

    _with(use)


@pytest.mark.parametrize("answers", FORMS)
def test_every_read(answers: dict[str, str]) -> None:
    """Models, branches, connections, schemas, views, issues, schedules, roles, environments: each is understood."""

    async def use(omni: OmniClient, _: Simulator) -> None:
        page = await omni.models(ModelsQuery(kind="SHARED", active_branches=True), KEY)
        (record,) = page.records
        assert (record.id, record.name, page.next_cursor) == (MODEL, "Sales", None)
        assert [name for _, name in record.branches or ()] == ["feat/ui"]
        assert record.connection_id is not None
        (connection,) = await omni.connections(KEY)
        assert (await omni.connection(record.connection_id, KEY)).id == connection.id == record.connection_id
        assert set(await omni.schemas(MODEL, KEY)) == {"PUBLIC", "SALES", "OLD"}
        views = await omni.views(MODEL, KEY)
        assert {(view.schema, view.table) for view in views} == {
            *(("PUBLIC", "ORDERS"), ("PUBLIC", "2024_01"), ("SALES", "ORDERS")),
        }
        assert [view.table for view in await omni.views(MODEL, KEY, schema="OLD")] == ["X"]
        assert isinstance(views[0], View)
        (issue,) = await omni.validate(MODEL, KEY)
        assert (issue.message, issue.is_warning) == ("no such column", False)
        assert issue.yaml_path == (None if answers else "a.view")
        (schedule,) = await omni.schedules(connection.id, KEY)
        assert schedule.id
        assert (schedule.cron, schedule.hard, schedule.disabled) == ("0 6 * * ? *", True, False)
        (role,) = (await omni.whoami([MODEL], KEY)).roles
        assert (role.model_id, role.connection_id) == (MODEL, connection.id)
        assert await omni.environments(KEY) == ()
        await omni.ping(KEY)

    _with(use, answers=answers)


def test_pages_are_followed_by_their_cursor() -> None:
    """Two hundred models come in three pages of a hundred, none twice."""

    async def use(omni: OmniClient, _: Simulator) -> set[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await omni.models(ModelsQuery(cursor=cursor), KEY)
            found.extend(record.id for record in page.records)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert page.total == len(found)
        return set(found)

    assert len(_with(use, generate=[{"count": 200}])) >= 201


@pytest.mark.parametrize("shape", ["message", "detail", "scim", "error"])
@pytest.mark.parametrize(
    "ask, kind, words",
    [
        (RefreshRequest(model_id="no-uuid", hard=True), CallErrorKind.BAD_REQUEST, "modelId"),
        (RefreshRequest(model_id="0" * 8 + MODEL[8:], hard=True), CallErrorKind.NOT_FOUND, "not found"),
        (RefreshRequest(model_id=MODEL, hard=True, tables=("x",)), CallErrorKind.BAD_REQUEST, "hard_refresh=false"),
        (RefreshRequest(model_id=MODEL, hard=True, branch_id=MODEL), CallErrorKind.BAD_REQUEST, "branch_id"),
        (
            RefreshRequest(model_id=MODEL, hard=False, tables=tuple(f"s.t{n:06}" for n in range(1000))),
            CallErrorKind.URI_TOO_LONG,
            "",
        ),
    ],
)
def test_refusals_keep_the_servers_words(ask: RefreshRequest, kind: CallErrorKind, words: str, shape: str) -> None:
    """What the server refuses is refused in its own words."""

    async def use(omni: OmniClient, _: Simulator) -> None:
        with pytest.raises(Refused) as caught:
            await omni.refresh(ask, KEY)
        assert caught.value.kind is kind
        assert words.lower() in caught.value.message.lower()

    _with(use, answers={"error_shape": shape})


@pytest.mark.parametrize("bad_key", ["unauthorized", "invalid_token"])
def test_a_key_that_is_not_accepted(bad_key: str) -> None:
    """Both ways of refusing a key are told from a missing permission."""

    async def use(omni: OmniClient, _: Simulator) -> None:
        with pytest.raises(KeyRefused):
            await omni.refresh(RefreshRequest(model_id=MODEL, hard=True), Secret("another-key"))

    _with(use, keys=[KEY.reveal()], answers={"bad_key": bad_key})
