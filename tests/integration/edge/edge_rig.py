"""Real HAProxy on free ports, and small backends that misbehave on request."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ports import directory, free_port

from homeport.edge.haproxy import HaproxyEdge
from homeport.edge.model import Bind, EdgeState, Mode, Route, Server, Service
from homeport.kernel.ids import ServiceName
from homeport.system.clock import RealClock

SHOP = ServiceName("shop.production.web")


def wait_until(condition: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.01)


@dataclass
class Backend:
    """An HTTP server in a thread. ``GET /who`` tells its name; see :meth:`answer` for the rest."""

    name: str
    port: int = 0
    health_status: int = 200
    requests: Counter[str] = field(default_factory=Counter)
    health_requests: list[str] = field(default_factory=list)
    seen_ids: Counter[str] = field(default_factory=Counter)
    """Each request's ``X-Test-Id``, to find doubled ones."""
    last_headers: list[tuple[str, str]] = field(default_factory=list)
    dying: bool = False
    """Close every connection without an answer once a request has been read whole."""
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> "Backend":
        ready = threading.Event()

        async def main() -> None:
            self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=512)
            self.port = self._server.sockets[0].getsockname()[1]
            ready.set()

        def run() -> None:
            loop = self._loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.run_forever()
            loop.run_until_complete(self._end_tasks())
            loop.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(5)
        return self

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    def stop(self) -> None:
        """Refuse connections and cut those that are open."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return

        def end() -> None:
            if self._server is not None:
                self._server.close()
            loop.stop()

        loop.call_soon_threadsafe(end)
        self._thread.join(5)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = [(k.lower(), v.strip()) for k, _, v in (x.partition(":") for x in lines[1:] if x)]
        fields = dict(headers)
        if fields.get("user-agent") == "homeport-health":
            self.health_requests.append(target)
            return await self._send(writer, self.health_status, b"")
        if fields.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = await self._body(reader, fields)
        self.requests[f"{method} {target.partition('?')[0]}"] += 1
        self.seen_ids[fields.get("x-test-id", "")] += 1
        self.last_headers = headers
        if self.dying:
            return False
        return await self.answer(reader, writer, method, target, fields, size)

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> int:
        size = 0
        if fields.get("transfer-encoding") == "chunked":
            while chunk := int(await reader.readline(), 16):
                await reader.readexactly(chunk + 2)
                size += chunk
            await reader.readline()
            return size
        left = int(fields.get("content-length", "0"))
        while left > 0:
            chunk_ = await reader.read(min(left, 1 << 20))
            if not chunk_:
                raise ConnectionError
            left -= len(chunk_)
            size += len(chunk_)
        return size

    async def answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        target: str,
        fields: dict[str, str],
        size: int,
    ) -> bool:
        path, _, query = target.partition("?")
        if path == "/headers":
            return await self._send(writer, 200, json.dumps(self.last_headers).encode(), "application/json")
        if path == "/upload":
            return await self._send(writer, 200, str(size).encode())
        if path == "/slow":
            await asyncio.sleep(float(query))
            return await self._send(writer, 200, self.name.encode())
        if path == "/status":
            return await self._send(writer, int(query), b"the app's own", "text/html")
        if path == "/cache":
            writer.write(f"HTTP/1.1 200 X\r\nCache-Control: {query.replace('+', ' ')}\r\n".encode())
            writer.write(b"Content-Length: 0\r\n\r\n")
            await writer.drain()
            return True
        if path == "/cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
            await writer.drain()
            return False
        if path == "/big":
            return await self._send(writer, 200, b"compress me, " * 2000, query or "text/plain")
        if path == "/sse":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for n in range(10_000):
                writer.write(f"data: {self.name} {n}\n\n".encode())
                await writer.drain()
                await asyncio.sleep(float(query or "0.1"))
            return False
        if path == "/ws":
            key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
            )
            while data := await reader.read(4096):
                writer.write(self.name.encode() + b":" + data)
                await writer.drain()
            return False
        return await self._send(writer, 200, self.name.encode())

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: bytes, content_type: str = "text/plain"
    ) -> bool:
        writer.write(
            f"HTTP/1.1 {status} X\r\nServer: leaky/1.0\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        return True


class Rig:
    """One edge directory with HAProxy under it."""

    def __init__(self) -> None:
        self.directory = directory() / "edge"
        self.edge = HaproxyEdge(self.directory, RealClock())
        self.port = free_port()
        self.backends: dict[str, Backend] = {}
        self.started: list[subprocess.Popen[bytes]] = []
        self.log_limits: tuple[str, ...] = ()

    @property
    def layout(self):
        return self.edge.layout

    def backend(self, name: str) -> Backend:
        self.backends[name] = Backend(name).start()
        return self.backends[name]

    def server(self, name: str, weight: int = 100, **more: object) -> Server:
        return Server(name, self.backends[name].port, weight, **more)

    def state(
        self,
        *servers: Server,
        routes: tuple[Route, ...] = (Route("*", "/", SHOP),),
        more: tuple[Service, ...] = (),
        https: Bind | None = None,
        **settings: object,
    ) -> EdgeState:
        settings = {"check_interval": 0.2, "check_timeout": 5.0, "unhealthy_after": 2, **settings}
        service = Service(SHOP, servers, **settings)
        return EdgeState(Bind("127.0.0.1", self.port), https, (service, *more), routes, drain_limit=60.0)

    def spawn(self) -> subprocess.Popen[bytes]:
        with open(self.directory / "stderr.log", "ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "homeport.edge.start", str(self.directory), *self.log_limits],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.started.append(child)
        return child

    def start(self, state: EdgeState) -> None:
        self.edge.write(state)
        self.spawn()
        self.wait_ready()

    def put(self, *modes: Mode) -> str:
        """Put modes in force, for the server ``a1``; returns how."""
        return self.edge.apply(replace(self.state(self.server("a1")), modes=modes)).method

    def wait_ready(self) -> None:
        def ready() -> bool:
            with contextlib.suppress(Exception):
                self.edge.observe()
                return True
            return False

        wait_until(ready, what=self.errors())

    def errors(self) -> str:
        with contextlib.suppress(OSError):
            return (self.directory / "stderr.log").read_text()[-3000:]
        return ""

    def log_lines(self) -> list[dict[str, object]]:
        """() until the writer has made the file."""
        path = self.layout.access_log
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_up(self, *names: str) -> None:
        wait_until(lambda: {s.name for s in self.edge.observe() if s.check.startswith("L7OK")} >= set(names))

    def close(self) -> None:
        for child in self.started:
            for pid in children(child.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            child.kill()
            child.wait()
        for backend in self.backends.values():
            backend.stop()
        shutil.rmtree(self.directory.parent, ignore_errors=True)


def children(pid: int) -> list[int]:
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        yield made
    finally:
        made.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One keep-alive connection over a raw socket; it reconnects when the edge said ``close``."""

    def __init__(self, port: int, timeout: float = 20.0) -> None:
        self.port = port
        self.timeout = timeout
        self.socket: socket.socket | None = None
        self.buffer = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def send(self, data: bytes) -> None:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout)
            self.buffer = b""
        self.socket.sendall(data)

    def receive(self) -> bytes:
        assert self.socket is not None
        return self.socket.recv(1 << 16)

    def read_answer(self, method: str = "GET") -> Answer:
        while b"\r\n\r\n" not in self.buffer:
            chunk = self.receive()
            if not chunk:
                raise ConnectionError(f"closed after {self.buffer!r}")
            self.buffer += chunk
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:])}
        status = int(lines[0].split(" ")[1])
        body = b""
        if method != "HEAD" and status not in (101, 204, 304):
            if headers.get("transfer-encoding") == "chunked":
                body = self._chunked()
            elif "content-length" in headers:
                body = self._exactly(int(headers["content-length"]))
        delimited = (
            status == 101 or method == "HEAD" or {"content-length", "transfer-encoding"} & set(headers)
        )
        if headers.get("connection", "").lower() == "close" and delimited and status != 101:
            self.close()
        return Answer(status, headers, body)

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            chunk = self.receive()
            if not chunk:
                raise ConnectionError("closed within a body")
            self.buffer += chunk
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return body

    def _chunked(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                self.buffer += self.receive()
            size, _, self.buffer = self.buffer.partition(b"\r\n")
            body += self._exactly(int(size, 16))
            self._exactly(2)
            if int(size, 16) == 0:
                return body

    def request(
        self, method: str, target: str, body: bytes = b"", host: str = "shop.example", **headers: str
    ) -> Answer:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.read_answer(method)

    def status(self, method: str = "GET", target: str = "/x", **headers: str) -> int:
        return self.request(method, target, b"body" if method == "POST" else b"", **headers).status

    def get(self, target: str, **more: str) -> Answer:
        return self.request("GET", target, **more)
