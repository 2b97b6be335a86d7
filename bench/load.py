#!/usr/bin/env python3
"""Mixed load on one web app, with an exact account of what failed.

A request that fails is counted, never sent again. Legal, and so no failure: a keep-alive connection
closed while it was idle (counted as ``reopened``), a WebSocket closed with a close frame, an event
stream ended with its last chunk (both ``reconnects``). Everything else that is not the whole,
expected answer is a failure, a connection closed after a request was sent above all.

    python bench/load.py --url http://127.0.0.1:8080 --host shop.localhost --seconds 5 --json
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from load_counters import Counters
from load_http import Answer, Connection, Failed

SHOWN = 150
"""Bytes of an answer that was no success."""


@dataclass(frozen=True)
class Mix:
    """How many connections of each kind, and how fast. A rate is a second's total of a kind; 0 is flat out."""

    gets: int = 8
    get_rate: float = 400.0
    posts: int = 2
    post_rate: float = 40.0
    slows: int = 2
    pipelines: int = 1
    pipeline_rate: float = 5.0
    pipeline_depth: int = 4
    websockets: int = 1
    websocket_rate: float = 10.0
    streams: int = 1
    slow_seconds: tuple[float, float] = (2.0, 5.0)
    get_paths: tuple[str, ...] = ("/products", "/")
    timeout: float = 30.0
    """Seconds for one whole answer."""


