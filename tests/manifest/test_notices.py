"""Notifications in the manifest: their addresses, their conditions, and that no output shows an address's secrets."""

import os

import pytest

from orchestrator.errors import UsageError
from orchestrator.manifest.manifest import Channel, Notice, NotifyOn, Secret
from orchestrator.manifest.notices import notice_secrets, notice_url_again
from tests.manifest.manifests import ENVIRON, KEY, MODEL, TOP, faults, load

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
HOOK = "https://hooks.example.com/services/canary-token?x=1"
WITH = {**ENVIRON, "SLACK_URL": SLACK, "HOOK": HOOK, "TOKEN": "canary-token"}


def text(*items: str) -> str:
    """A manifest with these notifications."""
    return TOP + "notify:\n" + "".join(f"  - {item}\n" for item in items) + MODEL


def test_webhooks_and_services_are_read() -> None:
    """Each item is one address with its `on`, `failure` by default; variables are replaced, and the source is kept."""
    manifest = load(
        text(
            "{webhook: http://127.0.0.1:9/x}",
            '{apprise: "${SLACK_URL}", on: change}',
            '{webhook: " https://hooks.example.com/services/${TOKEN} ", on: always}',
        ),
        environ=WITH,
    )
    plain, slack, hook = manifest.notify
    assert plain == Notice(
        channel=Channel.WEBHOOK,
        source="http://127.0.0.1:9/x",
        url=Secret("http://127.0.0.1:9/x"),
        on=NotifyOn.FAILURE,
    )
    assert (slack.channel, slack.source, slack.on) == (Channel.APPRISE, "${SLACK_URL}", NotifyOn.CHANGE)
    assert slack.url == Secret(SLACK)
    assert (hook.url, hook.on) == (Secret("https://hooks.example.com/services/canary-token"), NotifyOn.ALWAYS)


def test_one_notification_needs_no_list() -> None:
    """A mapping alone is a list of one; without the key no notification is sent."""
    (notice,) = load(TOP + 'notify: {webhook: "${HOOK}"}\n' + MODEL, environ=WITH).notify
    assert notice.url == Secret(HOOK)
    assert load(TOP + MODEL).notify == ()


def test_what_variables_hold_is_a_secret() -> None:
    """Every value that came from a variable, and an apprise address that is written out, is known as a secret."""
    items = ('{apprise: "${SLACK_URL}"}', '{webhook: "https://a.b/${TOKEN}"}', '{apprise: "ntfy://topic/abcdef"}')
    manifest = load(text(*items), environ=WITH)
    assert {SLACK, "canary-token", "ntfy://topic/abcdef", KEY} <= {secret.reveal() for secret in manifest.secrets}
    (warning,) = [w for w in manifest.warnings if w.code == "written-out-address"]
    assert "abcdef" not in warning.message


def test_check_needs_no_variables() -> None:
    """Without keys no variable is read, but what is written out is still checked."""
    unset, plain = load(text('{apprise: "${NOT_SET}"}', "{webhook: https://a.b/c}"), with_keys=False).notify
    assert (unset.source, unset.url) == ("${NOT_SET}", None)
    assert plain.url == Secret("https://a.b/c")
    assert faults(text("{webhook: ftp://a.b}"), with_keys=False)[0].endswith(" invalid-address")


@pytest.mark.parametrize(
    "item, says",
    [
        ("{webhook: http://hooks.example.com/x}", "7:15 insecure-address"),
        ("{webhook: ftp://a.b}", "7:15 invalid-address"),
        ("{webhook: https:///x}", "7:15 invalid-address"),
        ("{webhook: hooks.example.com}", "7:15 invalid-address"),
        ("{webhook: 'https://a.b/c d'}", "7:15 invalid-address"),
        ("{webhook: 'https://a.b:0/'}", "7:15 invalid-address"),
        ("{webhook: 'https://a.b:x/'}", "7:15 invalid-address"),
        ("{webhook: 'https://a.b/" + "x" * 4000 + "'}", "7:15 invalid-address"),
        ("{webhook: '${EMPTY}'}", "7:15 empty-value"),
        ("{webhook: '${NOT_SET}'}", "7:15 unset-variable"),
        ("{webhook: '${NOT SET}'}", "7:15 invalid-placeholder"),
        ("{webhook: }", "7:15 empty-value"),
        ("{webhook: [https://a.b]}", "7:15 wrong-type"),
        ("{webhook: 'https://u:canary-token@a.b/'}", "7:15 password-in-address"),
        ("{apprise: 'mailto://u:canary-token@a.b'}", "7:15 password-in-address"),
        ("{apprise: slack}", "7:15 invalid-address"),
        ("{apprise: '${SLACK_URL}', webhook: '${HOOK}'}", "7:5 notification-address"),
        ("{on: always}", "7:5 notification-address"),
        ("{webhook: '${HOOK}', on: sometimes}", "7:30 invalid-choice"),
        ("{slack: '${SLACK_URL}'}", "7:5 notification-address, 7:6 unknown-key"),
        ("https://a.b", "7:5 wrong-type"),
    ],
)
def test_faults_say_what_to_do(item: str, says: str) -> None:
    """Each wrong notification is a fault with its place; none shows a token."""
    lines = faults(text(item), environ={**WITH, "EMPTY": ""})
    assert ", ".join(lines) == says


@pytest.mark.parametrize(
    "notify, says",
    [
        ("notify:", "6:8 wrong-type"),
        ("notify: https://a.b", "6:9 wrong-type"),
        ("notify: []", "6:9 empty-value"),
        ("notify: [" + ", ".join(["{webhook: 'https://a.b'}"] * 21) + "]", "6:9 too-many-notifications"),
        ("notifications: []", "6:1 unknown-key"),
    ],
)
def test_the_list_itself(notify: str, says: str) -> None:
    """Anything but a list of notifications is an error."""
    assert ", ".join(faults(f"{TOP}{notify}\n{MODEL}")) == says


def test_a_password_may_come_from_a_variable() -> None:
    """An address can have a user name and a password if the password is a variable."""
    (notice,) = load(text('{webhook: "https://me:${TOKEN}@a.b/"}'), environ=WITH).notify
    assert notice.url == Secret("https://me:canary-token@a.b/")


def test_addresses_are_read_again() -> None:
    """A resumed run reads the address again; if that is impossible, the error shows nothing of it."""
    notice = Notice(channel=Channel.WEBHOOK, source="https://a.b/${TOKEN}")
    assert notice_url_again(notice, WITH) == Secret("https://a.b/canary-token")
    assert notice_secrets(notice, WITH) == (Secret("canary-token"),)
    plain = Notice(channel=Channel.APPRISE, source="ntfy://topic")
    assert notice_secrets(plain, WITH) == (Secret("ntfy://topic"),)
    for environ in ({}, {"TOKEN": "canary\x00token"}):
        with pytest.raises(UsageError, match="cannot be read again") as caught:
            notice_url_again(notice, environ)
        assert "canary" not in str(caught.value)
    assert os.environ.get("TOKEN") is None
