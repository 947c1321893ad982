"""Who is told of a run: addresses for notifications, read from the manifest, and read again where a run is resumed."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from orchestrator.errors import UsageError
from orchestrator.manifest.addresses import is_loopback
from orchestrator.manifest.credentials import note_secrets
from orchestrator.manifest.field_tables import Field, FieldTable, Table, read_settings, table
from orchestrator.manifest.field_types import JsonSchema, Word
from orchestrator.manifest.manifest import Channel, Notice, NotifyOn, Secret
from orchestrator.manifest.reading import ReadContext
from orchestrator.manifest.variables import expand, only_placeholders, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

MAX_URL: Final = 4_000
MAX_NOTICES: Final = 20

_WRITTEN_OUT: Final = "a password stands in the manifest itself: put it into a variable, and write ${NAME} in its place"
_FORMS: Final = "write `- webhook: https://...` or `- apprise: ${NAME}` for each"


@dataclass(frozen=True, slots=True)
class NoticeAddress:
    """Where a notification goes: a webhook's URL, or one of those that `apprise` knows."""

    channel: Channel

    def read(self, reading: ReadContext, node: Node, key: str) -> Notice | None:
        """The address, its variables replaced where keys are asked for; None with a fault that shows no secret."""
        if not isinstance(node, Scalar) or node.is_null:
            reading.text(node, key)
            return None
        source = node.text.strip()
        try:
            named = placeholders(source)
            if _holds_password(source):
                raise ValueError(_WRITTEN_OUT)
            if why := reading.misplaced(source, "", is_address=True):
                raise ValueError(why)
            if named and not reading.with_keys:
                return Notice(channel=self.channel, source=source)
            text = expand(source, reading.environ).strip()
            if why := reading.misplaced(source, text, is_address=True):
                raise ValueError(why)
            check_address(text, self.channel)
        except ValueError as error:
            reading.fault(node.place, f"`{key}`: {error}")
            return None
        if self.channel is Channel.APPRISE and not named:
            reading.secret(text)
            reading.faults.warn(
                node.place, f"`{key}` is written out: what it may hold of tokens belongs in a variable, ${{NAME}}"
            )
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
    wrong=dict.fromkeys(("url", "hook", "web_hook", "post", "http", "address"), "webhook")
    | dict.fromkeys(("slack", "teams", "email", "mail", "service", "to"), "apprise")
    | dict.fromkeys(("when", "events", "event", "if"), "on"),
)


@dataclass(frozen=True, slots=True)
class Notices:
    """A list of notifications, or one."""

    table: Table = NOTICE

    def read(self, reading: ReadContext, node: Node, key: str) -> tuple[Notice, ...] | None:
        """Those that are right; each other is a fault."""
        if isinstance(node, Scalar):
            reading.fault(node.place, f"`{key}` is no list: {_FORMS}")
            return None
        items = node.items if isinstance(node, Sequence) else [node]
        if not items:
            reading.fault(node.place, f"`{key}` is empty: remove the key, or {_FORMS}")
        if len(items) > MAX_NOTICES:
            reading.fault(node.place, f"`{key}` lists {len(items)} notifications, {MAX_NOTICES} are the most")
            return None
        found = (self._one(reading, item) for item in items)
        return tuple(notice for notice in found if notice is not None)

    def _one(self, reading: ReadContext, node: Node) -> Notice | None:
        settings = read_settings(reading, node, self.table)
        if settings is None:
            return None
        written = [channel for channel in Channel if channel in settings]
        if len(written) != 1:
            what = "names both `webhook` and `apprise`" if written else "names neither `webhook` nor `apprise`"
            reading.fault(
                settings.place(), f"a notification {what}: write one of them, and a further one as its own item"
            )
            return None
        return _with_on(settings.get(written[0], Notice), settings)

    def schema(self) -> JsonSchema:
        """Each names exactly one address."""
        one = {**self.table.schema(), "oneOf": [{"required": [channel.value]} for channel in Channel]}
        return {"anyOf": [{"type": "array", "minItems": 1, "maxItems": MAX_NOTICES, "items": one}, one]}


def notice_secrets(notice: Notice, environ: MappingOf[str, str]) -> tuple[Secret, ...]:
    """What no output may show of a notification whose address was read anew: what its variables hold."""
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
    """Before anything is read: what the variables under `notify` hold is a secret, wherever else it stands."""
    pair = root.pairs.get("notify")
    if pair is None:
        return
    for item in pair[1].items if isinstance(pair[1], Sequence) else [pair[1]]:
        for channel in Channel:
            if isinstance(item, Mapping) and channel in item.pairs:
                note_secrets(reading, item.pairs[channel][1], is_key=False)


def check_address(text: str, channel: Channel) -> None:
    """Raises ValueError, whose text says what is wrong with an address and shows nothing of it."""
    if not text:
        raise ValueError("is empty: write the address, or remove the notification")
    if len(text) > MAX_URL or not text.isprintable() or (channel is Channel.WEBHOOK and " " in text):
        raise ValueError("is not an address: it is too long, or holds blanks or control characters")
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        raise ValueError("is not an address: look at its host and port") from None
    if not parts.scheme or "://" not in text:
        raise ValueError("is not an address: it has no scheme, such as https://")
    if channel is Channel.APPRISE:
        return
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("is no webhook: write https:// and a host")
    if parts.scheme == "http" and not is_loopback(text):
        raise ValueError("sends the summary unencrypted: write https:// (http is for this machine alone)")


def notice_url_again(notice: Notice, environ: MappingOf[str, str]) -> Secret:
    """The address of an earlier run's notification, its variables read anew. Raises UsageError, which does not show it."""
    try:
        text = expand(notice.source, environ).strip()
        check_address(text, notice.channel)
    except ValueError as error:
        raise UsageError(f"the address of a notification ({notice.channel}) cannot be read again: {error}") from None
    return Secret(text)


def _holds_password(source: str) -> bool:
    """Whether the address as written holds a password of its own. Raises VariableError for a malformed placeholder."""
    userinfo, at, _ = source.partition("://")[2].split("/", 1)[0].rpartition("@")
    password = userinfo.partition(":")[2]
    return bool(at and password) and not only_placeholders(password)
