"""The GitHub Action: its own steps run here with bash, against the simulator."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.scenario import Scenario
from orchestrator.simulator.server import Simulator
from tests.cli.serving import serving
from tests.house.tree import ROOT
from tests.recipes.composite import ACTION, run_action

KEY = "a-secret-key-of-the-action"
NAMES = ("Sales", "Finance", "Ops")
needs_index = pytest.mark.skipif(
    not os.environ.get("PACKAGE_INDEX"), reason="PACKAGE_INDEX is not set: no index to install from"
)
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A runner's folder for temporary files, in a path with a blank."""
    folder = tmp_path / "runner temp"
    folder.mkdir()
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python whose environments hold what the tests' own holds; it writes down what pip was told to install."""
    program = tmp_path / "python"
    installed = next(path for path in sys.path if path.endswith("site-packages"))
    program.write_text(
        f"""#!/bin/sh
[ "$1" = -I ] || exit 99
case "$2 $3" in
"-m venv")
    for venv; do :; done
    mkdir -p "$venv/bin" "$venv/lib"
    cat > "$venv/bin/python" <<'END'
#!/bin/sh
here=$(dirname "$0")/..
[ "$1" = -I ] || exit 99
case "$*" in
*"-m pip"*) printf '%s\\n' "$@" > "$here/pip"; env > "$here/environment"; exit 0;;
*"import sysconfig"*) echo "$here/lib"; exit 0;;
esac
shift
PYTHONPATH="$(cat "$here/lib/omni-refresh.pth"):{installed}" exec "{sys.executable}" -P "$@"
END
    chmod +x "$venv/bin/python";;
*) exec "{sys.executable}" "$@";;
esac
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkout with a manifest, and with modules that would shadow the program's own."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "my models.yaml").write_text(manifest_of(NAMES), encoding="utf-8")
    for name in ("orchestrator", "json", "asyncio", "pip", "venv", "sysconfig"):
        (folder / f"{name}.py").write_text("raise SystemExit('the workspace was imported')\n", encoding="utf-8")
    return folder


def manifest_of(names: Sequence[str]) -> str:
    """A manifest of these models, each with its own name as its tag."""
    models = "".join(f"  - {{model: {name}, tags: [{name.lower()}]}}\n" for name in names)
    return f"defaults: {{mode: soft, poll: {{min: 20ms, max: 100ms}}}}\nmodels:\n{models}"


def scenario(names: Sequence[str] = NAMES, **traits: object) -> Scenario:
    """These models; `traits` are those of the last one."""
    return make_scenario(models=[{"name": n, "duration": 0, **(traits if n == names[-1] else {})} for n in names])


def posts(server: Simulator) -> int:
    """How many refreshes were sent."""
    return sum(call.method == "POST" for call in server.calls)


def test_a_run_and_its_outputs(runner: Path, python: Path, workspace: Path) -> None:
    """Every model is refreshed; exit code, run id, report and counts are outputs, and the summary is the job's."""
    with serving(scenario()) as server:
        ran = run_action(
            runner,
            workspace,
            given={"manifest": "my models.yaml", "python": str(python)},
            environ={"OMNI_BASE_URL": server.url, "OMNI_API_TOKEN": KEY},
        )
    assert ran.code == 0, ran.printed
    report = json.loads(Path(ran.outputs["report"]).read_bytes())
    assert ran.outputs == {
        "exit-code": "0",
        "run-id": report["run"]["id"],
        "report": ran.outputs["report"],
        "total": "3",
        "succeeded": "3",
        "not-good": "0",
        "unknown": "0",
    }
    assert {path.suffix for path in Path(ran.outputs["report"]).parent.iterdir()} == {".json", ".xml", ".html"}
    assert "3" in ran.summary
    assert KEY not in ran.printed + ran.summary


def test_only_the_lock_is_installed_and_without_the_key(runner: Path, python: Path, workspace: Path) -> None:
    """pip takes exactly what the lock names by hash, as wheels, and the key is not in its environment."""
    run_action(runner, workspace, given={"python": str(python)}, environ={"OMNI_API_TOKEN": KEY})
    words = (runner / "omni-refresh" / "pip").read_text(encoding="utf-8").split("\n")
    for word in ("--no-deps", "--require-hashes", "--only-binary", ":all:", f"{ROOT}/requirements/runtime.txt"):
        assert word in words
    assert KEY not in (runner / "omni-refresh" / "environment").read_text(encoding="utf-8")


def test_a_run_that_fails_fails_the_step(runner: Path, python: Path, workspace: Path) -> None:
    """Exit code 1 fails the step, the outputs say what succeeded, and at most ten models are annotated."""
    names = [f"M{number}" for number in range(14)]
    (workspace / "m.yaml").write_text(manifest_of(names), encoding="utf-8")
    with serving(make_scenario(models=[{"name": n, "duration": 0, "result": "FAILED"} for n in names])) as server:
        ran = run_action(
            runner,
            workspace,
            given={"manifest": "m.yaml", "python": str(python)},
            environ={"OMNI_BASE_URL": server.url, "OMNI_API_TOKEN": KEY},
        )
    assert (ran.code, ran.outputs["exit-code"], ran.outputs["not-good"], ran.outputs["succeeded"]) == (
        1,
        "1",
        "14",
        "0",
    )
    assert 1 <= len(re.findall(r"^::(?:error|warning|notice)", ran.printed, re.MULTILINE)) <= 10


def test_lines_are_repeated_options(runner: Path, python: Path, workspace: Path) -> None:
    """Each line of an input is one option, blanks and line ends of another system included; other words follow from `args`."""
    with serving(scenario()) as server:
        ran = run_action(
            runner,
            workspace,
            given={
                "manifest": "my models.yaml",
                "python": str(python),
                "select": "tag:sales\r\n\ntag:ops\n",
                "exclude": "Ops",
                "args": "--fail-fast\n--grace\n1s",
            },
            environ={"OMNI_BASE_URL": server.url, "OMNI_API_TOKEN": KEY},
        )
        assert (ran.code, ran.outputs["total"], posts(server)) == (0, "1", 1), ran.printed


@pytest.mark.parametrize("manifest", ["my models.yaml", None], ids=["a manifest", "no manifest"])
def test_no_input_is_a_command(manifest: str | None, runner: Path, python: Path, workspace: Path) -> None:
    """Whatever the inputs hold, the shell runs none of it, and the runner reads no command from it."""
    hostile = "x\"; touch pwned; $(touch pwned) `touch pwned` ' \n::set-output name=a::b\n--help-me\n$'\\x3b'"
    given = dict.fromkeys(set(ACTION["inputs"]) - {"python", "command", "state-dir"}, hostile)
    if manifest is not None:
        given["manifest"] = manifest
    ran = run_action(runner, workspace, given={**given, "python": str(python)})
    assert ran.code == 2, ran.printed
    assert not list(workspace.rglob("pwned"))
    assert not re.search(r"^::set-output", ran.printed, re.MULTILINE)


def test_what_does_not_fit_is_refused_at_once(runner: Path, python: Path, workspace: Path, tmp_path: Path) -> None:
    """Another system, an older or missing Python and an unknown command end with one line that says what to do."""
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    for given, system, words in (
        ({"python": str(python)}, "Windows", "runs on Linux and macOS"),
        ({"python": str(old)}, "Linux", "Python 3.11 to 3.14 is needed"),
        ({"python": "no-such-python"}, "Linux", "Python 3.11 to 3.14 is needed"),
        ({"python": str(python), "command": "simulate"}, "macOS", "the input command is run, plan"),
    ):
        ran = run_action(runner, workspace, given=given, runner=system)
        assert (ran.code, words in ran.printed) == (2, True), ran.printed
        assert ran.printed.startswith("::error title=omni-refresh::")
        assert len(ran.printed.splitlines()) == 1


def test_a_plan_sends_nothing(runner: Path, python: Path, workspace: Path) -> None:
    """`plan` and `check` send no refresh and write no report."""
    for command in ("plan", "check"):
        with serving(scenario()) as server:
            ran = run_action(
                runner,
                workspace,
                given={"command": command, "manifest": "my models.yaml", "python": str(python)},
                environ={"OMNI_BASE_URL": server.url, "OMNI_API_TOKEN": KEY},
            )
            assert (ran.code, posts(server)) == (0, 0), ran.printed
        assert (ran.outputs["exit-code"], ran.outputs["report"]) == ("0", "")


def test_a_state_folder_outlives_the_job(runner: Path, python: Path, workspace: Path, tmp_path: Path) -> None:
    """With `state-dir` on a disk that stays, `retry` in a later job sends what failed in an earlier one, and no more."""
    given = {"manifest": "my models.yaml", "python": str(python), "state-dir": str(tmp_path / "state")}
    with serving(scenario(result=["FAILED", "COMPLETED"])) as server:
        environ = {"OMNI_BASE_URL": server.url, "OMNI_API_TOKEN": KEY}
        assert run_action(runner, workspace, given=given, environ=environ).code == 1
        assert posts(server) == 3
        ran = run_action(runner, workspace, given={**given, "command": "retry"}, environ=environ)
        assert (ran.code, posts(server), ran.outputs["total"]) == (0, 4, "1"), ran.printed


def test_inputs_reach_scripts_through_the_environment_alone() -> None:
    """No script holds an expression, no step uses a cache or another action, and every input is used."""
    steps = ACTION["runs"]["steps"]
    assert not [step["name"] for step in steps if "${{" in step["run"] or "uses" in step]
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps([step["env"] for step in steps])))
    assert used == set(ACTION["inputs"])


