"""The whole program: streams that close, terminals, keys that must show nowhere, the simulator."""

import base64
import json
import os
import pty
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from orchestrator.manifest.addresses import proxy_secrets
from tests.cli.commands import KEY, call_on, spawn, start, write_manifest
from tests.cli.live import simulated
from tests.rehearsal import uuid


def test_stdout_without_a_reader(tmp_path: Path) -> None:
    """A pipe whose reader has left, and a stdout that was never open: the run is done, its code kept, and no traceback."""
    manifest = write_manifest(tmp_path)
    for args in (["run", manifest, "--simulate", "-q"], ["check", manifest], ["--help"]):
        gone, written = os.pipe()
        os.close(gone)
        said = tmp_path / "said"
        with said.open("wb") as err:
            assert call_on(*args, stdout=written, stderr=err.fileno()) == 0, args
        os.close(written)
        assert said.read_bytes() == b"", args
    shell = 'exec "$@" >&-'
    argv = ["sh", "-c", shell, "sh", sys.executable, "-m", "orchestrator"]
    done = subprocess.run(
        [*argv, "run", manifest, "--simulate", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads((tmp_path / "omni-refresh-report.simulated.json").read_text())["summary"]["succeeded"] == 3


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": "xterm"}])
def test_colour_is_for_terminals_that_want_it(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal of 20 columns the summary fits without a crash; NO_COLOR and a dumb terminal mean no colour."""
    manifest = write_manifest(tmp_path)
    master, slave = pty.openpty()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert call_on("run", manifest, "--simulate", "-q", stdout=slave, stderr=slave) == 0
    shown = os.read(master, 1 << 20).decode()
    os.close(slave)
    os.close(master)
    assert "m1" in shown
    coloured = "\x1b[" in shown
    assert coloured is (environ == {"TERM": "xterm"})


def encodings(key: str) -> list[str]:
    """The key as any of the usual encodings would show it."""
    raw = key.encode()
    return [
        key,
        urllib.parse.quote(key, safe=""),
        urllib.parse.quote(key),
        json.dumps(key)[1:-1],
        raw.hex(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        repr(key)[1:-1],
    ]


def test_the_key_shows_nowhere(tmp_path: Path) -> None:
    """With `-v`, a server that echoes the key in its errors, and a run that fails: no output, report or state holds it."""
    faults: list[dict[str, object]] = [
        {"method": "POST", "path": uuid(1), "always": True, "status": 400, "message": f"no: Bearer {KEY}"},
        {
            "method": "POST",
            "path": uuid(2),
            "always": True,
            "status": 500,
            "raw": f"<p>{urllib.parse.quote(KEY, safe='')}",
        },
        {
            "method": "POST",
            "path": uuid(3),
            "always": True,
            "status": 302,
            "headers": {"Location": f"https://x.invalid/?k={KEY}"},
        },
    ]
    environ = {"OMNI_API_TOKEN": KEY, "OMNI_REFRESH_STATE_DIR": str(tmp_path / "state")}
    with simulated(faults=faults) as omni:
        instances = {"sim": {"base_url": omni.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        manifest = write_manifest(tmp_path, instances=instances)
        reports = [word for s in ("json", "jsonl", "xml", "md", "html", "csv") for word in ("--report", f"r.{s}")]
        done = spawn(["run", manifest, "--json", "-v", *reports], cwd=tmp_path, environ=environ)
    assert done.code == 1
    assert [o["status"] for o in done.document["outcomes"]] == ["rejected", "unknown", "rejected"]
    texts = {"stdout": done.out, "stderr": done.err}
    for folder in (tmp_path / "state", tmp_path):
        files = folder.rglob("*") if folder.name == "state" else folder.glob("r.*")
        texts |= {str(path): path.read_bytes().decode("latin-1") for path in files if path.is_file()}
    assert len(texts) > 8
    for name, text in texts.items():
        assert not [form for form in encodings(KEY) if form in text], name


def test_the_simulator_serves(tmp_path: Path) -> None:
    """`simulate`: its address is the first line on stdout, it answers, it keeps a log of calls, and ends when told to."""
    args = ("simulate", "--calls", "calls.jsonl")
    with start(*args, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        asked = urllib.request.Request(
            f"{url}/api/v1/models/{uuid(1)}/refresh", method="POST", headers={"Authorization": "Bearer k"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert json.load(answer)["status"] == "running"
        process.send_signal(2)
        _, err = process.communicate(timeout=10)
    assert err == b""
    (line,) = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert json.loads(line)["status"] == 200


def test_a_wrong_manifest_leaves_stdout_empty(tmp_path: Path) -> None:
    """With `--json` too, what is wrong stands on stderr alone."""
    (tmp_path / "m.yaml").write_text("models: 3\n")
    done = spawn(["run", "m.yaml", "--json"], cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "m.yaml:1:9:" in done.err


@pytest.mark.parametrize("url", ["http://ada:hush@proxy.invalid:3128", "ada:hush@proxy.invalid:3128"])
def test_a_proxy_s_credentials_are_secrets(url: str) -> None:
    """The userinfo of a proxy variable, and its password alone, are known to the redactor, with a scheme or without."""
    found = [secret.reveal() for secret in proxy_secrets({"HTTPS_PROXY": url, "no_proxy": "localhost", "HOME": url})]
    assert found == ["ada:hush", "hush"]
