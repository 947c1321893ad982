"""Foreign text steers nothing: not a terminal, not a CI system, not the reader's eye."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.text import clean, near_words

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=200)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain, with ümlauts, 日本 and 🎉", "plain, with ümlauts, 日本 and 🎉"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\x00b\x7f\x9b2J", r"a\x00b\x7f\x9b2J"),
        ("two\nlines\ttab", "two lines tab"),
        ("windows\r\nold mac\r", r"windows old mac\x0d"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("half \ud800 pair", r"half \ud800 pair"),
        ("\ufffe \U000e0041", r"\ufffe \U000e0041"),
        ("family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"),
        ("::error::no", r"\::error::no"),
        ("  ::set-output", r"\  ::set-output"),
        ("id::int", "id::int"),
        ("so ##vso[task.complete] and ##[error]", "so # #vso[task.complete] and # #[error]"),
    ],
)
def test_unfit_characters_are_spelled_out(text: str, shown: str) -> None:
    """What could steer is spelled out, what people write stays as it is."""
    assert clean(text) == shown


def test_line_breaks_are_kept_on_request() -> None:
    """With `keep_newlines` a line break stays one, and a command after it is still marked."""
    assert clean("a\r\nb\n::error::x\ty", keep_newlines=True) == "a\nb\n\\::error::x y"


@given(ANY_TEXT, st.booleans())
def test_no_text_steers(text: str, keep_newlines: bool) -> None:
    """Whatever comes in, no control character, lone surrogate or workflow command goes out."""
    shown = clean(text, keep_newlines=keep_newlines)
    shown.encode("utf-8")
    assert not [char for char in shown if unicodedata.category(char) in {"Cc", "Cs"} and char != "\n"]
    assert keep_newlines or "\n" not in shown
    for line in shown.split("\n"):
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert "##vso[" not in line


@given(ANY_TEXT)
def test_cleaning_again_changes_nothing(text: str) -> None:
    """Cleaned text is clean: text may pass several rooms on its way out."""
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    "word,known,near",
    [
        ("modle", ["mode", "model", "models"], ["model"]),
        ("MODLE", ["mode", "Model"], ["Model"]),
        ("modes", ["mode", "model"], ["mode"]),
        ("xyz", ["mode", "model"], []),
    ],
)
def test_swapped_letters_are_the_nearest(word: str, known: list[str], near: list[str]) -> None:
    """A word with the same letters is suggested before one that lacks some."""
    assert near_words(word, known) == near
