"""Commands that cannot reach an instance: settings that are wrong, and a certificate that is not trusted."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator.reading import make_scenario
from tests.cli.commands import KEY, call, write_manifest
from tests.cli.serving import serving
from tests.omni.certificates import make_server_context

STAGED = make_scenario(models=[{"name": "Sales"}], limit={"requests": 1000, "per": 1})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that the manifests name."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)


@pytest.mark.parametrize("command", ["run", "plan", "check", "discover"])
@pytest.mark.parametrize("proxy", ["http://[::1:3128", "http://svc:Sup3r#Secret@p:3128"])
def test_a_malformed_proxy_variable(
    command: str, proxy: str, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 and one line that names the variable and shows nothing of it; no run is left behind that never began."""
    monkeypatch.setenv("HTTP_PROXY", proxy)
    path = write_manifest(tmp_path, {"model": "Sales"})
    words = {"check": ["check", path, "--online"], "discover": ["discover", "--like", path]}
    done = call(capfd, *words.get(command, [command, path]), "--quiet")
    assert done.code == 2
    first, *rest = done.err.splitlines()
    assert first.startswith("error[unusable-proxy]: ")
    assert "HTTP_PROXY" in first
    assert all(line.startswith("  = help: ") for line in rest)
    assert not any(secret in done.err + done.out for secret in ("Sup3r", "Secret", "svc"))
    assert call(capfd, "history", "--json").document["runs"] == []


def test_a_run_whose_certificates_cannot_be_read_never_began(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 for a setting that names nothing, and no run in the history."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    instances = {"sim": {"base_url": "https://127.0.0.1:1", "api_keys": ["${OMNI_API_TOKEN}"]}}
    done = call(capfd, "run", write_manifest(tmp_path, {"model": "Sales"}, instances=instances))
    assert done.code == 2
    assert "SSL_CERT_FILE" in done.err
    assert call(capfd, "history", "--json").document["runs"] == []


@pytest.mark.parametrize("command", ["run", "plan", "check", "discover"])
def test_a_certificate_that_is_not_trusted(command: str, tmp_path: Path, capfd: Any) -> None:
    """Each command ends at once with exit 1, and says the cause, the address, where it is written, and `ca_file`."""
    with serving(STAGED, make_server_context(tmp_path)) as simulator:
        instances = {"sim": {"base_url": simulator.url, "api_keys": ["${OMNI_API_TOKEN}"]}}
        path = write_manifest(tmp_path, {"model": "Sales"}, instances=instances)
        words = {"check": ["check", path, "--online"], "discover": ["discover", "--like", path]}
        done = call(capfd, *words.get(command, [command, path]))
    assert done.code == 1, done.err
    said = " ".join((done.out + done.err).split())
    for words_of_it in (
        "its issuer is not known", simulator.url.removeprefix("https://"), f"base_url in {path}:1:", "ca_file",
    ):  # fmt: skip
        assert words_of_it in said
