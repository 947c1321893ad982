"""The pages' recipes for a deployment: their shell runs here as it stands there, with real git and stand-ins for the tools."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.changes.files import read_ddl
from tests.changes.reading import told
from tests.docs.pages import blocks, read_page
from tests.house.tree import ROOT
from tests.recipes.composite import read_outputs

TAG = "refs/tags/omni-refreshed"


def workflow() -> Any:
    """The job of the GitHub Actions recipe."""
    (job,) = yaml.safe_load((ROOT / "configs" / "github" / "after-migration.yml").read_text("utf-8"))["jobs"].values()
    assert job["steps"][0]["with"]["fetch-depth"] == 0
    return job


def tool_script(section: str) -> str:
    """The commands of a tool's section, as a script that begins as the page says."""
    page = read_page("docs/how-to/migration-tools.md")
    text = re.split(rf"^## {re.escape(section)}$", page, flags=re.MULTILINE)[1].partition("\n## ")[0]
    first = text.partition("```console\n")[2].partition("```")[0]
    return "set -euo pipefail\n" + first.replace("$ ", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a script ended, what it printed, and the calls of the program in it: arguments, and the files on the list."""

    code: int
    printed: str
    calls: list[tuple[list[str], list[str]]]


class Bench:
    """A folder of stand-ins for programs, first on the PATH; the program's own writes down how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.log = folder / "calls"
        self.code = folder / "code"
        self.stand_in(
            "omni-refresh",
            f'{{ printf "%s\\0" "$@"; echo; cat "$4"; echo; }} >> "{self.log}"; exit 0$(cat "{self.code}")',
        )
        self.code.write_text("", encoding="utf-8")

    def stand_in(self, name: str, commands: str) -> None:
        """Put a program there."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{commands}\n", encoding="utf-8")
        path.chmod(0o755)

    def deploy(self, cwd: Path, environ: Mapping[str, str] | None = None) -> Ran:
        """Run the steps of the GitHub Actions recipe after the migration; the action is the stand-in with its inputs."""
        steps = workflow()["steps"]
        first = next(number for number, step in enumerate(steps) if step.get("id") == "migrations")
        outputs, printed = self.folder / "outputs", ""
        calls: list[tuple[list[str], list[str]]] = []
        outputs.write_text("", encoding="utf-8")
        for step in steps[first:]:
            if "if" in step:
                name = re.fullmatch(r"steps\.migrations\.outputs\.(\w+) == 'true'", step["if"])
                assert name is not None
                if read_outputs(outputs).get(name[1]) != "true":
                    continue
            script = step.get("run")
            if script is None:
                options = step["with"]
                script = f"omni-refresh run {options['manifest']} --ddl-list {options['ddl-list']}"
            ran = self.run(script, cwd, {**(environ or {}), "GITHUB_OUTPUT": str(outputs)})
            printed, calls = printed + ran.printed, calls + ran.calls
            if ran.code:
                break
        return Ran(code=ran.code, printed=printed, calls=calls)

    def run(
        self, script: str, cwd: Path, environ: Mapping[str, str] | None = None, shell: Sequence[str] = ("bash", "-c")
    ) -> Ran:
        """Run the script as a plain shell does: nothing but its own text makes it stop at an error."""
        self.log.unlink(missing_ok=True)
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*shell, script],
            cwd=cwd,
            env={**os.environ, **GIT, "PATH": path, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        calls = []
        if self.log.exists():
            lines = self.log.read_text(encoding="utf-8").split("\n")
            arguments, listed = lines[0].split("\0")[:-1], "\n".join(lines[1:])
            calls.append((arguments, [name for name in re.split(r"[\0\n]", listed) if name]))
        return Ran(code=done.returncode, printed=done.stdout + done.stderr, calls=calls)


GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "ada@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(cwd: Path, *words: str) -> str:
    """Run git there, and return what it printed."""
    done = subprocess.run(
        ["git", *words], cwd=cwd, env={**os.environ, **GIT}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(repository: Path, **migrations: str) -> None:
    """Commit these migrations and push the branch, by force if need be."""
    for name, text in migrations.items():
        (repository / "migrations" / f"{name}.sql").write_text(text, encoding="utf-8")
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "x")
    git(repository, "push", "--quiet", "--force", "origin", "HEAD")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Stand-ins for the programs that recipes call."""
    return Bench(tmp_path / "bin")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone with one migration, which the tag says is refreshed."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(tmp_path, "clone", "--quiet", str(tmp_path / "origin.git"), "clone")
    clone = tmp_path / "clone"
    git(clone, "checkout", "--quiet", "-B", "main")
    (clone / "migrations").mkdir()
    commit(clone, V1__base="CREATE TABLE s.base (a int);")
    git(clone, "push", "--quiet", "origin", f"HEAD:{TAG}")
    git(clone, "fetch", "--quiet", "--tags")
    return clone


def tagged(repository: Path) -> str:
    """The commit that the server's tag names."""
    return git(repository, "ls-remote", "origin", TAG).partition("\t")[0]


def test_a_push_is_refreshed_in_order(repository: Path, bench: Bench) -> None:
    """The migrations of all commits since the tag are given, V2 before V10, and the tag then moves to what was refreshed."""
    commit(
        repository,
        V10__z="DROP TABLE s.b;",
        **{"V2__it's a \N{LATIN SMALL LETTER E WITH ACUTE}": "CREATE TABLE s.b (a int);"},
    )
    commit(repository, V9__y="CREATE TABLE s.c (a int);", V1__base="CREATE TABLE s.base (a int, b int);")
    (repository / "migrations" / "README.md").write_text("no SQL", encoding="utf-8")
    commit(repository)
    ran = bench.deploy(repository)
    ((arguments, listed),) = ran.calls
    assert (ran.code, arguments[:3]) == (0, ["run", "after-migration.yaml", "--ddl-list"])
    names = ["V1__base.sql", "V2__it's a \N{LATIN SMALL LETTER E WITH ACUTE}.sql", "V9__y.sql", "V10__z.sql"]
    assert listed == [f"migrations/{name}" for name in names]
    assert tagged(repository) == git(repository, "rev-parse", "HEAD")
    changes = read_ddl([str(repository / name) for name in listed], dialect="snowflake", stdin=lambda: b"")
    assert told(changes) == ["+S.BASE", "+S.B", "+S.C", "-S.B"]


def test_a_renamed_migration_is_a_new_one(repository: Path, bench: Bench) -> None:
    """A file that resembles one that was deleted is given: git would call it renamed, and not added."""
    git(repository, "mv", "migrations/V1__base.sql", "migrations/V3__base.sql")
    commit(repository)
    assert [listed for _, listed in bench.deploy(repository).calls] == [["migrations/V3__base.sql"]]


def test_without_migrations_nothing_is_refreshed_and_that_is_said(repository: Path, bench: Bench) -> None:
    """A push without migrations is good, says so, and calls nothing."""
    commit(repository)
    ran = bench.deploy(repository)
    assert (ran.code, ran.calls) == (0, [])
    assert "No migrations since" in ran.printed


def test_a_refresh_that_failed_is_made_up_for(repository: Path, bench: Bench) -> None:
    """If the refresh fails the step fails and the tag stays, so that the next deployment gives the same files again."""
    commit(repository, V2__a="CREATE TABLE s.a (a int);")
    before = tagged(repository)
    bench.code.write_text("1", encoding="utf-8")
    assert bench.deploy(repository).code == 1
    assert tagged(repository) == before
    bench.code.write_text("", encoding="utf-8")
    commit(repository, V3__b="CREATE TABLE s.b (a int);")
    ran = bench.deploy(repository)
    assert [listed for _, listed in ran.calls] == [["migrations/V2__a.sql", "migrations/V3__b.sql"]]


def test_a_new_branch_and_a_run_by_hand(repository: Path, bench: Bench) -> None:
    """A branch that was never pushed before, deployed by hand: what it has and the tag has not is given."""
    git(repository, "checkout", "--quiet", "-b", "release")
    commit(repository, V2__a="CREATE TABLE s.a (a int);")
    for event in (
        {"GITHUB_EVENT_NAME": "push", "BEFORE": "0" * 40},
        {"GITHUB_EVENT_NAME": "workflow_dispatch", "BEFORE": ""},
    ):
        git(repository, "push", "--quiet", "--force", "origin", f"main:{TAG}")
        git(repository, "fetch", "--quiet", "--force", "--tags")
        ran = bench.deploy(repository, environ=event)
        assert [listed for _, listed in ran.calls] == [["migrations/V2__a.sql"]]


def test_after_a_force_push(repository: Path, bench: Bench) -> None:
    """History that was rewritten since the tag hides nothing: the tag keeps the commit that it names."""
    commit(repository, V2__a="CREATE TABLE s.a (a int);")
    assert bench.deploy(repository).code == 0
    git(repository, "fetch", "--quiet", "--force", "--tags")
    git(repository, "reset", "--quiet", "--hard", "HEAD~1")
    commit(repository, V2__other="CREATE TABLE s.other (a int);")
    ran = bench.deploy(repository)
    assert [listed for _, listed in ran.calls] == [["migrations/V2__other.sql"]]


def test_what_is_not_known_fails(repository: Path, bench: Bench, tmp_path: Path) -> None:
    """In a clone without the tag, without history or without the folder of migrations the step fails and says why."""
    commit(repository, V2__a="CREATE TABLE s.a (a int);")
    origin = (tmp_path / "origin.git").as_uri()
    git(tmp_path, "clone", "--quiet", "--depth", "1", "--no-tags", origin, "shallow")
    ran = bench.deploy(tmp_path / "shallow")
    assert (ran.code, ran.calls) == (1, [])
    assert "The tag omni-refreshed is not here" in ran.printed
    git(repository, "mv", "migrations", "db")
    git(repository, "commit", "--quiet", "-m", "x")
    ran = bench.deploy(repository)
    assert (ran.code, ran.calls) == (1, [])
    (tmp_path / "nowhere").mkdir()
    assert bench.deploy(tmp_path / "nowhere").code == 1


def gitlab(bench: Bench, repository: Path, *, shell: str) -> Ran:
    """Run the script of the GitLab recipe; the push goes to the repository's own server."""
    job = yaml.safe_load((ROOT / "configs" / "gitlab" / "after-migration.yml").read_text("utf-8"))["refresh"]
    assert job["variables"]["GIT_DEPTH"] == "0"
    assert all(isinstance(line, str) for line in job["before_script"])
    bench.stand_in("python", 'while [ "$1" != orchestrator ]; do shift; done; shift; exec omni-refresh "$@"')
    origin = git(repository, "remote", "get-url", "origin")
    environ = {
        "CI_SERVER_HOST": "gitlab.invalid",
        "CI_PROJECT_PATH": "data/warehouse",
        "OMNI_TAG_TOKEN": "t",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{origin}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://omni-refresh:t@gitlab.invalid/data/warehouse.git",
    }
    return bench.run("\n".join(job["script"]), repository, environ, shell=(shell, "-c"))


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_gitlab_does_the_same(repository: Path, bench: Bench, shell: str) -> None:
    """In GitLab, whose image may have no bash: the files in order, the tag after a success alone, a failure without the tag."""
    commit(repository, V10__z="DROP TABLE s.b;", V2__a="CREATE TABLE s.b (a int);")
    before = tagged(repository)
    bench.code.write_text("1", encoding="utf-8")
    ran = gitlab(bench, repository, shell=shell)
    assert (ran.code, tagged(repository)) == (1, before)
    bench.code.write_text("", encoding="utf-8")
    ran = gitlab(bench, repository, shell=shell)
    ((arguments, listed),) = ran.calls
    assert (ran.code, arguments[:3]) == (0, ["run", "after-migration.yaml", "--ddl-list"]), ran.printed
    assert listed == ["migrations/V2__a.sql", "migrations/V10__z.sql"]
    assert tagged(repository) == git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "--delete", "omni-refreshed")
    assert (gitlab(bench, repository, shell=shell).code, bench.log.exists()) == (1, False)


