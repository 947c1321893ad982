"""The one redaction point: known secrets in every form, what looks like a secret, and nothing else."""

import base64
import html
import json
import threading
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.log import REDACTED, Redactor
from orchestrator.manifest.manifest import Secret

ODD = 'p&s "w\\/rd+é\t'


def _forms(text: str) -> list[str]:
    raw = text.encode()
    return [
        *(text, quote(text), quote(text, safe=""), quote_plus(text), quote(quote(text, safe=""), safe="")),
        *(json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(json.dumps(text))[3:-3]),
        *(repr(text)[1:-1], repr(raw)[2:-1], html.escape(text), raw.hex(), raw.hex().upper()),
    ]


@pytest.mark.parametrize("text", ["SECRETKEY123", ODD, "omni_osk_ab12CD", "🔑🔑🔑"])
def test_every_form_of_a_secret(text: str) -> None:
    """A secret is taken out however it was written: plain, escaped, percent-encoded, in hexadecimal."""
    redactor = Redactor([Secret(text)])
    for form in _forms(text):
        assert redactor.redact(f"before {form} after") == f"before {REDACTED} after"


@pytest.mark.parametrize("text", ["SECRETKEY123", ODD, "omni_osk_ab12CD", "🔑🔑🔑", "k-7", "--?--?"])
@pytest.mark.parametrize("around", [" ", " much more text " * 100], ids=["short", "long"])
def test_many_secrets_hide_each_other_from_nothing(text: str, around: str) -> None:
    """Among hundreds of secrets each is found as if it were the only one, in a short text and in a long one."""
    many = Redactor(Secret(each) for each in (*(f"key-{number}-{number:x}" for number in range(60)), text))
    for form in _forms(text):
        assert many.redact(f"{around}{form}{around}") == Redactor([Secret(text)]).redact(f"{around}{form}{around}")
    assert many.redact(f"{around}key-50-32{around}") == f"{around}{REDACTED}{around}"


