"""Instances: from the manifest, or from the environment if the manifest has none."""

import ssl
import subprocess
from pathlib import Path

import pytest

from orchestrator.manifest.addresses import is_loopback
from orchestrator.manifest.manifest import ApiKey, Instance, KeySource, RateLimit, Secret
from tests.manifest.manifests import ENVIRON, KEY, MODEL, TOP, entry, faults, load

NO_INSTANCES = "version: 1\n" + MODEL


def test_an_instance_with_everything() -> None:
    """Every key of an instance is read; a key that is left out has its default."""
    text = TOP + "    rate_limit: {requests: 500, per: 1m}\n    request_timeout: 5s\n" + MODEL
    (key,) = load(text).instances["sim"].keys
    assert load(text).instances == {
        "sim": Instance(
            name="sim",
            base_url="http://127.0.0.1:8080",
            base_url_place="base_url in m.yaml:4:15",
            keys=(ApiKey(source=KeySource(text="${OMNI_API_TOKEN}"), secret=Secret(KEY)),),
            rate_limit=RateLimit(requests=500, per_s=60.0),
            request_timeout_s=5.0,
        )
    }
    assert key.secret == Secret(KEY)
    assert load(TOP + "    rate_limit: {per: 10s}\n" + MODEL).instances["sim"].rate_limit == RateLimit(per_s=10.0)
    assert is_loopback(load(TOP + MODEL).instances["sim"].base_url)


def test_the_environment_is_the_instance() -> None:
    """Without `instances`, address and key come from the environment; OMNI_API_TOKEN precedes OMNI_API_KEY."""
    manifest = load(
        NO_INSTANCES, environ={"OMNI_BASE_URL": "https://a.b/api/", "OMNI_API_TOKEN": " one\n", "OMNI_API_KEY": "two"}
    )
    (instance,) = manifest.instances.values()
    assert (instance.name, instance.base_url) == ("default", "https://a.b")
    assert [(key.source, key.secret) for key in instance.keys] == [(KeySource(text="${OMNI_API_TOKEN}"), Secret("one"))]
    assert manifest.entries[0].instance == "default"
    second = load(NO_INSTANCES, environ={"OMNI_BASE_URL": "https://a.b", "OMNI_API_TOKEN": "", "OMNI_API_KEY": "two"})
    assert [key.source.text for key in second.instances["default"].keys] == ["${OMNI_API_KEY}"]


def test_the_environment_redirects_no_manifest() -> None:
    """A manifest that names its instance reads none of the three variables by itself."""
    text = (TOP + MODEL).replace("OMNI_API_TOKEN", "MINE")
    manifest = load(text, environ={**ENVIRON, "MINE": "mine"})
    assert manifest.instances["sim"].base_url == "http://127.0.0.1:8080"
    assert [secret.reveal() for secret in manifest.secrets] == ["mine"]


@pytest.mark.parametrize(
    "environ, says",
    [
        ({}, ["unset-variable", "unset-variable"]),
        ({"OMNI_BASE_URL": " ", "OMNI_API_KEY": "k"}, ["unset-variable"]),
        ({"OMNI_BASE_URL": "https://a.b"}, ["unset-variable"]),
        ({"OMNI_BASE_URL": "https://a.b", "OMNI_API_TOKEN": ""}, ["invalid-api-key"]),
        ({"OMNI_BASE_URL": "https://a.b", "OMNI_API_TOKEN": "a\nb"}, ["invalid-api-key"]),
        ({"OMNI_BASE_URL": "https://a.b", "OMNI_API_TOKEN": "a\udcff"}, ["not-utf8"]),
        ({"OMNI_BASE_URL": "a.b", "OMNI_API_TOKEN": "k"}, ["invalid-address"]),
        ({"OMNI_BASE_URL": "https://u:p@a.b", "OMNI_API_TOKEN": "k"}, ["password-in-address"]),
    ],
)
def test_what_the_environment_lacks(environ: dict[str, str], says: list[str]) -> None:
    """Each variable that is missing or wrong is named, at the top of the file."""
    assert faults(NO_INSTANCES, environ=environ) == [f"1:1 {code}" for code in says]


def test_an_offline_check_needs_no_environment() -> None:
    """If keys are not read, a manifest without instances needs neither key nor address."""
    manifest = load(NO_INSTANCES + "    poll: {min: 10ms}\n", environ={}, with_keys=False)
    assert manifest.instances["default"].base_url == ""
    assert manifest.instances["default"].keys == (ApiKey(source=KeySource(text="${OMNI_API_TOKEN}")),)
    (line,) = faults(NO_INSTANCES, environ={"OMNI_BASE_URL": "a.b"}, with_keys=False)
    assert line == "1:1 invalid-address"


