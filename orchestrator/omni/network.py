"""Proxies and certificates: which ones a connection uses. A setting that cannot be used is an error."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from orchestrator.errors import UsageError
from orchestrator.manifest.addresses import is_loopback
from orchestrator.manifest.manifest import Instance


def make_tls_context(instance: Instance | None) -> ssl.SSLContext:
    """The TLS settings for `instance`: the system's authorities, and those in its `ca_file` in addition. None: for anybody
    else.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's, as OpenSSL does everywhere. The authorities in `ca_file` need not
    follow RFC 5280 strictly, as Python 3.13 and later demand, because company authorities often do not. Signatures, names and
    dates are still checked. Raises UsageError for a setting that names nothing usable.
    """
    named = [instance.ca_file if instance is not None else None]
    for variable, exists in (("SSL_CERT_FILE", os.path.isfile), ("SSL_CERT_DIR", os.path.isdir)):
        place = os.environ.get(variable)
        if place:
            named.append(Path(place))
            if not exists(place):
                raise UsageError(
                    f"{variable} names {place}, which does not exist; no certificate could be checked",
                    code="unreadable-file",
                )
    context = ssl.create_default_context()
    if instance is not None and instance.ca_file is not None:
        fault = _load(context, instance.ca_file)
        if fault is not None:
            raise UsageError(
                f"ca_file of instance {instance.name}: {instance.ca_file} {fault}", code="invalid-certificate"
            )
    if any(named):
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _load(context: ssl.SSLContext, ca_file: Path) -> str | None:
    """Trust the certificates in `ca_file`; what is wrong with it, or None."""
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        return "holds no certificate in PEM form"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


_VARIABLES: Final = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")
_SCHEMES: Final = ("http", "https")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::(.*))?")
_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy: its address without credentials, its host and port as they may be shown, the variable that names it, and
    the header that holds the credentials, if there are any.
    """

    url: str
    shown: str
    variable: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How calls to an address go: through `proxy`, or straight. `not_understood` holds the entries of NO_PROXY that are
    none, fit to be shown; only if there is a proxy to leave out.
    """

    proxy: Proxy | None = None
    not_understood: tuple[str, ...] = ()


STRAIGHT: Final = Route()


def route_to(url: str, environ: Mapping[str, str] = os.environ) -> Route:
    """The way to `url` (https, or http to this machine) that the proxy variables name.

    `HTTPS_PROXY`, then `ALL_PROXY`; `NO_PROXY` names hosts that need no proxy. Lower case wins over upper case. This
    machine is never reached through a proxy, nor is any address without TLS: the proxy would see the key. Raises
    UsageError for a variable that holds no proxy's address, also if it would not be used, and for the wrong kind of
    proxy; the error shows nothing of the variable's value.
    """
    found = {name: _read(*named) for name in _VARIABLES if (named := _variable(name, environ)) is not None}
    proxy = found.get("HTTPS_PROXY") or found.get("ALL_PROXY")
    parts = urlsplit(url)
    if proxy is None or parts.scheme != "https" or is_loopback(url):
        return STRAIGHT
    entries = (_variable("NO_PROXY", environ) or ("", ""))[1].replace(",", " ").split()
    matches = {entry: _matches(entry.lower(), (parts.hostname or "").lower(), parts.port or 443) for entry in entries}
    if True in matches.values():
        return STRAIGHT
    if not proxy.url:
        raise UsageError(
            f"the proxy variables name a {proxy.shown} proxy",
            code="unusable-proxy",
            hint="use a proxy with http:// or https://",
        )
    odd = tuple(_fit(entry) for entry, match in matches.items() if match is None)
    return Route(proxy=proxy, not_understood=odd)


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable's name as it is set, and its value; None if it is not set, or empty."""
    for spelling in (name.lower(), name):
        if spelling in environ:
            value = environ[spelling].strip()
            return (spelling, value) if value else None
    return None


def _read(variable: str, text: str) -> Proxy:
    """The proxy in a variable; one with an empty `url` and its scheme as `shown` if it is of another kind."""
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme:
        scheme, rest = "http", text
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:
        raise UsageError(
            f"{variable}: the user name or password in the proxy's address is not percent-encoded",
            code="unusable-proxy",
            hint="percent-encode the password (and the user name): # is %23, / is %2F, ? is %3F, a backslash is %5C",
        )
    userinfo, has_userinfo, place = authority.rpartition("@")
    host = _host_and_port(place)
    if (
        host is None
        or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,15}", scheme)
        or not all(character.isprintable() and character != " " for character in userinfo)
    ):
        raise UsageError(
            f"{variable} is not a proxy's address",
            code="unusable-proxy",
            hint="write http://HOST:PORT, an IPv6 address in brackets, and percent-encode a user name and password",
        )
    if scheme.lower() not in _SCHEMES:
        return Proxy(url="", shown=scheme.lower(), variable=variable)
    user, _, password = userinfo.partition(":")
    credentials = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode("ascii")
    headers = {"Proxy-Authorization": f"Basic {credentials}"} if has_userinfo else {}
    shown = host[0] if host[1] is None else f"{host[0]}:{host[1]}"
    return Proxy(url=f"{scheme.lower()}://{shown}", shown=shown, variable=variable, headers=headers)


def _host_and_port(text: str) -> tuple[str, int | None] | None:
    """A host (an IPv6 address in brackets) and its port, if there is one; None for anything else."""
    bracketed = _BRACKETED.fullmatch(text)
    host, has_port, port = text.partition(":")
    if bracketed is not None:
        address, port = bracketed[1], bracketed[2] or ""
        has_port = "" if bracketed[2] is None else ":"
        try:
            host = f"[{ipaddress.IPv6Address(address)}]"
        except ValueError:
            return None
    elif not _HOST.fullmatch(host):
        return None
    if not has_port:
        return host, None
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        return None
    return host, int(port)


def _matches(entry: str, host: str, port: int) -> bool | None:
    """Whether an entry of NO_PROXY means `host`; None if it is no entry.

    `*` means every host; `example.com` and `.example.com` the host and all below it, `*.example.com` those below it; an
    address itself, a network (`10.0.0.0/8`) the addresses in it. All but a network may have a port.
    """
    if entry == "*":
        return True
    try:
        if "/" in entry:
            network, address = ipaddress.ip_network(entry, strict=False), _address(host)
            return address is not None and address in network
        # an IPv6 address may stand without brackets; it then has no port
        return _address(host) == ipaddress.ip_address(entry)
    except ValueError:
        if "/" in entry:
            return None
    below = entry.removeprefix("*")
    named = _host_and_port(below.removeprefix("."))
    if named is None:
        return None
    if named[1] not in (None, port):
        return False
    if (exact := _address(named[0].strip("[]"))) is not None:
        return exact == _address(host)
    name = named[0].removesuffix(".")
    return host.endswith(f".{name}") or (host == name and below == entry)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _fit(entry: str) -> str:
    """An entry as it may be shown: without what may be a password."""
    return entry.rpartition("@")[2][:_SHOWN_CHARACTERS]
