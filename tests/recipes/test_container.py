"""The container, the CronJob and the systemd units: their steps and promises, without a container engine."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.durations import parse_duration
from orchestrator.simulator.reading import make_scenario
from orchestrator.simulator.server import Simulator
from tests.cli.serving import serving
from tests.house.tree import ROOT
from tests.recipes.kustomize import build
from tests.setup.test_environment import base_python

KEY = "a-secret-key-of-the-container"
UID = 65532
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
KUBERNETES = ROOT / "configs" / "kubernetes" / "base"
SHARED = KUBERNETES.with_name("shared-state")
SYSTEMD = ROOT / "configs" / "systemd"

needs_index = pytest.mark.skipif(
    not os.environ.get("PACKAGE_INDEX"), reason="PACKAGE_INDEX is not set: no index to install from"
)
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
pytestmark = pytest.mark.timeout(240)


@cache
def has_namespaces() -> bool:
    """Whether this machine lets the user make namespaces and mount in them."""
    try:
        return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_namespaces = pytest.mark.skipif(not has_namespaces(), reason="namespaces are not allowed here")


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions and their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Containerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Simulator]:
    """An instance with a job that never ends, and a manifest of it in `tmp_path`."""
    (tmp_path / "m.yaml").write_text("models: [{model: Endless, mode: soft}]\n", encoding="utf-8")
    with serving(make_scenario(models=[{"name": "Endless", "duration": "never"}])) as server:
        yield server


def environment(server: Simulator) -> dict[str, str]:
    """What the program needs, as a container has it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "OMNI_BASE_URL": server.url, "OMNI_API_TOKEN": KEY}


@needs_namespaces
def test_process_1_stops_in_order_in_a_read_only_root(jobs: Simulator, tmp_path: Path) -> None:
    """As process 1, where unhandled signals are ignored, with a root that cannot be written: SIGTERM ends the run with
    143 and a report, and what it wrote lies in the state volume.
    """
    volume, home = tmp_path / "state", tmp_path / "home"
    volume.mkdir()
    home.mkdir()
    ready = tmp_path / "is-read-only"
    script = (
        f"set -e; mount --make-rprivate /; mount --bind '{volume}' '{volume}'; mount --rbind '{tmp_path}' '{tmp_path}';"
        f" mount -o remount,bind,ro '{tmp_path}'; mount -o remount,bind,ro /; cd '{volume}'; ! touch '{ready}' 2>/dev/null;"
        f" exec '{sys.executable}' -B -m orchestrator run '{tmp_path}/m.yaml' --grace 100ms --report '{volume}/r.json'"
    )
    environ = environment(jobs) | {"OMNI_REFRESH_STATE_DIR": f"{volume}/state", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*NAMESPACES, "sh", "-c", script], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_for_refresh(jobs, process)
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        assert "NSpid:" in (status := Path(f"/proc/{child}/status").read_text(encoding="ascii"))
        assert re.search(r"^NSpid:.*\t1$", status, re.MULTILINE)
        os.kill(int(child), signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert {path.name for path in volume.iterdir()} == {"r.json", "state"}
    assert not ready.exists()
    assert not list(home.iterdir())
    assert KEY not in printed


def wait_for_refresh(server: Simulator, process: subprocess.Popen[str]) -> None:
    """Return when the refresh was answered; fail if the program ends before."""
    while not any(call.method == "GET" and "/jobs/" in call.path for call in server.calls):
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(process.communicate()[0])


@needs_index
def test_the_image_is_built_step_by_step(tmp_path: Path) -> None:
    """Each step of the build stage, run here in a folder of its own: the environment that results runs the program."""
    folders = {
        name: str(tmp_path / name.strip("/").replace("/", "-"))
        for name in ("/opt/omni-refresh", "/src", "/build", "/wheel")
    }

    def here(text: str) -> str:
        names = "|".join(map(re.escape, folders))
        return re.sub(rf"(?<![\w/])(?:{names})(?![\w.])", lambda match: folders[match[0]], text)

    work = tmp_path
    stages = 0
    for name, words in instructions():
        if name == "FROM":
            stages += 1
        elif stages == 1 and name == "WORKDIR":
            work = Path(here(words))
            work.mkdir()
        elif stages == 1 and name == "COPY":
            *sources, target = shlex.split(words)
            for source in sources:
                place = work / target
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, place)
        elif stages == 1 and name == "RUN":
            command = re.sub(r"^python ", f"{base_python()} ", here(words))
            done = subprocess.run(["sh", "-ec", command], cwd=work, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    program = Path(folders["/opt/omni-refresh"]) / "bin" / "omni-refresh"
    manifest, report = str(ROOT / "configs" / "nightly.yaml"), str(tmp_path / "r.json")
    run = [str(program), "run", manifest, "--simulate", "--quiet", "--report", report]
    assert subprocess.run(run, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    assert not list(Path(folders["/opt/omni-refresh"]).glob("lib/*/site-packages/pip"))
    bill = json.loads((Path(folders["/opt/omni-refresh"]) / "sbom.cdx.json").read_text(encoding="utf-8"))
    names = {
        path.name.split("-")[0].lower()
        for path in Path(folders["/opt/omni-refresh"]).glob("lib/*/site-packages/*.dist-info")
    }
    listed = {each["name"].replace("-", "_").lower() for each in (bill["metadata"]["component"], *bill["components"])}
    assert {name.replace(".", "_") for name in names} == {name.replace(".", "_") for name in listed}


def test_the_image_keeps_to_its_rules() -> None:
    """A base by digest, two stages, a user without rights, SIGTERM, no shell and no init around the program."""
    steps = instructions()
    last = dict(steps[[name for name, _ in steps].index("FROM") + 1 :])
    assert re.fullmatch(r"PYTHON=\S+:[\w.-]+@sha256:[0-9a-f]{64}", dict(steps)["ARG"])
    assert [words for name, words in steps if name == "FROM"] == ["${PYTHON} AS build", "${PYTHON}"]
    assert last["USER"] == f"{UID}:{UID}"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert yaml.safe_load(last["ENTRYPOINT"]) == ["omni-refresh"]
    assert last["VOLUME"] == "/state"
    copied = {
        word.rstrip("/").partition("/")[0]
        for name, words in steps
        if name == "COPY" and "--from" not in words
        for word in shlex.split(words)[:-1]
    }
    listed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in listed if line.startswith("!")}
    assert copied == allowed


def kubernetes(name: str) -> Any:
    """A Kubernetes object."""
    return yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text(encoding="utf-8"))


