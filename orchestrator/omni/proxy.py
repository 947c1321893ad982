"""Which proxy the environment names for an address; asked once, when a client is opened.

aiohttp's own `trust_env` is not used: it reads `~/.netrc` as well, whose entry would take the place of our key, and it
asks a thread for both before each request.
"""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from orchestrator.errors import UsageError

_SCHEMES = ("http", "https")


def proxy_for(base_url: str) -> str | None:
    """The URL of the proxy for `base_url`, with its credentials if any; None where calls go straight.

    `HTTPS_PROXY`, `HTTP_PROXY`, then `ALL_PROXY`; `NO_PROXY` names hosts (with or without a port) that need none. Upper
    and lower case count. Loopback goes through the proxy as well, unless `NO_PROXY` says otherwise: so do curl and
    every Python client. Raises UsageError for a proxy that cannot be used, such as a SOCKS one.
    """
    address = urlsplit(base_url)
    host = address.hostname or ""
    port = address.port or (443 if address.scheme == "https" else 80)
    proxies = getproxies()
    text = proxies.get(address.scheme) or proxies.get("all")
    if not text or proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return None
    proxy = text if "://" in text else f"http://{text}"
    parts = urlsplit(proxy)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise UsageError(
            f"the proxy variables name a proxy that cannot be used ({parts.scheme}://…); http:// is needed"
        )
    return proxy


def shown(proxy: str) -> str:
    """The proxy's host and port, fit to be shown: without credentials."""
    return urlsplit(proxy).netloc.rpartition("@")[2]
