"""Selects entries of a manifest: `--select` and `--exclude`. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from orchestrator.errors import UsageError, together
from orchestrator.manifest.manifest import Entry, Manifest, is_id
from orchestrator.planning.resolve import label_prefix, matches
from orchestrator.text import near_words, some

_WORDS: Mapping[str, Callable[[Entry], tuple[str | None, ...]]] = {
    "tag": lambda entry: entry.tags,
    "instance": lambda entry: (entry.instance,),
    "connection": lambda entry: (entry.connection,),
    "branch": lambda entry: (entry.branch,),
}
"""The prefixes of an expression, and what each compares."""

_SHOWN = 20
# comparing takes its time
_MOST_NEAR = 5000

Condition = Callable[[Entry], bool | None]
"""Whether an entry fulfils a condition. None if that depends on the branch of an entry with a branch pattern."""


class Selector:
    """The entries of a manifest, and the branches of a branch pattern, that `--select` and `--exclude` pick.

    An expression is a name, a glob over names, a model id, `tag:T`, `instance:I`, `connection:C` or `branch:B`. Comma means
    AND. Any of `include` selects (all if it is empty), and any of `exclude` removes. Raises `UsageError` for a word that
    nothing in the manifest has; with `lenient` such a word picks nothing.
    """

    def __init__(
        self, manifest: Manifest, include: Sequence[str] = (), exclude: Sequence[str] = (), *, lenient: bool = False
    ) -> None:
        errors: list[UsageError] = []
        self.include, self.exclude = tuple(include), tuple(exclude)
        self._manifest = manifest
        self._wanted = [_expression(manifest, text, errors) for text in include]
        self._unwanted = [_expression(manifest, text, errors) for text in exclude]
        if errors and not lenient:
            raise together(errors)

    def select(self, *, allow_empty: bool = True) -> tuple[Entry, ...]:
        """Return the selected entries in manifest order. Raises `UsageError` if there are none, unless `allow_empty`."""
        selected = tuple(filter(self.picks, self._manifest.entries))
        if not selected and not allow_empty:
            raise nothing_selected("nothing is selected")
        return selected

    def picks(self, entry: Entry) -> bool:
        """Return whether an entry is selected; for a branch pattern, whether any of its branches may be."""
        if any(expression(entry) for expression in self._unwanted):
            return False
        return not self._wanted or any(expression(entry) is not False for expression in self._wanted)

    def picks_branch(self, entry: Entry, pattern: Entry) -> bool:
        """Return whether the entry of one branch is selected. `pattern` is the entry with the branch pattern."""

        def holds(expression: Condition) -> bool:
            of_pattern = expression(pattern)
            return bool(expression(entry) if of_pattern is None else of_pattern)

        return not any(map(holds, self._unwanted)) and (not self._wanted or any(map(holds, self._wanted)))


def nothing_selected(message: str) -> UsageError:
    """Return the error of a selection that leaves nothing."""
    return UsageError(message, code="nothing-selected", hint="--allow-empty accepts an empty selection")


def _expression(manifest: Manifest, text: str, errors: list[UsageError]) -> Condition:
    """Return the condition that an expression states. Errors of its parts are added to `errors`."""
    whole = text.strip()
    # a name can contain commas and colons, and have blanks around it
    exact = next((name for name in (text, whole) if any(e.name == name for e in manifest.entries)), None)
    if exact is not None:
        return partial(_is_named, exact)
    parts: list[Condition] = []
    for part in whole.split(","):
        try:
            parts.append(_term(manifest, part.strip()))
        except UsageError as error:
            errors.append(error)
            parts.append(lambda _: False)
    return partial(_all, parts)


def _all(parts: Sequence[Condition], entry: Entry) -> bool | None:
    found = {part(entry) for part in parts}
    return False if False in found else None if None in found else True


def _term(manifest: Manifest, text: str) -> Condition:
    if not text:
        raise UsageError(
            "an empty selection",
            code="invalid-selection",
            hint="write a name, a glob, a model id, tag:T, instance:I, connection:C or branch:B",
        )
    if any(e.name == text for e in manifest.entries):
        return partial(_is_named, text)
    field, colon, value = text.partition(":")
    if colon and field in _WORDS:
        return _by_field(manifest, field, value)
    folded = text.lower()
    if any(e.model_id == folded for e in manifest.entries):
        return lambda e: e.model_id == folded
    if any(c in text for c in "*?["):
        return partial(_fits_glob, text)
    if any(_is_named(text, e) is None for e in manifest.entries):
        return partial(_is_named, text)
    if colon:
        near = _near(text, [f"{one}:{value}" for one in _WORDS])
        hint = f"the prefixes are {', '.join(f'{one}:' for one in _WORDS)}"
        message = f"no model is called {text!r}, and {field!r} is no prefix{near}"
        raise UsageError(message, code="invalid-selection", hint=hint)
    words = [e.name for e in manifest.entries[:_MOST_NEAR]]
    raise UsageError(f"no model is called {text!r}{_near(text, words)}", code="unknown-selection")


def _is_named(name: str, entry: Entry) -> bool | None:
    if entry.name == name or not entry.has_branch_pattern:
        return entry.name == name
    prefix = label_prefix(entry)
    may_be = name.startswith(prefix) and matches(entry.branch or "", name[len(prefix) :])
    return None if may_be else False


def _fits_glob(glob: str, entry: Entry) -> bool | None:
    if not entry.has_branch_pattern:
        return fnmatch.fnmatchcase(entry.name, glob)
    prefix, pattern = label_prefix(entry), entry.branch or ""
    if "[" not in pattern and not any(c in glob for c in "?[") and fnmatch.fnmatchcase(f"{prefix}{pattern}", glob):
        # the glob's letters are letters of the pattern, so the glob fits every name that the pattern can mean
        return True
    fixed = f"{prefix}{_letters(pattern)}"
    common = min(len(fixed), len(_letters(glob)))
    return None if fixed[:common] == glob[:common] else False


def _letters(pattern: str) -> str:
    """Return the beginning of a pattern, up to its first wildcard."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _is_on_branch(branch: str, entry: Entry) -> bool | None:
    if entry.branch == branch or not entry.has_branch_pattern:
        return entry.branch == branch
    return None if matches(entry.branch or "", branch) else False


def _by_field(manifest: Manifest, field: str, value: str) -> Condition:
    words = _WORDS[field]
    named = {word for e in manifest.entries for word in words(e) if word is not None}
    known = sorted(named | set(manifest.instances) if field == "instance" else named)
    meant = next((k for k in known if k == value or (is_id(k) and k.lower() == value.lower())), None)
    if field == "branch" and (meant is not None or any(_is_on_branch(value, e) is None for e in manifest.entries)):
        return partial(_is_on_branch, meant or value)
    if meant is None:
        what = f"there is: {some(known, at_most=_SHOWN)}" if known else f"no model has a {field}"
        raise UsageError(
            f"no {field} {value!r} in this manifest{_near(value, known[:_MOST_NEAR])}; {what}", code="unknown-selection"
        )
    return lambda e: meant in words(e)


def _near(word: str, known: Sequence[str]) -> str:
    return "".join(f" (did you mean {near!r}?)" for near in near_words(word, known))
