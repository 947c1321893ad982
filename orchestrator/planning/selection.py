"""Which entries of a manifest a run is about: `--select` and `--exclude`."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Sequence

from orchestrator.errors import UsageError, together
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.planning.inventory import is_id

_FIELDS = ("tag", "instance", "connection", "branch")
_SHOWN = 20
# Near words are looked for among so many: comparing takes its time.
_MOST_NEAR = 5000


def select(manifest: Manifest, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Return the entries that any of `include` selects (all if it is empty) and none of `exclude`, in manifest order.

    An expression is a name, a glob over names, a model id, `tag:T`, `instance:I`, `connection:C` or `branch:B`;
    several joined by comma must all hold. Raises `UsageError` where a word names nothing that there is.
    """
    errors: list[UsageError] = []
    wanted = [_expression(manifest, text, errors) for text in include]
    unwanted = [_expression(manifest, text, errors) for text in exclude]
    if errors:
        raise together(errors)
    return tuple(
        e for e in manifest.entries if (not wanted or any(w(e) for w in wanted)) and not any(u(e) for u in unwanted)
    )


def select_some(
    manifest: Manifest, include: Sequence[str], exclude: Sequence[str], *, allow_empty: bool
) -> tuple[Entry, ...]:
    """What `select` picks. Raises `UsageError` where that is nothing, unless `allow_empty`."""
    selected = select(manifest, include, exclude)
    if not selected and not allow_empty:
        raise UsageError("nothing is selected", code="nothing-selected", hint="with --allow-empty this is no error")
    return selected


def _expression(manifest: Manifest, text: str, errors: list[UsageError]) -> Callable[[Entry], bool]:
    """What an expression picks. Each wrong part of it is added to `errors`."""
    whole = text.strip()
    # a name may hold a comma or a colon itself, and blanks around it
    exact = next((name for name in (text, whole) if any(e.name == name for e in manifest.entries)), None)
    if exact is not None:
        return lambda e: e.name == exact
    parts: list[Callable[[Entry], bool]] = []
    for part in whole.split(","):
        try:
            parts.append(_term(manifest, part.strip()))
        except UsageError as error:
            errors.append(error)
    return lambda e: all(part(e) for part in parts)


def _term(manifest: Manifest, text: str) -> Callable[[Entry], bool]:
    if not text:
        raise UsageError(
            "an empty selection",
            code="invalid-selection",
            hint="write a name, a glob, a model id, tag:T, instance:I, connection:C or branch:B",
        )
    if any(e.name == text for e in manifest.entries):
        return lambda e: e.name == text
    field, colon, value = text.partition(":")
    if colon and field in _FIELDS:
        return _by_field(manifest, field, value)
    folded = text.lower()
    if any(e.model_id == folded for e in manifest.entries):
        return lambda e: e.model_id == folded
    if any(c in text for c in "*?["):
        return lambda e: fnmatch.fnmatchcase(e.name, text)
    if colon:
        near = _near(text, [f"{one}:{value}" for one in _FIELDS])
        hint = f"the prefixes are {', '.join(f'{one}:' for one in _FIELDS)}"
        message = f"no model is called {text!r}, and {field!r} is no prefix{near}"
        raise UsageError(message, code="invalid-selection", hint=hint)
    words = [e.name for e in manifest.entries[:_MOST_NEAR]]
    raise UsageError(f"no model is called {text!r}{_near(text, words)}", code="unknown-selection")


def _by_field(manifest: Manifest, field: str, value: str) -> Callable[[Entry], bool]:
    def words(entry: Entry) -> tuple[str, ...]:
        if field == "tag":
            return entry.tags
        word = {"instance": entry.instance, "connection": entry.connection, "branch": entry.branch}[field]
        return () if word is None else (word,)

    known = sorted(
        {w for e in manifest.entries for w in words(e)} | (set(manifest.instances) if field == "instance" else set())
    )
    meant = next((k for k in known if k == value or (is_id(k) and k.lower() == value.lower())), None)
    if meant is None:
        rest = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        what = f"there is: {', '.join(known[:_SHOWN])}{rest}" if known else f"no model has a {field}"
        raise UsageError(
            f"no {field} {value!r} in this manifest{_near(value, known[:_MOST_NEAR])}; {what}", code="unknown-selection"
        )
    return lambda e: meant in words(e)


def _near(word: str, known: Sequence[str]) -> str:
    """Which known word may be meant, whatever its letters' case."""
    folded = {k.lower(): k for k in known}
    near = difflib.get_close_matches(word.lower(), folded, n=1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""
