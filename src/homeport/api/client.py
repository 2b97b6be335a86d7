"""A typed client of the API over its unix socket. Imports nothing heavy."""

import getpass
import http.client
import json
import re
import secrets
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from homeport.kernel.errors import ErrorType, HomeportError, Kind, declare
from homeport.system.files import is_locked
from homeport.system.process import is_alive

UNREACHABLE = declare(
    "api.unreachable", Kind.UNAVAILABLE, "No Homeport answers in the data directory.", retry=True
)

Result = TypeVar("Result")

SOCKET = "homeport.sock"
PROBLEM = "application/problem+json"
PATIENCE = 30.0
"""Seconds a call waits for a control plane that restarts."""
CALL_TIMEOUT = 120.0
"""Seconds without a byte of the answer after which a call is given up."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("homeport", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise


class Client:
    """Calls of one Homeport. Every call raises HomeportError with the problem that the API told.

    While the supervisor lives, a control plane that does not answer is restarting: calls wait for it,
    writes are sent again with their idempotency key, streams go on where they broke off.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        patience: float = PATIENCE,
        timeout: float = CALL_TIMEOUT,
        actor: str | None = None,
    ) -> None:
        """``patience``: seconds to wait for a control plane that restarts; ``timeout``: for an answer.

        ``actor``: who asks; by default the user that this process runs as.
        """
        self._data_dir = data_dir
        self._patience = patience
        self._timeout = timeout
        self._path = data_dir / SOCKET
        try:
            self._actor = re.sub(r"[^A-Za-z0-9_.@-]", "_", actor or getpass.getuser())[:64] or "unknown"
        except (KeyError, OSError):
            self._actor = "unknown"

    def get(self, path: str, **query: object) -> Any:
        return self._call("GET", _with_query(path, query))

    def text(self, path: str) -> str:
        """A plain text."""
        return str(self._patiently(lambda: self._exchange("GET", path, None, {}, plain=True)))

    def send(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """A write. Where its operation takes an idempotency key, made once, however often it has to be sent."""
        return self._call(method, _with_query(path, query), body, key=secrets.token_hex(12))

    def upload(self, path: str, file: IO[bytes]) -> Any:
        """POST a file's content."""

        def attempt() -> Any:
            file.seek(0, 2)
            size = file.tell()
            file.seek(0)
            headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
            return self._exchange("POST", path, file, headers)

        return self._patiently(attempt, writes=True)

    def stream(self, path: str, **query: object) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (kind, data), until ``done`` or for ever; goes on where it broke off."""
        path = _with_query(path, query)
        last: str | None = None
        while True:
            connection, response = self._patiently(partial(self._open_stream, path, last))
            try:
                for message in _messages(response):
                    last = message.id or last
                    yield message.kind, message.data
                    if message.kind == "done":
                        return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()

    def _open_stream(self, path: str, last: str | None) -> tuple[_UnixConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self._path, timeout=60)
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                raise _refusal(response, response.read())
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _call(self, method: str, path: str, body: object = None, key: str | None = None) -> Any:
        headers = {"X-Homeport-Actor": self._actor}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        return self._patiently(lambda: self._exchange(method, path, data, headers), writes=method != "GET")

    def _exchange(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], *, plain: bool = False
    ) -> Any:
        connection = _UnixConnection(self._path, timeout=self._timeout)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise _refusal(response, content)
        if plain:
            return content.decode("utf-8", "replace")
        return json.loads(content) if content else None

    def _patiently(self, attempt: Callable[[], Result], *, writes: bool = False) -> Result:
        """What only reads has its patience from when it broke off: it may have been answered for minutes."""
        until = time.monotonic() + self._patience if writes else None
        while True:
            try:
                return attempt()
            except (OSError, http.client.HTTPException) as e:
                now = time.monotonic()
                until = now + self._patience if until is None else until
                if isinstance(e, TimeoutError) or now > until or not self._supervised():
                    raise UNREACHABLE.error(
                        f"cannot reach Homeport in {self._data_dir}: "
                        + ("the control plane does not answer" if self._supervised() else "it does not run"),
                        hint="homeport up starts it; --data-dir or HOMEPORT_HOME says where it lives",
                    ) from e
                time.sleep(0.1)  # noqa: TID251 - a client waits in real time

    def _supervised(self) -> bool:
        """Whether a control plane is about to answer: its supervisor lives, or it is being brought back."""
        try:
            pid = int((self._data_dir / "supervisor" / "supervisord.pid").read_text())
        except (OSError, ValueError):
            pid = 0
        locks = (self._data_dir / "serve.lock", self._data_dir / "up.lock")
        return (pid > 0 and is_alive(pid)) or any(is_locked(lock) for lock in locks)


class _Message(NamedTuple):
    id: str | None
    kind: str
    data: Any


def _messages(response: http.client.HTTPResponse) -> Iterator[_Message]:
    """Server-sent events (HTML standard, 9.2.6), each with its JSON data."""
    id: str | None = None
    kind, data = "message", ""
    while line := response.readline():
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            if data:
                yield _Message(id, kind, json.loads(data))
            kind, data = "message", ""
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            id = value
        elif name == "event":
            kind = value
        elif name == "data":
            data += value


def _refusal(response: http.client.HTTPResponse, content: bytes) -> Exception:
    """What an answer says; one that is cut off because the control plane ends is as good as none."""
    if response.status >= 500 and PROBLEM not in (response.getheader("Content-Type") or ""):
        return http.client.HTTPException(f"it answered {response.status}")
    return _problem(response.status, content)


def _problem(status: int, content: bytes) -> HomeportError:
    kind = next((k for k in Kind if k.http_status == status), Kind.FAILED)
    try:
        document = json.loads(content)
        type_ = ErrorType(document["code"], kind, document["title"], document["retry"])
        return HomeportError(type_, document["detail"], document["hint"], tuple(document["details"]))
    except (ValueError, KeyError, TypeError):
        return UNREACHABLE.error(f"cannot understand the control plane: it answered {status}")


def _with_query(path: str, query: Mapping[str, object]) -> str:
    given = {k: v for k, v in query.items() if v is not None}
    return f"{path}?{urllib.parse.urlencode(given, doseq=True)}" if given else path
