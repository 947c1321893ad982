"""What people install: wheel and source distribution are reproducible and clean, and the bare wheel does the main job."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.setup.test_environment import base_python
from tests.setup.walkthrough import copy_of_the_tree

pytestmark = pytest.mark.timeout(180)

EXTRAS = ("apprise", "apache", "psycopg")
"""How the names of distributions begin that only extras bring."""


def build(tree: Path, target: Path, *kinds: str) -> None:
    """Build distributions from a tree."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(target), *kinds],
        cwd=tree,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000"},
        capture_output=True,
        check=True,
    )


def digests(folder: Path) -> dict[str, str]:
    """Each file there with its hash."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and a source distribution of this tree."""
    folder = tmp_path_factory.mktemp("package")
    build(copy_of_the_tree(folder / "tree"), folder / "dist", "--target", "sdist", "--target", "wheel")
    return folder / "dist"


def test_builds_are_reproducible(dist: Path, tmp_path: Path) -> None:
    """Another copy of the tree gives the same bytes, and so does the wheel that is built from the source distribution."""
    copy = copy_of_the_tree(tmp_path / "another place")
    for path in copy.rglob("*.py"):
        os.utime(path, (1, 1))
    build(copy, tmp_path / "again", "--target", "sdist", "--target", "wheel")
    assert digests(tmp_path / "again") == digests(dist)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (tree,) = (tmp_path / "unpacked").iterdir()
    build(tree, tmp_path / "from-sdist", "--target", "wheel")
    assert digests(tmp_path / "from-sdist").items() <= digests(dist).items()


def test_distributions_are_clean(dist: Path) -> None:
    """The wheel holds the package and its metadata alone; nothing in either is a build's or a tool's leftover."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(archive.read(metadata).decode("utf-8"))
    folders = {name.partition("/")[0] for name in names}
    assert {"orchestrator", metadata.partition("/")[0]} <= folders
    assert not {name for name in folders if name in {"tests", "benchmarks", "configs", "docs"}}
    assert "orchestrator/py.typed" in names
    assert {"airflow", "notify"} <= set(told.get_all("Provides-Extra", []))
    bare = [line for line in told.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in bare if line.startswith(EXTRAS)]
    with tarfile.open(sdist) as archive:
        names += archive.getnames()
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".orig", "~"))]
    assert not [name for name in names if "/.venv" in name or "omni-refresh-report" in name]


@pytest.mark.skipif(not os.environ.get("PACKAGE_INDEX"), reason="PACKAGE_INDEX is not set: pip may reach no index")
def test_the_bare_wheel_does_the_main_job(dist: Path, tmp_path: Path) -> None:
    """In an empty environment, without an extra, the wheel refreshes a manifest against the simulator."""
    lock = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    pins = [line.removesuffix(" \\") for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    (tmp_path / "pins.txt").write_text("\n".join(pins), encoding="utf-8")
    environment = tmp_path / "environment"
    (wheel,) = dist.glob("*.whl")
    subprocess.run([base_python(), "-m", "venv", environment], check=True)
    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    words = ["install", "--quiet", "--only-binary", ":all:", "--constraint", str(tmp_path / "pins.txt"), str(wheel)]
    subprocess.run([*pip, *words], check=True, capture_output=True)
    listed = subprocess.run([*pip, "list", "--format=freeze"], check=True, capture_output=True, text=True).stdout
    assert not [line for line in listed.splitlines() if line.lower().startswith(EXTRAS)]
    program = str(environment / "bin" / "omni-refresh")
    manifest = str(ROOT / "configs" / "nightly.yaml")
    ran = subprocess.run(
        [program, "run", manifest, "--simulate", "--report", "r.html", "--report", "r.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert {"r.html", "r.json"} <= {path.name for path in tmp_path.iterdir()}