def test_the_cronjob_keeps_to_the_restricted_standard() -> None:
    """The pod fits the restricted Pod Security Standard, has a read-only root, and no token of the cluster."""
    pod = kubernetes("cronjob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not [each for each in container["env"] if "secretKeyRef" in str(each)], "the key is a file"


def test_the_cronjob_gives_a_run_the_time_that_it_needs() -> None:
    """A pod has longer to stop than the grace, a Job longer than the deadline; a pod that is started again continues its
    Job's run, and no second Job runs beside it.
    """
    spec = kubernetes("cronjob")["spec"]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    options = dict(word.removeprefix("--").split("=", 1) for word in container["args"] if word.startswith("--"))
    assert parse_duration(options["grace"]) + 5 <= pod["terminationGracePeriodSeconds"]
    assert parse_duration(options["deadline"]) + 600 <= job["activeDeadlineSeconds"]
    assert (options["key"], container["env"][0]["name"]) == ("$(JOB)", "JOB")
    assert (spec["concurrencyPolicy"], pod["restartPolicy"]) == ("Forbid", "Never")
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3, 4]


def test_kustomize_finds_what_it_names() -> None:
    """Each resource and file of the kustomization is there, and every name that the pod refers to is made or told of."""
    top = kubernetes("kustomization")
    assert all((KUBERNETES / name).is_file() for name in (*top["resources"], *top["configMapGenerator"][0]["files"]))
    pod = kubernetes("cronjob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == set(volumes)
    assert volumes["manifest"]["configMap"]["name"] == top["configMapGenerator"][0]["name"]
    assert volumes["state"]["persistentVolumeClaim"]["claimName"] == kubernetes("state")["metadata"]["name"]
    assert pod["containers"][0]["image"] == top["images"][0]["name"]
    manifest = (KUBERNETES / "nightly.yaml").read_text(encoding="utf-8")
    assert f"{pod['containers'][0]['volumeMounts'][1]['mountPath']}/key" in manifest


def test_with_shared_state_nothing_depends_on_a_node() -> None:
    """The overlay takes the claim away, reads the state's address and password from a secret, and waits for the lease of a
    killed pod; all else is as in the base. Its patches fail if the base changes under them.
    """
    base, shared = ({each["kind"]: each for each in build(folder)} for folder in (KUBERNETES, SHARED))
    assert set(base) - set(shared) == {"PersistentVolumeClaim"}
    assert shared["ConfigMap"] == base["ConfigMap"]
    pods = [each["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"] for each in (base, shared)]
    (before,), (container,) = (pod.pop("containers") for pod in pods)
    variables = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container.pop("env")[1:]}
    assert variables == {
        name: {"name": "omni-refresh-state", "key": key}
        for name, key in (("OMNI_REFRESH_STATE", "url"), ("PGPASSWORD", "password"))
    }
    assert container.pop("args") == [*before.pop("args"), "--on-overlap=wait"]
    assert container.items() <= before.items()
    volumes = [{each["name"]: each for each in pod.pop("volumes")} for pod in pods]
    assert {name for name in volumes[0] if volumes[0][name] != volumes[1][name]} == {"state"}
    assert "emptyDir" in volumes[1]["state"]
    assert base["CronJob"] == shared["CronJob"]


@needs_systemd
def test_the_units_are_valid_and_hardened(tmp_path: Path) -> None:
    """systemd accepts service and timer, and rates what the service may still do below 2 of 10."""
    for unit in SYSTEMD.iterdir():
        text = unit.read_text(encoding="utf-8").replace("/opt/omni-refresh/bin/omni-refresh", sys.executable)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = [str(tmp_path / unit.name) for unit in SYSTEMD.iterdir()]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    service = str(tmp_path / "omni-refresh.service")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout


def test_the_service_leaves_what_the_program_reads() -> None:
    """The program tells restarts of the machine by its boot id, which a hidden /proc/sys would hide."""
    assert "ProcSubset" not in (SYSTEMD / "omni-refresh.service").read_text(encoding="utf-8")
