"""What a broken exchange means: whether the request left, and why there is no answer. Own words, no library's text.

A library's exception carries the request with its headers, the key among them; none is chained or quoted.
"""

from __future__ import annotations

import os
import ssl

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from orchestrator.omni.errors import FateUnknown, Kind, Unsent

_TLS_HINT = "a private authority is named with ca_file in the manifest or with SSL_CERT_FILE"


def explain_unsent(error: BaseException, *, peer: str, proxy: str | None, connect_timeout_s: float) -> Unsent:
    """The error for a request that never left: `error` came before there was a connection to `peer`.

    `peer` and `proxy` are host and port, fit to be shown.
    """
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unsent(Kind.TLS, f"the certificate of {peer} is not trusted: {_why(error)}; {_TLS_HINT}")
    if isinstance(error, aiohttp.ClientSSLError):
        return Unsent(Kind.TLS, f"no TLS connection to {peer}: {_why(error)}; {_TLS_HINT}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Unsent(Kind.PROXY, f"the proxy {proxy} refused to connect to {peer}: it answered {error.status}")
    if isinstance(error, TimeoutError):
        return Unsent(Kind.CONNECT, f"no connection to {proxy or peer} within {connect_timeout_s:g} s")
    if proxy is not None:
        return Unsent(Kind.PROXY, f"no connection to {peer} through the proxy {proxy}: {_why(error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unsent(Kind.DNS, f"the host name of {peer} is not known: {_why(error)}")
    return Unsent(Kind.CONNECT, f"no connection to {peer}: {_why(error)}")


def explain_cut(error: BaseException, *, request_timeout_s: float, status: int | None) -> FateUnknown:
    """The error for a request that may have arrived; `status` is what the answer began with, if it began."""
    if isinstance(error, TimeoutError):
        kind, text = Kind.TIMEOUT, f"no whole answer within {request_timeout_s:g} s"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        kind, text = Kind.CUT_OFF, "the server closed the connection without an answer"
    elif isinstance(error, aiohttp.ClientPayloadError):
        kind, text = Kind.CUT_OFF, "the answer was cut off"
    elif isinstance(error, OSError):
        kind, text = Kind.CUT_OFF, f"the connection broke before the answer: {_why(error)}"
    elif isinstance(too_long := _parser_error(error), LineTooLong):
        kind, text = Kind.UNREADABLE, f"a header line of the answer is longer than {too_long.args[1]} bytes"
    else:
        kind, text = Kind.UNREADABLE, "the answer is no valid HTTP"
    return FateUnknown(kind, text, http_status=status)


def _parser_error(error: BaseException) -> BaseException:
    """What the parser of answers raised: the first cause of `error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _why(error: BaseException) -> str:
    """The system's reason in few words; never the exception's own text, which may hold addresses with credentials."""
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return str(cause.verify_message)
    if isinstance(cause, ssl.SSLError):
        return str(getattr(cause, "reason", None) or "handshake failed").replace("_", " ").lower()
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return "it was closed"
