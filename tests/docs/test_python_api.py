"""The page about the Python API says what there is, and its examples run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator
from tests.docs.pages import Block, blocks, read_page
from tests.house.tree import ROOT

PAGE = Path("docs/reference/python-api.md")
EXAMPLES = [block for block in blocks("python") if block.page == PAGE]


def test_the_page_names_every_public_name() -> None:
    """The first columns of the page's tables, and `__version__`, are exactly `orchestrator.__all__`."""
    cells = re.findall(r"^\| `(?:await )?(\w+)", read_page(PAGE), re.MULTILINE)
    arguments = {"state", "environ", "on_event", "key", "detach"}
    assert sorted({*cells, "__version__"} - arguments) == sorted(orchestrator.__all__)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_examples_run(example: Block, tmp_path: Path) -> None:
    """Each example of the page runs as it stands, from the repository's top."""
    environ = {**os.environ, "OMNI_REFRESH_STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for name in ("GITHUB_STEP_SUMMARY", "PYTHONASYNCIODEBUG"):
        environ.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example.text],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_there_are_examples() -> None:
    """The page shows a script, a scheduler's key and a service with two runs at once."""
    assert len(EXAMPLES) == 3
