"""YAML text -> a tree that knows where each node stands. The one place that reads YAML.

Only libyaml's events are used: what a scalar means, duplicate keys, merge keys, aliases and limits are decided here,
because a manifest's values are taken as written. The composer keeps its own stack, so that no nesting ends in a
RecursionError, and counts what aliases unfold to, so that no file unfolds to more than `MAX_NODES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.manifest.diagnostics import Diagnostics
from orchestrator.manifest.encoding import StandIns, decode, join_surrogates, printable
from orchestrator.manifest.manifest import Place
from orchestrator.manifest.yaml_nodes import Document, Mapping, Node, Scalar, Sequence, core_value

if TYPE_CHECKING:
    from yaml.events import AliasEvent, CollectionStartEvent, Event, NodeEvent, ScalarEvent

MAX_NODES: Final = 5_000_000
MAX_DEPTH: Final = 100

_TAG: Final = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final = {"null": (type(None),), "bool": (bool,), "int": (int,), "float": (int, float)}
_COLLECTION_TAGS: Final = {Sequence: "seq", Mapping: "map"}
_LOST: Final = Scalar("", False, 0, 0)
"""Stands for a key that is no text."""

# A comment that is meant as one has a blank behind its `#`, or stands further off.
_CLOSE_COMMENT: Final = re.compile(r"[^\s#] #[^\s#!]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class _Parser(Protocol):
    def get_event(self) -> Event | None: ...


class _UnreadableError(Exception):
    """Nothing after this point can be understood; the fault is on the list already."""


def load_yaml(text: str | bytes, *, path: str) -> Document:
    """The whole file as a `Document`. Raises ManifestError with every fault that was found."""
    faults = Diagnostics(path)
    document = read_yaml(text, path=path, faults=faults)
    faults.stop()
    assert document is not None
    return document


def read_yaml(text: str | bytes, *, path: str, faults: Diagnostics, use_libyaml: bool = True) -> Document | None:
    """Like `load_yaml`, but faults go on the list, and what could be read comes back: None where nothing could."""
    clean = decode(text, faults) if isinstance(text, bytes) else printable(text, faults)
    if clean is None:
        return None
    import yaml

    stand_ins = StandIns.for_text(clean)
    parsed = stand_ins.put(clean)
    try:
        root = _Composer(faults, stand_ins).compose(_parser(parsed, use_libyaml=use_libyaml))
    except yaml.YAMLError as error:
        from orchestrator.manifest.yaml_words import reword

        faults.add(*reword(error, parsed))
        return None
    except _UnreadableError:
        return None
    return Document(path=path, root=root, commented=_commented(clean))


def _commented(text: str) -> dict[int, str]:
    """By their numbers, the lines in which a comment stands right behind something, as in `model: Sales #1`."""
    if _CLOSE_COMMENT.search(text) is None:
        return {}
    lines = enumerate(re.split(r"\r\n|\r|\n", text), start=1)
    return {number: line for number, line in lines if _CLOSE_COMMENT.search(line)}


def _parser(text: str, *, use_libyaml: bool) -> _Parser:
    """libyaml, which is ten times as fast; without it, and for JSON's surrogate pairs, which it refuses, the other."""
    import yaml

    if use_libyaml and yaml.__with_libyaml__ and not _SURROGATE_ESCAPE.search(text):
        return yaml.CSafeLoader(text)
    return yaml.SafeLoader(text)


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read. `size` and `height` count what aliases in it unfold to."""

    node: Sequence | Mapping
    anchor: str | None
    key: Scalar | None = None
    merges: list[Mapping] | None = None
    size: int = 1
    height: int = 1


class _Composer:
    """Events -> nodes, for one document."""

    def __init__(self, faults: Diagnostics, stand_ins: StandIns) -> None:
        self._faults = faults
        self._stand_ins = stand_ins
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._anchors: dict[str, tuple[Node, int, int] | None] = {}
        self._total = 0

    def compose(self, parser: _Parser) -> Node | None:
        """The document's root. Raises _UnreadableError, or what the parser raises."""
        from yaml import events

        # Asked millions of times, in the order of how often each comes.
        scalar, start, end = events.ScalarEvent, events.CollectionStartEvent, events.CollectionEndEvent
        next_event = parser.get_event
        documents = 0
        while not isinstance(event := next_event(), events.StreamEndEvent):
            if isinstance(event, scalar):
                self._scalar(event)
            elif isinstance(event, end):
                self._close()
            elif isinstance(event, start):
                self._open(event, Mapping if isinstance(event, events.MappingStartEvent) else Sequence)
            elif isinstance(event, events.AliasEvent):
                self._unfold(event)
            elif isinstance(event, events.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._unreadable(event, "a second document begins here: one file holds one")
        return self._root

    def _scalar(self, event: ScalarEvent) -> None:
        mark = event.start_mark
        assert mark is not None
        plain = not event.style
        if event.tag is not None:
            plain = self._tagged(event, plain=plain)
        text = event.value
        if not text.isascii():
            text = self._joined(event, self._stand_ins.take(text))
        self._add(Scalar(text, plain, mark.line + 1, mark.column + 1), event.anchor)

    def _joined(self, event: ScalarEvent, text: str) -> str:
        try:
            return join_surrogates(text)
        except UnicodeError:
            self._faults.add(_place(event), "an escape in this text is half of a surrogate pair, which is no character")
            return ""

    def _tagged(self, event: ScalarEvent, *, plain: bool) -> bool:
        """Whether a scalar with a tag is read as a plain one; tags that are not of YAML's core are faults."""
        tag = event.tag or ""
        if tag in {"!", _TAG + "str"}:
            return False
        types = _SCALAR_TAGS.get(tag.removeprefix(_TAG))
        if types is None:
            self._refuse_tag(event, tag)
            return plain
        if type(core_value(event.value)) not in types:
            self._faults.add(_place(event), f"this is not of the type that its tag !!{tag.removeprefix(_TAG)} says")
        return True

    def _refuse_tag(self, event: NodeEvent, tag: str) -> None:
        shown = "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
        self._faults.add(_place(event), f"the tag {self._faults.show(shown)} is not allowed here: remove it")

    def _open(self, event: CollectionStartEvent, kind: type[Mapping | Sequence]) -> None:
        mark = event.start_mark
        assert mark is not None
        if event.tag is not None and event.tag not in {"!", _TAG + _COLLECTION_TAGS[kind]}:
            self._refuse_tag(event, event.tag)
        if len(self._stack) >= MAX_DEPTH:
            raise self._unreadable(event, f"this is nested deeper than {MAX_DEPTH} levels")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(kind(mark.line + 1, mark.column + 1), event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        node = frame.node
        if frame.merges and isinstance(node, Mapping):
            merged: dict[str, tuple[Scalar, Node]] = {}
            for other in frame.merges:
                for key, pair in other.pairs.items():
                    merged.setdefault(key, pair)
            node.pairs = merged | node.pairs
        self._add(node, frame.anchor, frame.size, frame.height)

    def _unfold(self, event: AliasEvent) -> None:
        name = event.anchor or ""
        shown = self._faults.show(name)
        if name not in self._anchors:
            raise self._unreadable(
                event,
                f"the alias {shown} has no anchor of that name before it; a text that begins with `*`, such as a pattern, "
                f"needs quotes: {self._faults.show('*' + name)}",
            )
        anchored = self._anchors[name]
        if anchored is None:
            raise self._unreadable(event, f"the alias {shown} stands inside of what it means")
        node, size, height = anchored
        if len(self._stack) + height > MAX_DEPTH:
            raise self._unreadable(event, f"the alias {shown} unfolds to more than {MAX_DEPTH} levels")
        self._total += size - 1
        self._add(node, None, size, height)

    def _add(self, node: Node, anchor: str | None, size: int = 1, height: int = 0) -> None:
        self._total += 1
        if self._total > MAX_NODES:
            self._faults.add(
                node.place, f"up to here this file is, with its aliases unfolded, more than {MAX_NODES:,} values"
            )
            raise _UnreadableError
        if anchor:
            self._anchors[anchor] = (node, size, height)
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        frame.size += size
        if height >= frame.height:
            frame.height = height + 1
        owner = frame.node
        if isinstance(owner, Sequence):
            owner.items.append(node)
        elif frame.key is None:
            frame.key = self._key(node)
        else:
            key, frame.key = frame.key, None
            self._put(frame, owner, key, node)

    def _key(self, node: Node) -> Scalar:
        if isinstance(node, Scalar):
            return node
        self._faults.add(node.place, "a key must be a text: a list or a mapping cannot be one")
        return _LOST

    def _put(self, frame: _Frame, owner: Mapping, key: Scalar, node: Node) -> None:
        if key is _LOST:
            return
        if key.text == "<<" and key.plain:
            self._merge(frame, key, node)
        elif key.text not in owner.pairs:
            owner.pairs[key.text] = (key, node)
        else:
            line = owner.pairs[key.text][0].line
            self._faults.add(
                key.place,
                f"the key {self._faults.show(key.text)} stands here a second time, the first is on line {line}: remove one",
            )

    def _merge(self, frame: _Frame, key: Scalar, node: Node) -> None:
        sources = node.items if isinstance(node, Sequence) else [node]
        mappings = [source for source in sources if isinstance(source, Mapping)]
        if len(mappings) < len(sources):
            self._faults.add(key.place, "`<<` merges mappings only: write `<<: *name` or `<<: [*one, *other]`")
        elif frame.merges is not None:
            self._faults.add(key.place, "`<<` stands here a second time: write `<<: [*one, *other]`")
        else:
            frame.merges = mappings

    def _unreadable(self, event: Event, message: str) -> _UnreadableError:
        self._faults.add(_place(event), message)
        return _UnreadableError()


def _place(event: Event) -> Place:
    mark = event.start_mark
    assert mark is not None
    return Place(mark.line + 1, mark.column + 1)
