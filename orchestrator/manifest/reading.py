"""Scalars -> values: placeholders are replaced, names stay as written, and everything wrong becomes an error."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from pathlib import Path
from typing import Final

from orchestrator.input_file import ReadFile
from orchestrator.manifest.diagnostics import Diagnostics, InvalidValueError
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.variables import VariableError, expand, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

MAX_NAME: Final = 500
"""Characters in a name: any so many still fit into a URL."""

# A shorter value of a variable is no secret by itself: it is one only if its variable is named.
_SHORTEST_KEY: Final = 8
_SHORTEST_ADDRESS: Final = 16
_ADDRESSES: Final = frozenset({"base_url", "ca_file", "api_key_file"})
_LIST_OF_NAMES: Final = "write a list of names: [one, other]"
_NO_VALUE: Final = "remove the key, or give it a value"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ReadContext:
    """What the readers of one manifest share: its path, the variables, and the diagnostics."""

    def __init__(
        self,
        *,
        path: str,
        environ: MappingOf[str, str],
        with_keys: bool,
        read_file: ReadFile,
        diagnostics: Diagnostics,
    ) -> None:
        self.path: Final = path
        self.folder: Final = Path(path).absolute().parent
        self.environ: Final = environ
        self.with_keys: Final = with_keys
        self.read_file: Final = read_file
        self.diagnostics: Final = diagnostics
        self.commented: MappingOf[int, str] = {}
        self._key_variables: set[str] = set()
        self._notice_variables: set[str] = set()
        self._keys: set[str] = set()

    def error(self, place: Place, message: str, *, code: str, hint: str = "") -> None:
        """Add an error at `place`."""
        self.diagnostics.add(place, message, code=code, hint=hint)

    def reject(self, place: Place, what: str, error: InvalidValueError) -> None:
        """Add the error that a value at `place`, called `what`, is invalid."""
        self.diagnostics.add(place, f"{what} {error.message}", code=error.code, hint=error.hint)

    def warn(self, place: Place, message: str, *, code: str, hint: str = "", entry: str | None = None) -> None:
        """Add a warning at `place`."""
        self.diagnostics.warn(place, message, code=code, hint=hint, entry=entry)

    def show(self, text: str) -> str:
        """`text` for a message."""
        return self.diagnostics.show(text)

    def secret(self, text: str | None, *, is_key: bool = False) -> None:
        """From here on `text` is a secret: no message shows it, with or without its outer blanks."""
        for form in (text or "", (text or "").strip()):
            if form and form not in self.diagnostics.secrets:
                self.diagnostics.secrets.append(form)
            if is_key and len(form) >= _SHORTEST_KEY:
                self._keys.add(form)

    def secret_variable(self, name: str, *, is_key: bool) -> None:
        """The value of the variable `name` is a secret: it is used under `api_keys`, or under `notify`."""
        (self._key_variables if is_key else self._notice_variables).add(name)
        self.secret(self.environ.get(name), is_key=is_key)

    def misplaced(self, written: str, text: str, *, is_address: bool = False) -> InvalidValueError | None:
        """The error that `text`, written as `written`, has a secret that belongs under `api_keys` or `notify`; else None.

        Other texts reach reports, logs and the journal. An address or a path may share a part with one under `notify`,
        but it has no API key.
        """
        if any(key in text for key in self._keys):
            return _api_key_elsewhere()
        secrets = self.diagnostics.secrets
        if not is_address and any(len(secret) >= _SHORTEST_ADDRESS and secret in text for secret in secrets):
            return _address_elsewhere()
        if "$" in written:
            for name, _ in placeholders(written):
                if name in self._key_variables:
                    return _api_key_elsewhere()
                if name in self._notice_variables and not is_address:
                    return _address_elsewhere()
        return None

    def text(self, node: Node, key: str) -> str | None:
        """A scalar's text with its placeholders replaced, or None with an error."""
        if not isinstance(node, Scalar):
            self.error(node.place, f"`{key}` is a {kind_of(node)}", code="wrong-type", hint="write one value")
            return None
        if node.is_null:
            self.null(node, key)
            return None
        try:
            text = expand(node.text, self.environ)
            if error := self.misplaced(node.text, text, is_address=key in _ADDRESSES):
                raise error
        except VariableError as error:
            self.reject(node.place, f"`{key}`:", error)
            return None
        except InvalidValueError as error:
            self.reject(node.place, f"`{key}`", error)
            return None
        return text

    def null(self, node: Scalar, key: str) -> None:
        """Add the error for a value that YAML reads as null. It may be meant as a name."""
        if node.text:
            hint = "remove the key, or quote the value if it is a name"
            self.error(node.place, f"`{key}` is `{node.text}`, which means no value", code="empty-value", hint=hint)
        else:
            self.error(node.place, f"`{key}` is empty", code="empty-value", hint=_NO_VALUE)

    def name(self, node: Node, key: str, *, any_character: bool = False) -> str | None:
        """A name, exactly as written. Only the program's own labels may contain control characters."""
        text = self.text(node, key)
        if text is None:
            return None
        if not text.strip():
            self.error(node.place, f"`{key}` is blank", code="empty-value", hint=_NO_VALUE)
        elif len(text) > MAX_NAME:
            message = f"`{key}` has {len(text)} characters: {self.show(text)}"
            self.error(node.place, message, code="invalid-name", hint=f"write at most {MAX_NAME}")
        elif not any_character and (odd := _control_character(text)):
            message = f"`{key}` contains {odd}: {self.show(text)}"
            self.error(node.place, message, code="control-character", hint="remove it")
        else:
            self._warn_of_comment(node, key)
            return text
        return None

    def _warn_of_comment(self, node: Node, key: str) -> None:
        """A `#` after a blank ends a text without quotes: `Sales #1` is `Sales`."""
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

    def names(self, node: Node, key: str) -> tuple[str, ...] | None:
        """A list of names, or one name; no commas, each once."""
        if isinstance(node, Mapping):
            self.error(node.place, f"`{key}` is a mapping", code="wrong-type", hint=_LIST_OF_NAMES)
            return None
        items = node.items if isinstance(node, Sequence) else [node]
        if not items:
            self.error(node.place, f"`{key}` is empty", code="empty-value", hint=_NO_VALUE)
            return None
        found: dict[str, None] = {}
        whole = True
        for item in items:
            name = self._listed(item, key)
            if name is None:
                whole = False
            elif name in found:
                message = f"`{key}` contains {self.show(name)} more than once"
                self.warn(item.place, message, code="repeated-name", hint="remove one; it is used once")
            else:
                found[name] = None
        return tuple(found) if whole else None

    def _listed(self, item: Node, key: str) -> str | None:
        if not isinstance(item, Scalar):
            message = f"`{key}` contains a {kind_of(item)} in its list"
            self.error(item.place, message, code="wrong-type", hint=_LIST_OF_NAMES)
            return None
        name = self.name(item, key)
        if name is not None and "," in name:
            self.error(
                item.place,
                f"`{key}` has a comma in {self.show(name)}: the API cannot receive such a name",
                code="comma-in-name",
                hint="several names are a list: [one, other]",
            )
            return None
        return name


def kind_of(node: Node) -> str:
    """What people call such a node."""
    return "mapping" if isinstance(node, Mapping) else "list" if isinstance(node, Sequence) else "single value"


def _control_character(text: str) -> str | None:
    """The first control character in `text`, as people call it."""
    match = _CONTROL.search(text)
    if match is None:
        return None
    return "a line break" if match[0] in "\r\n\x85" else f"the control character U+{ord(match[0]):04X}"


def _api_key_elsewhere() -> InvalidValueError:
    hint = "use an API key only under `api_keys`: reports and logs show other values"
    return InvalidValueError("contains an API key", code="misplaced-secret", hint=hint)


def _address_elsewhere() -> InvalidValueError:
    hint = "write something else here: reports and logs show this value"
    return InvalidValueError("contains a secret of `notify`", code="misplaced-secret", hint=hint)