@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40),
    st.binary(max_size=7),
    st.binary(max_size=7),
)
def test_no_base64_around_a_secret(text: str, before: bytes, after: bytes) -> None:
    """Inside of base64, at any alignment, standard or for URLs, nothing is left that could be decoded to the secret."""
    assume(text not in REDACTED)
    redactor = Redactor([Secret(text)])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = redactor.redact(encode(before + text.encode() + after).decode())
        assert REDACTED in shown
        # What may stay at each end are the characters that the neighbours' bits are mixed into.
        rest = shown.replace(REDACTED, "")
        assert len(rest) <= -(-len(before) * 8 // 6) + -(-len(after) * 8 // 6) + 6


@given(st.text(min_size=4, max_size=30), st.text(max_size=50), st.text(max_size=50))
def test_a_secret_is_found_in_any_text(secret: str, before: str, after: str) -> None:
    """Whatever a secret is made of and whatever stands around it, its text is not in what comes out."""
    assume(secret.strip() and not any(secret in mark or mark in secret for mark in (REDACTED, "redact")))
    assume(not set(secret) <= set(REDACTED))
    assert secret not in Redactor([Secret(secret)]).redact(f"{before}{secret}{after}")


@pytest.mark.parametrize(
    "text, shown",
    [
        ("https://user:pw@host/x", "https://[redacted]@host/x"),
        ("https://user:p@w:d@host", "https://[redacted]@host"),
        ("postgres://u@h and ftp://a:b@c", "postgres://[redacted]@h and ftp://[redacted]@c"),
        (r"{\"u\": \"https:\/\/a:b@c\/\"}", r"{\"u\": \"https:\/\/[redacted]@c\/\"}"),
        ("https://host/a@b", "https://host/a@b"),
        ("mail me@home.example", "mail me@home.example"),
        ("Authorization: Bearer abc.DEF-123", "Authorization: Bearer [redacted]"),
        ("{'authorization': 'Basic dTpw'}", "{'authorization': 'Basic [redacted]'}"),
        ("AUTHORIZATION=token9", "AUTHORIZATION=[redacted]"),
        ("Bearer xxx", "Bearer [redacted]"),
        ("sent bearer eyJhbGci.eyJzdWIi.c2ln today", "sent bearer [redacted] today"),
        ("Bearer%20abc", "Bearer%20[redacted]"),
        ("Invalid bearer token", "Invalid bearer token"),
        ("Bearer authentication is required", "Bearer authentication is required"),
        ("key omni_osk_Ab1-2_3 used", "key [redacted] used"),
        ("table omni_dim_customers", "table omni_dim_customers"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_what_looks_like_a_secret(text: str, shown: str) -> None:
    """Credentials in URLs, tokens behind `Bearer` and Omni's own keys are taken out without being known; prose stays."""
    redactor = Redactor()
    assert redactor.redact(text) == shown
    assert redactor.redact(shown) == shown


def test_short_secrets_do_not_shred() -> None:
    """A secret of two or three characters goes only where it stands alone, one character only where it is all."""
    redactor = Redactor([Secret("abc"), Secret("7"), Secret(""), Secret("  "), Secret("redacted")])
    assert redactor.redact("abc abcd (abc) 7 = x7") == "[redacted] abcd ([redacted]) 7 = x7"
    assert redactor.redact("7") == REDACTED
    assert redactor.redact("was redacted") == "was redacted"


def test_longer_secrets_go_first() -> None:
    """A secret that begins like another leaves no tail behind."""
    redactor = Redactor([Secret("secret"), Secret("secret-and-more")])
    assert redactor.redact("secret-and-more secret") == "[redacted] [redacted]"


def test_added_later() -> None:
    """A secret that is read later is known from then on."""
    redactor = Redactor()
    assert redactor.redact("a9b8c7d6") == "a9b8c7d6"
    redactor.add(Secret("a9b8c7d6"))
    assert redactor.redact("a9b8c7d6") == REDACTED


def test_added_by_a_thread() -> None:
    """A secret may become known while another thread writes a line: no line fails, and each hides what is known by then."""
    redactor = Redactor()
    secrets = [f"key-{number:04}-{number * 7919:x}" for number in range(400)]

    def add() -> None:
        for secret in secrets:
            redactor.add(Secret(secret))

    thread = threading.Thread(target=add)
    thread.start()
    while thread.is_alive():
        redactor.redact({"event": "call_sent", "target": secrets[0], "path": "key-0 /api/v1/models"})
    thread.join()
    assert [redactor.redact(secret) for secret in secrets] == [REDACTED] * len(secrets)


def test_any_depth() -> None:
    """Text in lists, tuples, dictionaries, bytes and exceptions is redacted; numbers and field names stay."""
    redactor = Redactor([Secret("S3CRET")])
    value = {
        "list": ["S3CRET", 1, 2.5, True, None, ("x S3CRET",)],
        "S3CRET-key": b"S3CRET \xff",
        "error": ValueError("S3CRET"),
        "secret": Secret("S3CRET"),
        7: {"deep": [[["S3CRET"]]]},
    }
    assert redactor.redact(value) == {
        "list": [REDACTED, 1, 2.5, True, None, (f"x {REDACTED}",)],
        f"{REDACTED}-key": f"{REDACTED} ".encode() + b"\xff",
        "error": f"ValueError: {REDACTED}",
        "secret": "Secret(…)",
        7: {"deep": [[[REDACTED]]]},
    }


@given(
    st.lists(
        st.sampled_from([*_forms(ODD), "Bearer", "authorization: bearer", "[x", "\\", "%", "SECRET", "KEY123", "k"])
    )
)
def test_texts_of_one_value_are_redacted_like_single_ones(texts: list[str]) -> None:
    """What one text holds changes nothing in another, and a secret is found in any of them."""
    redactor = Redactor([Secret(ODD), Secret("SECRETKEY123"), Secret("k")])
    assert redactor.redact(texts) == [redactor.redact(text) for text in texts]


def test_field_names_stay() -> None:
    """A secret that happens to be a word of ours does not change the names of fields."""
    assert Redactor([Secret("failure")]).redact({"new_failures": ["failure"]}) == {"new_failures": [REDACTED]}


def test_what_contains_itself() -> None:
    """A container without an end ends."""
    endless: list[object] = []
    endless.append(endless)
    assert "…" in str(Redactor().redact(endless))


def test_it_is_fast() -> None:
    """A line without secrets costs microseconds, a megabyte of near misses no more than a moment."""
    redactor = Redactor([Secret(f"omni_osk_{n:032}") for n in range(5)])
    line = "an ordinary line of text as servers write it, of a hundred characters, with nothing secret in it at all"
    hostile = ["://" * 300_000, "bearer " * 100_000, "authorization" * 70_000, ":" * 10**6 + "@", "omni_osk" * 100_000]
    started_s = time.process_time()
    for _ in range(1000):
        redactor.redact(line)
    for text in (*hostile, "authorization" + " " * 10**6, "a://" + "b" * 10**6):
        redactor.redact(text)
    assert time.process_time() - started_s < 3


@pytest.mark.parametrize(
    "form",
    [
        "SECRETKEY-12345".lower(),
        "".join(f"%{byte:02x}" for byte in b"SECRETKEY-12345"),
        "".join(f"&#{byte};" for byte in b"SECRETKEY-12345"),
        "".join(f"\\u00{byte:02x}" for byte in b"SECRETKEY-12345"),
        "".join(f"%5Cu00{byte:02X}" for byte in b"SECRETKEY-12345"),
        "&amp;#83;ECRET\r\n  KEY-1=32\\x3345",
        "SECRET\\nKEY-12345",
        "SECRET\u200bKEY-12345",
        b"SECRETKEY-12345".hex("-"),
        base64.b32encode(b"SECRETKEY-12345").decode(),
        quote(base64.b64encode(b"SECRETKEY-12345").decode(), safe=""),
    ],
)
def test_escapes_of_escapes(form: str) -> None:
    """A secret is found in any case, escaped in several ways at once, in layers, and broken over lines."""
    assert Redactor([Secret("SECRETKEY-12345")]).redact(f"before {form} after") == f"before {REDACTED} after"


def test_prose_stays() -> None:
    """A short word that is a secret is no reason to shred what only resembles it."""
    redactor = Redactor([Secret("admin"), Secret("prod")])
    assert redactor.redact("Connection Admin, pro d, admin, prod") == "Connection Admin, pro d, [redacted], [redacted]"
