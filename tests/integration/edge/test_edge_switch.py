"""What is under way when servers are switched or HAProxy is reloaded goes on, and nothing fails."""

import threading
import time
from dataclasses import replace

import pytest
from edge_rig import SHOP, Answer, Client, Rig, wait_until

from homeport.edge.model import EdgeState, Service
from homeport.kernel.ids import ServiceName


def reloaded(state: EdgeState, n: int = 0) -> EdgeState:
    """The same with one more service, which takes a reload."""
    return replace(state, services=(*state.services, Service(ServiceName(f"more{n}.production.web"))))


@pytest.fixture
def pair(rig: Rig) -> Rig:
    rig.backend("old")
    rig.backend("new")
    rig.start(rig.state(rig.server("old")))
    return rig


def switch(rig: Rig) -> None:
    """All the ways: weights, a reload, and the old server gone from the state."""
    both = rig.state(rig.server("old", 0), rig.server("new"))
    assert rig.edge.apply(both).method == "runtime"
    assert rig.edge.apply(reloaded(both)).method == "reload"
    assert rig.edge.apply(reloaded(rig.state(rig.server("new")))).method == "runtime"


def test_streams_and_slow_answers_survive_and_are_counted(pair: Rig) -> None:
    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with Client(pair.port) as ws, Client(pair.port) as sse, Client(pair.port) as slow:
        ws.send(upgrade)
        assert ws.read_answer().status == 101
        sse.send(b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sse.read_answer().status == 200
        slow.send(b"GET /slow?10 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: pair.edge.sessions(SHOP, "old") == 3)
        switch(pair)
        assert pair.edge.sessions(SHOP, "old") == 3, "the draining worker's are counted too"
        assert [s.name for s in pair.edge.observe()] == ["new"] or pair.edge.observe()[0].weight == 0
        with Client(pair.port) as client:
            assert {client.get("/").text for _ in range(5)} == {"new"}
        ws.send(b"still there?")
        assert ws.receive() == b"old:still there?"
        assert slow.read_answer().text == "old"
        seen = sse.buffer.count(b"data: old")
        while sse.buffer.count(b"data: old") < seen + 10:
            sse.buffer += sse.receive() or pytest.fail("the stream was cut")
        wait_until(lambda: pair.edge.sessions(SHOP, "old") == 2)
    wait_until(lambda: pair.edge.sessions(SHOP, "old") == 0)


def test_a_100_mb_upload_streams_through(pair: Rig) -> None:
    size = 100_000_000
    block = bytes(1_000_000)
    with Client(pair.port) as client:
        client.send(f"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
        for n in range(100):
            client.send(block)
            if n == 50:
                switch(pair)
        assert client.read_answer().text == str(size)
    assert pair.backends["old"].requests == {"POST /upload": 1}


def test_pipelined_requests_are_all_answered(pair: Rig) -> None:
    """In order; what a closing connection left unanswered is asked anew, as HTTP has it."""
    answered = 0
    total = 300
    both = pair.state(pair.server("old", 0), pair.server("new"))
    with Client(pair.port) as client:
        while answered < total:
            batch = min(10, total - answered)
            client.send(b"GET /slow?0.001 HTTP/1.1\r\nHost: a\r\n\r\n" * batch)
            if answered == 100:
                pair.edge.apply(both)
            if answered == 200:
                assert pair.edge.apply(reloaded(both)).method == "reload"
            for _ in range(batch):
                assert client.read_answer().status == 200
                answered += 1
                if client.socket is None:
                    break


class Load(threading.Thread):
    """Keep-alive requests from one client until told to stop; ``failed`` holds what went wrong."""

    def __init__(self, port: int, method: str, name: str) -> None:
        super().__init__(daemon=True)
        self.port, self.method, self.label = port, method, name
        self.sent = 0
        self.failed: list[str] = []
        self.stopping = False

    def run(self) -> None:
        with Client(self.port) as client:
            while not self.stopping:
                identifier = f"{self.label}-{self.sent}"
                self.sent += 1
                try:
                    answer: Answer = client.request(
                        self.method, "/x", b"body" if self.method == "POST" else b"", X_Test_Id=identifier
                    )
                    if answer.status != 200:
                        self.failed.append(f"{identifier}: {answer.status}")
                except OSError as e:
                    self.failed.append(f"{identifier}: {e!r}")
                    client.close()


def test_no_request_fails_or_doubles_while_servers_are_switched(pair: Rig) -> None:
    """50 switches by weight, new servers among them, and 5 reloads, under 10,000s of requests."""
    loads = [Load(pair.port, method, f"{method}{n}") for method in ("GET", "POST") for n in range(3)]
    for load in loads:
        load.start()
    names = ["old", "new"]
    state = pair.state(pair.server("old"))
    for n in range(50):
        if n % 10 == 5:
            pair.backend(f"extra{n}")
            names.append(f"extra{n}")
        target = names[(n + 1) % len(names)]
        state = pair.state(*(pair.server(name, 100 if name == target else 0) for name in names))
        pair.edge.apply(reloaded(state, n // 10))
        time.sleep(0.02)
    wait_until(lambda: sum(load.sent for load in loads) > 10_000, seconds=60)
    for load in loads:
        load.stopping = True
    for load in loads:
        load.join(20)
    sent = sum(load.sent for load in loads)
    assert [f for load in loads for f in load.failed] == []
    seen = [b.seen_ids for b in pair.backends.values()]
    total = sum(sum(ids.values()) for ids in seen)
    merged = [identifier for ids in seen for identifier in ids.elements()]
    assert len(merged) == len(set(merged)) == total == sent
    assert all(sum(ids.values()) > 0 for ids in seen), "every server had its share"
