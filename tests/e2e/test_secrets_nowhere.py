"""Secrets planted in every source, and everything a run and failing starts leave behind searched for them."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.host.control.persons import limits_text, write_key, write_roles

pytest.importorskip("boto3", reason="needs the aws extra")

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]
KEY = "keyThatWasPlanted7Q4xzzzz"
SECRET = "secretThatWasPlanted9K2w"
#: Of failing starts: none of them is the venue's.
WRONG = {
    "wrong type": "notAnEd25519Key5H8planted",
    "spaces": "secret with spaces 3J6planted",
    "other field": "anotherFieldsText8M1planted",
    "AWS": "awsSecretKey2B5planted",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SENTINEL_API", "AWS_"))}


class SecretsManager(http.server.BaseHTTPRequestHandler):
    """Answers GetSecretValue as the service's JSON 1.1 protocol says."""

    held: ClassVar[dict[str, str]] = {}
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        assert self.headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["SecretId"]
        self.asked.append(name)
        found = self.held.get(name)
        body = json.dumps({"Name": name, "SecretString": found} if found else {"__type": "ResourceNotFoundException"}).encode()
        self.send_response(200 if found else 400)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def aws() -> Iterator[dict[str, str]]:
    """The environment that leads to a Secrets Manager on loopback."""
    held = {"secret": SECRET, "other": WRONG["other field"]}
    SecretsManager.held = {"prod/venue": json.dumps(held), "prod/other": json.dumps({"other": WRONG["other field"]})}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SecretsManager) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        names = {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": address,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIAPLANTED",
        }
        yield names | {"AWS_SECRET_ACCESS_KEY": WRONG["AWS"], "AWS_EC2_METADATA_DISABLED": "true"}
        server.shutdown()


class Place:
    """A venue, settings, and all that was printed."""

    def __init__(self, directory: Path, urls: dict[str, Any], aws: dict[str, str]) -> None:
        self.directory, self.urls, self.aws = directory, urls, aws
        self.printed: list[str] = []
        self.signing_key = directory / "keys" / "audit.pem"
        self.signing_key.parent.mkdir(mode=0o700)
        self.signing_key.touch(0o600)
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.signing_key.write_bytes(pem)

    def settings(self, name: str, venue: str = "", store: str = "store") -> Path:
        roles = write_roles(self.directory, {"alice": os.geteuid()})
        lines = ["[venue]", *(f"{key} = {json.dumps(self.urls[key])}" for key in ("rest_url", "stream_url", "api_url")), venue]
        lines += ["[feed]", f"symbols = {json.dumps(self.urls['symbols'])}", "[access]", f'roles = "{roles}"']
        lines += ["[store]", f'directory = "{self.directory / store}"', "segment_mib = 8", "snapshot_every_s = 1"]
        lines += ["[audit]", f'signing_key_file = "{self.signing_key}"']
        path = self.directory / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, *arguments: str | Path, env: dict[str, str] | None = None) -> int:
        done = subprocess.run(
            [*MAIN, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False, env=ENVIRONMENT | (env or {})
        )
        self.printed.append(done.stdout + done.stderr)
        return done.returncode

    def searched(self) -> Iterator[tuple[str, bytes]]:
        """Everything printed, and every file but those that hold the secrets."""
        for k, text in enumerate(self.printed):
            yield f"printed {k}", text.encode()
        for path in self.directory.rglob("*"):
            if path.is_file() and path.parent.name != "keys":
                yield str(path), path.read_bytes()


@pytest.fixture
def place(tmp_path: Path, aws: dict[str, str]) -> Iterator[Place]:
    arguments = ["model", "--seed", "3", "--minutes", "30", "--balance", "USDT=1000", "--exit-with-stdin"]
    command = [sys.executable, "-m", "sentinel.sim.venue", *arguments]
    keys = {"SENTINEL_API_KEY": KEY, "SENTINEL_API_SECRET": SECRET}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT | keys) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield Place(tmp_path, json.loads(process.stdout.readline()), aws)
        process.stdin.close()


