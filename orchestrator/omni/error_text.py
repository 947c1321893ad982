"""Finds the server's message in an error answer: four documented shapes, and the pages of proxies in front of the server.

Documented: `{"error", "message"}`, `{"detail", "status"}`, the same with SCIM `schemas`, `{"error"}` alone. Also seen:
HTML pages and plain text of proxies, lists of findings, nothing at all.
"""

from __future__ import annotations

import html
import re
from http import HTTPStatus

from orchestrator.omni.fields import load_json

READ_BYTES = 64 * 1024
"""The most of an error's body that is read, in bytes."""

_FIELDS = ("detail", "message", "error", "error_description", "msg", "title", "errors")
_DEPTH = 4
_ITEMS = 5
_BLANKS = re.compile(r"\s+")
_API_FIELDS = frozenset({"error", "message", "detail", "status", "schemas", "code", "statusCode"})
_HIDDEN_TAGS = ("script", "style")

_KEY = r"(?:(?:bearer|access|auth\w*|personal|organi[sz]ation|org|omni|api)[ -]){0,3}(?:token|api[ -]?keys?|bearer|credentials?)"
_BAD = r"(?:invalid|expired|revoked|disabled|deactivated|deleted|malformed|unknown|unrecogni[sz]ed|incorrect|bad)"
_KEY_IS_BAD = re.compile(
    rf"\b{_BAD}[ ]{_KEY}\b(?![ ]in[ ](?:the[ ])?(?:url|uri|query|path|body|request)\b)"
    rf"|(?<!csrf )(?<!xsrf )(?<!if your )(?<!if the )\b{_KEY}[ ](?:(?:is|are|was|were|has|have|been|already|no|longer|not|or|and)[ ]){{0,5}}"
    rf"(?:{_BAD}|(?<=not )(?:valid|recogni[sz]ed|active)|(?<=no longer )(?:valid|active))\b"
    r"(?![ ](?:for|on|in)\b)"
)


def server_words(status: int, body: bytes) -> str:
    """Return the server's message in `body`; its status if there is none. The text is not cut and not cleaned."""
    words = _words(_value(body), _DEPTH)
    if words:
        return words
    text = body[:READ_BYTES].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        text = _without_markup(text)
    return text or f"HTTP {status} {_phrase(status)}".rstrip()


def says_that_the_key_is_bad(body: bytes) -> bool:
    """Return whether a 403 refuses the key itself, not what it asked for: "Invalid bearer token" and similar words.

    Only the API's own error shapes count. A firewall's page, plain text and other JSON may quote such words, and do not come
    from the server that knows the key.
    """
    value = _value(body)
    if not isinstance(value, dict) or not value.keys() <= _API_FIELDS:
        return False
    error, message, detail = value.get("error"), value.get("message"), value.get("detail")
    if detail is not None and value.get("status") != 403:
        return False
    texts = [text for text in (error, message, detail) if text is not None]
    if not (error or detail) or not all(isinstance(text, str) for text in texts):
        return False
    words = " | ".join(texts)[:READ_BYTES].replace("_", " ")
    return _KEY_IS_BAD.search(_BLANKS.sub(" ", words).lower()) is not None


def _value(body: bytes) -> object:
    """The JSON in `body`, or None; a body that was cut or is over the limit is text."""
    try:
        return load_json(body) if len(body) <= READ_BYTES else None
    except ValueError:
        return None


def _words(value: object, depth: int) -> str:
    """The first words in `value`: its text, the best of an object's fields, or all of a list's first items."""
    if isinstance(value, str):
        return value.strip()
    if depth == 0:
        return ""
    if isinstance(value, dict):
        return next((words for field in _FIELDS if (words := _words(value.get(field), depth - 1))), "")
    if isinstance(value, list):
        return "; ".join(words for item in value[:_ITEMS] if (words := _words(item, depth - 1)))
    return ""


def _without_markup(page: str) -> str:
    """The text of an HTML page, each piece once, in one line. Linear in the page's length, whatever stands in it."""
    pieces: list[str] = []
    hidden: str | None = None
    for part in page.split("<"):
        tag, closed, text = part.partition(">")
        name = tag.split(maxsplit=1)[0].lower() if tag.strip() else ""
        if hidden is not None:
            hidden = None if name == f"/{hidden}" else hidden
        elif name in _HIDDEN_TAGS:
            hidden = name
        piece = _BLANKS.sub(" ", html.unescape(text)).strip() if closed and hidden is None else ""
        if piece and piece not in pieces[-_ITEMS:]:
            pieces.append(piece)
    return " ".join(pieces)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
