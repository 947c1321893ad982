"""What the pages show can be used as it stands: manifests load, YAML is YAML, quotations are what they quote."""

import os
import re
from pathlib import Path

import pytest
import yaml

from orchestrator.manifest.load import load_manifest
from orchestrator.simulator.reading import load_scenario
from tests.docs.pages import PAGES, Block, blocks, read_page, rows
from tests.house.tree import ROOT, files
from tests.omni.certificates import write_authority

_WITH_MODELS = [block for block in blocks("yaml") if re.search(r"^models:", block.text, re.MULTILINE)]
SCENARIOS = [b for b in _WITH_MODELS if b.comment == "scenario" or b.page.name == "scenario.md"]
MANIFESTS = [b for b in _WITH_MODELS if b not in SCENARIOS]


@pytest.mark.parametrize("block", MANIFESTS, ids=str)
def test_every_manifest_loads(block: Block, tmp_path: Path) -> None:
    """A manifest that a page shows loads with all its keys, once its variables are set and its files are there."""
    names = re.findall(r"\$\{(\w+)\}", block.text)
    # each is fit to be a key as well as the address of a webhook
    environ = {name: f"https://example.com/{number}" for number, name in enumerate(dict.fromkeys(names))}
    environ |= {name: "https://hooks.example.com/x" for name in names if name.endswith(("_URL", "_WEBHOOK"))}
    environ |= {"OMNI_BASE_URL": "https://blobsrus.omniapp.co", "OMNI_API_TOKEN": "key"}
    text = re.sub(r"/run/secrets/\S+?(?=[\],\s])", str(tmp_path / "key"), block.text)
    (tmp_path / "key").write_text("another-key\n", encoding="utf-8")
    write_authority(tmp_path).rename(tmp_path / "corporate-ca.pem")
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(text, encoding="utf-8")
    loaded = load_manifest(str(manifest), environ=environ, with_keys=True)
    assert loaded.entries


@pytest.mark.parametrize("block", SCENARIOS, ids=str)
def test_every_scenario_loads(block: Block, tmp_path: Path) -> None:
    """A simulator's scenario that a page shows is one."""
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(block.text, encoding="utf-8")
    assert load_scenario(scenario).models


def test_examples_are_shown() -> None:
    """There are manifests and scenarios in the pages for the tests above to load."""
    assert len(MANIFESTS) >= 5
    assert len(SCENARIOS) >= 2


def test_every_yaml_block_is_yaml() -> None:
    """Whatever else a page shows as YAML (a workflow, a CronJob) is at least that."""
    for block in blocks("yaml"):
        for document in yaml.safe_load_all(block.text):
            assert document is not None, str(block)


def test_quotations_are_true() -> None:
    """A block under a comment that names a file of this repository is a part of that file, word for word."""
    quoted = [
        block
        for language in ("yaml", "json", "ini", "python", "console", "text")
        for block in blocks(language)
        if block.comment and os.sep in block.comment and (ROOT / block.comment).is_file()
    ]
    wrong = [str(b) for b in quoted if b.text.strip("\n") not in (ROOT / b.comment).read_text(encoding="utf-8")]
    assert quoted
    assert not wrong, "\n".join(wrong)


def test_every_page_is_on_the_map() -> None:
    """The map of the documentation leads to each of its pages, at most once in a section, and names each row once."""
    texts = re.split("^## ", read_page("docs/README.md"), flags=re.MULTILINE)
    sections = [re.findall(r"\]\(([^)#]+)", text) for text in texts]
    pages = {str(page.relative_to("docs")) for page in PAGES if page.parts[0] == "docs" and page.name != "README.md"}
    assert not pages - {page for section in sections for page in section}
    assert not [page for section in sections for page in section if section.count(page) > 1]
    names = [row[0] for row in rows("docs/README.md")]
    assert len(set(names)) == len(names)


def test_every_page_is_on_the_site() -> None:
    """The site's navigation names each page once, and no page that does not exist."""
    navigation = re.findall(r'"([\w./-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    pages = [str(path) for path in files() if path.suffix == ".md" and path.parts[0] == "docs"]
    assert sorted(navigation) == sorted([*pages, "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])


def test_sections_that_links_name_exist() -> None:
    """A link to a section of a page, its own or another one, names a heading that is there."""
    lost = []
    for page in PAGES:
        for target, section in re.findall(r"\]\((?!\w+:)([^)#\s]*)#([^)\s]+)\)", read_page(page)):
            there = (ROOT / page.parent / target).resolve() if target else ROOT / page
            if not there.is_file() or section not in _sections(there.read_text(encoding="utf-8")):
                lost.append(f"{page}: {target}#{section}")
    assert not lost, "\n".join(lost)


def _sections(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