@pytest.mark.parametrize(
    "text, says",
    [
        ("instances:\n", "1:11 wrong-type"),
        ("instances: {}\n", "1:12 wrong-type"),
        ("instances: [{base_url: x}]\n", "1:12 wrong-type"),
        ("instances: prod\n", "1:12 wrong-type"),
        ("instances: {prod: }\n", "1:19 empty-value"),
        ("instances: {prod: x}\n", "1:19 wrong-type"),
        ("instances: {prod: [x]}\n", "1:19 wrong-type"),
        ("instances: {'': {base_url: 'https://a.b', api_keys: '${K}'}}\n", "1:13 empty-value"),
        ("instances: {prod: {api_keys: '${K}'}}\n", "1:19 missing-key"),
        ("instances: {prod: {base_url: 'https://a.b'}}\n", "1:19 no-api-key"),
        ("instances: {prod: {base_url: , api_keys: '${K}'}}\n", "1:30 empty-value"),
        ("instances: {prod: {base_url: a.b, api_keys: '${K}'}}\n", "1:30 invalid-address"),
        ("instances: {prod: {base_url: 'http://a.b', api_keys: '${K}'}}\n", "1:30 insecure-address"),
        ("instances: {prod: {base_url: 'https://u:secretpw@a.b', api_keys: '${K}'}}\n", "1:30 password-in-address"),
        ("instances: {prod: {base_url: '${HOST:-http://h}', api_keys: '${K}'}}\n", "1:30 insecure-address"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', url: x}}\n", "1:63 unknown-key"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', rate_limit: 60}}\n", "1:75 wrong-type"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', rate_limit: {requests: 0}}}\n", "1:86 invalid-number"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', rate_limit: {per: 0s}}}\n", "1:81 invalid-duration"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', request_timeout: never}}\n", "1:80 invalid-duration"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', ca_file: }}\n", "1:72 empty-value"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', ca_file: gone.pem}}\n", "1:72 unreadable-file"),
        ("instances: {prod: {base_url: 'https://a.b', api_keys: '${K}', verify_ssl: false}}\n", "1:63 unknown-key"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_instance(text: str, says: str) -> None:
    """Each error of an instance is reported once, at its place, without a password."""
    assert faults(text + MODEL, environ={"K": "k"}) == [says]


def _certificate(folder: Path) -> bytes:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem"), "-subj", "/CN=test", "-days", "30"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return (folder / "ca.pem").read_bytes()


def test_certificates_are_read_when_the_manifest_is(tmp_path: Path) -> None:
    """A bundle can have comments; a file without a certificate, or with a broken one, is an error."""
    certificate = _certificate(tmp_path)
    text = TOP + "    ca_file: ca.pem\n" + MODEL
    bundle = b"# corporate: \xfc\n" + certificate + b"\n" + certificate
    assert load(text, files={"ca.pem": bundle}).instances["sim"].ca_file == Path("ca.pem").absolute()
    lines = certificate.splitlines()
    broken = b"\n".join([lines[0], b"AAAA", *lines[2:]])
    for wrong in (b"", b"no certificate", broken, b"\x00" * 100):
        (line,) = faults(text, files={"ca.pem": wrong})
        assert line == "6:14 invalid-certificate"
    assert ssl.OPENSSL_VERSION


def test_names_of_instances_are_as_written() -> None:
    """An instance can have any name; a dollar in it is a dollar, because keys have no placeholders."""
    text = (TOP + MODEL).replace("sim:", "2024_01$:").replace("m0", "m0\n    instance: 2024_01$$")
    assert load(text).entries[0].instance == "2024_01$"


def test_several_instances() -> None:
    """With several instances, a model must name one; a similar name is suggested, else all are listed."""
    text = TOP + '  prod: {base_url: "https://a.b", api_keys: "${OMNI_API_TOKEN}"}\n' + MODEL
    lines = faults(
        text
        + "  - {name: a, instance: prd}\n  - {name: b, instance: zzz}\n  - {name: c, instance: sim}\n  - {name: d, instance: }\n"
    )
    assert lines == ["8:5 missing-instance", "10:25 unknown-instance", "11:25 unknown-instance", "13:25 empty-value"]
    manifest = load(text.replace("models:", "defaults: {instance: prod}\nmodels:"))
    assert manifest.entries[0].instance == "prod"
    (line,) = faults(text.replace("models:", "defaults: {instance: x}\nmodels:"))
    assert line == "7:22 unknown-instance"


def test_a_wrong_instance_is_known_by_name() -> None:
    """A wrong instance causes no second error at its models."""
    assert len(faults(entry("instance: sim").replace("http://127.0.0.1:8080", "x"))) == 1
    assert len(faults("instances: x\n" + MODEL + "    instance: y\n")) == 1