def test_azure_runs_the_manifest_of_the_checkout(bench: Bench, tmp_path: Path) -> None:
    """In Azure Pipelines: the lock is installed by hash, and the nightly manifest is run with the program of the checkout."""
    (job,) = yaml.safe_load((ROOT / "configs" / "azure" / "nightly.yml").read_text("utf-8"))["jobs"]
    install, refresh = (step["bash"] for step in job["steps"] if "bash" in step)
    pip = bench.folder / "pip"
    bench.stand_in(
        "python",
        f"""mkdir -p "$3/bin"; cat > "$3/bin/python" <<'END'
#!/bin/sh
case "$*" in "-m pip"*) printf '%s\\n' "$@" > "{pip}"; exit;; esac
[ "$PYTHONPATH" = "$PWD/omni-refresh" ] && [ "$1 $2 $3" = "-P -m orchestrator" ] || exit 99
shift 3; exec omni-refresh "$@"
END
chmod +x "$3/bin/python\"""",
    )
    environ = {"AGENT_TEMPDIRECTORY": str(tmp_path / "agent")}
    assert bench.run(install, tmp_path, environ).code == 0
    ran = bench.run(refresh, tmp_path, environ)
    ((arguments, _),) = ran.calls
    assert (ran.code, arguments[:4]) == (0, ["run", "self/nightly.yaml", "--select", "tag:nightly"])
    words = pip.read_text(encoding="utf-8").split()
    assert {"--no-deps", "--require-hashes", "omni-refresh/requirements/runtime.txt"} <= set(words)


