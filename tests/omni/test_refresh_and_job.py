"""The two questions that matter, over real HTTP: what the server may answer, and what is made of it."""

import json

import pytest

from orchestrator.omni.answers import JobAnswer, JobState, RefreshAnswer, RefreshRequest
from orchestrator.omni.client import OmniClient
from orchestrator.omni.errors import CallErrorKind, DeliveryUnknown
from orchestrator.omni.job_answers import WORD_CHARACTERS, job_state
from orchestrator.simulator import virtual
from tests.omni.raw_server import KEY, MODEL, Exchange, client, serving

ASK = RefreshRequest(model_id=MODEL, hard=True)
DEEP = b'{"jobId":' * 100_000


def _ask(status: int, body: bytes, *headers: str, poll: bool = False) -> RefreshAnswer | JobAnswer:
    async def behave(exchange: Exchange) -> None:
        await exchange.answer(status, body, *headers)

    async def main() -> RefreshAnswer | JobAnswer:
        async with serving(behave) as server, client(server.base_url()) as omni:
            return await (omni.job("j1", KEY) if poll else omni.refresh(ASK, KEY))

    return virtual.run(main(), debug=True)


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    "job_id", [None, *("", " ", "x" * 201, "a\0b", "\ud800", "two\nlines"), *({}, ["a"], True, 1.5)], ids=ascii
)
def test_accepted_without_an_id(status: int, job_id: object) -> None:
    """A 2xx that says `running` was accepted; without a usable id the job cannot be followed."""
    body = {"modelId": MODEL, "status": "running", "jobId": job_id}
    answer = _ask(status, json.dumps(body).encode())
    assert answer == RefreshAnswer(job_id=None, state=JobState.RUNNING, word="RUNNING")


