"""The bytes of a file: only UTF-8 is read."""

import codecs

import pytest

from orchestrator.manifest import yaml_text
from orchestrator.manifest.diagnostics import Diagnostics, ManifestError
from orchestrator.manifest.manifest import Place
from tests.manifest.manifests import MODEL, TOP, faults, load

TEXT = TOP + MODEL


def test_a_byte_order_mark_of_utf8_is_fine() -> None:
    """An editor's UTF-8 mark changes nothing, not even a column."""
    with_mark, without = load(codecs.BOM_UTF8 + TEXT.encode()), load(TEXT)
    assert with_mark.entries == without.entries


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_named(codec: str) -> None:
    """UTF-16 and UTF-32, with a mark or without, are refused by name."""
    assert faults(TEXT.encode(codec)) == ["1:1 not-utf8"]


def test_other_encodings_are_placed() -> None:
    """A byte that is not UTF-8 is named with its line and column, counted in characters."""
    text = TEXT.encode() + "    # ü ".encode() + b"\xfc\n"
    assert faults(text) == ["9:9 not-utf8"]


@pytest.mark.parametrize("char", ["\0", "\x1b", "\x07", "\x7f", "\x90", "\ufffe"])
def test_control_characters_are_placed(char: str) -> None:
    """What YAML calls unprintable is named by its code, with its place."""
    (line,) = faults(TEXT + f"    branch: a{char}b\n")
    assert line == "9:14 control-character"


def test_many_control_characters_are_not_all_named() -> None:
    """A binary file does not fill the terminal."""
    assert len(faults("\x01" * 1000)) == 20


def test_a_huge_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file over the limit is refused before it is decoded."""
    monkeypatch.setattr(yaml_text, "MAX_BYTES", 1024 * 1024)
    (line,) = faults(b"#" * (1024 * 1024 + 1))
    assert line == "1:1 file-too-large"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_editors_count(end: str) -> None:
    """Each of the three line ends ends a line, in errors of every stage."""
    text = f"a: 1{end}b: 2{end}  x"
    assert yaml_text.place_at(text, len(text) - 1) == Place(3, 3)
    (line,) = faults(TEXT.replace("\n", end) + f"    retries: x{end}")
    assert line == "9:14 invalid-number"


def test_text_may_not_hold_surrogates() -> None:
    """A text that cannot be in a file is an error, too."""
    listed = Diagnostics("m.yaml")
    assert yaml_text.printable("a: \ud800", listed) is None
    with pytest.raises(ManifestError, match="U\\+D800"):
        listed.stop()
