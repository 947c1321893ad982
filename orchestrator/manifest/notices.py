"""Notifications of a run: their addresses, read from the manifest, and read again if a run is resumed."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from orchestrator.errors import UsageError
from orchestrator.manifest.addresses import is_loopback
from orchestrator.manifest.credentials import note_secrets
from orchestrator.manifest.diagnostics import InvalidValueError
from orchestrator.manifest.fields import Field, FieldTable, JsonSchema, Table, Word, read_settings, table
from orchestrator.manifest.manifest import Channel, Notice, NotifyOn, Secret
from orchestrator.manifest.reading import ReadContext
from orchestrator.manifest.variables import VariableError, expand, only_placeholders, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

MAX_URL: Final = 4_000
MAX_NOTICES: Final = 20

_FORMS: Final = "write `- webhook: https://...` or `- apprise: ${NAME}` for each"


@dataclass(frozen=True, slots=True)
class NoticeAddress:
    """The address of a notification: a webhook's URL, or one that `apprise` knows."""

    channel: Channel

    def read(self, reading: ReadContext, node: Node, key: str) -> Notice | None:
        """The address, its variables replaced with `with_keys`; None with an error that shows no secret."""
        if not isinstance(node, Scalar) or node.is_null:
            reading.text(node, key)
            return None
        source = node.text.strip()
        try:
            named = placeholders(source)
            if _has_password(source):
                hint = "put it into a variable, and write ${NAME} in its place"
                raise InvalidValueError("contains a password itself", code="password-in-address", hint=hint)
            if error := reading.misplaced(source, "", is_address=True):
                raise error
            if named and not reading.with_keys:
                return Notice(channel=self.channel, source=source)
            text = expand(source, reading.environ).strip()
            if error := reading.misplaced(source, text, is_address=True):
                raise error
            check_address(text, self.channel)
        except InvalidValueError as error:
            reading.reject(node.place, f"`{key}`:" if isinstance(error, VariableError) else f"`{key}`", error)
            return None
        if self.channel is Channel.APPRISE and not named:
            reading.secret(text)
            message, hint = f"`{key}` is written out", "put an address that contains a token into a variable, ${NAME}"
            reading.warn(node.place, message, code="written-out-address", hint=hint)
        return Notice(channel=self.channel, source=source, url=Secret(text))

    def schema(self) -> JsonSchema:
        """A URL, or a variable that holds one."""
        schemes = "https?" if self.channel is Channel.WEBHOOK else "[A-Za-z][A-Za-z0-9+.-]*"
        return {"type": "string", "pattern": rf"^\s*{schemes}://\S+\s*$|\$\{{"}


NOTICE: Final = table(
    "a notification",
    Field(
        key="webhook",
        kind=NoticeAddress(Channel.WEBHOOK),
        default="",
        meaning="A URL that is sent the run's summary as JSON; https, or http to this machine.",
        example="${REFRESH_WEBHOOK}",
    ),
    Field(
        key="apprise",
        kind=NoticeAddress(Channel.APPRISE),
        default="",
        meaning="A URL as `apprise` knows them (Slack, Teams, mail and many more) that is sent a short text.",
        example="${SLACK_URL}",
    ),
    Field(
        key="on",
        kind=Word(NotifyOn),
        default="failure",
        meaning="After which runs: `always`; on `failure`, when the exit code is not 0; on `change`, when a target newly "
        "fails or has recovered since the run before.",
        example="change",
    ),
    aliases=dict.fromkeys(("url", "hook", "web_hook", "post", "http", "address"), "webhook")
    | dict.fromkeys(("slack", "teams", "email", "mail", "service", "to"), "apprise")
    | dict.fromkeys(("when", "events", "event", "if"), "on"),
)


