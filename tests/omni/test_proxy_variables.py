"""The proxy variables: which proxy they name, which hosts need none, and what holds no address."""

import base64

import pytest

from orchestrator.errors import UsageError
from orchestrator.omni.network import route_to

OMNI = "https://omni.example"


def _proxy_of(base_url: str, **environment: str) -> str | None:
    proxy = route_to(base_url, environment).proxy
    return None if proxy is None else proxy.url


@pytest.mark.parametrize(
    "base_url, environment, proxy",
    [
        (OMNI, {}, None),
        (OMNI, {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        (OMNI, {"https_proxy": "http://u:w@p:3128"}, "http://p:3128"),
        (OMNI, {"https_proxy": "p", "HTTPS_PROXY": "q"}, "http://p"),
        (OMNI, {"https_proxy": "", "HTTPS_PROXY": "q"}, None),
        (OMNI, {"HTTPS_PROXY": "HTTPS://[::1]:3128/"}, "https://[::1]:3128"),
        (OMNI, {"HTTP_PROXY": "http://p:3128"}, None),
        (OMNI, {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        (OMNI, {"ALL_PROXY": "socks5://p", "HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        (OMNI, {"HTTPS_PROXY": ""}, None),
    ],
)
def test_which_proxy(base_url: str, environment: dict[str, str], proxy: str | None) -> None:
    """The usual variables name the proxy; lower case wins."""
    assert _proxy_of(base_url, **environment) == proxy


@pytest.mark.parametrize(
    "base_url",
    ["http://127.0.0.1:8080", "http://localhost", "https://localhost", "https://127.9.9.9", "http://[::1]:80"],
)
def test_this_machine_is_reached_without_a_proxy(base_url: str) -> None:
    """Loopback never goes through a proxy, nor does any address without TLS: the key would be seen."""
    proxies_of_all = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://p:1")
    assert _proxy_of(base_url, **proxies_of_all) is None
    assert _proxy_of("http://omni.example", **proxies_of_all) is None


@pytest.mark.parametrize(
    "entries, base_url, is_straight",
    [
        ("*", OMNI, True),
        (".example", OMNI, True),
        ("example", OMNI, True),
        ("ample", OMNI, False),
        ("OMNI.example", OMNI, True),
        ("omni.example.", OMNI, True),
        ("omni.example:443", OMNI, True),
        ("omni.example:443", OMNI + ":8443", False),
        ("a.example, omni.example", OMNI, True),
        ("a.example omni.example", OMNI, True),
        ("*.example", OMNI, True),
        ("*.omni.example", OMNI, False),
        (".omni.example", OMNI, True),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("10.1.2.3:80", "https://10.1.2.3", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.1/8", "https://10.1.2.3", True),
        ("192.168.0.0/16", "https://10.1.2.3", False),
        ("10.0.0.0/8", OMNI, False),
        ("fd00::5", "https://[fd00::5]", True),
        ("[fd00::5]", "https://[fd00::5]", True),
        ("[fd00:0::5]:443", "https://[fd00::5]", True),
        ("[fd00::5]:80", "https://[fd00::5]", False),
        ("fd00::/8", "https://[fd00::5]", True),
    ],
)
def test_which_hosts_need_no_proxy(entries: str, base_url: str, is_straight: bool) -> None:
    """`NO_PROXY` names hosts, domains, addresses, networks and ports."""
    route = route_to(base_url, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": entries})
    assert (route.proxy is None) is is_straight
    assert route.not_understood == ()


def test_an_entry_of_no_proxy_that_is_not_understood() -> None:
    """An entry of `NO_PROXY` in an unknown form is reported, without what may be a password, and only if it matters."""
    entries = "10.0.0.*,https://me:pw@x,a.example,<local>,10.0.0.0/99"
    route = route_to(OMNI, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": entries})
    assert route.not_understood == ("10.0.0.*", "x", "<local>", "10.0.0.0/99")
    assert route_to(OMNI, {"NO_PROXY": entries}).not_understood == ()


SECRETS = ("Sup3r", "Secret", "svc")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value, words",
    [
        ("http://svc:Sup3r#Secret@p:3128", "percent-encode the password"),
        ("http://svc:Sup3r/Secret@p:3128", "percent-encode the password"),
        ("http://svc:Sup3r?Secret@p:3128", "percent-encode the password"),
        ("svc:Sup3r\\Secret@p:3128", "percent-encode the password"),
        ("http://svc:Sup3r Secret@p:3128", "percent-encode"),
        ("http://svc:Sup3rSecret", "not a proxy's address"),
        ("http://[::1:3128", "not a proxy's address"),
        ("http://[svc]:3128", "not a proxy's address"),
        ("http://[::1]3128", "not a proxy's address"),
        ("http://p:0", "not a proxy's address"),
        ("http://p:99999", "not a proxy's address"),
        ("http://p:", "not a proxy's address"),
        ("http://p:3128:1", "not a proxy's address"),
        ("http://", "not a proxy's address"),
        ("://p", "not a proxy's address"),
        ("http://-p-:1", "not a proxy's address"),
        ("http://p q:1", "not a proxy's address"),
        ("http://p%41:1", "not a proxy's address"),
    ],
)
@pytest.mark.parametrize("base_url", [OMNI, "http://127.0.0.1:1"])
def test_a_malformed_proxy_variable(variable: str, value: str, words: str, base_url: str) -> None:
    """A proxy variable that holds no address is an error of one line that names the variable and shows nothing of it."""
    with pytest.raises(UsageError, match=words) as caught:
        route_to(base_url, {variable: value})
    text = str(caught.value)
    assert variable in text
    assert "\n" not in text
    assert not any(secret in text for secret in SECRETS)


def test_a_proxy_of_another_kind() -> None:
    """A SOCKS proxy is an error that says so, without its credentials: not a silent way around it."""
    with pytest.raises(UsageError, match=r"socks5h proxy") as caught:
        route_to(OMNI, {"ALL_PROXY": "socks5h://svc:Sup3rSecret@p:1080"})
    assert not any(secret in str(caught.value) for secret in SECRETS)


def test_credentials_of_a_proxy_are_not_shown() -> None:
    """What is shown of a proxy is its host and port; its credentials are decoded for the header that needs them."""
    proxy = route_to(OMNI, {"HTTPS_PROXY": "http://svc:Sup3r%23S%C3%A9@proxy.example:3128"}).proxy
    assert proxy is not None
    assert proxy.shown == "proxy.example:3128"
    assert not any(secret in repr(proxy) for secret in SECRETS)
    assert base64.b64decode(proxy.headers["Proxy-Authorization"].split()[1]).decode("utf-8") == "svc:Sup3r#Sé"
