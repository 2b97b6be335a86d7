"""A webhook through the edge, and a watched branch: fetched, and run by the pipeline."""

import hashlib
import hmac
import http.client
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from live import App, Homeport


class Forge:
    """A repository elsewhere that posts webhooks as GitHub does."""

    def __init__(self, homeport: Homeport, app: App) -> None:
        self.homeport = homeport
        self.app = app
        made = homeport.json("source", "webhook", cwd=app.directory)
        self.path, self.secret = made["path"], made["secret"]
        self.deliveries = 0

    def post(self, body: bytes, *, signature: str | None = None, path: str | None = None) -> tuple[int, str]:
        digest = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        self.deliveries += 1
        headers = {
            "Host": "any.host.example.com",
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": f"delivery-{self.deliveries}",
            "X-Hub-Signature-256": f"sha256={digest}" if signature is None else signature,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.homeport.port, timeout=20)
        try:
            connection.request("POST", path or self.path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def post_much(self, size: int) -> int:
        """Begin to post so many bytes; the answer's status."""
        with socket.create_connection(("127.0.0.1", self.homeport.port), 20) as s:
            head = f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
            s.sendall(head.encode() + b"x" * 100_000)
            return int(s.recv(100).split()[1])

    def push(self, commit: str) -> bytes:
        payload: dict[str, Any] = {
            "ref": "refs/heads/main",
            "after": commit,
            "repository": {"pushed_at": int(time.time())},
            "sender": {"login": "anna"},
        }
        return json.dumps(payload).encode()


@pytest.fixture
def shop(homeport: Homeport, request: pytest.FixtureRequest) -> App:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:30].rstrip("-")
    app = homeport.app(name)
    app.git("checkout", "-q", "-b", "main")
    app.write("1", replicas=1)
    return app


def serves(homeport: Homeport, app: App) -> str:
    status, body, _ = homeport.get("/", host=app.host)
    return body if status == 200 else str(status)


def test_a_webhook_ships(homeport: Homeport, shop: App) -> None:
    assert homeport.get("/.homeport/hooks/x", host=shop.host)[0] == 404
    assert homeport.run("source", "webhook", cwd=shop.directory, status=4)
    homeport.run("source", "set", str(shop.directory), cwd=shop.directory)
    if os.geteuid() == 0:
        # The edge's workers run as a user of their own.
        homeport.work.chmod(0o700)
        refused = homeport.run("source", "webhook", cwd=shop.directory, status=8)
        assert f"may not enter {homeport.work}" in refused.stderr
        homeport.work.chmod(0o711)
    forge = Forge(homeport, shop)
    body = forge.push(shop.git("rev-parse", "HEAD"))
    for signature in ("", "sha256=", "sha256=" + "0" * 64):
        assert forge.post(body, signature=signature)[0] == 401
    assert forge.post(body, path="/.homeport/hooks/nosuchapp")[0] == 401
    assert forge.post_much(10_000_000) == 413
    assert forge.post(body) == (202, '{"status":"accepted"}')
    homeport.wait(lambda: serves(homeport, shop) == "1")
    assert forge.post(body)[0] == 409
    run = homeport.json("pipeline", "list", cwd=shop.directory)[0]
    assert (run["cause"], run["actor"], run["branch"]) == ("webhook", "anna", "main")
    shown = homeport.run("source", "show", cwd=shop.directory).stdout
    assert run["commit"][:10] in shown and forge.secret not in shown
    homeport.run("source", "remove", cwd=shop.directory)
    homeport.wait(lambda: forge.post(body)[0] == 404)
    for path in homeport.data.rglob("*"):
        if path.is_file() and path.stat().st_size < 50_000_000:
            assert forge.secret.encode() not in path.read_bytes(), path


def test_a_watched_branch_ships(homeport: Homeport, shop: App) -> None:
    homeport.run("source", "set", str(shop.directory), "--poll", "5s", cwd=shop.directory)
    homeport.wait(lambda: serves(homeport, shop) == "1")
    shop.write("2", replicas=1)
    homeport.wait(lambda: serves(homeport, shop) == "2")
    assert homeport.json("pipeline", "list", cwd=shop.directory)[0]["cause"] == "poll"
    homeport.run("destroy", shop.name, "--yes", shop.name)
    assert not (homeport.data / "repositories" / f"{shop.name}.git").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--upload-pack=touch /tmp/x",),
        ("ext::sh -c id",),
        ("https://user:secret@example.com/x",),
        ("/x", "--branch", "-x"),
        ("/x", "--directory", "../y"),
        ("/x", "--poll", "soon"),
        ("/x", "--poll", "1s"),
        ("/x", "--token-from", "file:/does/not/exist"),
    ],
)
def test_bad_input(homeport: Homeport, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = homeport.run("--app", "nothing", "source", "set", *arguments, status=None)
    assert done.returncode in (2, 3, 1) and ("cannot" in done.stderr or "Usage" in done.stderr), done.stderr
    assert homeport.run("--app", "nothing", "source", "show", status=4)
    assert "nothing" not in homeport.run("apps").stdout
