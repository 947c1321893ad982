"""The Makefile makes the environment from the lock alone, whatever the index offers and whatever the caller's shell has set.

The lock and the index are small ones of the tests' own; the Makefile, pip and Python are the real ones.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from tests.setup.wheels import write_wheel

OLDEST_PIP = os.environ.get("OLDEST_PIP", "")
"""The wheel of the oldest pip that a Python 3.11 bundles: 22.3, of 3.11.0."""

needs_oldest_pip = pytest.mark.skipif(not OLDEST_PIP, reason="OLDEST_PIP is not set: the wheel of pip 22.3")

pytestmark = pytest.mark.timeout(180)

HOSTILE = {
    "HOME": os.devnull,
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_CONSTRAINT": "no such file",
    "PIP_DRY_RUN": "1",
    "PIP_NO_BINARY": ":all:",
    "PIP_QUIET": "5",
    "PIP_REQUIREMENT": "no such file",
    "PIP_TARGET": "elsewhere",
    "PIP_USER": "1",
    "PYTHONHOME": "no such folder",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "VIRTUAL_ENV": "no such folder",
}
"""Variables that people have set for other purposes, and that would each break the set-up."""


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder as the only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


@pytest.fixture
def checkout(tmp_path: Path, index: Path) -> Path:
    """A checkout in a path with blanks: a lock whose `coverage` has a newer release, which another locked package allows."""
    folder = tmp_path / "my work" / "omni refresh"
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    lock = write_wheel(index, "coverage", "7.0", extras=["toml"])
    lock += write_wheel(index, "pytest-cov", "7.0", requires="coverage[toml]>=6")
    write_wheel(index, "coverage", "9999.0", extras=["toml"])
    (folder / "requirements" / "dev.txt").write_text(lock, encoding="utf-8")
    return folder


def make(
    checkout: Path, index: Path, *words: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `make` there; pip knows the index in the folder and no other."""
    own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", f"PYTHON={base_python()}", *words],
        cwd=checkout,
        env={**kept, **own, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def base_python() -> str:
    """The interpreter that the tests' own environment was made of."""
    return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")


def python_with(pip: str, folder: Path) -> str:
    """A Python that bundles this pip: the environments that it makes hold it."""
    program = folder / "python-with-another-pip"
    program.write_text(
        f'#!/bin/sh\nset -e\n"{base_python()}" "$@"\n'
        f'case "$*" in *"-m venv"*) .venv/bin/python "{pip}/pip" install --quiet --no-index --no-deps "{pip}";; esac\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return str(program)


def installed(checkout: Path) -> set[str]:
    """What the environment there holds beside its installers."""
    found = {path.stem for path in checkout.glob(".venv/lib/*/site-packages/*.dist-info")}
    return {each for each in found if not each.startswith(("pip-", "setuptools-"))}


@pytest.mark.parametrize("pip", ["bundled", pytest.param(OLDEST_PIP, marks=needs_oldest_pip, id="oldest")])
def test_the_lock_is_what_is_installed(checkout: Path, index: Path, tmp_path: Path, pip: str) -> None:
    """Exactly the lock is installed: with an old pip, beside newer releases, in a path with blanks, whatever is in the caller's
    environment.
    """
    words = [] if pip == "bundled" else [f"PYTHON={python_with(pip, tmp_path)}"]
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('PYTHONPATH is followed')\n", encoding="utf-8")
    done = make(checkout, index, ".venv/.locked", *words, environ={**HOSTILE, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "making .venv\n"
    assert installed(checkout) == {"coverage-7.0", "pytest_cov-7.0"}
    if pip != "bundled":
        assert (next(checkout.glob(".venv/lib/*/site-packages/pip-22.3.dist-info"))).is_dir()


@needs_oldest_pip
def test_a_resolver_would_leave_the_lock(checkout: Path, index: Path, tmp_path: Path) -> None:
    """The index above is one on which the oldest pip fails as soon as it resolves; its error is shown."""
    makefile = checkout / "Makefile"
    text = makefile.read_text(encoding="utf-8")
    assert "--quiet --no-deps --require-hashes" in text
    makefile.write_text(text.replace("--quiet --no-deps --require-hashes", "--require-hashes"), encoding="utf-8")
    done = make(checkout, index, ".venv/.locked", f"PYTHON={python_with(OLDEST_PIP, tmp_path)}")
    assert done.returncode != 0
    assert "coverage[toml]>=6 from" in done.stderr
    assert not (checkout / ".venv" / ".locked").exists()


def test_a_wrong_hash_is_shown(checkout: Path, index: Path, tmp_path: Path) -> None:
    """A file that is not the one in the lock stops the set-up, and pip's error is shown without its other lines."""
    write_wheel(index, "coverage", "7.0", extras=["toml", "another"])
    noise = {"PIP_FIND_LINKS": f"{index} {(tmp_path / 'no-such-folder').as_uri()}"}
    done = make(checkout, index, ".venv/.locked", environ=noise)
    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert "WARNING: Location" not in done.stderr
    assert not (checkout / ".venv" / ".locked").exists()


def test_an_environment_that_was_moved_is_made_anew(checkout: Path, index: Path) -> None:
    """The environment is used as it is while its path and its Python are the ones that it was made with, and no longer."""
    environment = checkout / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(base_python())
    command = f"command = {base_python()} -m venv --clear {environment}\n"
    (environment / "pyvenv.cfg").write_text(command, encoding="utf-8")
    (checkout / "pyproject.toml").touch()
    (checkout / "orchestrator").mkdir()
    (checkout / "orchestrator" / "__init__.py").touch()
    for stamp in (".locked", ".ready"):
        (environment / stamp).touch()
    remade = "-m venv --clear .venv"
    assert remade not in make(checkout, index, "--dry-run", ".venv/.ready").stdout
    moved = checkout.rename(checkout.with_name("moved"))
    assert remade in make(moved, index, "--dry-run", ".venv/.ready").stdout
    (moved / ".venv" / ".locked").touch()
    (moved / ".venv" / ".ready").touch()
    (moved / ".venv" / "pyvenv.cfg").write_text(command.replace(str(checkout), str(moved)), encoding="utf-8")
    assert remade not in make(moved, index, "--dry-run", ".venv/.ready").stdout
    (moved / ".venv" / "bin" / "python").unlink()
    assert remade in make(moved, index, "--dry-run", ".venv/.ready").stdout


def test_an_older_python_is_refused(checkout: Path, index: Path, tmp_path: Path) -> None:
    """A Python before 3.11 is refused by one line that says what to do."""
    old = tmp_path / "old"
    old.mkdir()
    program = old / "python"
    program.write_text(
        f'#!/bin/sh\nexec {base_python()} -c "import sys; sys.version_info = (3, 9, 2); sys.version = \'3.9.2 (x)\'; exec(sys.argv[1])" "$2"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    done = make(checkout, index, ".venv/.locked", f"PYTHON={program}")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"Python 3.11 or later is needed; {program} is 3.9.2. Name another: make PYTHON=python3.13"
    )
