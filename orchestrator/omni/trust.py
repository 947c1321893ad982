"""Which certificates are trusted. Verification is never switched off; a setting that cannot be read is an error."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Instance


def make_tls_context(instance: Instance | None) -> ssl.SSLContext:
    """The TLS settings for `instance`: the system's authorities, and those in its `ca_file` in addition. None: for anybody else.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's, as OpenSSL does everywhere. Authorities that a person named
    are not held to the letter of RFC 5280 (Python 3.13 and later would be), because company authorities often miss it;
    signatures, names and dates are checked as ever. Raises UsageError for a setting that names nothing usable.
    """
    named = [instance.ca_file if instance is not None else None]
    for variable, exists in (("SSL_CERT_FILE", os.path.isfile), ("SSL_CERT_DIR", os.path.isdir)):
        place = os.environ.get(variable)
        if place:
            named.append(Path(place))
            if not exists(place):
                raise UsageError(f"{variable} names {place}, which is not there; no certificate could be checked")
    context = ssl.create_default_context()
    if instance is not None and instance.ca_file is not None:
        fault = _load(context, instance.ca_file)
        if fault is not None:
            raise UsageError(f"ca_file of instance {instance.name}: {instance.ca_file} {fault}")
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
