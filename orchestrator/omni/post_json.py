"""A JSON document sent to an address that is no Omni instance (a webhook), with the same care: no redirect is followed,
certificates are checked, proxies are honoured, the answer is read up to a limit, and no error shows the address.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp
from yarl import URL

from orchestrator.omni.breakdown import explain_cut, explain_unsent
from orchestrator.omni.error_text import READ_BYTES, server_words
from orchestrator.omni.errors import MESSAGE_CHARACTERS, CallError, CallErrorKind, Refused, Unsent
from orchestrator.omni.network import STRAIGHT, make_tls_context, route_to


async def post_json(
    url: str, document: object, *, timeout_s: float, user_agent: str = "omni-refresh", direct: bool = False
) -> int:
    """POST `document` to `url` once; the answer's status, which is a 2xx.

    `url` is https, or http to this machine; a user name and password in it become a header. `direct` leaves out the
    environment's proxies. Takes `timeout_s` at most. Raises `CallError`, whose text holds the host and nothing more of the
    address, and `UsageError` if certificates or proxies cannot be used.
    """
    target = _target(url)
    proxy = (STRAIGHT if direct else route_to(url)).proxy
    body = json.dumps(document, ensure_ascii=True).encode("ascii")
    peer = target.host_port_subcomponent or ""
    context = make_tls_context(None) if target.scheme == "https" else True
    failure: CallError
    status: int | None = None
    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, force_close=True, resolver=aiohttp.ThreadedResolver()),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            ) as session,
            session.post(
                target,
                data=body,
                headers={"Content-Type": "application/json", "User-Agent": user_agent, "Accept": "application/json"},
                allow_redirects=False,
                proxy=None if proxy is None else proxy.url,
                proxy_headers=None if proxy is None else proxy.headers,
            ) as response,
        ):
            status = response.status
            if 200 <= status < 300:
                return status
            failure = _refused(status, await response.content.read(READ_BYTES))
    except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError, aiohttp.ClientHttpProxyError) as error:
        failure = explain_unsent(
            error,
            peer=peer,
            proxy=None if proxy is None else f"{proxy.shown} ({proxy.variable})",
            connect_timeout_s=timeout_s,
        )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        failure = explain_cut(error, request_timeout_s=timeout_s, status=status)
    # raised here, so that no library's exception, which holds the address, is its context
    raise failure


def _target(url: str) -> URL:
    try:
        target = URL(url)
    except ValueError:
        target = URL()
    if target.host is None:
        raise Unsent(CallErrorKind.BAD_REQUEST, "the address is none")
    return target


def _refused(status: int, body: bytes) -> Refused:
    if 300 <= status < 400:
        return Refused(
            CallErrorKind.REDIRECT, f"it answered with a redirect ({status}), which is not followed", http_status=status
        )
    words = server_words(status, body)
    return Refused(CallErrorKind.REFUSED, f"it answered {status}: {words}"[:MESSAGE_CHARACTERS], http_status=status)
