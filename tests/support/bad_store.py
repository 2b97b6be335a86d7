"""An HTTP proxy before an object store that misbehaves on demand: answers 500, hangs, or cuts answers short."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class BadStore:
    """``mode``: "well", "500", "hang" or "truncate"; ``only``: a part of the paths that it concerns; ``method``: the
    requests that it concerns, all for ""; ``met``: how many it concerned."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self.mode = "well"
        self.only = ""
        self.method = ""
        self.met = 0
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(client)
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        """One request for each connection: what is passed on says that the connection closes."""
        with suppress(OSError), client:
            client.settimeout(60)
            head, rest = _head(client)
            if not head:
                return
            line, *fields = head.split(b"\r\n")
            method, path, _ = line.split()
            concerned = self.only.encode() in path and self.method.encode() in (b"", method)
            mode = self.mode if concerned else "well"
            self.met += mode != "well"
            if mode == "hang":
                self._ended.wait(60)
                return
            if mode == "500":
                _drain(client, fields, rest)
                client.sendall(
                    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            with socket.create_connection(self._target, 10) as server:
                self._open.add(server)
                kept = [f for f in fields if not f.lower().startswith(b"connection:")]
                server.sendall(b"\r\n".join([line, *kept, b"Connection: close"]) + b"\r\n\r\n" + rest)
                pump = threading.Thread(target=_copy, args=(client, server))
                pump.start()
                answer, body = _head(server)
                if mode == "truncate" and line.startswith(b"GET"):
                    client.sendall(answer + b"\r\n\r\n" + body[: len(body) // 2])
                else:
                    client.sendall(answer + b"\r\n\r\n" + body)
                    _copy(server, client)
                for each in (client, server):
                    with suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                pump.join()

    def end(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "BadStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _head(from_: socket.socket) -> tuple[bytes, bytes]:
    """What stands before the empty line, and what came after it already."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = from_.recv(65536)
        if not chunk:
            return b"", b""
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _drain(client: socket.socket, fields: list[bytes], rest: bytes) -> None:
    length = next((int(f.split(b":")[1]) for f in fields if f.lower().startswith(b"content-length:")), 0)
    left = length - len(rest)
    while left > 0 and (chunk := client.recv(65536)):
        left -= len(chunk)


def _copy(from_: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while chunk := from_.recv(65536):
            to.sendall(chunk)
