"""What a broken exchange is called, from the exceptions of the library and the system."""

import ssl

import pytest

from orchestrator.omni.breakdown import explain_cut, explain_unsent
from orchestrator.omni.errors import CallErrorKind


def _unsent(error: BaseException, proxy: str | None = None) -> tuple[CallErrorKind, str]:
    unsent = explain_unsent(error, peer="omni.example:443", proxy=proxy, connect_timeout_s=10)
    return unsent.kind, unsent.message


@pytest.mark.parametrize(
    "error, words",
    [
        (ConnectionRefusedError(111, "whatever"), "connection refused"),
        (OSError("odd"), "it was closed"),
        (OSError(-5, "No Such Thing"), "no such thing"),
        (ssl.SSLError(1, "[SSL: BAD_ECPOINT] bad"), "handshake failed"),
        (ValueError("http://me:pw@proxy"), "it was closed"),
    ],
)
def test_why_there_is_no_connection(error: BaseException, words: str) -> None:
    """The system's reason is told in its own few words, and no exception's text, which may hold an address."""
    assert _unsent(error) == (CallErrorKind.CONNECT, f"no connection to omni.example:443: {words}")
    assert _unsent(error, "p:1") == (
        CallErrorKind.PROXY,
        f"no connection to omni.example:443 through the proxy p:1: {words}",
    )


def test_why_there_is_no_answer() -> None:
    """A limit that was reached, a connection that broke, and an answer that is none are told apart."""
    for error, kind in (
        (TimeoutError(), CallErrorKind.TIMEOUT),
        (ConnectionResetError(104, "x"), CallErrorKind.CUT_OFF),
        (ValueError("x"), CallErrorKind.UNREADABLE),
    ):
        found = explain_cut(error, request_timeout_s=30, status=200)
        assert (found.kind, found.http_status) == (kind, 200)
        assert not found.is_retryable
