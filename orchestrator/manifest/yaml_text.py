"""YAML text -> a tree that knows where each node stands. The one place that reads YAML.

PyYAML composes the nodes (with libyaml, if it is there). What a scalar means, duplicate keys, merge keys and limits are
decided here, because a manifest's values are taken as written.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from orchestrator.manifest.diagnostics import Diagnostics
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.yaml_nodes import Document, Mapping, Node, Scalar, Sequence, core_value

if TYPE_CHECKING:
    import yaml

MAX_BYTES: Final = 16 * 1024 * 1024
"""A larger file is not read."""

MAX_DEPTH: Final = 100
MAX_ALIASED: Final = 1_000_000
"""Aliases and merge keys may add this many values to those that are written."""

_MAX_NAMED: Final = 20
_BOM: Final = "\ufeff"
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
# All but what YAML 1.2 calls printable. The surrogates, which UTF-8 cannot have, are not printable.
_CONTROL: Final = re.compile("[^\\x09\\x0a\\x0d\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
# libyaml ends lines at the first three, as YAML 1.1 did, and refuses the last. In YAML 1.2 they are characters.
_SPECIAL: Final = "\x85\u2028\u2029\ufeff"
_PRIVATE: Final = range(0xE000, 0xF900)

_TAG: Final = "tag:yaml.org,2002:"
_NO_TAG: Final = ""
_SCALAR_TAGS: Final = {"null": (type(None),), "bool": (bool,), "int": (int,), "float": (int, float)}

# A real comment has a blank after its `#`, or more than one blank before it.
_CLOSE_COMMENT: Final = re.compile(r"[^\s#] #[^\s#!]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def load_yaml(text: str | bytes, *, path: str) -> Document:
    """Return the file as a `Document`. Raises ManifestError with every error in it."""
    diagnostics = Diagnostics(path)
    document = read_yaml(text, diagnostics)
    diagnostics.stop()
    assert document is not None
    return document


def read_yaml(text: str | bytes, diagnostics: Diagnostics, *, use_libyaml: bool = True) -> Document | None:
    """Like `load_yaml`, but errors are added to `diagnostics`. Returns None if nothing could be read."""
    clean = decode(text, diagnostics) if isinstance(text, bytes) else printable(text, diagnostics)
    if clean is None:
        return None
    diagnostics.decoded = clean
    import yaml

    stand_ins = _stand_ins(clean)
    parsed = clean.translate(stand_ins) if stand_ins else clean
    try:
        composed = _compose(parsed, use_libyaml=use_libyaml)
        root = None if composed is None else _Converter(diagnostics, stand_ins).convert(composed)
    except yaml.YAMLError as error:
        _add_syntax_error(error, parsed, diagnostics)
        return None
    except RecursionError:
        diagnostics.error(
            Place(1, 1), f"the values in this file are nested deeper than {MAX_DEPTH} levels", code="nesting"
        )
        return None
    except _UnreadableError:
        return None
    return Document(path=diagnostics.path, root=root, commented=_commented(clean))


def decode(data: bytes, diagnostics: Diagnostics) -> str | None:
    """The file's text without its byte order mark, or None with an error."""
    if len(data) > MAX_BYTES:
        message = f"this file is larger than {MAX_BYTES // 1024**2} MiB"
        diagnostics.error(Place(1, 1), message, code="file-too-large", hint="divide it into several files")
        return None
    if not (encoding := json.detect_encoding(data)).startswith("utf-8"):
        message = f"this file is {encoding[:6].upper()}"
        diagnostics.error(Place(1, 1), message, code="not-utf8", hint="save it as UTF-8")
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8").removeprefix(_BOM)
        message = f"byte 0x{data[error.start]:02X} is not UTF-8"
        diagnostics.error(place_at(before, len(before)), message, code="not-utf8", hint="save this file as UTF-8")
        return None
    return printable(text, diagnostics)


def printable(text: str, diagnostics: Diagnostics) -> str | None:
    """`text` without its byte order mark, or None if it has characters that YAML forbids."""
    text = text.removeprefix(_BOM)
    found = list(itertools.islice(_CONTROL.finditer(text), _MAX_NAMED))
    for match in found:
        diagnostics.error(
            place_at(text, match.start()),
            f"a YAML file cannot contain the control character U+{ord(match[0]):04X}",
            code="control-character",
            hint='remove it, or write it as an escape in double quotes ("\\x1b" for U+001B)',
        )
    return None if found else text


def place_at(text: str, index: int) -> Place:
    """The line and column of the character at `index`."""
    line, start = 1, 0
    for match in _LINE_END.finditer(text, 0, index):
        line, start = line + 1, match.end()
    return Place(line, index - start + 1)