def spellings(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield from (raw, base64.b64encode(raw), raw.hex().encode(), json.dumps(secret)[1:-1].encode())
    yield raw[4:-4]


def _trade(place: Place, settings: Path, env: dict[str, str]) -> None:
    """A daemon that reaches its venue, is looked at, and ends in order."""
    command = [*MAIN, "run", "--config", str(settings), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT | env)
    until = time.monotonic() + 240
    while place.run("positions", "--config", settings, "--json") != 0 or '"trading_state": "ACTIVE"' not in place.printed[-1]:
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError(process.communicate()[1])
        time.sleep(0.5)
    limits, key = place.directory / "limits.toml", write_key(place.directory / "keys", "alice")
    limits.write_text(limits_text(1, time.time_ns(), "paper", max_drawdown_bps=500))
    assert place.run("limits", "sign", limits, "--person", "alice", "--key", key) == 0
    assert place.run("limits", "apply", limits, "--config", settings, "--json") == 0
    assert place.run("kill", "--config", settings) == 0
    assert place.run("arm", "--config", settings, "--confirm", SECRET[:10]) == 2
    assert place.run("orders", "--config", settings) == 0
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    place.printed.append(out + err)


@pytest.mark.control("E15")
def test_no_secret_of_any_source_is_in_anything_a_run_or_a_failing_start_leaves(place: Place) -> None:
    file = place.directory / "keys" / "secret.txt"
    file.touch(0o600)
    file.write_text(SECRET)
    by_environment = place.settings("env.toml")
    by_file = place.settings("file.toml", f'api_secret_file = "{file}"')
    by_aws = place.settings("aws.toml", 'api_secret_file = "secretsmanager:prod/venue#secret"')
    key = {"SENTINEL_API_KEY": KEY}
    _trade(place, by_aws, key | place.aws)
    assert SecretsManager.asked == ["prod/venue"]
    for settings, env in ((by_environment, key | {"SENTINEL_API_SECRET": SECRET}), (by_file, key)):
        assert place.run("run", "--config", settings, "--seconds", "1", "--json", env=env) == 0
    assert place.run("audit", "follow", "--config", by_environment, "--once", "--json") == 0
    assert place.run("audit", "export", place.directory / "store" / "audit", "--out", place.directory / "trail.csv") == 0
    assert place.run("audit", "show", place.directory / "store" / "audit", "--json") == 0
    assert place.run("replay", place.directory / "store", "--out", place.directory / "report", "--json") == 0
    assert (place.directory / "report").exists()

    wrong_type = key | {"SENTINEL_API_SECRET": WRONG["wrong type"]}
    assert place.run("run", "--config", place.settings("a.toml", 'api_key_type = "ed25519"'), "--json", env=wrong_type) == 2
    assert place.run("run", "--config", by_environment, "--json", env=key | {"SENTINEL_API_SECRET": WRONG["spaces"]}) == 2
    swapped = {"SENTINEL_API_KEY": WRONG["spaces"], "SENTINEL_API_SECRET": SECRET}
    assert place.run("run", "--config", by_environment, "--json", env=swapped) == 2
    for name, reference in (("b", "prod/other#secret"), ("c", "prod/none")):
        settings = place.settings(f"{name}.toml", f'api_secret_file = "secretsmanager:{reference}"')
        assert place.run("run", "--config", settings, "--json", env=key | place.aws) == 2
    file.chmod(0o644)
    assert place.run("run", "--config", by_file, "--json", env=key) == 2
    file.chmod(0o600)
    place.signing_key.write_bytes(place.signing_key.read_bytes().replace(b"PRIVATE KEY", b"KEY"))
    assert place.run("audit", "follow", "--config", by_environment, "--once") == 2

    body = place.signing_key.read_text().splitlines()[1]
    person = (place.directory / "keys" / "alice.pem").read_text().splitlines()[1]
    searched = list(place.searched())
    assert len([name for name, _ in searched if "journal-" in name or "snapshot" in name]) >= 2
    # The search finds what is there.
    assert any(b"positions" in raw for _, raw in searched)
    for secret in (KEY, SECRET, *WRONG.values(), body, person):
        for spelling in spellings(secret):
            assert [name for name, raw in searched if spelling in raw] == []