TOOLS = {
    "Flyway": {"flyway": '[ "$1" = migrate ] || echo "{}"', "jq": "printf 'sql/V2__a.sql\\nsql/V10__b.sql\\n'"},
    "dbmate": {"dbmate": "[ $1 = up ] || printf '[X] 1.sql\\n[ ] 2.sql\\n[ ] 10.sql\\n\\nApplied: 1\\n'"},
    "Atlas": {"atlas": "[ $2 = apply ] || printf '2.sql\\n10.sql\\n\\n'"},
}
LISTED = {
    "Flyway": ["sql/V2__a.sql", "sql/V10__b.sql"],
    "dbmate": ["db/migrations/2.sql", "db/migrations/10.sql"],
    "Atlas": ["migrations/2.sql", "migrations/10.sql"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_says_is_pending_is_given(tool: str, bench: Bench, tmp_path: Path) -> None:
    """The files that the tool had not run yet are given, in its order."""
    for name, commands in TOOLS[tool].items():
        bench.stand_in(name, commands)
    ran = bench.run(tool_script(tool), tmp_path)
    ((arguments, listed),) = ran.calls
    assert (ran.code, arguments[:4]) == (0, ["run", "after-migration.yaml", "--ddl-list", "pending.txt"])
    assert listed == LISTED[tool]


@pytest.mark.parametrize("tool, broken", [(tool, name) for tool, names in TOOLS.items() for name in names])
def test_a_tool_that_fails_stops_the_step(tool: str, broken: str, bench: Bench, tmp_path: Path) -> None:
    """If the tool fails at any of its calls, the step fails and no list that is empty by mistake is refreshed."""
    for name, commands in TOOLS[tool].items():
        bench.stand_in(name, commands)
    script = tool_script(tool)
    count = len(re.findall(rf"^{broken} ", script, re.MULTILINE))
    assert count
    for failing in range(1, count + 1):
        counter = tmp_path / f"{broken}-{failing}"
        counter.write_text("", encoding="utf-8")
        bench.stand_in(
            broken,
            f'echo x >> "{counter}"; [ "$(wc -l < "{counter}")" -ne {failing} ] || exit 7\n{TOOLS[tool][broken]}',
        )
        ran = bench.run(script, tmp_path)
        assert (ran.code, ran.calls) == (7, []), json.dumps([failing, ran.printed])


def test_no_recipe_joins_files() -> None:
    """No page gives the joined content of files: the border between two would be lost."""
    joined = [
        str(b)
        for language in ("console", "yaml")
        for b in blocks(language)
        if re.search(r"xargs.*\bcat\b|\bcat\b.*--ddl", b.text)
    ]
    assert not joined
