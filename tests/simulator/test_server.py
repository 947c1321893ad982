"""The simulator over real HTTP: what goes over the wire, when, and what is recorded of it."""

import asyncio
import shutil
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.simulator import virtual
from orchestrator.simulator.calls import Call, read_calls
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import HOST, Simulator, serve
from orchestrator.simulator.staging import model_id
from tests.simulator.conversation import MODELS, SALES, Caller, talk_to, talking


def test_a_refresh_and_its_job_over_http() -> None:
    """A client starts a refresh and polls it to its end; answers are JSON, and the server's date is the clock's."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        started = await caller.refresh(SALES, "?hard_refresh=true")
        assert (started.status, started.headers["Content-Type"]) == (200, "application/json")
        assert parsedate_to_datetime(started.headers["Date"]) == virtual.START_AT
        job = started.data["jobId"]
        assert (await caller.get(f"/jobs/{job}/status")).data["status"] == "RUNNING"
        await asyncio.sleep(8)
        ended = await caller.get(f"/jobs/{job}/status")
        assert ended.data["status"] == "COMPLETED"
        assert parsedate_to_datetime(ended.headers["Date"]) == virtual.START_AT + timedelta(seconds=8)
        assert simulator.url.startswith(f"http://{HOST}:")
        assert simulator.stage.models[SALES].name == "sales"

    talk_to(talk)


def test_a_call_is_recorded_with_what_matters() -> None:
    """Time, key label, method, path, decoded and raw query, status, job, duration, end, user agent; never the key."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        await asyncio.sleep(5)
        await caller.refresh(SALES, "?hard_refresh=false&schemas=a%2Cb+c&tables=x%26y")
        (call,) = simulator.calls
        assert call.query == {"hard_refresh": "false", "schemas": "a,b c", "tables": "x&y"}
        assert call.query_string == "hard_refresh=false&schemas=a%2Cb+c&tables=x%26y"
        assert call.path == f"/api/v1/models/{SALES}/refresh"
        assert call.url_bytes == len(call.path) + 1 + len(call.query_string)
        assert (call.number, call.method, call.status, call.accepted) == (1, "POST", 200, True)
        assert call.t_s == pytest.approx(5, abs=1e-3)
        assert (call.duration_s, call.started_s) == (8.0, call.t_s)
        assert call.finished_s == pytest.approx(13, abs=1e-3)
        assert call.model_id == SALES
        assert call.user_agent.startswith("Python/")
        assert len(call.key) == 8
        assert "a-key-of-the-simulator" not in repr(call)

    talk_to(talk)


def test_a_key_of_odd_bytes_is_a_key() -> None:
    """A bearer token that is no text is labelled and judged like any other."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        reader, writer = await asyncio.open_connection(HOST, int(caller.url.rpartition(":")[2]))
        writer.write(b"GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xc3\r\n\r\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert b" 200 " in line
        assert len(simulator.calls[0].key) == 8

    talk_to(talk)


def test_keys_are_checked_and_limited_over_http() -> None:
    """No key and a wrong one are refused; a limited call is 429 with Retry-After, and a call after it is admitted."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        assert [(await caller.call("GET", "/api/v1/whoami", key=key)).status for key in (None, "wrong")] == [401, 401]
        assert [(await caller.get("/whoami")).status for _ in range(3)] == [200, 200, 429]
        limited = await caller.get("/whoami")
        assert limited.headers["Retry-After"] == "10"
        await asyncio.sleep(10)
        assert (await caller.get("/whoami")).status == 200
        assert [call.limited for call in simulator.calls] == [False, False, False, False, True, True, False]
        assert simulator.calls[0].key == "-"

    keys = [{"key": "a-key-of-the-simulator"}, "another"]
    talk_to(talk, keys=keys, limit={"requests": 2, "per": 10, "retry_after": "seconds"})


