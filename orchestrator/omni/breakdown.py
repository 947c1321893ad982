"""What a broken exchange means: whether the request left, and why there is no answer. The text is ours, not a library's.

A library's exception carries the request with its headers, the key among them; none is chained or quoted.
"""

from __future__ import annotations

import os
import socket
import ssl

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from orchestrator.omni.errors import CallErrorKind, DeliveryUnknown, Unsent

_CA_HINT = "name a private authority with ca_file in the manifest or with SSL_CERT_FILE"

_DISTRUST = {
    **dict.fromkeys((9,), "it is not valid yet; check this machine's clock, or have the server's certificate renewed"),
    **dict.fromkeys((10,), "it has expired; have the server's certificate renewed, or check this machine's clock"),
    **dict.fromkeys((18,), f"it is self-signed; {_CA_HINT}"),
    **dict.fromkeys((19,), f"its authority is not trusted (a self-signed one is in its chain); {_CA_HINT}"),
    **dict.fromkeys(
        (2, 20, 21),
        f"its issuer is not known; {_CA_HINT}, or let the server send its intermediate certificates",
    ),
    **dict.fromkeys((62, 64), "it is for another host; check base_url, or have the server's certificate corrected"),
}
"""Why a certificate is not trusted, and what to do, by OpenSSL's verification codes (X509_V_ERR_...)."""


def explain_unsent(error: BaseException, *, peer: str, proxy: str | None, connect_timeout_s: float) -> Unsent:
    """The error for a request that never left: `error` came before there was a connection to `peer`.

    `peer` and `proxy` are fit to be shown: host and port, and where they are written.
    """
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        is_proxys = proxy is not None and proxy.startswith(f"{error.host}:{error.port}")
        whose = f"the proxy {proxy}" if is_proxys else peer
        words = f"the certificate of {whose} is not trusted: {_distrust(error.certificate_error)}"
        return Unsent(CallErrorKind.TLS, words, is_lasting=True)
    if isinstance(error, aiohttp.ClientSSLError):
        return Unsent(CallErrorKind.TLS, f"no TLS connection to {peer}: {_why(error)}; {_CA_HINT}", is_lasting=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        words = f"the proxy {proxy} refused to connect to {peer}: it answered {error.status}"
        if error.status == 407:
            words += ", so it needs a user name and a password, which belong into the address in that variable"
        return Unsent(CallErrorKind.PROXY, words, is_lasting=400 <= error.status < 500)
    if isinstance(error, TimeoutError):
        return Unsent(CallErrorKind.CONNECT, f"no connection to {proxy or peer} within {connect_timeout_s:g} s")
    if proxy is not None:
        words = f"no connection to {peer} through the proxy {proxy}: {_why(error)}"
        return Unsent(CallErrorKind.PROXY, words, is_lasting=_is_lasting(error))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        words = f"the host name of {peer} is not known: {_why(error)}"
        return Unsent(CallErrorKind.DNS, words, is_lasting=_is_lasting(error))
    return Unsent(CallErrorKind.CONNECT, f"no connection to {peer}: {_why(error)}", is_lasting=_is_lasting(error))


def _is_lasting(error: BaseException) -> bool:
    """Return whether no server listens, or the name does not exist. A resolver that fails for now does not count."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, socket.gaierror):
        return cause.errno != socket.EAI_AGAIN
    return isinstance(cause, ConnectionRefusedError)


def explain_cut(error: BaseException, *, request_timeout_s: float, status: int | None) -> DeliveryUnknown:
    """The error for a request that may have arrived; `status` is what the answer began with, if it began."""
    if isinstance(error, TimeoutError):
        kind, text = CallErrorKind.TIMEOUT, f"no whole answer within {request_timeout_s:g} s"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        kind, text = CallErrorKind.CUT_OFF, "the server closed the connection without an answer"
    elif isinstance(error, aiohttp.ClientPayloadError):
        kind, text = CallErrorKind.CUT_OFF, "the answer was cut off"
    elif isinstance(error, OSError):
        kind, text = CallErrorKind.CUT_OFF, f"the connection broke before the answer: {_why(error)}"
    elif isinstance(too_long := _parser_error(error), LineTooLong):
        kind, text = CallErrorKind.UNREADABLE, f"a header line of the answer is longer than {too_long.args[1]} bytes"
    else:
        kind, text = CallErrorKind.UNREADABLE, "the answer is no valid HTTP"
    return DeliveryUnknown(kind, text, http_status=status)


def _distrust(error: Exception) -> str:
    """Why a certificate is not trusted, in OpenSSL's words, ours, and what to do."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _CA_HINT
    return f"{error.verify_message}: {_DISTRUST.get(error.verify_code, _CA_HINT)}"


def _parser_error(error: BaseException) -> BaseException:
    """What the parser of answers raised: the first cause of `error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _why(error: BaseException) -> str:
    """The system's reason in few words; never the exception's own text, which may hold addresses with credentials."""
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLError):
        return str(getattr(cause, "reason", None) or "handshake failed").replace("_", " ").lower()
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno).lower()
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return "it was closed"
