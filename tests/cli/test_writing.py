"""Results on stdout are whole or reported as lost, for every command; the log on stderr never holds a run."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.commands import call_on, start, write_manifest, write_scenario
from tests.cli.live import manifest_for, simulated


def _many_names(folder: Path) -> str:
    path = folder / "names"
    path.write_text("".join(f"some_schema.some_table_{n}\n" for n in range(2_000)), encoding="utf-8")
    return f"@{path}"


def test_a_late_reader_of_a_pipe_that_does_not_block(tmp_path: Path) -> None:
    """A non-blocking stdout whose reader is late gets the whole document, and the exit code is 0."""
    read, written = os.pipe()
    os.set_blocking(written, False)
    args = ("changes", "--changed", _many_names(tmp_path), "--json")
    with start(*args, cwd=tmp_path, stdout=written, stderr=subprocess.DEVNULL) as process:
        os.close(written)
        time.sleep(0.4)
        with os.fdopen(read, "rb") as pipe:
            text = pipe.read()
        assert process.wait(timeout=60) == 0
    assert len(text) > 2 * 65_536
    assert len(json.loads(text)["changes"]) == 2_000


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["schema", "report"],
        ["check", "m.yaml"],
        ["check", "m.yaml", "--json"],
        ["changes", "--changed", "a.b", "--json"],
        ["history"],
        ["plan", "m.yaml", "--simulate"],
        ["run", "m.yaml", "--simulate", "-q"],
    ],
    ids=" ".join,
)
def test_a_full_disk_behind_stdout(args: list[str], tmp_path: Path, own_state: None) -> None:
    """Where stdout takes no more the exit code is 5, and one line on stderr says why; there is no traceback."""
    write_manifest(tmp_path)
    said = tmp_path / "said"
    with Path("/dev/full").open("wb") as full, said.open("wb") as err:
        code = call_on(*args, stdout=full.fileno(), stderr=err.fileno())
    lines = [line for line in said.read_text().splitlines() if "warning" not in line]
    assert code == 5, lines
    assert lines == ["omni-refresh: the result was not written to stdout: No space left on device"]


@pytest.mark.parametrize("stderr", ["closed", "full"])
def test_a_broken_stderr(stderr: str, tmp_path: Path) -> None:
    """The exit code is the command's own even if stderr is closed or full."""
    manifest = write_manifest(tmp_path)
    for args, code in ((["check", "nowhere.yaml"], 2), (["run", manifest, "--simulate", "-v"], 0)):
        if stderr == "full":
            written = os.open("/dev/full", os.O_WRONLY)
        else:
            gone, written = os.pipe()
            os.close(gone)
        with Path(os.devnull).open("wb") as nowhere:
            assert call_on(*args, stdout=nowhere.fileno(), stderr=written) == code, args
        os.close(written)


def test_an_unread_log_does_not_hold_the_run(tmp_path: Path) -> None:
    """A run whose stderr is an unread pipe completes."""
    manifest = write_manifest(tmp_path)
    read, written = os.pipe()
    fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, 4096)
    os.write(written, b"x" * 4096)
    with start("run", manifest, "--simulate", "-v", cwd=tmp_path, stdout=subprocess.PIPE, stderr=written) as process:
        os.close(written)
        out, _ = process.communicate(timeout=60)
    os.close(read)
    assert process.returncode == 0
    assert b"3 succeeded" in out


def test_a_signal_ends_a_run_with_an_unread_log(tmp_path: Path, own_state: None) -> None:
    """Two signals end a run whose stderr is stuck; the report is written."""
    with simulated(default_model={"duration": 60}) as omni:
        manifest = manifest_for(omni, tmp_path, models=3)
        read, written = os.pipe()
        fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, 4096)
        os.write(written, b"x" * 4096)
        with start("run", manifest, "-v", cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=written) as process:
            os.close(written)
            omni.wait_for(lambda o: len(o.posts) == 3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 143
        os.close(read)
    assert json.loads((tmp_path / "omni-refresh-report.json").read_text())["summary"]["interrupted"] == 3


def test_a_signal_ends_an_unread_result(tmp_path: Path) -> None:
    """A command that waits for a reader of its stdout is ended by a signal."""
    manifest = write_manifest(tmp_path)
    write_scenario(tmp_path)
    read, written = os.pipe()
    fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, 4096)
    args = ("run", manifest, "--simulate", "--json", "--log-format", "json")
    with start(*args, cwd=tmp_path, stdout=written, stderr=subprocess.PIPE) as process:
        os.close(written)
        assert process.stderr is not None
        for line in process.stderr:
            if b"run_finished" in line:
                break
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    os.close(read)
    assert process.returncode != 0
    assert b"Traceback" not in err


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    """A working directory that was removed is one line and exit code 2."""
    folder = tmp_path / "gone"
    folder.mkdir()
    shell = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", str(folder), sys.executable, "-m", "orchestrator", "check", write_manifest(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error[no-directory]: ")