_PIN = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # \S.*|uses: \./( #.*)?")


def test_actions_are_pinned() -> None:
    """Each action in a workflow, ours or an example, is pinned by a commit, with the version in a comment."""
    paths = [*(ROOT / ".github" / "workflows").glob("*.yml"), *(ROOT / "configs" / "github").glob("*.yml")]
    found = [
        (path.name, line.strip(" -"))
        for path in paths
        for line in path.read_text("utf-8").splitlines()
        if "uses:" in line
    ]
    assert len(found) > 10
    assert not [each for each in found if not _PIN.fullmatch(each[1])]


def test_workflows_start_without_rights() -> None:
    """Each workflow gives its token no rights at its top; its jobs ask for what they need."""
    for path in [*(ROOT / ".github" / "workflows").glob("*.yml"), *(ROOT / "configs" / "github").glob("*.yml")]:
        assert yaml.safe_load(path.read_text("utf-8"))["permissions"] == {}, path.name


def test_the_hook_checks_each_manifest(workspace: Path) -> None:
    """The pre-commit hook checks every file that it is given, and fails if one of them is wrong."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    (workspace / "wrong.omni-refresh.yaml").write_text("models: [{modell: x}]\n", encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for names, code in (
        (["wrong.omni-refresh.yaml", "my models.yaml"], 2),
        (["my models.yaml", "my models.yaml"], 0),
    ):
        ran = subprocess.run(
            [*shlex.split(hook["entry"]), *names],
            cwd=workspace,
            env={**os.environ, "PATH": path, "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code, ran.stderr
        assert ("did you mean `model`?" in ran.stdout + ran.stderr) is bool(code)
    for name, wanted in (("omni-refresh.yaml", True), ("a/x.omni-refresh.yml", True), ("x.yaml", False)):
        assert bool(re.search(hook["files"], name)) is wanted


@needs_index
def test_the_real_install(runner: Path, workspace: Path) -> None:
    """With a real Python and a real index the action installs its lock, and runs without being built."""
    with serving(scenario()) as server:
        ran = run_action(
            runner,
            workspace,
            given={"manifest": "my models.yaml", "python": sys.executable},
            environ={
                **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
                "OMNI_BASE_URL": server.url,
                "OMNI_API_TOKEN": KEY,
            },
        )
    assert (ran.code, ran.outputs["succeeded"]) == (0, "3"), ran.printed
