"""The client against a control plane that is cut off in the middle of an answer."""

import json
import os
import shutil
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from ports import directory

from homeport.api.client import SOCKET, UNREACHABLE, Client
from homeport.kernel.errors import HomeportError

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def data() -> Iterator[Path]:
    made = directory()
    (made / "supervisor").mkdir()
    (made / "supervisor" / "supervisord.pid").write_text(str(os.getpid()))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def answering(data: Path) -> Iterator[Callable[..., list[str]]]:
    servers: list[Server] = []

    def make(*answers: Answer) -> list[str]:
        left, asked = list(answers), []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                left.pop(0)(self)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_: object) -> None:
                pass

        servers.append(Server(str(data / SOCKET), Handler))
        threading.Thread(target=servers[0].serve_forever, args=(0.05,), daemon=True).start()
        return asked

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def saying(status: int, kind: str, body: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


WELL = saying(200, "application/json", '{"ok": true}')
CUT_OFF = saying(500, "text/plain; charset=utf-8", "Internal Server Error")


def late(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.5)
    handler.connection.close()


def test_what_a_control_plane_that_ends_answers_is_asked_again(
    data: Path, answering: Callable[..., list[str]]
) -> None:
    asked = answering(CUT_OFF, WELL)
    assert Client(data).get("/v1/status") == {"ok": True}
    assert len(asked) == 2


def test_patience_begins_when_an_answer_breaks_off(data: Path, answering: Callable[..., list[str]]) -> None:
    answering(late, WELL)
    assert Client(data, patience=0.4).get("/v1/slow") == {"ok": True}


def test_an_answer_that_takes_too_long_is_not_asked_for_again(
    data: Path, answering: Callable[..., list[str]]
) -> None:
    asked = answering(late, WELL)
    with pytest.raises(HomeportError) as caught:
        Client(data, timeout=0.1).get("/v1/slow")
    assert caught.value.type is UNREACHABLE and len(asked) == 1


def test_a_problem_is_told_as_it_is(data: Path, answering: Callable[..., list[str]]) -> None:
    problem = {
        "code": "api.internal", "title": "A fault.", "detail": "cannot answer: KeyError", "hint": "", "details": [],
        "retry": False,
    }  # fmt: skip
    asked = answering(saying(500, "application/problem+json", json.dumps(problem)), WELL)
    with pytest.raises(HomeportError, match="cannot answer: KeyError"):
        Client(data).get("/v1/status")
    assert len(asked) == 1
