"""One HTTP/1.1 connection of the load generator: low overhead, and nothing is sent twice."""

import asyncio
import contextlib
import select
from collections.abc import Iterator
from dataclasses import dataclass

from load_counters import Counters


class Failed(Exception):
    """One request's failure, in words."""


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes = b""


class Reader(asyncio.StreamReader):
    def pending(self) -> int:
        """Bytes that came and were not read yet."""
        return len(self._buffer)  # type: ignore[attr-defined]


class Connection:
    """One HTTP/1.1 connection. Every problem after a byte was sent is a :class:`Failed`."""

    def __init__(self, address: tuple[str, int], counters: Counters) -> None:
        self._address = address
        self._counters = counters
        self._reader: Reader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._poll = select.poll()

    async def send(self, data: bytes) -> None:
        """Send on the open connection, or on a new one when there is none or it was closed while idle."""
        if self._reader is not None:
            events = self._poll.poll(0)
            if self._reader.pending() or (events and events[0][1] == select.POLLIN):
                self.close()
                raise Failed("bytes nobody asked for on an idle connection")
            if events:
                self._counters.reopened += 1
                self.close()
        if self._writer is None:
            await self._open()
        assert self._writer is not None
        self._writer.write(data)
        with self._broken("while sending"):
            await self._writer.drain()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        reader = Reader(limit=1 << 20, loop=loop)
        try:
            transport, protocol = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader), *self._address
            )
        except OSError as e:
            raise Failed(f"cannot connect: {e.strerror or e}") from e
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    @contextlib.contextmanager
    def _broken(self, where: str) -> Iterator[None]:
        try:
            yield
        except asyncio.IncompleteReadError as e:
            raise Failed(f"closed {where}, after {len(e.partial)} bytes of it") from e
        except asyncio.LimitOverrunError as e:
            raise Failed(f"more than 1 MiB {where}") from e
        except OSError as e:
            raise Failed(f"{e.strerror or e} {where}") from e

    async def head(self) -> Answer:
        """The status line and headers; informational answers are skipped."""
        assert self._reader is not None
        while True:
            with self._broken("without an answer"):
                lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            try:
                status = int(lines[0].split(b" ", 2)[1])
            except (IndexError, ValueError):
                raise Failed(f"not HTTP: {lines[0][:60]!r}") from None
            if status >= 200:
                break
        pairs = (line.partition(b":") for line in lines[1:] if line)
        return Answer(status, {name.lower(): value.strip() for name, _, value in pairs})

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body, b"" at its end."""
        assert self._reader is not None
        with self._broken("inside the body"):
            line = await self._reader.readuntil(b"\r\n")
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                raise Failed(f"not a chunk size: {line[:40]!r}") from None
            return (await self._reader.readexactly(size + 2))[:-2]

    async def answer(self) -> Answer:
        """A whole answer; the connection is left closed when the server asks for that."""
        assert self._reader is not None
        found = await self.head()
        if found.headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            parts = []
            while part := await self.chunk():
                parts.append(part)
            found.body = b"".join(parts)
        elif b"content-length" in found.headers:
            with self._broken("inside the body"):
                found.body = await self._reader.readexactly(int(found.headers[b"content-length"]))
        elif found.status not in (204, 304):
            raise Failed("an answer without a length")
        if found.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return found

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