def test_a_wrong_key_may_be_a_403() -> None:
    """With `bad_key: invalid_token` a wrong key is 403 in the words that people saw; none at all stays 401."""

    async def talk(_: Simulator, caller: Caller) -> None:
        wrong = await caller.call("GET", "/api/v1/whoami", key="wrong")
        assert (wrong.status, wrong.data["message"]) == (403, "Invalid bearer token")
        assert (await caller.call("GET", "/api/v1/whoami", key=None)).status == 401

    talk_to(talk, keys=["right"], answers={"bad_key": "invalid_token"})


@pytest.mark.parametrize("offset_s", [0.0, 3600.0, -60.0])
def test_a_retry_after_date_goes_by_the_servers_clock(offset_s: float) -> None:
    """A date in Retry-After, measured against the answer's Date, is the wait; also where the server's clock is wrong."""

    async def talk(_: Simulator, caller: Caller) -> None:
        await asyncio.sleep(0.5)
        await caller.get("/whoami")
        limited = await caller.get("/whoami")
        date, until = (parsedate_to_datetime(limited.headers[name]) for name in ("Date", "Retry-After"))
        assert timedelta(seconds=10) <= until - date <= timedelta(seconds=11)
        assert date == virtual.START_AT + timedelta(seconds=offset_s)

    talk_to(talk, limit={"requests": 1, "per": 10, "retry_after": "date"}, answers={"clock_offset": offset_s})


def test_a_429_may_be_a_proxys_page() -> None:
    """With `body: html` a limited call gets a page and no Retry-After."""

    async def talk(_: Simulator, caller: Caller) -> None:
        await caller.get("/whoami")
        limited = await caller.get("/whoami")
        assert (limited.status, limited.headers["Content-Type"]) == (429, "text/html")
        assert limited.body.startswith(b"<html>")
        assert "Retry-After" not in limited.headers

    talk_to(talk, limit={"requests": 1, "body": "html"})


