"""Answers of web services that a team names: bounded in time and size."""

import contextlib
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import Any

_CHUNK = 1 << 16


class Unanswered(Exception):
    """Why there is no answer; says nothing of the address, which may hold a key."""


class _Opened:
    """The sockets of one request and its redirects. Closing ends a read that would go on for ever: urllib's
    own timeout begins anew with each byte."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.closed = False

    def add(self, opened: socket.socket) -> None:
        with self._lock:
            self._sockets.append(opened)
            if self.closed:
                _shut(opened)

    def close(self) -> None:
        with self._lock:
            self.closed = True
            for opened in self._sockets:
                _shut(opened)


def _shut(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


def get(url: str, *, timeout: float, limit: int) -> bytes:
    """The body of a 2xx answer to GET, after redirects to http and https. ``url`` is one of the two.

    ``timeout`` is for all of it but looking up names. Raises :class:`Unanswered`.
    """
    if not url.startswith(("http://", "https://")):
        raise Unanswered("only http and https are asked")
    deadline = time.monotonic() + timeout
    opened = _Opened()
    timer = threading.Timer(timeout, opened.close)
    timer.daemon = True
    timer.start()
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "homeport", "Accept": "*/*"})
        with _opener(opened).open(request, timeout=timeout) as answer:
            body = b""
            while chunk := answer.read1(_CHUNK):
                body += chunk
                if len(body) > limit:
                    raise Unanswered(f"the answer is larger than {limit} bytes")
                if time.monotonic() > deadline:
                    raise Unanswered("it took too long")
            if opened.closed or answer.length:
                raise Unanswered("it took too long" if opened.closed else "the answer ended early")
            return body
    except urllib.error.HTTPError as e:
        raise Unanswered(f"status {e.code}") from None
    except TimeoutError:
        raise Unanswered("it took too long") from None
    except (OSError, ValueError, http.client.HTTPException) as e:
        if opened.closed:
            raise Unanswered("it took too long") from None
        reason = getattr(e, "reason", e)
        raise Unanswered(getattr(reason, "strerror", None) or type(reason).__name__) from None
    finally:
        timer.cancel()


def _opener(opened: _Opened) -> urllib.request.OpenerDirector:
    """Speaks http and https only: not the file:// and ftp:// that urllib follows redirects to."""

    class Http(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            opened.add(self.sock)

    class Https(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            opened.add(self.sock)

    class HttpHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Http, request)

    class HttpsHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Https, request)

    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        HttpHandler(),
        HttpsHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        director.add_handler(handler)
    return director
