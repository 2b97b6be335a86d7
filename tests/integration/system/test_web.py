"""Answers of web services that a team names."""

import contextlib
import socket
import threading
import time

import pytest

from homeport.system import web


@contextlib.contextmanager
def serving(answer):
    """A server that hands each connection to ``answer``; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection):
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                answer(connection)

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def said(text):
    return lambda connection: connection.sendall(text.encode())


def drip(connection, head=""):
    connection.sendall(f"HTTP/1.1 200 OK\r\n{head}".encode())
    for _ in range(600):
        connection.sendall(b"X-A: b\r\n" if not head else b"1")
        time.sleep(0.05)


def test_it_gives_the_body():
    with serving(said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42")) as url:
        assert web.get(url, timeout=5, limit=100) == b"42"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (drip, "too long"),
        (lambda c: drip(c, "Content-Length: 1000\r\n\r\n"), "too long"),
        (lambda c: c.recv(1), "too long"),
        (said("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + "1" * 101), "larger"),
        (said("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1"), "early"),
        (said("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "status 500"),
        (said("garbage\r\n\r\n"), "BadStatusLine"),
        (said("HTTP/1.1 302 There\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"), "302"),
        (
            said("HTTP/1.1 302 There\r\nLocation: ftp://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n"),
            "URLError|str",
        ),
    ],
)
def test_it_says_why_there_is_no_answer(answer, why):
    with serving(answer) as url, pytest.raises(web.Unanswered, match=why):
        web.get(url, timeout=1, limit=100)


def test_a_redirect_is_followed_over_http():
    with (
        serving(said("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7")) as there,
        serving(said(f"HTTP/1.1 302 There\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n")) as url,
    ):
        assert web.get(url, timeout=5, limit=100) == b"7"
