"""What goes wrong on the wire: dropped, late and odd answers, closed connections, outages, clients that left."""

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from orchestrator.simulator import virtual
from orchestrator.simulator.server import HOST, Simulator
from tests.simulator.conversation import SALES, Caller, talk_to, talking

FATES: list[tuple[dict[str, object], type[Exception]]] = [
    ({"drop": "reset"}, aiohttp.ClientOSError),
    ({"drop": "close"}, aiohttp.ServerDisconnectedError),
    ({"drop": "headers"}, aiohttp.ClientError),
    ({"drop": "body"}, aiohttp.ClientPayloadError),
]


@pytest.mark.parametrize("fault,error", FATES, ids=str)
@pytest.mark.parametrize("effect", ["none", "before", "after"])
def test_a_connection_is_dropped_before_or_after_the_effect(
    fault: dict[str, object], error: type[Exception], effect: str
) -> None:
    """The client sees a broken connection, after the delay; whether a refresh started is what the rule says."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(error):
            await caller.refresh(SALES)
        assert loop.time() - began == pytest.approx(3, abs=1e-3)
        (call,) = simulator.calls
        assert (call.status, call.fault, call.accepted) == (None, "1", effect != "none")
        if effect != "none":
            assert call.started_s == pytest.approx(call.t_s + (3 if effect == "after" else 0), abs=1e-3)
        assert (await caller.refresh(SALES)).status == 200

    talk_to(talk, faults=[{"nth": [1], "delay": 3, "effect": effect, **fault}])


def test_a_job_that_starts_late_is_unknown_until_then() -> None:
    """After a gateway's 504 the refresh still starts, later; its job is 404 before."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        late = asyncio.create_task(caller.refresh(SALES))
        await asyncio.sleep(1)
        job = simulator.calls[0].job_id
        assert (await caller.get(f"/jobs/{job}/status")).status == 404
        answer = await late
        assert answer.status == 504
        assert answer.took_s == pytest.approx(5, abs=1e-3)
        assert answer.data["message"] == "Gateway Timeout"
        assert (await caller.get(f"/jobs/{job}/status")).data["status"] == "RUNNING"
        assert simulator.calls[0].finished_s == pytest.approx(5 + 8, abs=1e-3)

    talk_to(talk, faults=[{"nth": [1], "method": "POST", "status": 504, "delay": 5, "effect": "after"}])


ANSWERS: list[tuple[dict[str, Any], int, str, bytes]] = [
    ({"status": 502, "raw": "<h1>x</h1>"}, 502, "text/html", b"<h1>x</h1>"),
    ({"status": 200, "raw": "{", "content_type": "application/json"}, 200, "application/json", b"{"),
    ({"status": 200, "raw": "\udcff"}, 200, "text/html", b"\xff"),
    ({"status": 200, "body": None}, 200, "application/json", b"null"),
    ({"status": 409, "body": {"detail": "already running"}}, 409, "application/json", b'{"detail": "already running"}'),
    ({"status": 400, "message": "no"}, 400, "application/json", b'{"error":"400","message":"no"}'),
    ({"status": 403}, 403, "application/json", b'{"error":"403","message":"Forbidden: Insufficient permissions"}'),
    ({"status": 599}, 599, "application/json", b'{"error":"599","message":"Error"}'),
    ({"status": 202}, 202, "application/json", b"{}"),
    ({"status": 204}, 204, "", b""),
    ({"status": 307, "headers": {"Location": "http://127.0.0.1:9/x"}}, 307, "application/json", b"{}"),
]