class Load:
    """Load on ``address`` ("127.0.0.1:8080") for the app that answers to ``host``.

    ``start`` and ``stop`` belong to one event loop; ``counters`` may be read at any time.
    """

    def __init__(self, address: str, host: str, mix: Mix | None = None, *, seed: int = 0) -> None:
        name, _, port = address.rpartition(":")
        self.address = (name.strip("[]"), int(port))
        self.host = host
        self.mix = mix or Mix()
        self.counters = Counters()
        self._random = random.Random(seed)
        self._run = uuid.uuid4().hex[:8]
        self._orders = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        mix = self.mix
        if mix.websockets:
            import websockets.asyncio.client  # noqa: F401  (slow to load: not while answers are timed)
        kinds: list[tuple[int, float, Callable[[Connection, float], Awaitable[None]]]] = [
            (mix.gets, mix.get_rate, self._get),
            (mix.posts, mix.post_rate, self._post),
            (mix.slows, 0.0, self._slow),
            (mix.pipelines, mix.pipeline_rate, self._pipeline),
        ]
        for count, rate, act in kinds:
            for n in range(count):
                interval = count / rate if rate else 0.0
                task = self._repeat(act, interval, interval * n / count)
                self._tasks.append(asyncio.create_task(task))
        self._tasks += [asyncio.create_task(self._websocket()) for _ in range(mix.websockets)]
        self._tasks += [asyncio.create_task(self._stream()) for _ in range(mix.streams)]

    async def stop(self) -> Counters:
        """Send nothing new, wait for every answer that is due (each has its timeout), end."""
        self._stopping = True
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for problem in (r for r in results if isinstance(r, BaseException)):
            raise problem
        return self.counters

    async def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))

    async def _repeat(
        self, act: Callable[[Connection, float], Awaitable[None]], interval: float, delay: float
    ) -> None:
        """``act`` each ``interval`` seconds; what a slow answer delayed by over a second is not caught up."""
        connection = Connection(self.address, self.counters)
        due = time.monotonic() + delay
        while not self._stopping:
            now = time.monotonic()
            if due > now:
                await self._pause(due - now)
                continue
            due = max(due + interval, now - 1.0)
            failures = self.counters.failed.total()
            await act(connection, now)
            if not interval and self.counters.failed.total() > failures:
                await self._pause(0.02)  # flat out against a dead server would only measure the loop
        connection.close()

    def _request(self, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nUser-Agent: homeport-load\r\n"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body

    async def _ask(self, kind: str, connection: Connection, data: bytes, count: int = 1) -> list[Answer]:
        """Send ``count`` requests in one piece and account for each answer; returns the good ones."""
        counters = self.counters
        counters.sent[kind] += count
        started = time.monotonic()
        answers: list[Answer] = []
        done = 0
        try:
            async with asyncio.timeout(self.mix.timeout):
                await connection.send(data)
                while done < count:
                    if done and not connection.is_open:
                        raise Failed('closed after "Connection: close", with pipelined requests unanswered')
                    found = await connection.answer()
                    done += 1
                    self._note(found)
                    if 200 <= found.status < 300:
                        answers.append(found)
                        if kind != "post":
                            self._succeed(kind, started)
                    else:
                        counters.fail(kind, f"status {found.status}: {found.body[:SHOWN]!r}", started)
        except (Failed, TimeoutError) as e:
            connection.close()
            what = str(e) if isinstance(e, Failed) else f"no whole answer within {self.mix.timeout:g} s"
            for _ in range(count - done):
                counters.fail(kind, what, started)
        return answers

    def _note(self, found: Answer) -> None:
        self.counters.answered(found.status, found.headers.get(b"x-release", b"").decode("latin-1"))

    def _succeed(self, kind: str, started: float) -> None:
        self.counters.ok[kind] += 1
        self.counters.latencies[kind].add(time.monotonic() - started)

    async def _get(self, connection: Connection, now: float) -> None:
        path = self.mix.get_paths[self.counters.sent["get"] % len(self.mix.get_paths)]
        await self._ask("get", connection, self._request("GET", path))

    async def _slow(self, connection: Connection, now: float) -> None:
        seconds = self._random.uniform(*self.mix.slow_seconds)
        await self._ask("slow", connection, self._request("GET", f"/slow?seconds={seconds:.2f}"))

    async def _pipeline(self, connection: Connection, now: float) -> None:
        depth = self.mix.pipeline_depth
        await self._ask("pipeline", connection, self._request("GET", "/products") * depth, depth)

    async def _post(self, connection: Connection, now: float) -> None:
        self._orders += 1
        order = f"{self._run}-{self._orders}"
        body = json.dumps({"id": order, "items": ["tea"] * self._random.randint(1, 200)}).encode()
        data = self._request("POST", "/orders", body, "application/json")
        answers = await self._ask("post", connection, data)
        if answers and order.encode() in answers[0].body:
            self.counters.acknowledged.append(order)
            self._succeed("post", now)
            return
        self.counters.unacknowledged.append(order)
        if answers:
            self.counters.fail("post", f"the answer does not name the order: {answers[0].body[:80]!r}", now)

    async def _websocket(self) -> None:
        """Numbered messages, each to come back before the next goes out."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, WebSocketException

        counters, number = self.counters, 0
        pause = self.mix.websockets / self.mix.websocket_rate
        while not self._stopping:
            started = time.monotonic()
            waiting = opened = False
            try:
                async with connect(
                    f"ws://{self.host}/ws", host=self.address[0], port=self.address[1], proxy=None,
                    compression=None, open_timeout=self.mix.timeout, close_timeout=2,
                ) as socket:  # fmt: skip
                    opened = True
                    while not self._stopping:
                        number += 1
                        started = time.monotonic()
                        counters.sent["websocket"] += 1
                        waiting = True
                        async with asyncio.timeout(self.mix.timeout):
                            await socket.send(str(number))
                            back = await socket.recv()
                        waiting = False
                        if back != str(number):
                            counters.fail("websocket", f"sent {number}, got {back!r}", started)
                        else:
                            self._succeed("websocket", started)
                        await self._pause(pause)
            except ConnectionClosed as e:
                if e.rcvd is not None and e.rcvd.code in (1000, 1001, 1012):
                    counters.reconnects += 1
                    if waiting:
                        counters.sent["websocket"] -= 1
                        counters.unanswered += 1
                else:
                    counters.sent["websocket"] += not waiting
                    how = f"close code {e.rcvd.code}" if e.rcvd else "no close frame"
                    counters.fail(
                        "websocket",
                        f"lost {'with' if waiting else 'without'} a message under way: {how}",
                        started,
                    )
            except (OSError, WebSocketException, TimeoutError) as e:
                counters.sent["websocket"] += not waiting
                counters.fail(
                    "websocket",
                    f"{'broken' if opened else 'cannot connect'}: {e or type(e).__name__}",
                    started,
                )
                await self._pause(0.1)

    async def _stream(self) -> None:
        """Server-sent events whose ids must follow each other, over and over."""
        counters, kind = self.counters, "events"
        while not self._stopping:
            connection = Connection(self.address, counters)
            counters.sent[kind] += 1
            started = time.monotonic()
            try:
                async with asyncio.timeout(self.mix.timeout):
                    await connection.send(self._request("GET", "/events"))
                    found = await connection.head()
                self._note(found)
                if found.status != 200:
                    raise Failed(f"status {found.status}")
                await self._read_events(connection)
                self._succeed(kind, started)
                counters.reconnects += not self._stopping
            except (Failed, TimeoutError) as e:
                counters.fail(kind, str(e) or "silent for too long", started)
                await self._pause(0.1)
            finally:
                connection.close()

    async def _read_events(self, connection: Connection) -> None:
        rest, last = b"", None
        while not self._stopping:
            async with asyncio.timeout(self.mix.timeout):
                part = await connection.chunk()
            if not part:
                return
            *whole, rest = (rest + part).split(b"\n\n")
            for event in whole:
                for line in event.split(b"\n"):
                    if line.startswith(b"id:"):
                        this = int(line[3:])
                        if last is not None and this != last + 1:
                            raise Failed(f"event {this} came after {last}")
                        last = this
                        self.counters.events += 1


def compare_orders(
    acknowledged: Iterable[str], unacknowledged: Iterable[str], stored: Iterable[str]
) -> dict[str, list[str]]:
    """What the app stored against what it answered. ``late``: stored although the answer never came."""
    count = Counter(stored)
    acked, unacked = set(acknowledged), set(unacknowledged)
    return {
        "lost": sorted(acked - count.keys()),
        "doubled": sorted(order for order in acked | unacked if count[order] > 1),
        "late": sorted(unacked & count.keys()),
    }


class LoadProcess:
    """A :class:`Load` in a process of its own, for a script that is not asynchronous.

    ``latest`` is a snapshot at most ``every`` seconds old; ``stop`` returns the last one with the ids
    ``acknowledged`` and ``unacknowledged``. As a context manager it never leaves the process behind.
    """

    def __init__(self, address: str, host: str, mix: Mix | None = None, *, every: float = 0.1) -> None:
        options = [
            f"--{f.name.replace('_', '-')}={_text(getattr(mix or Mix(), f.name))}" for f in fields(Mix)
        ]
        argv = [
            sys.executable,
            __file__,
            "--url",
            f"http://{address}",
            "--host",
            host,
            "--report",
            str(every),
        ]
        self.latest: dict[str, Any] = Counters().snapshot()
        self._child = subprocess.Popen([*argv, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.latest = json.loads(line)

    def stop(self) -> dict[str, Any]:
        """Raises RuntimeError when the load process itself broke."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        self._reader.join()
        self._child.stdout.close()
        if self._child.wait() not in (0, 1) or "acknowledged" not in self.latest:
            raise RuntimeError(f"the load generator ended with status {self._child.returncode}")
        return self.latest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.returncode is None:
            self.stop()


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


async def _run(load: Load, seconds: float, report: float) -> None:
    """Run for ``seconds``; with ``report``, print a snapshot each so many seconds until standard input ends."""
    await load.start()
    if not report:
        await asyncio.sleep(seconds)
    else:
        loop = asyncio.get_running_loop()
        ended = loop.run_in_executor(None, sys.stdin.buffer.read)
        while not (await asyncio.wait([ended], timeout=report))[0]:
            print(json.dumps(load.counters.snapshot()), flush=True)
    await load.stop()


def main() -> int:
    """Exit status 0 when nothing failed, else 1."""
    parser = argparse.ArgumentParser(description="Mixed load on one web app, with an exact account.")
    parser.add_argument("--url", required=True, help="where to connect, such as http://127.0.0.1:8080")
    parser.add_argument("--host", help="the Host header; default: that of --url")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=float, default=0.0, help=argparse.SUPPRESS)
    for f in fields(Mix):
        parser.add_argument(f"--{f.name.replace('_', '-')}", type=_parser(f.default), default=f.default)
    options = parser.parse_args()
    url = urllib.parse.urlsplit(options.url)
    mix = Mix(**{f.name: getattr(options, f.name) for f in fields(Mix)})
    load = Load(f"{url.hostname}:{url.port or 80}", options.host or url.netloc, mix)
    started = time.monotonic()
    asyncio.run(_run(load, options.seconds, options.report))
    result = load.counters.snapshot() | {"seconds": round(time.monotonic() - started, 2)}
    if options.report:
        ids = {"acknowledged": load.counters.acknowledged, "unacknowledged": load.counters.unacknowledged}
        result |= ids
    if options.json or options.report:
        print(json.dumps(result))
    else:
        print(f"sent {result['sent']}, ok {result['ok']}, failed {result['failed']} in {result['seconds']} s")
        for kind, figures in result["by_kind"].items():
            print(f"  {kind:10} {figures['ok']:8} ok {figures['failed']:6} failed   ms {figures['ms']}")
        for failure in result["failures"]:
            print(f"  {failure['time']} {failure['kind']}: {failure['what']}")
    return 1 if result["failed"] else 0


def _parser(default: Any) -> Callable[[str], Any]:
    if isinstance(default, tuple):
        item = type(default[0])
        return lambda text: tuple(item(part) for part in text.split(","))
    return type(default)


if __name__ == "__main__":
    sys.exit(main())
