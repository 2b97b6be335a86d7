"""What clients and apps see of the edge: pages, headers, compression, HTTPS, the log."""

import gzip
import json
import socket
import ssl
import subprocess
from dataclasses import replace

import pytest
from edge_rig import SHOP, Client, Rig, free_port, wait_until

from homeport.edge.model import Bind, Server


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    return got


def test_no_usable_server_is_a_decent_503(rig: Rig) -> None:
    rig.start(rig.state())
    with Client(rig.port) as client:
        page = client.get("/", Accept="text/html")
        assert page.status == 503
        assert page.headers["retry-after"] == "2"
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["x-request-id"] in page.text
        problem = client.get("/", Accept="application/json, */*")
        assert problem.status == 503
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.headers["retry-after"] == "2"
        document = json.loads(problem.body)
        assert document["status"] == 503
        assert document["title"] == "Service Unavailable"
        assert document["request_id"] == problem.headers["x-request-id"]


def test_failures_towards_the_app_are_decent_pages(rig: Rig) -> None:
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1"), response_timeout=0.5))
    with Client(rig.port) as client:
        for target, status in (("/slow?3", 504), ("/cut", 502)):
            client.close()
            problem = client.get(target, Accept="application/json")
            assert (problem.status, problem.headers["content-type"]) == (status, "application/problem+json")
            assert json.loads(problem.body)["status"] == status
            client.close()
            page = client.get(target)
            assert (page.status, page.headers["content-type"]) == (status, "text/html; charset=utf-8")


def test_every_server_refusing_is_a_503(rig: Rig) -> None:
    ports = [free_port(), free_port()]
    servers = [Server(f"gone{n}", port, 1) for n, port in enumerate(ports)]
    rig.start(rig.state(*servers, check_interval=60.0))
    with Client(rig.port) as client:
        answer = client.get("/", Accept="application/json")
        assert answer.status == 503
        assert json.loads(answer.body)["status"] == 503


def test_an_apps_own_errors_pass_untouched(rig: Rig) -> None:
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    with Client(rig.port) as client:
        for status in (404, 500, 503):
            answer = client.get(f"/status?{status}", Accept="application/json")
            assert (answer.status, answer.text) == (status, "the app's own")
            assert answer.headers["content-type"] == "text/html"
            assert "retry-after" not in answer.headers


def test_only_the_edge_says_who_the_client_is(rig: Rig) -> None:
    backend = rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    lies = (
        "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.7\r\nX_Forwarded_For: 6.6.6.6\r\n"
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /evil\r\n"
        "Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Real_IP: 6.6.6.6\r\nX-Request-ID: evil\r\n"
    )
    request = f"GET /headers HTTP/1.1\r\nHost: Shop.example:8080\r\n{lies}X-Mine: kept\r\n\r\n"
    raw(rig.port, request.encode())
    got = [(k, v) for k, v in backend.last_headers if "for" in k or "real" in k or "request" in k]
    identifier = next(v for k, v in got if k == "x-request-id")
    assert len(identifier) == 36
    assert sorted(got) == [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "Shop.example:8080"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", identifier),
    ]
    assert ("x-mine", "kept") in backend.last_headers
    assert ("host", "Shop.example:8080") in backend.last_headers
    wait_until(lambda: identifier in [line["request_id"] for line in rig.log_lines()])


def test_server_header_does_not_leak(rig: Rig) -> None:
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    with Client(rig.port) as client:
        assert "server" not in client.get("/").headers


