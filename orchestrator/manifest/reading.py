"""Scalars -> values: placeholders replaced, names as written, everything else checked; what is wrong goes on the list."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingOf
from pathlib import Path
from typing import Final

from orchestrator.manifest.api_keys import ReadFile
from orchestrator.manifest.diagnostics import Diagnostics
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.variables import VariableError, expand, placeholders
from orchestrator.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence

MAX_NAME: Final = 500
"""Characters in a name: as many still fit into a URL, whatever they are."""

# A shorter value of a variable is no secret by itself: it is one only where its variable is named.
_SHORTEST_KEY: Final = 8
_SHORTEST_ADDRESS: Final = 16
_ADDRESSES: Final = frozenset({"base_url", "ca_file", "api_key_file"})
_KEY_ELSEWHERE: Final = "holds an API key: a key belongs under `api_keys` alone, anywhere else reports and logs show it"
_ADDRESS_ELSEWHERE: Final = "holds what is a secret of `notify`: write something else here, or reports and logs show it"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class ReadContext:
    """What the readers of one manifest share: where it lies, the variables, and the list of faults."""

    def __init__(
        self,
        *,
        path: str,
        environ: MappingOf[str, str],
        with_keys: bool,
        read_file: ReadFile,
        faults: Diagnostics,
    ) -> None:
        self.path: Final = path
        self.folder: Final = Path(path).absolute().parent
        self.environ: Final = environ
        self.with_keys: Final = with_keys
        self.read_file: Final = read_file
        self.faults: Final = faults
        self.commented: MappingOf[int, str] = {}
        self._key_variables: set[str] = set()
        self._notice_variables: set[str] = set()
        self._keys: set[str] = set()

    def fault(self, place: Place, message: str) -> None:
        """Something is wrong at `place`."""
        self.faults.add(place, message)

    def show(self, text: str) -> str:
        """`text` for a message."""
        return self.faults.show(text)

    def secret(self, text: str | None, *, is_key: bool = False) -> None:
        """From here on `text` is a secret: no message shows it, with or without its outer blanks."""
        for form in (text or "", (text or "").strip()):
            if form and form not in self.faults.secrets:
                self.faults.secrets.append(form)
            if is_key and len(form) >= _SHORTEST_KEY:
                self._keys.add(form)

    def secret_variable(self, name: str, *, is_key: bool) -> None:
        """What the variable `name` holds is a secret: it stands under `api_keys`, or under `notify`."""
        (self._key_variables if is_key else self._notice_variables).add(name)
        self.secret(self.environ.get(name), is_key=is_key)

    def misplaced(self, written: str, text: str, *, is_address: bool = False) -> str | None:
        """Why `text`, which was written as `written`, may not stand outside of `api_keys` and `notify`; None if it may.

        Such texts reach reports, logs and the journal. An address or a path may share a part with one under `notify`,
        but it holds no API key.
        """
        if any(key in text for key in self._keys):
            return _KEY_ELSEWHERE
        if not is_address and any(
            len(secret) >= _SHORTEST_ADDRESS and secret in text for secret in self.faults.secrets
        ):
            return _ADDRESS_ELSEWHERE
        if "$" in written:
            for name, _ in placeholders(written):
                if name in self._key_variables:
                    return _KEY_ELSEWHERE
                if name in self._notice_variables and not is_address:
                    return _ADDRESS_ELSEWHERE
        return None

    def text(self, node: Node, key: str) -> str | None:
        """A scalar's text with its placeholders replaced, or None with a fault."""
        if not isinstance(node, Scalar):
            self.fault(node.place, f"`{key}` is a {kind_of(node)}: write one value")
            return None
        if node.is_null:
            self.fault(node.place, empty(key, node))
            return None
        try:
            text = expand(node.text, self.environ)
        except VariableError as error:
            self.fault(node.place, f"`{key}`: {error}")
            return None
        if why := self.misplaced(node.text, text, is_address=key in _ADDRESSES):
            self.fault(node.place, f"`{key}` {why}")
            return None
        return text

    def name(self, node: Node, key: str, *, any_character: bool = False) -> str | None:
        """A name, exactly as written. Control characters are a slip, except where the name is our own label."""
        text = self.text(node, key)
        if text is None:
            return None
        if not text.strip():
            self.fault(node.place, f"`{key}` is blank: remove the key or name something")
        elif len(text) > MAX_NAME:
            self.fault(
                node.place, f"`{key}` is {len(text)} characters long, {MAX_NAME} are the most: {self.show(text)}"
            )
        elif not any_character and (odd := control_character(text)):
            self.fault(node.place, f"`{key}` holds {odd}: {self.show(text)}")
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
            self.faults.warn(
                node.place,
                f"`{key}` is {self.show(node.text)}, for what follows it is a comment: if {self.show(rest.strip())} is meant, "
                "put it in quotes",
            )

    def names(self, node: Node, key: str) -> tuple[str, ...] | None:
        """A list of names, or one name alone; no commas, each once."""
        if isinstance(node, Mapping):
            self.fault(node.place, f"`{key}` is a mapping: write a list of names, [one, other]")
            return None
        items = node.items if isinstance(node, Sequence) else [node]
        if not items:
            self.fault(node.place, f"`{key}` is empty: remove the key or name something")
            return None
        found: dict[str, None] = {}
        whole = True
        for item in items:
            name = self._listed(item, key)
            if name is None:
                whole = False
            elif name in found:
                self.faults.warn(item.place, f"`{key}` names {self.show(name)} more than once")
            else:
                found[name] = None
        return tuple(found) if whole else None

    def _listed(self, item: Node, key: str) -> str | None:
        if not isinstance(item, Scalar):
            self.fault(item.place, f"`{key}` holds a {kind_of(item)} in its list: write names, [one, other]")
            return None
        name = self.name(item, key)
        if name is not None and "," in name:
            self.fault(
                item.place,
                f"`{key}` holds a comma in {self.show(name)}: such a name cannot be sent; "
                f"several names are a list, [one, other]",
            )
            return None
        return name


def kind_of(node: Node) -> str:
    """What people call such a node."""
    return "mapping" if isinstance(node, Mapping) else "list" if isinstance(node, Sequence) else "single value"


def empty(key: str, node: Scalar) -> str:
    """The fault for a null. The words that YAML reads as one may have been meant as names."""
    if node.text:
        return f"`{key}` is `{node.text}`, which YAML reads as nothing: remove the key, or quote it if it is a name"
    return f"`{key}` is empty: remove the key or name something"


def control_character(text: str) -> str | None:
    """The first control character in `text`, as people call it."""
    match = _CONTROL.search(text)
    if match is None:
        return None
    return "a line break" if match[0] in "\r\n\x85" else f"the control character U+{ord(match[0]):04X}"
