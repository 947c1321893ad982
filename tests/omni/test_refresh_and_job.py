"""The two questions that matter, over real HTTP: what the server may answer, and what is made of it."""

import pytest

from orchestrator.omni.answers import JobAnswer, JobState, RefreshAnswer, RefreshAsk
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import FateUnknown, Kind
from orchestrator.simulator import virtual
from tests.omni.raw_server import KEY, MODEL, Exchange, client, serving

ASK = RefreshAsk(model_id=MODEL, hard=True)
DEEP = b'{"jobId":' * 100_000


def _ask(status: int, body: bytes, *headers: str, poll: bool = False) -> RefreshAnswer | JobAnswer:
    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, body, *headers)

    async def main() -> RefreshAnswer | JobAnswer:
        async with serving(behave) as server, client(server.base_url()) as omni:
            return await (omni.job("j1", KEY) if poll else omni.refresh(ASK, KEY))

    return virtual.run(main(), debug=True)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"  \r\n", b"{}", b'{"modelId": "m"}', b'{"jobId": ""}', b'{"jobId": null}', b'{"jobId": "  "}'),
        *(b'{"jobId": {}}', b'{"jobId": ["a"]}', b'{"jobId": true}', b'{"jobId": 1.5}', b'{"jobId": "%s"}' % (b"x" * 201)),
        *(b'{"jobId": "a\\u0000b"}', b'{"jobId": "\\ud800"}', b'{"id": "the model"}', b'\xef\xbb\xbf{}'),
    ],
)  # fmt: skip
def test_accepted_without_an_id(status: int, body: bytes) -> None:
    """Any 2xx with an empty body or an object was accepted; without a usable id nobody can follow it."""
    answer = _ask(status, b"" if status == 204 else body)
    assert answer == RefreshAnswer(job_id=None, state=JobState.RUNNING, word=None)


@pytest.mark.parametrize(
    "body, job_id",
    [
        (b'{"jobId": "J-1", "modelId": "m", "status": "running"}', "J-1"),
        (b'{"job_id": "J-1", "status": "running"}', "J-1"),
        (b'{"JobID": "J-1", "status": "running"}', "J-1"),
        (b'{"jobId": null, "job": {"id": "J-1"}, "status": "running"}', "J-1"),
        (b'{"data": {"jobId": " J-1 ", "status": "Running"}}', "J-1"),
        (b'{"jobId": 123, "status": "running"}', "123"),
        (b'{"jobId": %s, "status": "running"}' % (b"9" * 30), "9" * 30),
        (b'{"jobId": "J-1", "status": "running", "note": "\xff", "n": NaN}', "J-1"),
        (b'\xef\xbb\xbf{"jobId": "J-1", "status": "RUNNING"}', "J-1"),
    ],
)
def test_accepted_with_an_id(body: bytes, job_id: str) -> None:
    """The job's id is found under each of its names, as text or number, at the top or one level down."""
    assert _ask(200, body) == RefreshAnswer(job_id=job_id, state=JobState.RUNNING, word="RUNNING")


@pytest.mark.parametrize(
    "word, state", [("completed", JobState.SUCCEEDED), ("FAILED", JobState.FAILED), ("Queued", JobState.RUNNING)]
)
def test_the_refresh_answer_may_be_final(word: str, state: JobState) -> None:
    """A status in the refresh answer is taken at its word."""
    assert _ask(200, b'{"jobId": "J", "status": "%s"}' % word.encode()) == RefreshAnswer(
        job_id="J", state=state, word=word.upper()
    )


@pytest.mark.parametrize("status", [None, 3, {}, []])
def test_an_odd_status_is_no_status(status: object) -> None:
    """A refresh whose status is no text was accepted all the same."""
    body = b'{"jobId": "J", "status": %s}' % str(status).replace("None", "null").encode()
    assert _ask(200, body) == RefreshAnswer(job_id="J", state=JobState.RUNNING, word=None)


