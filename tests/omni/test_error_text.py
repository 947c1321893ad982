"""The server's own words, whatever they are wrapped in; and whether they refuse the key."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.omni.error_text import READ_BYTES, says_that_the_key_is_bad, server_words

NGINX = b"<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n<body>\r\n<center><h1>429 Too Many Requests</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"


@pytest.mark.parametrize(
    "body, words",
    [
        (b'{"error": "bad_request", "message": "modelId: Invalid uuid"}', "modelId: Invalid uuid"),
        (b'{"detail": "Bad Request: no", "status": 400}', "Bad Request: no"),
        (b'{"detail": "No", "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": 400}', "No"),
        (b'{"error": "Unprocessable"}', "Unprocessable"),
        (b'{"error": {"code": 7, "message": "inner"}}', "inner"),
        (b'{"detail": [{"msg": "first", "loc": []}, {"msg": "second"}, 3]}', "first; second"),
        (b'{"message": "", "error": "  said  "}', "said"),
        (b'"just text"', "just text"),
        (b"plain words", "plain words"),
        (NGINX, "429 Too Many Requests nginx"),
        (b"<p>a &lt;b&gt; c<script>evil()</script><STYLE>p{}</STYLE> d</p><br", "a <b> c d"),
        (b"", "HTTP 418 I'm a Teapot"),
        (b'{"code": 5}', '{"code": 5}'),
        (b"\xff\xfe", "��"),
    ],
)
def test_words_of_each_shape(body: bytes, words: str) -> None:
    """The first of detail, message and error that says something; a page's text; the status where nothing is said."""
    assert server_words(418, body) == words


def test_an_unknown_status_without_words() -> None:
    """A status without a name is named by its number."""
    assert server_words(599, b" ") == "HTTP 599"


@pytest.mark.parametrize("piece", [b"<", b"<a", b"<script>", b"&amp", b"[", b'{"error":', b"< >"])
def test_hostile_pages_take_no_time(piece: bytes) -> None:
    """Text of a page costs time in proportion to its length, whatever it is made of."""
    body = b"<html>" + piece * (READ_BYTES // len(piece))
    assert len(server_words(500, body)) <= READ_BYTES
    assert not says_that_the_key_is_bad(body)


@pytest.mark.parametrize(
    "text",
    [
        *("Invalid bearer token", "invalid token", "Invalid API key", "The API key is invalid", "Token has expired"),
        *("Bearer token is not valid", "Your API token was revoked", "expired token", "Invalid credentials"),
        *("API-Key unknown", "the access token is no longer valid", "Api key has been disabled", "invalid_token"),
        *("This personal access token is expired or revoked", "Forbidden: Invalid bearer   token."),
    ],
)
def test_a_refused_key(text: str) -> None:
    """Words that say that the token itself is bad are told from a missing permission, in each of the API's error shapes."""
    for body in _errors(text):
        assert says_that_the_key_is_bad(json.dumps(body).encode())


def _errors(text: str) -> tuple[dict[str, object], ...]:
    """The API's own error shapes with this text."""
    scim = ["urn:ietf:params:scim:api:messages:2.0:Error"]
    return (
        {"error": text},
        {"error": "Forbidden", "message": text},
        {"detail": text, "status": 403},
        {"detail": text, "schemas": scim, "status": 403},
    )


@pytest.mark.parametrize("text", ["Invalid bearer token", "Your credentials are invalid", "The API key has expired"])
def test_only_the_apis_own_shape_speaks_for_the_key(text: str) -> None:
    """A firewall's page, plain text or another JSON that quotes such words does not refuse the key."""
    others = (
        {"message": text},
        {"title": "Forbidden", "detail": text, "status": 403},
        {"detail": text, "status": 400},
        {"detail": text},
        {"error": {"message": text}},
        {"error": "Forbidden", "message": text, "support_id": "18"},
        {"errors": [text]},
        [text],
        text,
    )
    for body in (text, f"<html><p>{text}</p></html>", f"{text}: {{}}", *map(json.dumps, others)):
        assert not says_that_the_key_is_bad(body.encode())


@pytest.mark.parametrize(
    "text",
    [
        *("Connection Admin permission required", "Forbidden", "", "You lack access to this model"),
        *("Your token does not have permission to refresh", "API key lacks scope", "Invalid CSRF token"),
        *("CSRF token is invalid", "Invalid model; use a token with more rights", "The key column is invalid"),
        *("Job type not supported for status checks", "The API key is not valid for this connection"),
        *("Token valid, permission expired", "invalid tokenizer", "Request blocked: invalid token in URL"),
        *("If your credentials are invalid, contact support", "Invalid token in the query"),
    ],
)
def test_a_missing_permission(text: str) -> None:
    """A key that may do less than was asked for stays in use: only its target ends."""
    assert not says_that_the_key_is_bad(json.dumps({"error": "Forbidden", "message": text}).encode())


@given(st.binary(max_size=300))
def test_no_body_breaks_it(body: bytes) -> None:
    """Any bytes have words."""
    assert isinstance(server_words(400, body), str)
    assert says_that_the_key_is_bad(body) in {True, False}


@given(
    st.recursive(
        st.none() | st.text(max_size=9) | st.integers(),
        lambda x: (
            st.lists(x, max_size=4) | st.dictionaries(st.sampled_from(["detail", "message", "error", "errors", "x"]), x)
        ),
        max_leaves=12,
    )
)
def test_no_json_breaks_it(value: object) -> None:
    """Any JSON has words."""
    assert isinstance(server_words(400, json.dumps(value).encode()), str)
