"""What ``counts`` and ``waiting`` say of a server that fails in all the ways there are, on a real HAProxy."""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from edge_rig import SHOP, Client, Rig, free_port, wait_until

from homeport.edge.model import EdgeState, Server


class Broken:
    """A server that answers what the path says."""

    def __init__(self) -> None:
        self.requests = 0
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as requests:
                while self._one(connection, requests):
                    pass
        except OSError:
            pass

    def _one(self, connection: socket.socket, requests: Any) -> bool:
        line = requests.readline()
        fields = {}
        while (header := requests.readline().decode().strip()) != "":
            name, _, value = header.partition(":")
            fields[name.lower()] = value.strip()
        if not line:
            return False
        requests.read(int(fields.get("content-length", "0")))
        path = line.split()[1].decode()
        self.requests += fields.get("user-agent") != "homeport-health"
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        if fields.get("user-agent") == "homeport-health" or path == "/ok":
            connection.sendall(good)
            return True
        if path == "/500":
            connection.sendall(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            return True
        if path == "/404":
            connection.sendall(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
            return True
        if path == "/hints":
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            time.sleep(0.05)
            connection.sendall(good)
            return True
        if path == "/silent":
            time.sleep(2)
        elif path == "/garbage":
            connection.sendall(b"this is no HTTP\r\n\r\n\r\n")
        elif path == "/half":
            connection.sendall(b"HTTP/1.1 200 OK\r\nConte")
        elif path == "/reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif path == "/broken-off":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
            time.sleep(0.05)
        return False


@pytest.fixture
def broken() -> Iterator[Broken]:
    made = Broken()
    yield made
    made.listener.close()


def state(rig: Rig, *servers: Server) -> EdgeState:
    return rig.state(*servers, check_interval=0.2, unhealthy_after=100, response_timeout=0.5)


@pytest.fixture
def side(rig: Any, broken: Broken) -> Rig:
    """The broken server ``c1`` and a good one, ``a1``."""
    made: Rig = rig
    made.backend("a1")
    made.start(state(made, made.server("a1"), Server("c1", broken.port, 100)))
    made.wait_up("a1", "c1")
    return made


def counted(rig: Rig) -> dict[str, tuple[int, int]]:
    return {c.name: (c.requests, c.errors) for c in rig.edge.counts().servers}


def send(rig: Rig, path: str, method: str = "GET", times: int = 10) -> list[int]:
    """The statuses; 0 for an answer that broke off."""
    statuses = []
    for _ in range(times):
        with Client(rig.port) as client:
            try:
                answer = client.request(method, path, b"xx" if method == "POST" else b"")
                while answer.status < 200:
                    answer = client.read_answer(method)
                statuses.append(answer.status)
            except ConnectionError:
                statuses.append(0)
    return statuses


@pytest.mark.parametrize(
    ("path", "method", "seen"),
    [
        ("/500", "GET", 500),
        ("/500", "POST", 500),
        ("/silent", "GET", 504),
        ("/silent", "POST", 504),
        ("/garbage", "GET", 502),
        ("/garbage", "POST", 502),
        ("/half", "POST", 502),
        ("/close", "POST", 502),
        ("/reset", "POST", 502),
        ("/broken-off", "GET", 0),
    ],
)
def test_each_fault_is_counted_once_as_the_fault_of_who_made_it(
    side: Rig, broken: Broken, path: str, method: str, seen: int
) -> None:
    assert sorted(send(side, path, method)) == sorted([200] * 5 + [seen] * 5)
    wait_until(lambda: counted(side) == {"a1": (5, 0), "c1": (5, 5)}, 3, str(counted(side)))
    assert broken.requests == 5


@pytest.mark.parametrize("path", ["/half", "/close", "/reset"])
def test_a_fault_that_another_server_made_good_is_counted_all_the_same(
    side: Rig, broken: Broken, path: str
) -> None:
    assert send(side, path) == [200] * 10
    assert broken.requests >= 5
    assert counted(side) == {"a1": (10, 0), "c1": (broken.requests, broken.requests)}


@pytest.mark.parametrize(("path", "seen"), [("/ok", 200), ("/404", 404), ("/hints", 200)])
def test_good_answers_are_no_errors(side: Rig, path: str, seen: int) -> None:
    assert sorted(send(side, path)) == sorted([200] * 5 + [seen] * 5)
    assert counted(side) == {"a1": (5, 0), "c1": (5, 0)}


def test_a_refused_connection_is_an_error_that_no_client_sees(side: Rig, broken: Broken) -> None:
    broken.close()
    assert send(side, "/ok", "POST") + send(side, "/ok") == [200] * 20
    requests, errors = counted(side)["c1"]
    assert requests == errors >= 9
    assert counted(side)["a1"] == (20, 0)


ONE_AT_A_TIME = """
import socket, sys, time
s = socket.socket()
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(100)
while True:
    c, _ = s.accept()
    said = c.recv(4096)
    if b"GET /stay" in said:
        time.sleep(60)
    c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    c.close()
"""


def test_a_server_killed_during_requests_fails_each_of_them_once(side: Rig) -> None:
    """One request is in its hands (its connection ends), five wait to be read (theirs are reset)."""
    port = free_port()
    child = subprocess.Popen([sys.executable, "-c", ONE_AT_A_TIME, str(port)])
    try:
        wait_until(lambda: is_open(port))
        slow = side.state(
            Server("k1", port, 100), side.server("a1", 0), check_interval=30.0, response_timeout=30.0
        )
        assert side.edge.apply(slow).method == "reload"
        clients = [Client(side.port) for _ in range(6)]
        for client in clients:
            client.send(b"GET /stay HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: side.edge.waiting(SHOP, "k1") == 6)
        side.edge.apply(replace_weights(slow, k1=100, a1=1))
    finally:
        child.kill()
        child.wait()
    assert [client.read_answer().text for client in clients] == ["a1"] * 6
    wait_until(lambda: counted(side)["a1"] == (6, 0))
    assert counted(side)["k1"] == (6, 6)
    for client in clients:
        client.close()


def is_open(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def replace_weights(state: EdgeState, **weights: int) -> EdgeState:
    (service,) = state.services
    servers = tuple(replace(s, weight=weights[s.name]) for s in service.servers)
    return replace(state, services=(replace(service, servers=servers),))


def test_clients_that_give_up_are_no_errors(side: Rig) -> None:
    side.edge.apply(state(side, side.server("a1")))
    with Client(side.port) as client:
        client.send(b"GET /sse?0.01 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.receive()
    with Client(side.port) as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
    with Client(side.port) as client:
        client.send(b"GET /slow?0.2 HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: side.backends["a1"].requests["GET /slow"] == 1)
    wait_until(lambda: side.edge.sessions(SHOP, "a1") == 0)
    wait_until(lambda: counted(side)["a1"] == (2, 0))


def test_streams_and_sockets_that_end_are_no_errors(side: Rig) -> None:
    side.edge.apply(state(side, side.server("a1")))
    clients = [Client(side.port) for _ in range(4)]
    for client in clients[:2]:
        client.send(b"GET /sse?0.05 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.receive()
    for client in clients[2:]:
        client.send(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert client.read_answer().status == 101
    (found,) = (c for c in side.edge.counts().servers if c.name == "a1")
    assert (found.requests, found.errors, found.sessions) == (2, 0, 4)
    side.backends["a1"].stop()
    wait_until(lambda: side.edge.sessions(SHOP, "a1") == 0)
    for client in clients:
        client.close()
    assert counted(side)["a1"] == (2, 0)


def test_figures_of_one_worker_never_fall_and_another_begins_at_zero(side: Rig) -> None:
    first = side.edge.counts()
    last = {c.name: (c.requests, c.errors) for c in first.servers}
    for path in ("/reset", "/close", "/ok", "/broken-off", "/500"):
        send(side, path, times=4)
        now = counted(side)
        assert all(now[name] >= last[name] and now[name][1] >= last[name][1] for name in now)
        last = now
    longer = side.state(
        side.server("a1"), check_interval=0.2, unhealthy_after=100, response_timeout=9.0
    )  # fmt: skip
    assert side.edge.apply(longer).method == "reload"
    after = side.edge.counts()
    assert after.worker != first.worker
    assert [(c.name, c.requests, c.errors) for c in after.servers] == [("a1", 0, 0)]


def test_what_waits_is_told_from_what_flows(rig: Any) -> None:
    rig.backend("a1")
    slow = rig.state(rig.server("a1"), response_timeout=30.0)
    rig.start(slow)
    clients = [Client(rig.port) for _ in range(4)]
    clients[0].send(b"GET /sse?0.05 HTTP/1.1\r\nHost: a\r\n\r\n")
    clients[0].receive()
    clients[1].send(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert clients[1].read_answer().status == 101
    assert rig.edge.waiting(SHOP, "a1") == 0
    clients[2].send(b"GET /slow?10 HTTP/1.1\r\nHost: a\r\n\r\n")
    clients[3].send(b"POST /slow?10 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
    wait_until(lambda: rig.edge.waiting(SHOP, "a1") == 2)
    assert rig.edge.sessions(SHOP, "a1") == 4
    # The same, seen in a worker that a reload has replaced.
    assert rig.edge.apply(rig.state(rig.server("a1"), response_timeout=31.0)).method == "reload"
    assert rig.edge.waiting(SHOP, "a1") == 2
    assert rig.edge.waiting(SHOP, "nobody") == 0
    assert clients[2].read_answer().text == clients[3].read_answer().text == "a1"
    wait_until(lambda: rig.edge.waiting(SHOP, "a1") == 0)
    for client in clients:
        client.close()
