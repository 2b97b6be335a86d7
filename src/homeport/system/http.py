"""One HTTP request to an address, bounded in time and size."""

import contextlib
import errno
import http.client
import io
import re
import socket
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_LOOK = 0.25
"""Seconds between two looks at whether it has to stop."""
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110: a method, and a header's name. http.client takes blanks in them."""
_PRINTABLE = "".join(chr(c) for c in range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request met: an answer with the seconds that all of it took, or why there was none."""

    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cut: bool
    """The body went on after as much as was asked for."""
    seconds: float
    problem: str = ""

    def header(self, name: str) -> str | None:
        """Its values, joined with ", " where it came more than once; None where it did not."""
        values = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(values) if values else None


class _Stopped(Exception):
    pass


class _Within(io.RawIOBase):
    """A connected socket whose reads and writes end at one time, and soon after ``stop`` says so."""

    def __init__(self, s: socket.socket, deadline: float, stop: Callable[[], bool]) -> None:
        self._socket = s
        self._deadline = deadline
        self._stop = stop
        self._reader = io.BufferedReader(self)

    def _wait(self, action: Callable[[], int]) -> int:
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(min(left, _LOOK))
            try:
                return action()
            except TimeoutError:
                if self._stop():
                    raise _Stopped from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wait(lambda: self._socket.recv_into(buffer))

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._wait(lambda view=view: self._socket.send(view)) :]  # type: ignore[misc]

    def makefile(self, mode: str) -> Any:
        """Always the same: what was read ahead of one answer belongs to the next."""
        return self._reader


def request(
    address: str,
    port: int,
    method: str,
    target: str,
    *,
    headers: Sequence[tuple[str, str]],
    body: bytes = b"",
    timeout: float,
    limit: int,
    stop: Callable[[], bool] = lambda: False,
) -> Answer:
    """Send one request over a connection of its own and take its answer, body included.

    ``headers`` have to hold ``Host``; ``Content-Length`` is added where there is a body. ``target`` begins
    with "/". ``timeout`` is for all of it, in seconds; of the body at most ``limit`` bytes are taken. No
    redirect is followed, and no name resolved where ``address`` is an IP address. Never raises: ``problem``
    tells why there is no answer.
    """
    start = time.monotonic()
    status: int | None = None
    got: tuple[tuple[str, str], ...] = ()
    data = b""
    cut = False

    def ended(problem: str = "") -> Answer:
        return Answer(status, got, data, cut, time.monotonic() - start, problem)

    if not all(_TOKEN.fullmatch(text) for text in (method, *(name for name, _ in headers))):
        return ended("it is no request that HTTP can carry")
    try:
        with contextlib.closing(socket.create_connection((address, port), timeout=timeout)) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = _Within(s, start + timeout, stop)
            connection = http.client.HTTPConnection(address, port)
            connection.sock = wire
            connection.putrequest(
                method,
                urllib.parse.quote(target, safe=_PRINTABLE),
                skip_host=True,
                skip_accept_encoding=True,
            )
            for name, value in headers:
                connection.putheader(name, value.encode())
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = http.client.HTTPResponse(wire, method=method)  # type: ignore[arg-type]
            answer.begin()
            while 102 <= answer.status <= 199:
                # Or its end would close the reader, which has the next one.
                answer.fp = None  # type: ignore[assignment]
                answer = http.client.HTTPResponse(wire, method=method)  # type: ignore[arg-type]
                answer.begin()
            status, got = answer.status, tuple(answer.getheaders())
            data, cut = _body(answer, limit)
    except _Stopped:
        return ended("stopped")
    except TimeoutError:
        return ended(f"no {'whole ' if status else ''}answer within {timeout:g} s")
    except http.client.RemoteDisconnected:
        return ended("the connection was closed without an answer")
    except http.client.IncompleteRead:
        return ended("the answer ended early")
    except (http.client.InvalidURL, UnicodeError):
        return ended("it is no request that HTTP can carry")
    except http.client.HTTPException as e:
        return ended(f"the answer is not HTTP ({type(e).__name__})")
    except OSError as e:
        refused = e.errno == errno.ECONNREFUSED
        return ended("connection refused" if refused else (e.strerror or str(e)))
    except ValueError:
        # What http.client says of a method or header that it does not send.
        return ended("it is no request that HTTP can carry")
    return ended()


def _body(answer: http.client.HTTPResponse, limit: int) -> tuple[bytes, bool]:
    kept = bytearray()
    while len(kept) <= limit:
        chunk = answer.read1(min(1 << 16, limit + 1 - len(kept)))
        if not chunk:
            # read1 does not say so where the other side closed before the length it had told.
            if answer.length:
                raise http.client.IncompleteRead(bytes(kept), answer.length)
            return bytes(kept), False
        kept += chunk
    return bytes(kept[:limit]), True