@dataclass(frozen=True, slots=True)
class Notices:
    """A list of notifications, or one."""

    table: Table = NOTICE

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[Notice, ...] | None:
        """Those that are right; each other is an error."""
        if isinstance(node, Scalar):
            reading.error(node.place, f"`{key}` is not a list", code="wrong-type", hint=_FORMS)
            return None
        items = node.items if isinstance(node, Sequence) else [node]
        if not items:
            reading.error(node.place, f"`{key}` is empty", code="empty-value", hint=f"remove the key, or {_FORMS}")
        if len(items) > MAX_NOTICES:
            message = f"`{key}` lists {len(items)} notifications"
            reading.error(node.place, message, code="too-many-notifications", hint=f"list at most {MAX_NOTICES}")
            return None
        found = (self._one(reading, item) for item in items)
        return tuple(notice for notice in found if notice is not None)

    def _one(self, reading: ReadContext, node: Node) -> Notice | None:
        settings = read_settings(reading, node, self.table)
        if settings is None:
            return None
        written = [channel for channel in Channel if channel in settings]
        if len(written) != 1:
            what = "both `webhook` and `apprise`" if written else "neither `webhook` nor `apprise`"
            hint = "write one of them; a second one is an item of its own"
            reading.error(settings.place(), f"a notification has {what}", code="notification-address", hint=hint)
            return None
        return _with_on(settings.get(written[0], Notice), settings)

    def schema(self) -> JsonSchema:
        """Each has exactly one address."""
        one = {**self.table.schema(), "oneOf": [{"required": [channel.value]} for channel in Channel]}
        return {"anyOf": [{"type": "array", "minItems": 1, "maxItems": MAX_NOTICES, "items": one}, one]}


def notice_secrets(notice: Notice, environ: MappingOf[str, str]) -> tuple[Secret, ...]:
    """What no output may show of a notification whose address was read again: the values of its variables."""
    named = placeholders(notice.source)
    texts = [environ.get(name) or default for name, default in named]
    texts += [notice.source] if not named and notice.channel is Channel.APPRISE else []
    return tuple(Secret(text) for text in texts if text)


def _with_on(notice: Notice | None, settings: FieldTable) -> Notice | None:
    on = settings.get("on", NotifyOn)
    if notice is None or on is None:
        return notice
    return Notice(channel=notice.channel, source=notice.source, url=notice.url, on=on)


def hide_notices(reading: ReadContext, root: Mapping) -> None:
    """Before anything is read: make the values of the variables under `notify` known as secrets."""
    pair = root.pairs.get("notify")
    if pair is None:
        return
    for item in pair[1].items if isinstance(pair[1], Sequence) else [pair[1]]:
        for channel in Channel:
            if isinstance(item, Mapping) and channel in item.pairs:
                note_secrets(reading, item.pairs[channel][1], is_key=False)


def check_address(text: str, channel: Channel) -> None:
    """Raise InvalidValueError, which shows nothing of the address, if it is wrong."""
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
        raise _invalid("is no webhook")
    if parts.scheme == "http" and not is_loopback(text):
        hint = "write https:// (http is only for this machine)"
        raise InvalidValueError("would send the summary unencrypted", code="insecure-address", hint=hint)


def _invalid(message: str, hint: str = "write https:// and a host") -> InvalidValueError:
    return InvalidValueError(message, code="invalid-address", hint=hint)


def notice_url_again(notice: Notice, environ: MappingOf[str, str]) -> Secret:
    """The address of an earlier run's notification, its variables read again. Raises UsageError, which does not show it."""
    try:
        text = expand(notice.source, environ).strip()
        check_address(text, notice.channel)
    except InvalidValueError as error:
        message = f"the address of a notification ({notice.channel}) cannot be read again: {error.message}"
        raise UsageError(message, code=error.code, hint=error.hint) from None
    return Secret(text)


def _has_password(source: str) -> bool:
    """Whether the address as written contains a password itself. Raises VariableError for a malformed placeholder."""
    userinfo, at, _ = source.partition("://")[2].split("/", 1)[0].rpartition("@")
    password = userinfo.partition(":")[2]
    return bool(at and password) and not only_placeholders(password)
