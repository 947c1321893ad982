"""The outputs that the pages show are what the program prints today."""

import shutil
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.docs.outputs import SCRIPTS, make_outputs, shown_outputs
from tests.docs.pages import PAGES, read_page


@pytest.mark.skipif(shutil.which("jq") is None, reason="some examples pipe JSON to jq")
@pytest.mark.parametrize("page", SCRIPTS)
def test_outputs_are_true(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each output block holds exactly what its command prints; `python -m tests.docs.outputs` writes it."""
    # debugging asyncio would write to stderr what takes long on a busy machine
    monkeypatch.delenv("PYTHONASYNCIODEBUG", raising=False)
    made = make_outputs(page, tmp_path)
    for shown, text in zip_longest(shown_outputs(page), made):
        assert shown == text, "run: python -m tests.docs.outputs"


def test_every_output_has_a_script() -> None:
    """Each page with an output block is in the table of scripts."""
    assert {str(page) for page in PAGES if "<!-- output -->" in read_page(page)} == set(SCRIPTS)