def test_a_long_target_is_refused_by_the_proxy() -> None:
    """A target longer than `max_url` is 414, a page, and uses up no call; one of just that length is served."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        target = f"/api/v1/models/{SALES}/refresh?hard_refresh=false&tables="
        fitting = await caller.call("POST", target + "x" * (9000 - len(target)))
        too_long = await caller.call("POST", target + "x" * (9001 - len(target)))
        assert (fitting.status, too_long.status) == (200, 414)
        assert too_long.headers["Content-Type"] == "text/html"
        assert (await caller.get("/whoami")).status == 200
        assert [call.url_bytes for call in simulator.calls][:2] == [9000, 9001]

    talk_to(talk, max_url=9000, limit={"requests": 2})


def test_latency_is_spent_on_both_ways() -> None:
    """A call takes as long as its latency says; it counts when it arrives, somewhere in between."""

    async def talk(simulator: Simulator, caller: Caller) -> None:
        for _ in range(20):
            assert (await caller.get("/whoami")).took_s == pytest.approx(0.4, abs=1e-3)
        arrivals = [call.t_s - 0.4 * number for number, call in enumerate(simulator.calls)]
        assert min(arrivals) < 0.1
        assert max(arrivals) > 0.3
        assert all(
            call.answer_after_s == pytest.approx(0.4 - arrival, abs=1e-3)
            for call, arrival in zip(simulator.calls, arrivals, strict=True)
        )

    talk_to(talk, latency=0.4)


def test_the_same_seed_gives_the_same_log() -> None:
    """Same scenario, seed and client: the very same calls, to the last digit; another seed: others."""

    async def main(seed: int | None) -> list[Call]:
        sections: dict[str, Any] = {
            "latency": {"median": 0.2, "sigma": 0.8},
            "generate": [{"count": 30, "duration": [5, 60], "connections": 7}],
            "faults": [{"p": 0.2, "status": 500}],
            "limit": {"kind": "bucket", "requests": 30, "burst": 5, "retry_after": "seconds"},
        }
        async with talking(seed, **sections) as (simulator, caller):

            async def one(number: int) -> None:
                for _ in range(6):
                    await caller.refresh(model_id(f"Model {number}"))
                    await asyncio.sleep(7)

            await asyncio.gather(*(one(number) for number in range(1, 31)))
            return [*simulator.calls]

    first = virtual.run(main(None))
    assert len(first) == 180
    assert {call.status for call in first} == {200, 429, 500}
    assert virtual.run(main(None)) == first
    assert virtual.run(main(0)) == first
    assert virtual.run(main(1)) != first


def test_the_log_file_holds_every_call(tmp_path: Path) -> None:
    """With a path the log is also a file of JSON lines, which reads back as the same calls; a cut last line is left out."""
    path = tmp_path / "calls.jsonl"

    async def main() -> list[Call]:
        utcnow = virtual.utcnow_of(asyncio.get_running_loop())
        async with (
            Simulator(make_scenario(models=MODELS), utcnow=utcnow, log_path=path) as simulator,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(session, simulator.url)
            job = (await caller.refresh(SALES, "?hard_refresh=true")).data["jobId"]
            await caller.get(f"/jobs/{job}/status")
            assert len(read_calls(path)) == 2
            return [*simulator.calls]

    calls = virtual.run(main())
    assert read_calls(path) == calls
    with path.open("a", encoding="utf-8") as file:
        file.write('{"number": 3, "t')
    assert read_calls(path) == calls


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A folder in the log's place stops the start; a taken port as well, with the log closed again."""

    async def main(port: int, log_path: Path | None) -> None:
        utcnow = virtual.utcnow_of(asyncio.get_running_loop())
        async with Simulator(make_scenario(), utcnow=utcnow, port=port, log_path=log_path) as first:
            taken = int(first.url.rpartition(":")[2])
            async with Simulator(make_scenario(), utcnow=utcnow, port=taken, log_path=tmp_path / "second"):
                pass

    with pytest.raises(IsADirectoryError):
        virtual.run(main(0, tmp_path))
    with pytest.raises(OSError, match="address already in use"):
        virtual.run(main(0, tmp_path / "first"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_https_is_served_with_the_given_certificate(tmp_path: Path) -> None:
    """With a TLS context the simulator speaks https."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=simulator", "-addext", f"subjectAltName=IP:{HOST}", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))

    async def main() -> int:
        utcnow = virtual.utcnow_of(asyncio.get_running_loop())
        async with (
            Simulator(make_scenario(), utcnow=utcnow, tls=server) as simulator,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client)) as session,
        ):
            assert simulator.url.startswith("https://")
            return (await Caller(session, simulator.url).get("/whoami")).status

    assert virtual.run(main()) == 200


def test_serving_until_cancelled_in_real_time() -> None:
    """`serve` tells its address once it listens, answers, and stops at once when it is cancelled."""

    async def main() -> float:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        scenario = make_scenario(models=MODELS)
        task = asyncio.create_task(serve(scenario, utcnow=lambda: datetime.now(UTC), ready=address.set_result))
        async with aiohttp.ClientSession() as session:
            assert (await Caller(session, await address).refresh(SALES)).status == 200
            began = time.perf_counter()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return time.perf_counter() - began

    assert asyncio.run(main(), debug=True) < 1


def test_a_second_cancel_leaves_nothing_open() -> None:
    """A second cancel while the simulator stops still stops it, with port and connections closed."""

    async def main() -> None:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        utcnow = virtual.utcnow_of(asyncio.get_running_loop())
        slow = make_scenario(faults=[{"always": True, "delay": 1000}])
        task = asyncio.create_task(serve(slow, utcnow=utcnow, ready=address.set_result))
        port = int((await address).rpartition(":")[2])
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n")
        await asyncio.sleep(1)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        writer.close()
        await writer.wait_closed()

    virtual.run(main(), debug=True)
