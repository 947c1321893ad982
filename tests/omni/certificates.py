"""A company's authority, and a server's certificate for 127.0.0.1 and localhost that it signed; valid from 2020 to 2120.

The authority has no key usage, as many company authorities have none: strict checking would refuse it. The key is bait:
it guards nothing. All three are DER in base64.
"""

import base64
import ssl
from pathlib import Path

AUTHORITY = (
    "MIIBUTCB96ADAgECAgEBMAoGCCqGSM49BAMCMBcxFTATBgNVBAMMDENvbXBhbnkgUm9vdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIw"
    "MDEwMTAwMDAwMFowFzEVMBMGA1UEAwwMQ29tcGFueSBSb290MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvQdCmdqiF8kUZsul"
    "rcgseIRu8lryaic2dGEgU05RDdl5cIJG0ffPDgzQL5mM+Q9A7IOA/j6mCENPTWyGmLKrgaMyMDAwDwYDVR0TAQH/BAUwAwEB/zAd"
    "BgNVHQ4EFgQUH9GIAZdsiwDj72oy+AiNHsPPmVAwCgYIKoZIzj0EAwIDSQAwRgIhAJN0A7rfwQbIYgQxu+/GKHMF9hRLYWCyB8WP"
    "Q6OmgZGhAiEAr655/wMEtbwCqXRH6CtkPUp6J8Rip5648i0R9BcMf6w="
)

CERTIFICATE = (
    "MIIBhDCCASqgAwIBAgIBAjAKBggqhkjOPQQDAjAXMRUwEwYDVQQDDAxDb21wYW55IFJvb3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEy"
    "MDAxMDEwMDAwMDBaMBMxETAPBgNVBAMMCHN0YW5kLWluMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5KUcvI5WRZ8PcAA1FDzU"
    "mOjE6foXWIDnIE9rMapxbhSdBzXSoxldh29MVc68rl2PmY9FGiR4E5c+2mjnMxMwx6NpMGcwGgYDVR0RBBMwEYcEfwAAAYIJbG9j"
    "YWxob3N0MAkGA1UdEwQCMAAwHQYDVR0OBBYEFOi04qrX1RtxFL29mG9px3W9464bMB8GA1UdIwQYMBaAFB/RiAGXbIsA4+9qMvgI"
    "jR7Dz5lQMAoGCCqGSM49BAMCA0gAMEUCIGGM/2p0Ep9Sjow3jdMy1ULz1QZKjnjzDQHh8WHUazEuAiEA6MhdPZtNtJLWWIa6tpOJ"
    "+yV0P28Ps14+Zmh5DyN7vik="
)

KEY = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKOScbzILCkEhgdgm2NQWSjKk/VDr/q0LMk+RRrdJJJShRANCAATk"
    "pRy8jlZFnw9wADUUPNSY6MTp+hdYgOcgT2sxqnFuFJ0HNdKjGV2Hb0xVzryuXY+Zj0UaJHgTlz7aaOczEzDH"
)


def write_authority(folder: Path) -> Path:
    """The authority as a PEM file in `folder`."""
    path = folder / "company-ca.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(base64.b64decode(AUTHORITY)), encoding="ascii")
    return path


def make_server_context(folder: Path) -> ssl.SSLContext:
    """The TLS settings of a server that shows the certificate; its files are written into `folder`."""
    marks = ("-----BEGIN PRIVATE " + "KEY-----", "-----END PRIVATE " + "KEY-----")
    pem = ssl.DER_cert_to_PEM_cert(base64.b64decode(CERTIFICATE)) + "\n".join((marks[0], KEY, marks[1], ""))
    path = folder / "server.pem"
    path.write_text(pem, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
