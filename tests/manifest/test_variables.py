"""Placeholders: replaced once, in values only; a dollar stays a dollar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifest.variables import VariableError, expand, only_placeholders, placeholders
from tests.manifest.manifests import ENVIRON, ID, TOP, entry, faults, load

VARIABLES = {"A": "one", "B": "${A}", "EMPTY": "", "DOLLARS": "pa$HOME$$x${Y}"}


@pytest.mark.parametrize(
    "text, expanded",
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoneyone"),
        ("${B}", "${A}"),
        ("${DOLLARS}", "pa$HOME$$x${Y}"),
        ("${NONE:-two}", "two"),
        ("${EMPTY:-two}", "two"),
        ("${A:-two}", "one"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b$$c$d}", "a:-b$c$d"),
        ("${EMPTY}", ""),
        ("a$b", "a$b"),
        ("a$$b", "a$b"),
        ("$$$$", "$$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$one"),
        ("$", "$"),
        ("$A", "$A"),
        ("{A}", "{A}"),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    """A variable or its default replaces the placeholder, and is not expanded again."""
    assert expand(text, VARIABLES) == expanded


@pytest.mark.parametrize(
    "text, code",
    [
        ("${NONE}", "unset-variable"),
        *((text, "invalid-placeholder") for text in ("${A", "${", "${}", "${1A}", "${A B}", "${A-b}", "${A:?b}")),
        ("${A:-${B}}", "invalid-placeholder"),
        ("${BYTES}", "not-utf8"),
        ("${BYTES:-x}", "not-utf8"),
    ],
)
def test_what_is_wrong(text: str, code: str) -> None:
    """Everything else between `${` and `}` is an error that shows no value."""
    with pytest.raises(VariableError) as caught:
        expand(text, {**VARIABLES, "BYTES": "secret\udcff"})
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


def test_placeholders() -> None:
    """The variables in a text are found without their values."""
    assert placeholders("a ${A} $${B} ${C:-d}") == (("A", None), ("C", "d"))
    assert only_placeholders(" ${A}\t${B:-} ")
    assert not any(only_placeholders(text) for text in ("", " ", "x", "x${A}", "${A:-x}", "$$", "Bearer ${A}"))


@given(st.text(alphabet="$x"))
def test_without_braces_only_dollars_change(text: str) -> None:
    """In a text without `${`, only `$$` changes: it becomes one dollar."""
    assert expand(text, {}) == text.replace("$$", "$")


def test_values_of_every_kind_are_replaced() -> None:
    """Numbers, booleans, words, durations and names may come from variables."""
    environ = {**ENVIRON, "N": "7", "T": "true", "M": "soft", "D": "5m", "S": "no", "ID": ID.upper(), "WHO": "sim"}
    text = TOP + (
        "workers: ${N}\nmodels:\n  - id: ${ID}\n    retries: '${N}'\n    wait: \"${T}\"\n    mode: ${M}\n"
        "    timeout: ${D}\n    schemas: ['${S}', a$b, c$$d]\n    instance: ${WHO}\n    enabled: ${NONE:-false}\n"
    )
    manifest = load(text, environ=environ)
    (one,) = manifest.entries
    assert manifest.workers == 7
    assert (one.model_id, one.retries, one.wait, one.mode, one.timeout_s) == (ID, 7, True, "soft", 300.0)
    assert (one.schemas, one.instance, one.enabled) == (("no", "a$b", "c$d"), "sim", False)


def test_keys_are_not_replaced() -> None:
    """A placeholder in a key is a part of the key."""
    (line,) = faults(entry("${A}: b"), environ={**ENVIRON, "A": "tags"})
    assert line == "9:5 unknown-key"


def test_faults_point_at_the_value() -> None:
    """An unset variable is an error at its place; an empty one is checked as the key's value."""
    assert faults(
        entry("branch: ${NONE}", "schemas: [a, '${OTHER}']", "connection: ${EMPTY}"), environ={**ENVIRON, "EMPTY": ""}
    ) == ["9:13 unset-variable", "10:18 unset-variable", "11:17 empty-value"]
