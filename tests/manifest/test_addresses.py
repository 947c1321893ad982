"""An instance's address: what is valid, what is not, and that no error shows a password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifest.addresses import is_loopback, normalize_base_url, userinfo_secrets
from orchestrator.manifest.diagnostics import InvalidValueError


@pytest.mark.parametrize(
    "text, url",
    [
        *((f"https://blobsrus.omniapp.co{end}", "https://blobsrus.omniapp.co") for end in ("", "/", "/api", "/api/", "/api/v1", "/api/v1/", "//")),
        ("HTTPS://BlobsRUs.OmniApp.co:443/", "https://blobsrus.omniapp.co"),
        (" https://a.b ", "https://a.b"),
        ("https://a.b.", "https://a.b"),
        ("https://a.b:8443/api", "https://a.b:8443"),
        ("https://proxy.corp/omni/api/v1", "https://proxy.corp/omni"),
        ("https://proxy.corp/apis", "https://proxy.corp/apis"),
        ("https://bücher.example", "https://bücher.example"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST", "http://localhost"),
        ("http://127.0.0.1:80/api", "http://127.0.0.1"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://[::1]:9/", "http://[::1]:9"),
        ("https://10.0.0.1", "https://10.0.0.1"),
    ],
)  # fmt: skip
def test_addresses(text: str, url: str) -> None:
    """Scheme, host, port and prefix, in one spelling, without what the client adds itself."""
    assert normalize_base_url(text) == url
    assert normalize_base_url(url) == url


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "empty-value"),
        ("blobsrus.omniapp.co", "invalid-address"),
        ("localhost:8080", "invalid-address"),
        ("https:/a.b", "invalid-address"),
        ("//a.b", "invalid-address"),
        ("ftp://a.b", "invalid-address"),
        ("http://blobsrus.omniapp.co", "insecure-address"),
        *((f"http://{host}", "insecure-address") for host in ("127.1", "2130706433", "localhost.evil.example", "10.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0")),
        ("http://１２７.0.0.1", "insecure-address"),
        ("https://a.b?x=1", "invalid-address"),
        ("https://a.b/?", "invalid-address"),
        ("https://a.b#x", "invalid-address"),
        ("https://", "invalid-address"),
        ("https:///api", "invalid-address"),
        ("https://a..b", "invalid-address"),
        ("https://-a.b", "invalid-address"),
        ("https://a_b$c", "invalid-address"),
        (f"https://{'a' * 64}.b", "invalid-address"),
        ("https://a.b:0", "invalid-address"),
        ("https://a.b:", "invalid-address"),
        ("https://a.b:99999", "invalid-address"),
        ("https://a.b:x", "invalid-address"),
        ("https://[::1", "invalid-address"),
        ("https://[::g]", "invalid-address"),
        ("https://[v1.a]", "invalid-address"),
        ("https://a.b/x/../y", "invalid-address"),
        ("https://a.b/x%20y", "invalid-address"),
        ("https://a.b/x y", "invalid-address"),
        ("https://a.b\\c", "invalid-address"),
        ("https://a.b\x00", "invalid-address"),
        (f"https://a.b/{'x' * 2000}", "invalid-address"),
    ],
)  # fmt: skip
def test_what_is_no_address(text: str, says: str) -> None:
    """Everything else is an error that says what to write."""
    with pytest.raises(InvalidValueError) as caught:
        normalize_base_url(text)
    assert caught.value.code == says
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["https://u:secretpw@h.omniapp.co", "https://secretpw@h", "u:secretpw@h", "https://a.b/@secretpw"]
)
def test_userinfo_is_refused_and_not_shown(text: str) -> None:
    """A user name or password is an error that does not repeat it."""
    with pytest.raises(ValueError, match="user name or password") as caught:
        normalize_base_url(text)
    assert "secretpw" not in str(caught.value)


@given(st.text() | st.text(alphabet="htps:/@[]?#.a1%") | st.text(alphabet="a1.:[]/@").map("https://".__add__))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    """No text raises another exception, and a normalized address stays as it is."""
    try:
        url = normalize_base_url(text)
    except ValueError:
        return
    assert normalize_base_url(url) == url


@pytest.mark.parametrize("url", ["http://localhost/x", "https://127.0.0.1:9", "http://[::1]"])
def test_loopback(url: str) -> None:
    """These hosts are this machine."""
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url", ["", "https://a.b", "http://localhost.a", "http://[::2]", "http://128.0.0.1", "http://[::1"]
)
def test_not_loopback(url: str) -> None:
    """No other host is this machine, nor is a text that is not a URL."""
    assert not is_loopback(url)


def test_userinfo_for_the_redactor() -> None:
    """The secrets in a URL are the userinfo and the password in it."""
    assert userinfo_secrets("http://user:pw@proxy:3128") == ("user:pw", "pw")
    assert userinfo_secrets("http://token@proxy") == ("token",)
    assert userinfo_secrets("http://proxy/@x") == userinfo_secrets("http://[proxy") == ()
