"""Notifications over real sockets: side by side, bounded in time, and never at the price of the run's result."""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import pytest

from orchestrator.engine.outcome import Failure, Status
from orchestrator.log import LogOutput, Redactor, render_json, set_up_logging
from orchestrator.manifest.manifest import Channel, Notice, NotifyOn, Secret
from orchestrator.notify.by_apprise import MessengerError, send_by_apprise
from orchestrator.notify.message import make_text
from orchestrator.notify.send import send_notices
from orchestrator.report.report import Report
from orchestrator.simulator import virtual
from orchestrator.terminal.log_observer import LogObserver
from tests.notify.test_message import GOOD, NEWLY_BAD
from tests.omni.raw_server import Exchange, serving
from tests.report.reports import make_facts, make_outcome

# What the libraries under apprise use of Python's is their affair.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def log() -> StringIO:
    """What the program logs."""
    stream = StringIO()
    set_up_logging(
        [LogOutput(stream, render_json)],
        utcnow=lambda: datetime(2026, 11, 25, tzinfo=UTC),
        redactor=Redactor((Secret("canary-token"),)),
    )
    return stream


def lines(log: StringIO) -> list[dict[str, object]]:
    """The log's lines."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def webhook(port: int, path: str = "/hook/canary-token", on: NotifyOn = NotifyOn.FAILURE) -> Notice:
    """A webhook on this machine."""
    url = f"http://127.0.0.1:{port}{path}"
    return Notice(channel=Channel.WEBHOOK, source=url, url=Secret(url), on=on)


class Receiver:
    """Answers each request as its path asks, and keeps the bodies."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, exchange: Exchange) -> None:
        head = exchange.head.lower()
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        self.bodies.append(await exchange.reader.readexactly(int(length.split(b":")[1])))
        if "/slow" in exchange.target:
            await asyncio.sleep(1_000)
        await exchange.answer(500 if "/broken" in exchange.target else 200, b"never mind canary-token")


def send(report: Report, *notices: tuple[str, NotifyOn]) -> tuple[int, Receiver, float]:
    """Send to webhooks with these paths, in virtual time: how many were told, what arrived, how long it took."""
    receiver = Receiver()

    async def main() -> tuple[int, Receiver, float]:
        loop = asyncio.get_running_loop()
        async with serving(receiver) as server:
            began_at = loop.time()
            told = await send_notices(
                [webhook(server.port, path, on) for path, on in notices],
                report,
                observe=LogObserver(),
                redactor=Redactor((Secret("canary-token"),)),
                report_paths=("/r/nightly.json",),
            )
            return told, receiver, loop.time() - began_at

    return virtual.run(main(), debug=True)


def test_due_notifications_are_sent(log: StringIO) -> None:
    """Each notification whose moment it is arrives once; the others are not sent."""
    always, failure = NotifyOn.ALWAYS, NotifyOn.FAILURE
    told, receiver, _ = send(GOOD, ("/a", always), ("/b", failure))
    assert told == 1
    (body,) = receiver.bodies
    assert json.loads(body)["title"] == make_text(GOOD).title
    assert [line["event"] for line in lines(log)] == ["notification_sent"]
    assert send(GOOD, ("/b", failure))[0] == 0


def test_a_failing_one_is_a_warning(log: StringIO) -> None:
    """One that is refused and one that never answers cost ten seconds at most, and the third still arrives."""
    on = NotifyOn.FAILURE
    told, receiver, took_s = send(NEWLY_BAD, ("/broken", on), ("/slow", on), ("/fine", on))
    assert told == 1
    assert len(receiver.bodies) == 3
    assert 9.9 < took_s < 11
    logged = lines(log)
    assert sorted(str(line["event"]) for line in logged) == [*["notification_failed"] * 2, "notification_sent"]
    assert {line["level"] for line in logged if line["event"] == "notification_failed"} == {"warning"}
    assert "it answered 500" in log.getvalue()
    assert "canary-token" not in log.getvalue()