def _stand_ins(text: str) -> dict[int, int]:
    """Return replacements for the characters that libyaml misreads; most texts have none.

    Each replaces one character with one that does not occur in the text, so columns stay the same.
    """
    needed = [char for char in _SPECIAL if char in text]
    if not needed:
        return {}
    lower = text.lower()
    free = (code for code in _PRIVATE if chr(code) not in text and f"{code:x}" not in lower)
    return {ord(char): code for char, code in zip(needed, free, strict=False)}


def _commented(text: str) -> dict[int, str]:
    """Return the lines with a comment directly after a value, as in `model: Sales #1`, by their numbers."""
    if _CLOSE_COMMENT.search(text) is None:
        return {}
    lines = enumerate(_LINE_END.split(text), start=1)
    return {number: line for number, line in lines if _CLOSE_COMMENT.search(line)}


def _compose(text: str, *, use_libyaml: bool) -> yaml.Node | None:
    """Return the document's root. A node has a tag only if the text gives it one.

    libyaml is ten times as fast. Only PyYAML's own parser accepts JSON's surrogate pairs.
    """
    import yaml

    fast = use_libyaml and yaml.__with_libyaml__ and not _SURROGATE_ESCAPE.search(text)
    base: Any = yaml.CSafeLoader if fast else yaml.SafeLoader
    loader = type("Loader", (base,), {"resolve": lambda *_: _NO_TAG})
    composed: yaml.Node | None = yaml.compose(text, Loader=loader)
    return composed


class _UnreadableError(Exception):
    """The rest of the file cannot be read; its error is added already."""


