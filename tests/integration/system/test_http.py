"""One bounded request, against servers that do as they like."""

import contextlib
import socket
import threading
import time

import pytest

from homeport.system import http


@contextlib.contextmanager
def server(answer):
    """Takes one connection after the other and hands it to ``answer(connection, request)``."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        seen = []

        def serve():
            while True:
                try:
                    connection, _ = s.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    data = b""
                    while b"\r\n\r\n" not in data:
                        if not (more := connection.recv(65536)):
                            raise ConnectionError("the client gave up")
                        data += more
                    seen.append(data)
                    answer(connection, data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield s.getsockname()[1], seen
        finally:
            s.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not thread.is_alive(), "it would take a core from all tests that follow"


def ask(port, target="/", method="GET", timeout=5.0, limit=1000, **more):
    headers = more.pop("headers", (("Host", "shop.localhost"),))
    return http.request(
        "127.0.0.1", port, method, target, headers=headers, timeout=timeout, limit=limit, **more
    )


def sends(*parts, pause=0.0):
    def answer(connection, _):
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return answer


WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello"


def test_what_is_sent_and_what_comes_back():
    with server(sends(WELL)) as (port, seen):
        answer = ask(port, "/a?b=ü c", "POST", headers=(("Host", "x.y"), ("X-T", "ü")), body=b"data")
    assert (answer.status, answer.body, answer.cut, answer.problem) == (200, b"hello", False, "")
    assert answer.header("x-a") == "1, 2" and answer.header("X-B") is None
    head, _, _ = seen[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a?b=%C3%BC%20c HTTP/1.1", b"Host: x.y", "X-T: ü".encode(), b"Content-Length: 4",
    ]  # fmt: skip


def test_a_redirect_is_an_answer():
    with server(
        sends(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    ) as (port, seen):
        assert ask(port).status == 302
    assert len(seen) == 1


def test_interim_answers_are_passed_over():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with server(sends(hints, hints + WELL)) as (port, _):
        answer = ask(port)
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ((b"",), "the connection was closed without an answer"),
        ((b"SSH-2.0-server\r\n",), "the answer is not HTTP (BadStatusLine)"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",), "the answer ended early"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",), "the answer ended early"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhel",), "the answer ended early"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",), "the answer is not HTTP (LineTooLong)"),
        ((b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",), "the answer is not HTTP (HTTPException)"),
    ],
)
def test_what_is_no_answer_is_told(parts, problem):
    with server(sends(*parts)) as (port, _):
        assert ask(port).problem == problem


def test_a_body_is_taken_up_to_the_limit():
    with server(sends(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000)) as (port, _):
        cut = ask(port)
        assert (cut.body, cut.cut) == (b"x" * 1000, True)
        whole = ask(port, limit=5000)
        assert (len(whole.body), whole.cut) == (5000, False)


def test_an_answer_that_drips_ends_with_the_time():
    drip = sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 15, pause=0.1)
    with server(drip) as (port, _):
        answer = ask(port, timeout=0.5)
    assert (answer.status, answer.problem) == (200, "no whole answer within 0.5 s")
    with server(sends(*[b"H"] * 15, pause=0.1)) as (port, _):
        assert ask(port, timeout=0.5).problem == "no answer within 0.5 s"


def test_it_stops_when_it_is_told_to():
    def wait(connection, _):
        with contextlib.suppress(OSError):
            connection.recv(1)

    with server(wait) as (port, _):
        assert ask(port, timeout=60, stop=lambda: True).problem == "stopped"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    assert ask(port).problem == "connection refused"


@pytest.mark.parametrize(
    ("method", "headers"),
    [("G ET", ()), ("GET\r\nX: 1", ()), ("GET", (("A", "b\r\nC: d"),)), ("GET", (("A b", "c"),))],
)
def test_a_request_that_would_be_two_is_not_sent(method, headers):
    with server(sends(WELL)) as (port, seen):
        answer = ask(port, method=method, headers=(("Host", "x"), *headers))
    assert answer.problem == "it is no request that HTTP can carry" and seen == []


def test_a_target_cannot_break_the_line():
    with server(sends(WELL)) as (port, seen):
        assert ask(port, "/a HTTP/1.1\r\nX: 1\r\n").status == 200
    assert b"\r\nX: 1" not in seen[0]