@pytest.mark.parametrize(
    "body, job_id",
    [
        (b'{"jobId": "J-1", "modelId": "m", "status": "running"}', "J-1"),
        (b'{"job_id": "J-1", "status": "running"}', "J-1"),
        (b'{"JobID": "J-1", "status": "running"}', "J-1"),
        (b'{"jobId": null, "job": {"id": "J-1", "status": "running"}}', "J-1"),
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


@pytest.mark.parametrize("status", [None, 3, {}, []])
def test_an_odd_status_is_no_status(status: object) -> None:
    """A refresh whose status is no text was still accepted."""
    body = b'{"jobId": "J", "status": %s}' % str(status).replace("None", "null").encode()
    assert _ask(200, body) == RefreshAnswer(job_id="J", state=JobState.RUNNING, word=None)


S, R, F = JobState.SUCCEEDED, JobState.RUNNING, JobState.FAILED

REFRESH_ANSWERS: list[tuple[object, tuple[str | None, JobState] | str]] = [
    # the documented shapes
    ({"modelId": "m", "status": "running"}, (None, R)),
    ({"jobId": "J", "modelId": "m", "status": "running"}, ("J", R)),
    ({"jobId": "J", "modelId": "m", "status": "completed"}, ("J", S)),
    ({"jobId": "J", "modelId": "m", "status": "failed"}, ("J", F)),
    # a final word that is the job's
    ({"status": "completed"}, (None, S)),
    ({"modelId": "m", "status": "failed", "message": "no such warehouse"}, (None, F)),
    ({"data": {"jobId": "J", "status": "Completed"}, "status": "ok"}, ("J", S)),
    ({"jobId": "J", "status": "cancelled"}, ("J", F)),
    # a final word that may be the call's: the job is followed
    *(({"jobId": "J", "status": word}, ("J", R)) for word in ("success", "Succeeded", "done", "ok", "error", "fail")),
    ({"status": "completed", "job": {"id": "J"}}, ("J", R)),
    ({"status": "success", "data": {"job_id": "J", "status": "RUNNING"}}, ("J", R)),
    ({"status": "COMPLETED", "data": {"job_id": "J"}}, ("J", R)),
    ({"status": "failed", "job": {"id": "J", "status": "running"}}, ("J", R)),
    # the job's own word decides
    ({"status": "completed", "jobId": "J", "job": {"status": "failed"}}, ("J", F)),
    ({"status": "completed", "jobId": "J", "job": {"status": "queued"}}, ("J", R)),
    # contradictions and errors never end well
    ({"jobId": "J", "status": "completed", "state": "running"}, ("J", R)),
    ({"jobId": "J", "status": "completed", "error": "refresh could not be queued"}, ("J", R)),
    ({"jobId": "J", "status": "completed", "success": False}, ("J", R)),
    ({"jobId": "J", "status": "failed", "result": {"status": "completed"}}, ("J", R)),
    ({"jobId": "J", "job_id": "K", "status": "running"}, "contradicts itself"),
    ({"jobId": "J", "job": {"id": "K"}, "status": "running"}, "several jobs"),
    # no word that decides, but a job
    ({"jobId": "J"}, ("J", R)),
    ({"jobId": "J", "status": "!COMPLETED"}, ("J", R)),
    ({"jobId": "J", "status": "COMPLETED\u200b"}, ("J", R)),
    ({"jobId": "J", "error": None, "errors": [], "success": True}, ("J", R)),
    # neither a job nor a word
    ({"error": "Internal", "message": "refresh could not be queued"}, "refresh could not be queued"),
    ({"detail": "Forbidden", "status": 403}, "Forbidden"),
    ({"detail": "Forbidden", "status": "403"}, "Forbidden"),
    ({"success": False, "message": "try later"}, "try later"),
    ({"success": False}, '{"success": false}'),
    ({"ok": False, "status": "running"}, "is an error"),
    ({"status": "running", "error": {"message": "no warehouse"}}, "no warehouse"),
    ({"statusCode": 500, "status": "running", "message": "boom"}, "boom"),
    ({"status": "success"}, "no job id"),
    ({"status": "accepted", "message": "thanks"}, "thanks"),
    ({"status": "completed", "message": "request completed"}, "request completed"),
    ({"status": "completed", "data": None}, "no job id"),
    ({"status": "error", "message": "no warehouse"}, "no warehouse"),
    ({"modelId": "m"}, "no job id"),
    ({"jobId": None}, "no job id"),
    ({"id": "m"}, "no job id"),
    ({}, "no job id"),
    ([{"jobId": "J", "status": "running"}], "no JSON object"),
]


@pytest.mark.parametrize("body, means", REFRESH_ANSWERS, ids=lambda value: ascii(value)[:70])
def test_what_a_refresh_answer_means(body: object, means: tuple[str | None, JobState] | str) -> None:
    """Only the job's own word ends a refresh; what names neither a job nor its state is unknown, with the server's words."""
    raw = json.dumps(body).encode()
    if isinstance(means, str):
        with pytest.raises(DeliveryUnknown) as caught:
            _ask(200, raw)
        assert (caught.value.kind, caught.value.http_status) == (CallErrorKind.UNREADABLE, 200)
        assert means in caught.value.message
    else:
        answer = _ask(200, raw)
        assert isinstance(answer, RefreshAnswer)
        assert (answer.job_id, answer.state) == means
        assert answer.word is None or job_state(answer.word) is answer.state


@pytest.mark.parametrize("status, body", [(204, b""), (201, b""), (200, b" \r\n"), (200, b"\xef\xbb\xbf")])
def test_an_answer_without_a_body_says_nothing(status: int, body: bytes) -> None:
    """A 2xx without a body does not say that anything was started."""
    with pytest.raises(DeliveryUnknown) as caught:
        _ask(status, body)
    assert (caught.value.kind, caught.value.http_status) == (CallErrorKind.UNREADABLE, status)


@pytest.mark.parametrize(
    "body", [b"<html>gateway</html>", b"null", b"[]", b'"ok"', b"5", b"{", b"[" * 100_000, DEEP, b"\xff"]
)
def test_an_unreadable_answer_leaves_the_fate_unknown(body: bytes) -> None:
    """A 2xx that is no object: it is not known who answered, and what was started."""
    with pytest.raises(DeliveryUnknown) as caught:
        _ask(200, body)
    assert (caught.value.kind, caught.value.http_status) == (CallErrorKind.UNREADABLE, 200)


POLL_ANSWERS: list[tuple[object, JobState | str]] = [
    # the documented shape, in each spelling
    ({"job_type": "refresh_schema", "job_id": "j1", "status": "IN_PROGRESS"}, R),
    ({"jobType": "REFRESH_SCHEMA", "jobId": "J1", "status": "Completed"}, S),
    ({"job_id": " j1 ", "status": "FAILED", "error": "boom"}, F),
    ({"status": "completed"}, S),
    ({"Status": " Cancelled "}, F),
    ({"state": "DONE", "status": None}, S),
    ({"status": "a word that is not known"}, R),
    ({"status": "SUCCESS"}, S),
    ({"job_id": "j1", "status": "Success", "message": "all is well"}, S),
    ({"job_type": None, "job_id": None, "status": "COMPLETED", "progress": 100}, S),
    # wrapped: the innermost word is the job's
    ({"job": {"status": "COMPLETED"}}, S),
    ({"status": "success", "data": {"job_id": "j1", "status": "RUNNING"}}, R),
    ({"status": "success", "data": [{"job_id": "j1", "status": "RUNNING"}]}, R),
    ({"status": "success", "data": {"job": {"id": "j1", "status": "COMPLETED"}}}, S),
    ({"status": "COMPLETED", "job": {"status": "FAILED"}}, F),
    ({"status": "COMPLETED", "job": {"status": "RUNNING"}}, R),
    ({"status": "success", "jobStatus": "RUNNING"}, R),
    ({"status": "ok", "result": {"state": "COMPLETED"}}, S),
    ({"status": "running", "data": {"job_id": "j1"}}, R),
    # words of the envelope alone
    ({"status": "success", "data": {"job_id": "j1"}}, "no status of the job"),
    ({"status": "COMPLETED", "job": {"id": "j1"}}, "no status of the job"),
    ({"status": "success", "data": {}}, "no status of the job"),
    ({"status": "success", "data": None}, "no status of the job"),
    ({"status": "error", "message": "try later"}, "try later"),
    ({"status": "success", "message": "OK"}, "may be that of the call"),
    # contradictions
    ({"job_id": "j1", "status": "COMPLETED", "state": "RUNNING"}, "contradicts itself"),
    ({"job_id": "j1", "status": "COMPLETED", "error": "no such table"}, "no such table"),
    ({"job_id": "j1", "status": "COMPLETED", "success": False}, "contradicts itself"),
    ({"status": "FAILED", "job": {"status": "COMPLETED"}}, "contradicts itself"),
    ({"status": "running", "job": {"status": "COMPLETED"}}, "contradicts itself"),
    ({"status": "RUNNING", "Status": "COMPLETED"}, "contradicts itself"),
    # another job, or another type of job
    ({"job_type": "refresh_schema", "job_id": "j2", "status": "COMPLETED"}, "another job, 'j2'"),
    ({"job_type": "refresh_schema", "job_id": "j2", "status": "RUNNING"}, "another job"),
    ({"status": "success", "data": {"jobId": "j2", "status": "COMPLETED"}}, "another job"),
    ({"job": {"id": "j2", "status": "COMPLETED"}}, "another job"),
    ({"id": "j2", "status": "COMPLETED"}, "another job"),
    ({"job_id": 7, "status": "COMPLETED"}, "another job, '7'"),
    ({"job_id": ["j1"], "status": "COMPLETED"}, "another job"),
    ({"jobs": [{"id": "j1", "status": "RUNNING"}, {"id": "j2", "status": "COMPLETED"}]}, "another job"),
    ({"job_type": "dbt_sync", "job_id": "j1", "status": "COMPLETED"}, "another type, 'dbt_sync'"),
    ({"job_type": 3, "status": "COMPLETED"}, "another type"),
    # no status in text
    ({"status": None}, "no status of the job"),
    ({"status": 3}, "no status of the job"),
    ({"status": {}}, "no status of the job"),
    ({"status": " "}, "no status of the job"),
    ({"status": "200"}, "no status of the job"),
    ({"error": "boom"}, "boom"),
    ({}, "no status of the job"),
    ([], "no JSON object"),
]


@pytest.mark.parametrize("body, means", POLL_ANSWERS, ids=lambda value: ascii(value)[:70])
def test_what_a_poll_answer_means(body: object, means: JobState | str) -> None:
    """A poll ends a job only by the word of that very job; any other answer counts as unreadable and may be retried."""
    raw = json.dumps(body).encode()
    if not isinstance(means, JobState):
        with pytest.raises(DeliveryUnknown) as caught:
            _ask(200, raw, poll=True)
        assert caught.value.kind is CallErrorKind.UNREADABLE
        assert means in caught.value.message
    else:
        answer = _ask(200, raw, "Content-Type: text/plain", poll=True)
        assert isinstance(answer, JobAnswer)
        assert answer.state is means
        assert job_state(answer.word) is means


@pytest.mark.parametrize("body", [b"", b"<p>", b"null", DEEP])
def test_an_unreadable_poll(body: bytes) -> None:
    """A poll's answer that is no object says nothing: the poll may be retried."""
    with pytest.raises(DeliveryUnknown) as caught:
        _ask(200, body, poll=True)
    assert caught.value.kind is CallErrorKind.UNREADABLE


def test_a_words_length_and_lines_are_bounded() -> None:
    """A status word is kept on one line, in at most 100 characters, and means the same when it is cut."""
    for text in ("two\nlines\x1b[31m", "y" * 5000, "COMPLETED" + " " * 200 + "not"):
        answer = _ask(200, json.dumps({"status": text}).encode(), poll=True)
        assert isinstance(answer, JobAnswer)
        assert answer.state is job_state(answer.word) is JobState.RUNNING
        assert len(answer.word) <= WORD_CHARACTERS
        assert answer.word.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b'{"job_id": "j2", "status": "COMPLETED"}',
        b'{"job_type": "dbt_sync", "job_id": "j1", "status": "COMPLETED"}',
        b"<html>",
    ],
)
def test_the_connection_of_a_wrong_answer_is_closed(body: bytes) -> None:
    """After an answer that is not the call's own, no other call goes over the connection that it came on."""

    async def behave(exchange: Exchange) -> None:
        await exchange.answer(200, body if exchange.target.endswith("/j1/status") else b'{"status": "RUNNING"}')

    async def main() -> list[int]:
        async with serving(behave) as server, client(server.base_url()) as omni:
            await omni.job("j0", KEY)
            with pytest.raises(DeliveryUnknown):
                await omni.job("j1", KEY)
            await omni.job("j3", KEY)
            await omni.job("j4", KEY)
            return [exchange.connection for exchange in server.exchanges]

    assert virtual.run(main(), debug=True) == [1, 1, 2, 2]


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
            await omni.refresh(RefreshRequest(model_id=MODEL, hard=False, tables=("100%25", "a+b c")), KEY)
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
