"""Reads scalars into values: placeholders are replaced, and names stay as written."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from pathlib import Path
from typing import Final, TypeVar

from orchestrator.input_file import ReadFile
from orchestrator.manifest.diagnostics import Diagnostics, InvalidValueError
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.variables import expand, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence, items_of

_T = TypeVar("_T")

MAX_NAME: Final = 500
"""The most characters in a name. This many fit into a URL, whatever they are."""

# A shorter value counts as a secret only if its variable is named.
_SHORTEST_KEY: Final = 8
_SHORTEST_ADDRESS: Final = 16
_NONE: Final = frozenset[str]()
_NO_VALUE: Final = "remove the key, or give it a value"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ReadContext(Diagnostics):
    """What the readers of one manifest share: its diagnostics, the variables, and the secrets.

    A reader returns a value, or raises InvalidValueError, and `attempt` adds that error. A reader that has added its errors
    itself returns None.
    """

    def __init__(self, path: str, *, environ: MappingOf[str, str], with_keys: bool, read_file: ReadFile) -> None:
        super().__init__(path)
        self.folder: Final = Path(path).absolute().parent
        self.environ: Final = environ
        self.with_keys: Final = with_keys
        self.read_file: Final = read_file
        self.commented: MappingOf[int, str] = {}
        self._key_variables: set[str] = set()
        self._notice_variables: set[str] = set()
        self._keys: set[str] = set()

    def attempt(self, read: Callable[[ReadContext, Node, str], _T | None], node: Node, key: str) -> _T | None:
        """Return the value that `read` returns, or None with an error at the node."""
        try:
            return read(self, node, key)
        except InvalidValueError as error:
            self.reject(node.place, f"`{key}`:" if error.is_sentence else f"`{key}`", error)
            return None

    def reject(self, place: Place, what: str, error: InvalidValueError) -> None:
        """Add the error that a value at `place`, called `what`, is invalid."""
        self.error(place, f"{what} {error.message}", code=error.code, hint=error.hint)

    def secret(self, text: str | None, *, is_key: bool = False) -> None:
        """Register a secret. From now on no message shows it, with or without its outer blanks."""
        for form in (text or "", (text or "").strip()):
            if form and form not in self.secrets:
                self.secrets.append(form)
            if is_key and len(form) >= _SHORTEST_KEY:
                self._keys.add(form)

    def secret_variable(self, name: str, *, is_key: bool) -> None:
        """Register the value of a variable as a secret: it is used under `api_keys` (`is_key`), or under `notify`."""
        (self._key_variables if is_key else self._notice_variables).add(name)
        self.secret(self.environ.get(name), is_key=is_key)

    def refuse_secrets(self, written: str, text: str, *, is_address: bool = False) -> None:
        """Raise InvalidValueError if `text` contains a secret of `api_keys` or `notify`: reports and logs show `text`.

        `written` is the text before its variables were replaced. An address (or a path) may have parts in common with an
        address under `notify`.
        """
        named = {name for name, _ in placeholders(written)} if "$" in written else _NONE
        if named & self._key_variables or any(key in text for key in self._keys):
            hint = "use an API key only under `api_keys`: reports and logs show other values"
            raise InvalidValueError("contains an API key", code="misplaced-secret", hint=hint)
        if is_address:
            return
        if named & self._notice_variables or any(len(s) >= _SHORTEST_ADDRESS and s in text for s in self.secrets):
            hint = "write something else here: reports and logs show this value"
            raise InvalidValueError("contains a secret of `notify`", code="misplaced-secret", hint=hint)

    def text(self, node: Node, *, is_address: bool = False) -> str:
        """Return a scalar's text with its placeholders replaced. Raises InvalidValueError."""
        node = require_value(node)
        text = expand(node.text, self.environ)
        self.refuse_secrets(node.text, text, is_address=is_address)
        return text

    def unquoted(self, node: Node, hint: str) -> str:
        """Return the text of a number or a boolean, which has no quotes. Raises InvalidValueError."""
        text, node = self.text(node), require_value(node)
        if not node.plain and "$" not in node.text:
            raise InvalidValueError("is a text", code="wrong-type", hint=f"{hint}, without quotes")
        return text

    def name(self, node: Node, key: str, *, any_character: bool = False) -> str:
        """Return a name, exactly as written; with `any_character` it can contain control characters.

        Raises InvalidValueError.
        """
        text = self.text(node)
        if not text.strip():
            raise InvalidValueError("is blank", code="empty-value", hint=_NO_VALUE)
        if len(text) > MAX_NAME:
            message = f"has {len(text)} characters: {self.show(text)}"
            raise InvalidValueError(message, code="invalid-name", hint=f"write at most {MAX_NAME}")
        if not any_character and (match := _CONTROL.search(text)):
            odd = "a line break" if match[0] in "\r\n\x85" else f"the control character U+{ord(match[0]):04X}"
            message = f"contains {odd}: {self.show(text)}"
            raise InvalidValueError(message, code="control-character", hint="remove it")
        self._warn_of_comment(node, key)
        return text

    def _warn_of_comment(self, node: Node, key: str) -> None:
        """Warn if a comment ends the name: without quotes, `Sales #1` is `Sales`."""
        line = self.commented.get(node.line)
        if line is None or not isinstance(node, Scalar) or not node.plain:
            return
        rest = line[node.column - 1 :]
        if rest.startswith(f"{node.text} #") and rest[len(node.text) + 2 :].strip():
            self.warn(
                node.place,
                f"`{key}` is {self.show(node.text)}: the rest of the line is a comment",
                code="comment-in-value",
                hint=f"if {self.show(rest.strip())} is meant, put it in quotes",
            )

    def each(
        self,
        node: Node,
        key: str,
        read: Callable[[ReadContext, Scalar, str], _T | None],
        *,
        hint: str,
        if_empty: str = _NO_VALUE,
    ) -> tuple[_T, ...] | None:
        """Return the values of a list, or of one value alone; None with an error for each wrong one.

        Raises InvalidValueError for a mapping, and for an empty list (with the hint `if_empty`).
        """

        def read_item(reading: ReadContext, item: Node, key: str) -> _T | None:
            if not isinstance(item, Scalar):
                raise InvalidValueError(f"contains a {kind_of(item)} in its list", code="wrong-type", hint=hint)
            return read(reading, item, key)

        if isinstance(node, Mapping):
            raise InvalidValueError("is a mapping", code="wrong-type", hint=hint)
        items = items_of(node)
        if not items:
            raise InvalidValueError("is empty", code="empty-value", hint=if_empty)
        found = [value for item in items if (value := self.attempt(read_item, item, key)) is not None]
        return tuple(found) if len(found) == len(items) else None


def require_value(node: Node) -> Scalar:
    """Return the node if it is a single value and not null. Raises InvalidValueError."""
    if isinstance(node, Scalar) and not node.is_null:
        return node
    if not isinstance(node, Scalar):
        raise InvalidValueError(f"is a {kind_of(node)}", code="wrong-type", hint="write one value")
    if not node.text:
        raise InvalidValueError("is empty", code="empty-value", hint=_NO_VALUE)
    hint = "remove the key, or quote the value if it is a name"
    raise InvalidValueError(f"is `{node.text}`, which means no value", code="empty-value", hint=hint)


def kind_of(node: Node) -> str:
    """Return what people call such a node."""
    return "mapping" if isinstance(node, Mapping) else "list" if isinstance(node, Sequence) else "single value"
