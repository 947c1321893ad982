"""An instance's address: https (or http to this machine), without user name, password, query or fragment."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from orchestrator.manifest.diagnostics import InvalidValueError, show
from orchestrator.manifest.manifest import Secret

_MAX_URL: Final = 2_000
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
_API: Final = re.compile(r"(?:/api(?:/v1)?)?/*$")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK_V4: Final = ipaddress.IPv4Network("127.0.0.0/8")


def normalize_base_url(text: str, *, show: Callable[[str], str] = show) -> str:
    """Return scheme, host, port and path prefix of an instance, without a trailing slash, `/api` or `/api/v1`.

    Raises InvalidValueError, whose text contains the address (through `show`) only if it cannot contain a password.
    """
    url = text.strip(" \t")
    if not url:
        raise InvalidValueError("is empty", code="empty-value", hint="write https:// and the instance's host")
    if "@" in url:
        hint = "remove it: the API key belongs under `api_keys`"
        raise InvalidValueError("contains a user name or password (an @)", code="password-in-address", hint=hint)
    if len(url) > _MAX_URL or any(char.isspace() or not char.isprintable() or char == "\\" for char in url):
        raise _invalid("is not an address: it is too long, or contains blanks, backslashes or control characters")
    if not _SCHEME.match(url):
        raise _invalid("has no scheme", f"write https:// before {show(url)}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("is not an address", f"check the host and port of {show(url)}") from None
    _check_parts(parts, port, show(url))
    host = _host(parts, show(url))
    if parts.scheme == "http" and not _is_loopback_host(host.strip("[]")):
        hint = f"write https:// instead of http:// in {show(url)} (http is only for this machine)"
        raise InvalidValueError("would send the API key unencrypted", code="insecure-address", hint=hint)
    path = _API.sub("", parts.path.rstrip("/"))
    if not _PATH.fullmatch(path) or "/.." in path:
        raise _invalid(f"has an invalid path: {show(url)}", "write only the instance's address")
    shown_port = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{shown_port}{path}"


def _invalid(message: str, hint: str = "write https:// and the instance's host") -> InvalidValueError:
    return InvalidValueError(message, code="invalid-address", hint=hint)


def is_loopback(url: str) -> bool:
    """Return whether the host in `url` is this machine: `localhost`, an address in 127.0.0.0/8, or ::1."""
    try:
        return _is_loopback_host(urlsplit(url).hostname or "")
    except ValueError:
        return False


def userinfo_secrets(url: str) -> tuple[str, ...]:
    """Return the secrets in a URL's userinfo: the whole of it, and the password."""
    try:
        userinfo, at, _ = urlsplit(url).netloc.rpartition("@")
    except ValueError:
        return ()
    password = userinfo.partition(":")[2]
    return tuple(text for text in (userinfo, password) if at and text)


def _check_parts(parts: SplitResult, port: int | None, shown: str) -> None:
    if parts.scheme not in _DEFAULT_PORTS:
        raise _invalid("is not https", f"write https:// instead of {parts.scheme}:// in {shown}")
    if parts.query or parts.fragment or "?" in shown or "#" in shown:
        raise _invalid("contains a query or fragment (a ? or #)", "write only the instance's address")
    if port == 0 or parts.netloc.endswith(":"):
        raise _invalid(f"has an invalid port: {shown}", "write a port from 1 to 65535, or none")


def _host(parts: SplitResult, shown: str) -> str:
    """Return the host in lower case; an IPv6 address is in brackets."""
    host = (parts.hostname or "").removesuffix(".")
    if "[" in parts.netloc:
        try:
            return f"[{ipaddress.IPv6Address(host)}]"
        except ValueError:
            raise _invalid(f"has an invalid IPv6 address as its host: {shown}") from None
    try:
        labels = host.encode("idna").decode("ascii").split(".")
    except UnicodeError:
        raise _invalid(f"has an invalid host name: {shown}") from None
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid(f"has no valid host name: {shown}")
    return host


def _is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address in _LOOPBACK_V4 if address.version == 4 else address == ipaddress.IPv6Address("::1")


def proxy_secrets(environ: Mapping[str, str]) -> list[Secret]:
    """Return the credentials in the environment's proxy variables."""
    urls = [value for name, value in environ.items() if name.lower().endswith("_proxy")]
    return [Secret(text) for url in urls for text in userinfo_secrets(url if "://" in url else f"http://{url}")]