class _Converter:
    """Converts PyYAML's nodes to ours, each once: an alias is the node of its anchor."""

    def __init__(self, diagnostics: Diagnostics, stand_ins: dict[int, int]) -> None:
        import yaml

        self._diagnostics = diagnostics
        self._originals = {code: char for char, code in stand_ins.items()}
        self._scalar_type: type[yaml.ScalarNode] = yaml.ScalarNode
        self._mapping_type: type[yaml.MappingNode] = yaml.MappingNode
        # by the identity of the raw node; None while it is being converted
        self._done: dict[int, Sequence | Mapping | None] = {}
        self._measures: dict[int, tuple[int, int]] = {}
        self._aliased = 0

    def convert(self, raw: Any, depth: int = 0) -> Node:
        """Return the tree under `raw`. Raises _UnreadableError if it cannot be read further."""
        if isinstance(raw, self._scalar_type):
            return self._scalar(raw)
        identity = id(raw)
        if identity in self._done:
            return self._alias(raw, self._done[identity], depth)
        if depth >= MAX_DEPTH:
            raise self._unreadable(raw, f"this is nested deeper than {MAX_DEPTH} levels", code="nesting")
        self._done[identity] = None
        is_mapping = isinstance(raw, self._mapping_type)
        if raw.tag not in {_NO_TAG, "!", _TAG + ("map" if is_mapping else "seq")}:
            self._refuse_tag(raw)
        line, column = _line_column(raw)
        node: Sequence | Mapping
        if is_mapping:
            node = Mapping(line, column, self._pairs(raw, depth + 1))
        else:
            node = Sequence(line, column, [self.convert(item, depth + 1) for item in raw.value])
        self._done[identity] = node
        return node

    def _alias(self, raw: Any, node: Sequence | Mapping | None, depth: int) -> Node:
        if node is None:
            message, hint = "an alias in this value refers to the value itself", "write the value out"
            raise self._unreadable(raw, message, code="recursive-alias", hint=hint)
        size, height = self._measure(node)
        if depth + height > MAX_DEPTH:
            message = f"with its aliases, this is nested deeper than {MAX_DEPTH} levels"
            raise self._unreadable(raw, message, code="nesting")
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            message = f"aliases of values such as this one unfold to more than {MAX_ALIASED:,} values"
            raise self._unreadable(raw, message, code="alias-bomb", hint="write the values out, or use fewer aliases")
        return node

    def _measure(self, node: Node) -> tuple[int, int]:
        """How many values and levels a node unfolds to."""
        if isinstance(node, Scalar):
            return 1, 0
        found = self._measures.get(id(node))
        if found is None:
            items = node.items if isinstance(node, Sequence) else [value for _, value in node.pairs.values()]
            parts = [self._measure(item) for item in items]
            found = 1 + sum(size for size, _ in parts), 1 + max((height for _, height in parts), default=0)
            self._measures[id(node)] = found
        return found

    def _pairs(self, raw: Any, depth: int) -> dict[str, tuple[Scalar, Node]]:
        pairs: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] | None = None
        for raw_key, raw_value in raw.value:
            value = self.convert(raw_value, depth)
            if not isinstance(raw_key, self._scalar_type):
                self._add(raw_key, "a list or a mapping cannot be a key", code="key-not-text", hint="write a text")
                continue
            key = self._scalar(raw_key)
            if key.text == "<<" and key.plain:
                merged = self._merge(key, value, merged)
            elif key.text in pairs:
                self._diagnostics.error(
                    key.place,
                    f"duplicate key {self._diagnostics.show(key.text)}: line {pairs[key.text][0].line} has it already",
                    code="duplicate-key",
                    hint="remove one of them",
                )
            else:
                pairs[key.text] = (key, value)
        return pairs if merged is None else merged | pairs

    def _merge(
        self, key: Scalar, node: Node, merged: dict[str, tuple[Scalar, Node]] | None
    ) -> dict[str, tuple[Scalar, Node]] | None:
        """What the merge key adds: of several mappings the first wins."""
        sources = node.items if isinstance(node, Sequence) else [node]
        mappings = [source for source in sources if isinstance(source, Mapping)]
        if len(mappings) < len(sources):
            hint = "write `<<: *name` or `<<: [*one, *other]`"
            self._diagnostics.error(key.place, "`<<` merges only mappings", code="merge-key", hint=hint)
        elif merged is not None:
            message, hint = "`<<` occurs twice in this mapping", "write `<<: [*one, *other]`"
            self._diagnostics.error(key.place, message, code="merge-key", hint=hint)
        else:
            merged = {}
            for mapping in mappings:
                self._aliased += len(mapping.pairs)
                merged = merged | {key: pair for key, pair in mapping.pairs.items() if key not in merged}
        return merged

    def _scalar(self, raw: Any) -> Scalar:
        line, column = _line_column(raw)
        plain = not raw.style
        text: str = raw.value
        if not text.isascii():
            text = self._joined(raw, text.translate(self._originals) if self._originals else text)
        if raw.tag != _NO_TAG:
            plain = self._tagged(raw, plain=plain)
        return Scalar(line, column, text, plain)

    def _joined(self, raw: Any, text: str) -> str:
        """Return `text` with surrogate pairs joined: JSON writes characters above U+FFFF as such pairs."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeError:
            message = "an escape in this text is half of a surrogate pair, which is not a character"
            self._add(raw, message, code="invalid-escape", hint="write both halves, or the character itself")
            return ""

    def _tagged(self, raw: Any, *, plain: bool) -> bool:
        """Whether a scalar with a tag is read as a plain one. Tags that are not of YAML's core are errors."""
        tag: str = raw.tag
        if tag in {"!", _TAG + "str"}:
            return False
        types = _SCALAR_TAGS.get(tag.removeprefix(_TAG))
        if types is None:
            self._refuse_tag(raw)
            return plain
        if type(core_value(raw.value)) not in types:
            message = f"this value does not have the type of its tag !!{tag.removeprefix(_TAG)}"
            self._add(raw, message, code="tag", hint="correct the value, or remove the tag")
        return True

    def _refuse_tag(self, raw: Any) -> None:
        tag: str = raw.tag
        shown = "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
        self._add(raw, f"the tag {self._diagnostics.show(shown)} is not allowed here", code="tag", hint="remove it")

    def _add(self, raw: Any, message: str, *, code: str, hint: str = "") -> None:
        self._diagnostics.error(Place(*_line_column(raw)), message, code=code, hint=hint)

    def _unreadable(self, raw: Any, message: str, *, code: str, hint: str = "") -> _UnreadableError:
        self._add(raw, message, code=code, hint=hint)
        return _UnreadableError()


def _line_column(raw: Any) -> tuple[int, int]:
    mark = raw.start_mark
    return mark.line + 1, mark.column + 1


class _Syntax(NamedTuple):
    """Parts of what PyYAML's parsers say about the context and the problem, and our text for it.

    If `at_context`, the error is shown where the context begins.
    """

    context: str
    problem: str
    at_context: bool
    message: str
    hint: str
    code: str = "yaml-syntax"