def test_nothing_secret_is_sent(log: StringIO) -> None:
    """A secret in a server's words is taken out before they are sent on."""
    outcome = replace(
        make_outcome(0, Status.REJECTED), error=Failure(kind="forbidden", message="bad canary-token", hint="")
    )
    _, receiver, _ = send(Report(run=make_facts(), outcomes=(outcome,), exit_code=1), ("/x", NotifyOn.FAILURE))
    (body,) = receiver.bodies
    assert b"canary-token" not in body
    assert b"[redacted]" in body


def test_an_address_without_its_variable_is_reported(log: StringIO) -> None:
    """An address that was never read (its variables were not asked for) is a warning and no crash."""
    notice = Notice(channel=Channel.WEBHOOK, source="${HOOK}")
    assert virtual.run(send_notices([notice], NEWLY_BAD, observe=LogObserver(), redactor=Redactor(())), debug=True) == 0
    assert [line["event"] for line in lines(log)] == ["notification_failed"]


def by_apprise(url: str, timeout_s: float = 5.0) -> None:
    """Send a text by apprise."""
    asyncio.run(send_by_apprise(url, title="title", body="body\nline", timeout_s=timeout_s))


def test_apprise_is_an_extra(log: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the warning names what to install, and the result stays."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    notice = Notice(channel=Channel.APPRISE, source="${X}", url=Secret("json://127.0.0.1/canary-token"))

    async def main() -> int:
        return await send_notices([notice], NEWLY_BAD, observe=LogObserver(), redactor=Redactor(()))

    assert asyncio.run(main()) == 0
    (line,) = lines(log)
    assert (line["event"], line["channel"]) == ("notification_failed", "apprise")
    assert "pip install apprise" in str(line["error"])


def _received(paths: Sequence[str], timeout_s: float = 5.0) -> tuple[list[bytes], list[str]]:
    """What a service gets that apprise talks to, and what went wrong."""
    receiver, problems = Receiver(), []

    async def main() -> None:
        async with serving(receiver) as server:
            for path in paths:
                url = f"json://127.0.0.1:{server.port}{path}"
                try:
                    await send_by_apprise(url, title="title", body="body\nline", timeout_s=timeout_s)
                except MessengerError as error:
                    problems.append(str(error))

    asyncio.run(main())
    return receiver.bodies, problems


def test_apprise_sends_the_text() -> None:
    """A service that apprise knows gets title and text; what it refuses is told without the address."""
    pytest.importorskip("apprise")
    bodies, problems = _received(["/fine", "/broken/secret-in-the-path"])
    assert json.loads(bodies[0])["title"] == "title"
    assert json.loads(bodies[0])["message"].splitlines() == ["body", "line"]
    (problem,) = problems
    assert "secret-in-the-path" not in problem


def test_apprise_is_not_waited_for_longer() -> None:
    """A service that does not answer is given up in time."""
    pytest.importorskip("apprise")
    _, problems = _received(["/slow"], timeout_s=0.2)
    assert problems == ["no answer within 0.2 s"]


@pytest.mark.parametrize("url", ["nosuchservice://secret-token/x", "slack://", "://"])
def test_what_apprise_does_not_know(url: str) -> None:
    """An address that is none of its own is told without being shown, and nothing of it reaches the log."""
    pytest.importorskip("apprise")
    with pytest.raises(MessengerError, match="kind of address") as caught:
        by_apprise(url)
    assert "secret-token" not in str(caught.value)
    assert not [one for one in logging.getLogger("apprise").handlers if "apprise" in type(one).__module__]


def test_apprise_may_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a service's part of apprise raises is one warning."""
    apprise = pytest.importorskip("apprise")

    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("secret-token")

    monkeypatch.setattr(apprise.Apprise, "notify", explode)
    with pytest.raises(MessengerError, match=r"^apprise failed$"):
        by_apprise("json://127.0.0.1:1/secret-token")
