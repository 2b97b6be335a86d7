"""The load generator against servers that misbehave in known ways: it must count each, exactly."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from load import Load, Mix, compare_orders
from load_counters import Counters
from websockets.asyncio.server import ServerConnection, serve

NOTHING = Mix(gets=0, posts=0, slows=0, pipelines=0, websockets=0, streams=0, timeout=15.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Release: r7\r\n\r\nok"


def only(**changes: Any) -> Mix:
    return Mix(**{**NOTHING.__dict__, **changes})


class Peer:
    """One connection as the misbehaving server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def request(self) -> tuple[bytes, bytes]:
        """The next request's head and body; raises IncompleteReadError when the client is done."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        return head, await self.reader.readexactly(int(length or 0))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(act: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await act(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*list(tasks), return_exceptions=True)


def run(act: Callable[[Peer], Awaitable[None]], mix: Mix, seconds: float = 1.5) -> Counters:
    async def main() -> Counters:
        async with serving(act) as address:
            load = Load(address, "test.localhost", mix)
            await load.start()
            await asyncio.sleep(seconds)
            return await load.stop()

    return asyncio.run(main())


def words(counters: Counters) -> set[str]:
    return {failure["what"] for failure in counters.failures}


def test_one_request_in_a_hundred_dropped_is_counted_exactly() -> None:
    seen = {"requests": 0, "dropped": 0}

    async def act(peer: Peer) -> None:
        while True:
            await peer.request()
            seen["requests"] += 1
            if seen["requests"] % 100 == 0:
                seen["dropped"] += 1
                return
            peer.send(OK)

    counters = run(act, only(gets=8, get_rate=0.0), 1.0)
    assert seen["dropped"] >= 2
    assert counters.sent["get"] == seen["requests"], "nothing was sent twice"
    assert counters.failed["get"] == seen["dropped"]
    assert counters.ok["get"] == counters.sent["get"] - counters.failed["get"]
    assert counters.reopened == 0
    assert counters.releases == {"r7": counters.ok["get"]}
    assert words(counters) == {"closed without an answer, after 0 bytes of it"}


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_a_connection_closed_while_idle_is_no_failure(rate: float) -> None:
    seen = {"requests": 0}

    async def act(peer: Peer) -> None:
        await peer.request()
        seen["requests"] += 1
        peer.send(OK)
        await peer.writer.drain()
        peer.writer.close()

    counters = run(act, only(gets=1, get_rate=rate))
    if rate:  # flat out, the next request may be on its way before the close: that is a failure
        assert counters.failed.total() == 0
        assert counters.reopened >= 50
    assert counters.sent["get"] == counters.ok["get"] + counters.failed["get"]
    assert counters.ok["get"] == seen["requests"]


def test_connection_close_is_obeyed() -> None:
    async def act(peer: Peer) -> None:
        await peer.request()
        peer.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    counters = run(act, only(gets=2, get_rate=0.0))
    assert counters.failed.total() == 0 and counters.reopened == 0
    assert counters.ok["get"] > 50


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 503 Gone\r\nContent-Length: 4\r\n\r\ndown", "status 503: b'down'"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "status 302: b''"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "closed inside the body, after 2 bytes of it"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "closed inside the body, after 0 bytes of it",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", r"not a chunk size: b'zz\r\n'"),
        (b"HTTP/1.1 200 OK\r\nContent-", "closed without an answer, after 25 bytes of it"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", "an answer without a length"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP: b'SSH-2.0-x'"),
        (b"", "closed without an answer, after 0 bytes of it"),
    ],
)
def test_each_bad_answer_is_one_failure_in_words(answer: bytes, what: str) -> None:
    async def act(peer: Peer) -> None:
        await peer.request()
        peer.send(answer)

    counters = run(act, only(gets=1, get_rate=20.0))
    assert counters.failed["get"] == counters.sent["get"] > 0
    assert counters.ok.total() == 0
    assert words(counters) == {what}


def test_a_reset_a_silence_and_a_refusal() -> None:
    async def reset(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    assert words(run(reset, only(gets=1, get_rate=20.0))) == {"Connection reset by peer without an answer"}

    async def silent(peer: Peer) -> None:
        await asyncio.sleep(60)

    assert words(run(silent, only(gets=1, timeout=0.2))) == {"no whole answer within 0.2 s"}

    async def nobody() -> Counters:
        async with serving(silent) as address:
            pass
        load = Load(address, "test.localhost", only(gets=1, get_rate=0.0))
        await load.start()
        await asyncio.sleep(0.3)
        return await load.stop()

    counters = asyncio.run(nobody())
    assert 0 < counters.failed["get"] == counters.sent["get"] < 100, "not a busy loop"
    assert all(what.startswith("cannot connect") for what in words(counters))


def test_bytes_nobody_asked_for_are_a_failure() -> None:
    async def act(peer: Peer) -> None:
        await peer.request()
        peer.send(OK + OK)
        await peer.request()

    counters = run(act, only(gets=1, get_rate=20.0))
    # The last answer may be counted, and what came after it not yet.
    assert (
        counters.ok["get"] - 1 <= counters.failed["get"] <= counters.ok["get"] and counters.failed["get"] > 0
    )
    assert "bytes nobody asked for on an idle connection" in words(counters)


def test_informational_answers_are_skipped() -> None:
    async def act(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)

    assert run(act, only(gets=1)).failed.total() == 0


def test_orders_lost_doubled_late_and_swallowed_are_told_apart() -> None:
    stored: list[str] = []
    seen = {"lost": 0, "doubled": 0, "late": 0, "other": 0}

    async def act(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            order = json.loads(body)["id"]
            number = int(order.rpartition("-")[2])
            times, answered = 1, order
            if number % 10 == 3:
                times, seen["lost"] = 0, seen["lost"] + 1
            elif number % 10 == 5:
                times, seen["doubled"] = 2, seen["doubled"] + 1
            elif number % 10 == 7:
                stored.append(order)
                seen["late"] += 1
                return
            elif number % 10 == 9:
                answered, seen["other"] = "someone else's", seen["other"] + 1
            stored.extend([order] * times)
            text = json.dumps({"id": answered}).encode()
            peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    counters = run(act, only(posts=2, post_rate=200.0))
    found = compare_orders(counters.acknowledged, counters.unacknowledged, stored)
    assert min(seen.values()) > 0
    assert len(found["lost"]) == seen["lost"]
    assert len(found["doubled"]) == seen["doubled"]
    assert len(found["late"]) == seen["late"] + seen["other"]
    assert counters.failed["post"] == seen["late"] + seen["other"]
    assert counters.sent["post"] == counters.ok["post"] + counters.failed["post"]
    assert len(set(counters.acknowledged)) == counters.ok["post"]


def test_pipelined_requests_that_were_left_are_failures_one_by_one() -> None:
    async def act(peer: Peer) -> None:
        for _ in range(4):
            await peer.request()
        peer.send(OK + OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    counters = run(act, only(pipelines=1, pipeline_rate=20.0, pipeline_depth=4))
    rounds = counters.sent["pipeline"] // 4
    assert rounds > 2
    assert counters.ok["pipeline"] == counters.failed["pipeline"] == 2 * rounds
    assert words(counters) == {'closed after "Connection: close", with pipelined requests unanswered'}


def events(numbers: list[int]) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [b"id: %d\ndata: x\n\n" % n for n in numbers]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (events([1, 2, 3]) + b"0\r\n\r\n", None),
        (events([7, 8]) + b"0\r\n\r\n", None),
        (events([1, 2, 4]) + b"0\r\n\r\n", "event 4 came after 2"),
        (events([1, 2, 2]) + b"0\r\n\r\n", "event 2 came after 2"),
        (events([1, 2, 3]), "closed inside the body, after 0 bytes of it"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503"),
    ],
)
def test_event_streams(answer: bytes, what: str | None) -> None:
    async def act(peer: Peer) -> None:
        await peer.request()
        peer.send(answer)

    counters = run(act, only(streams=1), 0.25)
    assert words(counters) == ({what} if what else set())
    assert counters.ok["events"] + counters.failed["events"] == counters.sent["events"] > 0
    assert (counters.reconnects > 0) == (what is None)


def test_a_silent_event_stream_is_a_failure() -> None:
    async def act(peer: Peer) -> None:
        await peer.request()
        peer.send(events([1]))
        await asyncio.sleep(60)

    assert words(run(act, only(streams=1, timeout=0.2))) == {"silent for too long"}


def run_websocket(act: Callable[[ServerConnection], Awaitable[None]]) -> Counters:
    async def main() -> Counters:
        async with serve(act, "127.0.0.1", 0) as server:
            host, port = next(iter(server.sockets)).getsockname()
            load = Load(f"{host}:{port}", "test.localhost", only(websockets=1, websocket_rate=50.0))
            await load.start()
            await asyncio.sleep(2.0)
            return await load.stop()

    return asyncio.run(main())


def account_is_whole(counters: Counters) -> bool:
    return counters.sent["websocket"] == counters.ok["websocket"] + counters.failed["websocket"]


def test_a_websocket_closed_in_order_is_a_reconnect() -> None:
    async def act(peer: ServerConnection) -> None:
        for _ in range(3):
            await peer.send(await peer.recv())
        await peer.close(1012)

    counters = run_websocket(act)
    assert counters.failed.total() == 0
    assert counters.reconnects >= 2
    assert account_is_whole(counters)


def test_a_websocket_closed_in_order_in_the_middle_of_a_message_is_told() -> None:
    async def act(peer: ServerConnection) -> None:
        await peer.recv()
        await peer.close(1001)

    counters = run_websocket(act)
    assert counters.failed.total() == 0
    assert counters.unanswered == counters.reconnects > 0
    assert account_is_whole(counters)


@pytest.mark.parametrize("answered", [True, False])
def test_a_websocket_that_is_cut_is_a_failure(answered: bool) -> None:
    async def act(peer: ServerConnection) -> None:
        message = await peer.recv()
        if answered:
            await peer.send(message)
            await asyncio.sleep(0.005)
        peer.transport.abort()

    counters = run_websocket(act)
    assert counters.failed["websocket"] > 0 and counters.reconnects == 0
    assert all("no close frame" in what for what in words(counters))
    assert account_is_whole(counters)


def test_a_websocket_that_answers_something_else_or_is_refused() -> None:
    async def wrong(peer: ServerConnection) -> None:
        async for _ in peer:
            await peer.send("0")

    counters = run_websocket(wrong)
    assert counters.failed["websocket"] == counters.sent["websocket"] > 0

    async def error(peer: ServerConnection) -> None:
        await peer.close(1011)

    assert any("close code 1011" in what for what in words(run_websocket(error)))

    async def refuse(peer: Peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    counters = run(refuse, only(websockets=1))
    assert counters.failed["websocket"] == counters.sent["websocket"] > 0
    assert any("503" in what for what in words(counters))
