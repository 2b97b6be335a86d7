"""The control plane's own way in at ``/.homeport/``."""

import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edge_rig import SHOP, Client, Rig

from homeport.edge.model import Mode, Route
from homeport.edge.render import HOOKS_AT_MOST


class Hooks:
    """What listens on the socket; it answers with the request's first line and its body's size."""

    def __init__(self, path: Path) -> None:
        self.requests: list[bytes] = []
        self.silent = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            while line := file.readline():
                head = line
                while (field := file.readline()) not in (b"\r\n", b""):
                    head += field
                size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                body = file.read(size)
                self.requests.append(head)
                if self.silent:
                    return
                said = line.strip() + b" %d" % len(body)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


@pytest.fixture
def hooked(rig: Any) -> Any:
    rig.backend("a1")
    rig.directory.mkdir(exist_ok=True)
    rig.hooks = Hooks(rig.directory / "hooks.sock")
    rig.start(replace(rig.state(rig.server("a1")), hooks=str(rig.directory / "hooks.sock")))
    yield rig
    rig.hooks.close()


def test_any_host_and_only_that_prefix(hooked: Any) -> None:
    with Client(hooked.port) as client:
        for host in ("shop.example", "127.0.0.1", "nobody.example"):
            answer = client.request("POST", "/.homeport/hook?x=1", b"body", host=host)
            assert answer.text == "POST /.homeport/hook?x=1 HTTP/1.1 4"
        for path in ("/.homeport", "/.homeportx/", "/x/.homeport/", "//.homeport/", "/%2ehomeport/"):
            assert client.get(path).text == "a1", path


def test_no_route_and_no_mode_takes_it(hooked: Any) -> None:
    state = replace(
        hooked.state(
            hooked.server("a1"),
            routes=(Route("shop.example", "/", SHOP), Route("shop.example", "/.homeport/hook", SHOP)),
        ),
        hooks=str(hooked.directory / "hooks.sock"),
        modes=(Mode(SHOP, "maintenance"),),
    )
    hooked.edge.apply(state)
    with Client(hooked.port) as client:
        assert client.get("/.homeport/hook").text.startswith("GET /.homeport/hook")
        assert client.get("/").status == 503


def test_a_large_body_arrives_whole(hooked: Any) -> None:
    with Client(hooked.port) as client:
        answer = client.request("POST", "/.homeport/hook", b"x" * 1_000_000)
    assert answer.text.endswith(" 1000000")


def test_what_died_is_not_sent_again(hooked: Any) -> None:
    hooked.hooks.silent = True
    for method in ("GET", "POST"):
        with Client(hooked.port) as client:
            assert client.request(method, "/.homeport/hook", b"x").status == 502
    assert len(hooked.hooks.requests) == 2


def test_headers_tell_the_truth(hooked: Any) -> None:
    with Client(hooked.port) as client:
        client.get("/.homeport/x", X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="https")
    head = hooked.hooks.requests[0].lower()
    assert b"6.6.6.6" not in head and b"x-forwarded-for: 127.0.0.1\r\n" in head
    assert b"x-forwarded-proto: http\r\n" in head


def test_one_client_cannot_ask_without_end(hooked: Any) -> None:
    with Client(hooked.port) as client:
        statuses = [client.request("POST", "/.homeport/hook", b"x").status for _ in range(HOOKS_AT_MOST + 5)]
        assert statuses[: HOOKS_AT_MOST - 1] == [200] * (HOOKS_AT_MOST - 1)
        assert statuses[-4:] == [429] * 4
        assert client.request("POST", "/.homeport/hook", b"x").headers["retry-after"] == "10"
        assert client.get("/").text == "a1"


def test_a_body_that_does_not_come_is_given_up(hooked: Any) -> None:
    with Client(hooked.port) as client:
        client.send(b"POST /.homeport/hook HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert client.read_answer().status == 408
    assert hooked.hooks.requests == []


def test_a_control_plane_that_is_away_is_a_503(hooked: Any) -> None:
    hooked.hooks.close()
    (hooked.directory / "hooks.sock").unlink()
    with Client(hooked.port) as client:
        assert client.get("/.homeport/x").status == 503


def test_without_hooks_the_prefix_is_the_apps(hooked: Any) -> None:
    rig: Rig = hooked
    assert rig.edge.apply(rig.state(rig.server("a1"))).method == "reload"
    with Client(rig.port) as client:
        assert client.get("/.homeport/hook").text == "a1"
