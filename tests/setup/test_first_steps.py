"""The first commands that a newcomer types from the pages do what the pages say."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.simulator.reading import make_scenario
from tests.cli.serving import serving
from tests.setup.walkthrough import Block, Typed, copy_of_the_tree, steps, walk

MODELS = [
    {"name": "Sales", "duration": 0},
    {"name": "Quarterly Finance", "duration": 0},
    {"name": "Marketing", "duration": 0, "branches": ["nightly/schema"], "connection": {"branch_based": True}},
]
"""What the pages' manifests name, with short jobs."""
EXAMPLE = "https://blobsrus.omniapp.co"
QUICK_POLLS = "defaults: {poll: {min: 20ms, max: 200ms}}\n"


pytestmark = pytest.mark.timeout(120)


def codes(typed: list[Typed]) -> list[tuple[str, int]]:
    """Each command of the program with its exit code; no other command may fail."""
    assert [each for each in typed if each.code and not each.command.startswith("omni-refresh")] == []
    return [(each.command, each.code) for each in typed if each.command.startswith("omni-refresh")]


def test_the_first_real_run(tmp_path: Path) -> None:
    """The README's install leaves a program that its first real run finds, in the same shell, and that run succeeds."""
    with serving(make_scenario(models=MODELS)) as instance:
        typed = walk(list(steps("README.md", "Install", "A first real run")), tmp_path, edit=made_quick(instance.url))
    assert codes(typed) == [
        ("omni-refresh --version", 0),
        ("omni-refresh check models.yaml", 0),
        ("omni-refresh run models.yaml", 0),
    ], typed
    assert (tmp_path / "omni-refresh-report.json").is_file()


def test_the_tutorial(tmp_path: Path) -> None:
    """The tutorial's commands end as it says: a mistake is found, a rehearsal succeeds, one goes wrong, the real run succeeds."""
    blocks = list(steps("docs/tutorial/first-run.md"))
    first, second = (number for number, block in enumerate(blocks) if "$ omni-refresh check first.yaml" in block.text)
    assert first < second
    blocks.insert(second + 1, Block(language="console", text="$ mv first.yaml.bak first.yaml\n", file=None))
    blocks.insert(second, Block(language="console", text="$ sed -i.bak s/^models:/modells:/ first.yaml\n", file=None))
    # the first rehearsal needs no scenario; this one only makes its jobs short
    (tmp_path / "first.scenario.yaml").write_text(json.dumps({"models": MODELS}), encoding="utf-8")
    with serving(make_scenario(models=MODELS)) as instance:
        typed = walk(blocks, tmp_path, edit=made_quick(instance.url))
    assert codes(typed) == [
        ("omni-refresh --version", 0),
        ("omni-refresh check first.yaml", 0),
        ("omni-refresh check first.yaml", 2),
        ("omni-refresh run first.yaml --simulate --quiet", 0),
        ("omni-refresh run first.yaml --simulate --quiet", 1),
        ("omni-refresh run first.yaml", 0),
    ], typed


def made_quick(url: str) -> Callable[[str], str]:
    """An edit of what a page shows: its instance is the one at `url`, jobs are short, and polls are frequent."""

    def edit(text: str) -> str:
        quick = re.sub(r"duration: \d+", "duration: 0", text).replace(EXAMPLE, url)
        return quick + QUICK_POLLS if re.search(r"^  - model: ", text, re.MULTILINE) else quick

    return edit


@pytest.mark.timeout(300)
@pytest.mark.skipif(not os.environ.get("PACKAGE_INDEX"), reason="PACKAGE_INDEX is not set: pip may reach no index")
def test_the_install(tmp_path: Path) -> None:
    """The README's install, word by word, in a path with blanks: the lock is complete and the program starts."""
    folder = tmp_path / "my checkout"
    typed = walk(list(steps("README.md", "Install")), copy_of_the_tree(folder), installs=True)
    assert [(each.command, each.code, each.printed) for each in typed if each.code] == []
    assert codes(typed) == [("omni-refresh --version", 0)]