_INDENTATION: Final = "check the indentation"
_ANCHOR: Final = "the name of an anchor or alias consists of letters, digits, `-` and `_`"
_UNKNOWN: Final = _Syntax("", "", False, "this is not YAML", "check the indentation, the quotes and the brackets")
# fmt: off
_SYNTAX: Final = (
    _Syntax("", "nesting", False, "this is nested too deeply", f"{MAX_DEPTH} levels are the maximum", code="nesting"),
    _Syntax("single document", "", False, "a second document begins here", "write one file for each", code="second-document"),
    _Syntax("duplicate anchor", "", False, "an anchor with this name exists already", "rename one of them", code="duplicate-anchor"),
    _Syntax("quoted scalar", "unexpected end of stream", True, "this quote is never closed", "add the closing quote"),
    _Syntax("quoted scalar", "unexpected document", True, "this quote is not closed before the document ends", "add the closing quote"),
    _Syntax("flow node", "", False, "a value is missing here", "perhaps an earlier bracket is not closed"),
    _Syntax("flow sequence", "", True, "this list is not closed", "add a comma or `]`, at the latest on line {line}"),
    _Syntax("flow mapping", "", True, "this mapping is not closed", "add a comma or `}}`, at the latest on line {line}"),
    _Syntax("", "mapping values are not allowed", False, "a key with `:` cannot stand here", "check the indentation; quote a text that contains `: `"),
    _Syntax("simple key", "':'", True, "this line is not `key: value`", "add the `:`, or indent the line"),
    _Syntax("block mapping", "", False, "a `key: value` is missing here", "check the indentation and the quotes"),
    _Syntax("block collection", "", False, "a `- item` is missing here", _INDENTATION),
    _Syntax("", "block sequence entries are not allowed", False, "a `- item` cannot stand here", _INDENTATION),
    _Syntax("", "unknown escape character", False, "double quotes have no such escape", "write `\\\\` for a backslash, or use single quotes", code="invalid-escape"),
    _Syntax("", "Unicode character escape", False, "this escape is not a character", "write a character that exists", code="invalid-escape"),
    _Syntax("double-quoted scalar", "hexadecimal", False, "this escape lacks hexadecimal digits", "write all digits", code="invalid-escape"),
    _Syntax("quoted scalar", "hexdecimal", False, "this escape lacks hexadecimal digits", "write all digits", code="invalid-escape"),
    _Syntax("", "undefined tag handle", False, "this tag is not known", "remove it", code="tag"),
    _Syntax(" tag", "", False, "this tag cannot be read", "remove it", code="tag"),
    _Syntax("anchor", "", False, _ANCHOR, "quote a text that begins with `&`"),
    _Syntax("alias", "", False, _ANCHOR, "quote a text that begins with `*`"),
    _Syntax("directive", "", False, "a line that begins with `%` is a directive", "quote a text that begins with `%`"),
    _Syntax("", "YAML document", False, "this file declares another YAML version than 1.1 or 1.2", "remove the %YAML line"),
    _Syntax("", "YAML directive", False, "the %YAML line occurs twice", "remove one"),
    _Syntax("block scalar", "indent", False, "the indentation after `|` or `>` cannot be read", "remove the digit, or correct it"),
    _Syntax("block scalar", "", False, "only a comment may follow `|` or `>` on its line", "begin the text on the next line"),
    _Syntax("", "document start", False, "this is outside of the document", "check the indentation of the lines before"),
)
# fmt: on


def _add_syntax_error(error: yaml.YAMLError, text: str, diagnostics: Diagnostics) -> None:
    """Add an error of one of PyYAML's parsers, in our words."""
    context_mark = getattr(error, "context_mark", None)
    problem_mark = getattr(error, "problem_mark", None) or context_mark
    context, problem = getattr(error, "context", None) or "", getattr(error, "problem", None) or ""
    if problem_mark is None:
        diagnostics.error(Place(1, 1), _UNKNOWN.message, code=_UNKNOWN.code, hint=_UNKNOWN.hint)
        return
    line, column = problem_mark.line, problem_mark.column
    place = Place(line + 1, column + 1)
    shown = next(itertools.islice(_LINE_END.split(text), line, None), "")
    tab_indents = "\t" in shown[: len(shown) - len(shown.lstrip(" \t"))]
    if tab_indents and not ("flow" in context or "quoted" in context):
        at = Place(line + 1, shown.index("\t") + 1)
        diagnostics.error(at, "a tab indents this line", code="tab", hint="use spaces")
    elif "cannot start any token" in problem and shown[column : column + 1] == "\t":
        diagnostics.error(place, "YAML needs spaces here, not a tab", code="tab", hint="use spaces")
    elif "cannot start any token" in problem:
        message = f"a text cannot begin with {shown[column : column + 1]}"
        diagnostics.error(place, message, code="yaml-syntax", hint="put it in quotes")
    elif "undefined alias" in problem:
        name = re.match(r"\*([\w-]*)", shown[column:])
        alias = name[1] if name else ""
        message = f"the alias {diagnostics.show(alias)} has no anchor before it"
        hint = f"if a text begins with `*`, such as a pattern, quote it: {diagnostics.show('*' + alias)}"
        diagnostics.error(place, message, code="unknown-alias", hint=hint)
    elif "flow" in context and "${" in shown:
        at = Place(line + 1, shown.index("${") + 1)
        diagnostics.error(at, "`${...}` in brackets is not quoted", code="unquoted-variable", hint='write "${NAME}"')
    else:
        found = next((one for one in _SYNTAX if one.context in context and one.problem in problem), _UNKNOWN)
        if found.at_context and context_mark is not None:
            place = Place(context_mark.line + 1, context_mark.column + 1)
        diagnostics.error(place, found.message, code=found.code, hint=found.hint.format(line=line + 1))
