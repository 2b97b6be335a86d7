"""The way in for webhooks, over its unix socket."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from homeport.api import hooks
from homeport.kernel.errors import ErrorType, Kind
from homeport.rollout.sources.model import Ignored, Push, Refused, Verdict
from homeport.rollout.sources.webhooks import MAX_BODY

LOCKED = ErrorType("test.locked", Kind.FAILED, "…")


class Hooks:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.got: list[tuple[str, Mapping[str, str], bytes]] = []
        self.says: Verdict | BaseException = Push("main", "a" * 40, "anna", ())

    def receive(self, app: str, headers: Mapping[str, str], body: bytes) -> Verdict:
        self.got.append((app, headers, body))
        if isinstance(self.says, BaseException):
            raise self.says
        return self.says

    def post(
        self, body: Any = b"{}", path: str = "/.homeport/hooks/shop", method: str = "POST", **more: str
    ) -> Any:
        connection = http.client.HTTPConnection("shop.example.com", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path))
        try:
            connection.request(
                method, path, body=body, headers={k.replace("_", "-"): v for k, v in more.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hooks]:
    made = Hooks(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(made.path))
    listener.listen()
    config = uvicorn.Config(hooks.make(made.receive), lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield made
    server.should_exit = True
    thread.join()
    listener.close()


def test_what_is_said_of_what(served: Hooks) -> None:
    assert served.post(X_GitHub_Event="push")[0] == 202
    app, headers, body = served.got[0]
    assert (app, headers["x-github-event"], body) == ("shop", "push", b"{}")
    for says, status in ((Ignored("x"), 200), (Refused(401, "x"), 401), (Refused(409, "x"), 409)):
        served.says = says
        assert served.post()[0] == status


def test_bodies_are_bounded(served: Hooks) -> None:
    assert served.post(b"x" * MAX_BODY)[0] == 202
    # More of them than were told of: refused while they come, whatever the client sees of it.
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(served.path))
        s.sendall(b"POST /.homeport/hooks/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                s.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 413 ")
    assert len(served.got) == 1


def test_a_body_is_refused_before_it_comes(served: Hooks) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(served.path))
        s.sendall(b"POST /.homeport/hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 413 ")
    assert not served.got


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/.homeport/hooks/shop"),
        ("PUT", "/.homeport/hooks/shop"),
        ("POST", "/.homeport/hooks/"),
        ("POST", "/.homeport/hooks/a/b"),
        ("POST", "/v1/apps"),
        ("GET", "/v1/status"),
        ("GET", "/openapi.json"),
    ],
)
def test_nothing_else_is_there(served: Hooks, method: str, path: str) -> None:
    assert served.post(path=path, method=method)[0] in (404, 405)
    assert not served.got


def test_a_fault_tells_nothing(served: Hooks) -> None:
    served.says = LOCKED.error("cannot open /secret/path")
    status, body = served.post()
    assert status == 503 and "secret" not in body
