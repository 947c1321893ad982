"""The notifications under `notify:`, and their addresses, which are read again if a run is resumed."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from orchestrator.errors import UsageError
from orchestrator.manifest.addresses import is_loopback
from orchestrator.manifest.diagnostics import InvalidValueError
from orchestrator.manifest.fields import Field, FieldType, JsonSchema, read_settings, table, word
from orchestrator.manifest.manifest import Channel, Notice, NotifyOn, Secret
from orchestrator.manifest.reading import ReadContext, require_value
from orchestrator.manifest.variables import expand, only_placeholders, placeholders
from orchestrator.manifest.yaml_nodes import Node, Scalar, items_of

MAX_URL: Final = 4_000
MAX_NOTICES: Final = 20

_FORMS: Final = "write `- webhook: https://...` or `- apprise: ${NAME}` for each"


def _address(channel: Channel) -> FieldType:
    """Return the type of a notification's address: a webhook's URL, or a URL that `apprise` knows."""
    schemes = "https?" if channel is Channel.WEBHOOK else "[A-Za-z][A-Za-z0-9+.-]*"

    def read(reading: ReadContext, node: Node, key: str) -> Notice:
        source = require_value(node).text.strip()
        named = placeholders(source)
        if _has_password(source):
            hint = "put it into a variable, and write ${NAME} in its place"
            raise InvalidValueError("contains a password itself", code="password-in-address", hint=hint)
        reading.refuse_secrets(source, "", is_address=True)
        if named and not reading.with_keys:
            return Notice(channel=channel, source=source)
        text = expand(source, reading.environ).strip()
        reading.refuse_secrets(source, text, is_address=True)
        check_address(text, channel)
        if channel is Channel.APPRISE and not named:
            reading.secret(text)
            message, hint = f"`{key}` is written out", "put an address that contains a token into a variable, ${NAME}"
            reading.warn(node.place, message, code="written-out-address", hint=hint)
        return Notice(channel=channel, source=source, url=Secret(text))

    return FieldType(read, {"type": "string", "pattern": rf"^\s*{schemes}://\S+\s*$|\$\{{"})


NOTICE: Final = table(
    "a notification",
    Field(
        "webhook",
        _address(Channel.WEBHOOK),
        meaning="A URL that is sent the run's summary as JSON; https, or http to this machine.",
        example="${REFRESH_WEBHOOK}",
    ),
    Field(
        "apprise",
        _address(Channel.APPRISE),
        meaning="A URL as `apprise` knows them (Slack, Teams, mail and many more) that is sent a short text.",
        example="${SLACK_URL}",
    ),
    Field(
        "on",
        word(NotifyOn),
        default="failure",
        meaning="After which runs: `always`; on `failure`, when the exit code is not 0; on `change`, when a target newly "
        "fails or has recovered since the run before.",
        example="change",
    ),
    aliases={
        "webhook": "url hook web_hook post http address",
        "apprise": "slack teams email mail service to",
        "on": "when events event if",
    },
)


def _read_notices(reading: ReadContext, node: Node, _: str) -> tuple[Notice, ...] | None:
    """Return the notifications that are right. Each wrong one is an error."""
    if isinstance(node, Scalar):
        raise InvalidValueError("is not a list", code="wrong-type", hint=_FORMS)
    items = items_of(node)
    if not items:
        raise InvalidValueError("is empty", code="empty-value", hint=f"remove the key, or {_FORMS}")
    if len(items) > MAX_NOTICES:
        message, hint = f"lists {len(items)} notifications", f"list at most {MAX_NOTICES}"
        raise InvalidValueError(message, code="too-many-notifications", hint=hint)
    found = (_read_notice(reading, item) for item in items)
    return tuple(notice for notice in found if notice is not None)


def _read_notice(reading: ReadContext, node: Node) -> Notice | None:
    settings = read_settings(reading, node, NOTICE)
    if settings is None:
        return None
    written = [channel for channel in Channel if channel in settings]
    if len(written) != 1:
        what = "both `webhook` and `apprise`" if written else "neither `webhook` nor `apprise`"
        hint = "write one of them; give the other an item of its own"
        reading.error(settings.place(), f"a notification has {what}", code="notification-address", hint=hint)
        return None
    notice = settings.get(written[0], Notice, None)
    return notice and replace(notice, on=settings.get("on", NotifyOn, notice.on))


def _notices_schema() -> JsonSchema:
    one = {**NOTICE.schema(), "oneOf": [{"required": [channel.value]} for channel in Channel]}
    return {"anyOf": [{"type": "array", "minItems": 1, "maxItems": MAX_NOTICES, "items": one}, one]}


NOTICES: Final = FieldType(_read_notices, _notices_schema())
"""A list of notifications, or one. Each has exactly one address."""


def notice_secrets(notice: Notice, environ: MappingOf[str, str]) -> tuple[Secret, ...]:
    """Return the secrets of a notification whose address was read again: the values of its variables."""
    named = placeholders(notice.source)
    texts = [environ.get(name) or default for name, default in named]
    texts += [notice.source] if not named and notice.channel is Channel.APPRISE else []
    return tuple(Secret(text) for text in texts if text)


def check_address(text: str, channel: Channel) -> None:
    """Raise InvalidValueError if an address is wrong. The error shows nothing of it."""
    if not text:
        hint = "write the address, or remove the notification"
        raise InvalidValueError("is empty", code="empty-value", hint=hint)
    if len(text) > MAX_URL or not text.isprintable() or (channel is Channel.WEBHOOK and " " in text):
        raise _invalid("is not an address: it is too long, or contains blanks or control characters")
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        raise _invalid("is not an address", "check its host and port") from None
    if not parts.scheme or "://" not in text:
        raise _invalid("is not an address: it has no scheme", "begin it with https:// or another scheme")
    if channel is Channel.APPRISE:
        return
    if parts.scheme not in {"http", "https"} or not host:
        raise _invalid("is not a webhook's address")
    if parts.scheme == "http" and not is_loopback(text):
        hint = "write https:// (http is only for this machine)"
        raise InvalidValueError("would send the summary unencrypted", code="insecure-address", hint=hint)


def _invalid(message: str, hint: str = "write https:// and a host") -> InvalidValueError:
    return InvalidValueError(message, code="invalid-address", hint=hint)


def notice_url_again(notice: Notice, environ: MappingOf[str, str]) -> Secret:
    """Read the address of an earlier run's notification again. Raises UsageError, which does not show it."""
    try:
        text = expand(notice.source, environ).strip()
        check_address(text, notice.channel)
    except InvalidValueError as error:
        message = f"the address of a notification ({notice.channel}) cannot be read again: {error.message}"
        raise UsageError(message, code=error.code, hint=error.hint) from None
    return Secret(text)


def _has_password(source: str) -> bool:
    """Return whether an address has a password that is written out. Raises VariableError."""
    userinfo, at, _ = source.partition("://")[2].split("/", 1)[0].rpartition("@")
    password = userinfo.partition(":")[2]
    return bool(at and password) and not only_placeholders(password)
