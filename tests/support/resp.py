"""A client of Redis in a few lines: RESP 2 over TCP."""

import socket
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class RespError(Exception):
    """What Redis answered with an error."""


class Resp:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
        self._file = self._socket.makefile("rb")
        try:
            self.ask("AUTH", parts.username or "", parts.password or "")
        except BaseException:
            self.close()
            raise

    def ask(self, *words: str) -> Any:
        data = f"*{len(words)}\r\n".encode()
        for word in words:
            data += f"${len(word.encode())}\r\n{word}\r\n".encode()
        self._socket.sendall(data)
        return self._answer()

    def _answer(self) -> Any:
        line = self._file.readline().rstrip(b"\r\n").decode()
        kind, rest = line[:1], line[1:]
        match kind:
            case "+":
                return rest
            case "-":
                raise RespError(rest)
            case ":":
                return int(rest)
            case "$":
                return None if rest == "-1" else self._file.read(int(rest) + 2)[:-2].decode()
            case "*":
                return [self._answer() for _ in range(int(rest))]
            case _:
                raise ConnectionError("closed")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