@pytest.mark.parametrize("fault,status,content_type,body", ANSWERS, ids=lambda value: str(value)[:40])
def test_a_fault_answers_what_it_says(fault: dict[str, Any], status: int, content_type: str, body: bytes) -> None:
    """Status, body, type and headers are the rule's; nothing was started; the log tells the rule's name."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        answer = await caller.refresh(SALES)
        assert (answer.status, answer.body) == (status, body)
        assert not content_type or answer.headers["Content-Type"] == content_type
        assert all(answer.headers[name] == value for name, value in fault.get("headers", {}).items())
        (call,) = simulator.calls
        assert (call.status, call.fault, call.accepted) == (status, "odd", False)

    talk_to(talk, faults=[{"name": "odd", "always": True, **fault}])


def test_a_spoilt_poll_says_nothing_and_the_log_has_its_job() -> None:
    """A poll that is answered 500 is recorded with its job, and not as having told its status."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        job = (await caller.refresh(SALES)).data["jobId"]
        await asyncio.sleep(10)
        assert (await caller.get(f"/jobs/{job}/status")).status == 500
        call = simulator.calls[1]
        assert (call.job_id, call.job_status, call.tells_end) == (job, None, False)

    talk_to(talk, faults=[{"always": True, "path": "/status$", "status": 500, "headers": {"Retry-After": "3"}}])


def test_a_slow_answer_is_right_in_the_end() -> None:
    """A delayed answer is the regular one; the refresh started when the call arrived."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        answer = await caller.refresh(SALES)
        assert answer.status == 200
        assert answer.took_s == pytest.approx(30, abs=1e-3)
        assert simulator.calls[0].started_s == pytest.approx(0, abs=1e-3)

    talk_to(talk, faults=[{"always": True, "delay": 30}])


@pytest.mark.parametrize("sections", [{"keep_alive": 1}, {"faults": [{"nth": [1], "close_after": 1}]}], ids=str)
def test_idle_connections_are_closed_unannounced(sections: dict[str, Any]) -> None:
    """A connection that was idle for a second is gone, though no header said so."""

    async def talk(_: Simulator, caller: Caller) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, int(caller.url.rpartition(":")[2]))
        writer.write(b"GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" not in head.lower()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await reader.read()
        assert loop.time() - began == pytest.approx(1, abs=0.01)
        writer.close()
        await writer.wait_closed()
        return head

    assert b" 200 " in talk_to(talk, **sections)


def test_an_outage_refuses_connections_and_resets_those_that_are_open() -> None:
    """During an outage no client can connect and active calls are cut; after it everything works, jobs included."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        job = (await caller.refresh(SALES)).data["jobId"]
        with pytest.raises(aiohttp.ClientOSError):
            await caller.get("/whoami")
        assert simulator.now_s == pytest.approx(10, abs=1e-3)
        with pytest.raises(aiohttp.ClientConnectorError):
            await caller.get("/whoami")
        await asyncio.sleep(6)
        assert (await caller.get(f"/jobs/{job}/status")).data["status"] == "COMPLETED"

    slow = {"nth": [1], "path": "whoami", "delay": 60}
    talk_to(talk, outages=[{"from": 10, "until": 15}], faults=[slow])


def test_an_outage_under_way_ends_with_the_simulator() -> None:
    """A simulator that is stopped during an outage stops at once, as it does with active calls."""

    async def main() -> float:
        async with talking(outages=[{"from": 1, "until": 1e6}], faults=[{"always": True, "delay": 1e6}]) as (
            sim,
            caller,
        ):
            hanging = asyncio.create_task(caller.get("/whoami"))
            await asyncio.sleep(2)
            assert isinstance((await asyncio.gather(hanging, return_exceptions=True))[0], aiohttp.ClientError)
        async with talking(faults=[{"always": True, "delay": 1e6}]) as (_, caller):
            hanging = asyncio.create_task(caller.get("/whoami"))
            await asyncio.sleep(1)
        assert isinstance((await asyncio.gather(hanging, return_exceptions=True))[0], aiohttp.ClientError)
        return sim.now_s

    assert virtual.run(main(), debug=True) < 60


def test_a_client_that_left_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A client that gives up while its answer is late leaves a whole record and no noise."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(caller.refresh(SALES), 5)
        await asyncio.sleep(60)
        assert [call.accepted for call in simulator.calls] == [True, False, True]
        assert (await caller.get("/whoami")).status == 200

    with caplog.at_level(logging.WARNING):
        talk_to(
            talk,
            faults=[
                {"nth": [1], "delay": 30},
                {"nth": [2], "drop": "reset", "delay": 30},
                {"nth": [3], "delay": 30, "close_after": 1},
            ],
        )
    assert not caplog.records