def test_gzip_of_what_shrinks(rig: Rig) -> None:
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    with Client(rig.port) as client:
        plain = client.get("/big")
        packed = client.get("/big", Accept_Encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in packed.headers["vary"].lower()
        assert gzip.decompress(packed.body) == plain.body
        assert "content-encoding" not in client.get("/big?image/png", Accept_Encoding="gzip").headers
        client.send(b"GET /sse HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
        assert "content-encoding" not in client.read_answer().headers


@pytest.fixture
def secure(rig: Rig) -> tuple[Rig, int]:
    rig.backend("a1")
    https = Bind("127.0.0.1", free_port())
    rig.start(rig.state(rig.server("a1"), https=https))
    return rig, https.port


def test_https_with_http2_by_alpn(secure: tuple[Rig, int]) -> None:
    rig, port = secure
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        context.set_alpn_protocols(offered)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname="shop.example") as s:
                assert s.selected_alpn_protocol() == chosen
                assert s.version() in ("TLSv1.2", "TLSv1.3")
    out = subprocess.run(
        ["curl", "-sk", "--max-time", "10", "-w", "\n%{http_version}", f"https://127.0.0.1:{port}/headers"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    headers, _, version = out.rpartition("\n")
    assert version == "2"
    assert ["x-forwarded-proto", "https"] in json.loads(headers)
    wait_until(lambda: [(x["host"], x["path"]) for x in rig.log_lines()] == [("127.0.0.1", "/headers")])


def test_a_client_may_wait_for_its_answer_longer_than_it_may_stall(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeport.edge.render.CLIENT_SECONDS", 0.5)
    rig.backend("a1")
    https = Bind("127.0.0.1", free_port())
    rig.start(rig.state(rig.server("a1"), https=https))
    with Client(rig.port) as client:
        assert client.get("/slow?1.5").text == "a1"
        client.send(b"GET /sse?1.2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_answer().status == 200
        while b"a1 2" not in client.buffer:
            client.buffer += client.receive() or pytest.fail("the stream was cut")
    url = f"https://127.0.0.1:{https.port}/slow?1.5"
    assert subprocess.run(["curl", "-sk", "--max-time", "10", url], capture_output=True).stdout == b"a1"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    ],
)
def test_requests_that_two_parsers_could_read_two_ways_do_not_pass(rig: Rig, request_: bytes) -> None:
    backend = rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    status = raw(rig.port, request_).split(b" ")[1]
    assert status in (b"400", b"501", b"422"), status
    assert not backend.requests


def test_length_and_chunks_together_reach_the_app_as_chunks_only(rig: Rig) -> None:
    backend = rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    smuggled = b"5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw(rig.port, head + smuggled)
    assert "content-length" not in dict(backend.last_headers) or not backend.requests
    assert backend.requests["POST /upload"] <= 1


def test_the_access_log_tells_every_request(rig: Rig) -> None:
    rig.backend("shop.production.r7.web.1")
    rig.start(rig.state(rig.server("shop.production.r7.web.1")))
    with Client(rig.port) as client:
        client.get('/a"b\\c/u?secret=1', host="Shop.example:81")
        client.request("POST", "/upload", b"x" * 10)
        client.get("/slow?0.2")
    raw(rig.port, b"nonsense\r\n\r\n")
    rig.edge.apply(replace(rig.state(), services=(), routes=()))
    with Client(rig.port) as client:
        client.get("/gone", host="nowhere.example")
    wait_until(lambda: any(line.get("path") == "/gone" for line in rig.log_lines()))
    lines = rig.log_lines()
    first = next(line for line in lines if line.get("path") == '/a"b\\c/u')
    assert first["host"] == "shop.example"
    assert (first["method"], first["status"], first["client"]) == ("GET", 200, "127.0.0.1")
    assert (first["service"], first["server"]) == (SHOP, "shop.production.r7.web.1")
    assert first["retries"] == "0" and int(str(first["bytes"])) > 0
    assert "secret" not in json.dumps(lines)
    slow = next(line for line in lines if line.get("path") == "/slow")
    assert int(str(slow["total_ms"])) >= 200 and int(str(slow["response_ms"])) >= 200
    assert slow["connect_ms"] == 0
    gone = next(line for line in lines if line.get("path") == "/gone")
    assert (gone["status"], gone["service"], gone["host"]) == (404, "unrouted", "nowhere.example")


def test_the_log_rotates_while_it_is_written(rig: Rig) -> None:
    rig.backend("a1")
    rig.log_limits = ("10000", "2")
    rig.start(rig.state(rig.server("a1")))
    log = rig.layout.access_log
    with Client(rig.port) as client:
        for n in range(200):
            client.get(f"/{n}")
        wait_until(lambda: '"\\/199"' in log.read_text())
    names = ["access.log.2", "access.log.1", "access.log"]
    assert sorted(p.name for p in rig.directory.glob("access.log*")) == sorted(names)
    lines = [line for name in names for line in (rig.directory / name).read_text().splitlines()]
    kept = [json.loads(line)["path"] for line in lines]
    assert kept == [f"/{n}" for n in range(200 - len(kept), 200)]
    assert all((rig.directory / name).stat().st_size <= 10_000 for name in names)