@pytest.mark.parametrize(
    "body", [b"<html>gateway</html>", b"null", b"[]", b'"ok"', b"5", b"{", b"[" * 100_000, DEEP, b"\xff"]
)
def test_an_unreadable_answer_leaves_the_fate_unknown(body: bytes) -> None:
    """A 2xx that is neither empty nor an object: nobody knows who answered, and what was started."""
    with pytest.raises(FateUnknown) as caught:
        _ask(200, body)
    assert (caught.value.kind, caught.value.http_status) == (Kind.UNREADABLE, 200)


@pytest.mark.parametrize(
    "body, answer",
    [
        (b'{"job_type": "refresh_schema", "job_id": "j1", "status": "IN_PROGRESS"}', JobState.RUNNING),
        (b'{"status": "completed"}', JobState.SUCCEEDED),
        (b'{"Status": " Cancelled "}', JobState.FAILED),
        (b'{"job": {"status": "COMPLETED"}}', JobState.SUCCEEDED),
        (b'{"state": "DONE", "status": null}', JobState.SUCCEEDED),
        (b'{"status": "a word that nobody knows"}', JobState.RUNNING),
    ],
)
def test_a_polls_answer(body: bytes, answer: JobState) -> None:
    """A poll's status is understood in each vocabulary, and its word is kept."""
    found = _ask(200, body, "Content-Type: text/plain", poll=True)
    assert found.state is answer
    assert found.word
    assert found.word == found.word.strip().upper()


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"status": null}', b'{"status": 3}', b'{"status": {}}', b'{"status": " "}', b"[]", b"<p>", DEEP],
)
def test_an_unreadable_poll(body: bytes) -> None:
    """A poll's answer without a status in text tells nothing: the poll may be sent again."""
    with pytest.raises(FateUnknown) as caught:
        _ask(200, body, poll=True)
    assert caught.value.kind is Kind.UNREADABLE


def test_what_is_sent() -> None:
    """A refresh is a POST without a body on a connection of its own; reads share one; nothing else is in the headers."""
    heads: list[list[str]] = []
    connections: list[int] = []

    async def behave(exchange: Exchange) -> None:
        heads.append(exchange.head.decode().split("\r\n"))
        connections.append(exchange.connection)
        await exchange.answer(200, b'{"jobId": "a/b ?", "status": "running"}')

    async def main() -> None:
        async with serving(behave) as server, client(server.base_url() + "/bi") as omni:
            await omni.job("a/b ?", KEY)
            await omni.refresh(RefreshAsk(model_id=MODEL, hard=False, tables=("100%25", "a+b c")), KEY)
            await omni.refresh(ASK, KEY)
            await omni.job("a/b ?", KEY)

    virtual.run(main(), debug=True)
    assert connections == [1, 2, 3, 1]
    assert heads[0][0] == "GET /bi/api/v1/jobs/a%2Fb%20%3F/status HTTP/1.1"
    assert (
        heads[1][0] == f"POST /bi/api/v1/models/{MODEL}/refresh?hard_refresh=false&tables=100%2525,a%2Bb%20c HTTP/1.1"
    )
    assert heads[2][0] == f"POST /bi/api/v1/models/{MODEL}/refresh?hard_refresh=true HTTP/1.1"
    for head in heads:
        assert head.count("Authorization: Bearer SECRETKEY123") == 1
        assert "User-Agent: omni-refresh/test" in head
        names = {line.partition(":")[0].lower() for line in head[1:] if line}
        assert names <= {
            *("host", "user-agent", "accept", "accept-encoding", "authorization", "content-length", "connection"),
        }
    for post in heads[1:3]:
        assert {"Content-Length: 0", "Connection: close"} <= set(post)


def test_a_question_needs_an_open_client() -> None:
    """The client is opened inside the running loop, not when it is made."""

    async def main() -> OmniClient:
        return client("http://127.0.0.1:1")

    assert isinstance(virtual.run(main()), OmniClient)
