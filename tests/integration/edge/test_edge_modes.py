"""Maintenance and read-only on a real HAProxy: what clients see, and that it holds everywhere at once."""

import json
import re
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from edge_rig import SHOP, Client, Rig, children, free_port, wait_until

from homeport.edge import commands, control, modes
from homeport.edge.haproxy import HaproxyEdge
from homeport.edge.model import Bind, EdgeState, Mode, Route, Service
from homeport.edge.modes import MAX_MESSAGE, MAX_PAGE
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ServiceName

SITE = ServiceName("site.production.web")
DOWN = Mode(SHOP, "maintenance")
READ = Mode(SHOP, "read-only")
MESSAGE = "\"'\\ %[src] %ci <b>&amp; \n\t # ; ${HOME} é 漢 🦊"


@pytest.fixture
def shop(rig: Rig) -> Rig:
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    return rig


def put(rig: Rig, *of: Mode) -> str:
    return rig.edge.apply(replace(rig.state(rig.server("a1")), modes=of)).method


def kind(client: Client, method: str = "GET", target: str = "/x", **headers: str) -> int:
    return client.request(method, target, b"body" if method == "POST" else b"", **headers).status


# Maintenance


def test_maintenance_is_a_page_or_a_problem_document(shop: Rig) -> None:
    with Client(shop.port) as client:
        assert kind(client) == 200
        assert put(shop, replace(DOWN, message=MESSAGE, retry_after=77)) == "runtime"
        page = client.get("/x", Accept="text/html,application/json")
        document = client.get("/x", Accept="application/json")
        for answer in (page, document):
            assert answer.status == 503
            assert answer.headers["retry-after"] == "77"
            assert answer.headers["cache-control"] == "no-store"
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["x-request-id"] in page.text and page.text.endswith("</html>")
        assert "%[src] %ci &lt;b&gt;&amp;amp; &#10;&#9; # ; ${HOME} é 漢 🦊" in page.text
        assert document.headers["content-type"] == "application/problem+json"
        assert json.loads(document.body) == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": MESSAGE,
            "request_id": document.headers["x-request-id"],
        }
        head = client.request("HEAD", "/x")
        assert (head.status, head.body) == (503, b"")
        assert put(shop) == "runtime"
        assert kind(client) == 200


@pytest.mark.parametrize(
    "page",
    [
        "<!doctype html>\r\n<pre>\n\n%[src] \\n \"'\t</pre>\n<script>// é 漢 🦊\nx()</script>\n",
        "\n" + "é" * (MAX_PAGE // 2 - 1) + "\n",
    ],
)
def test_an_apps_own_page_comes_out_byte_by_byte(shop: Rig, page: str) -> None:
    put(shop, replace(DOWN, message=MESSAGE, page=page, retry_after=9))
    with Client(shop.port) as client:
        for _ in range(2):
            answer = client.get("/x", Accept_Encoding="gzip")
            assert answer.body == page.encode()
            assert answer.status == 503
            assert answer.headers["retry-after"] == "9"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert answer.headers["x-request-id"]
        head = client.request("HEAD", "/x")
        assert (head.status, head.headers["content-length"]) == (503, str(len(page.encode())))
        assert client.request("POST", "/x", b"body").body == page.encode()
        problem = client.get("/x", Accept="application/json")
        assert json.loads(problem.body)["detail"] == MESSAGE


def test_the_longest_message_comes_out_whole(shop: Rig) -> None:
    put(shop, replace(DOWN, message='"' * MAX_MESSAGE))
    with Client(shop.port) as client:
        assert "&quot;" * MAX_MESSAGE in client.get("/x").text
        assert json.loads(client.get("/x", Accept="application/json").body)["detail"] == '"' * MAX_MESSAGE


def test_a_bad_mode_changes_nothing(shop: Rig) -> None:
    put(shop, DOWN)
    before = {path: path.read_bytes() for path in shop.layout.maps}
    with pytest.raises(HomeportError) as caught:
        put(shop, replace(READ, message="a\x00b"), replace(DOWN, page="x" * (MAX_PAGE + 1)))
    assert caught.value.code == "edge.bad_mode" and len(caught.value.details) == 2
    assert {path: path.read_bytes() for path in shop.layout.maps} == before
    assert put(shop, DOWN) == "none"


def test_only_that_service_and_without_a_server_too(rig: Rig) -> None:
    rig.backend("a1")
    routes = (Route("*", "/", SHOP), Route("*", "/site", SITE))
    state = rig.state(rig.server("a1"), routes=routes, more=(Service(SITE),))
    rig.start(state)
    rig.edge.apply(replace(state, modes=(replace(DOWN, service=SITE),)))
    with Client(rig.port) as client:
        assert kind(client) == 200
        answer = client.get("/site/x")
        assert answer.status == 503 and "Down for maintenance" in answer.text
        # The service goes, and its mode with it; one of that name that comes back is open.
        assert rig.edge.apply(rig.state(rig.server("a1"))).method == "reload"
        rig.edge.apply(state)
        assert "Down for maintenance" not in client.get("/site/x").text


def test_maintenance_wins_over_read_only_and_leaves_it(shop: Rig) -> None:
    with Client(shop.port) as client:
        put(shop, READ, DOWN)
        assert (kind(client), kind(client, "POST")) == (503, 503)
        put(shop, READ)
        assert (kind(client), kind(client, "POST")) == (200, 503)


def test_health_checks_go_on(shop: Rig) -> None:
    shop.wait_up("a1")
    put(shop, DOWN)
    seen = len(shop.backends["a1"].health_requests)
    wait_until(lambda: len(shop.backends["a1"].health_requests) > seen + 5)
    assert all(s.up for s in shop.edge.observe())


def test_the_log_has_the_service_and_the_status(shop: Rig) -> None:
    put(shop, replace(DOWN, page="<p>ours\n"))
    with Client(shop.port) as client:
        client.get("/page")
        client.get("/problem", Accept="application/json")
        put(shop, READ)
        client.request("POST", "/write", b"body")
    wait_until(lambda: len(shop.log_lines()) >= 3)
    got = [(x["path"], x["service"], x["status"], x["method"]) for x in shop.log_lines()]
    assert got == [
        ("/page", SHOP, 503, "GET"),
        ("/problem", SHOP, 503, "GET"),
        ("/write", SHOP, 503, "POST"),
    ]


# Who passes


def test_allowed_networks_pass_over_both_families(rig: Rig) -> None:
    """On a listener for both families, where an IPv4 client has an address like ::ffff:127.0.0.1."""
    rig.backend("a1")
    state = replace(rig.state(rig.server("a1")), http=Bind("::", rig.port))
    rig.start(state)

    def status(source: str) -> int:
        target = "::1" if ":" in source else "127.0.0.1"
        with socket.create_connection((target, rig.port), 10, source_address=(source, 0)) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return int(s.recv(65536).split(b" ")[1])

    for allow, passing in (
        ((), set()),
        (("127.0.0.2/32",), {"127.0.0.2"}),
        (("127.0.0.0/30",), {"127.0.0.1", "127.0.0.2"}),
        (("::1",), {"::1"}),
        (("::/0",), {"::1"}),
        (("::ffff:127.0.0.0/126",), {"127.0.0.1", "127.0.0.2"}),
        (("0.0.0.0/0", "::/0"), {"127.0.0.1", "127.0.0.2", "127.0.0.9", "::1"}),
    ):
        rig.edge.apply(replace(state, modes=(replace(DOWN, allow=allow),)))
        sources = ("127.0.0.1", "127.0.0.2", "127.0.0.9", "::1")
        assert {s for s in sources if status(s) == 200} == passing, allow


def test_overlapping_networks_of_two_services(rig: Rig) -> None:
    rig.backend("a1")
    rig.backend("b1")
    site = Service(SITE, (rig.server("b1"),), check_interval=0.2)
    state = rig.state(
        rig.server("a1"), routes=(Route("*", "/", SHOP), Route("*", "/site", SITE)), more=(site,)
    )
    rig.start(state)
    with Client(rig.port) as client:
        for wide, narrow in (("127.0.0.0/8", "127.0.0.1/32"), ("127.0.0.1/32", "127.0.0.0/8")):
            on = (replace(DOWN, allow=(wide,)), replace(READ, service=SITE, allow=(narrow,)))
            rig.edge.apply(replace(state, modes=on))
            assert (kind(client), kind(client, "POST", "/site")) == (200, 200)
            on = (replace(DOWN, allow=("10.0.0.0/8",)), replace(READ, service=SITE, allow=(narrow,)))
            rig.edge.apply(replace(state, modes=on))
            assert (kind(client), kind(client, "POST", "/site")) == (503, 200)


def test_haproxy_takes_the_longest_match_as_the_maps_count_on(tmp_path: Path) -> None:
    """The maps of two modes against HAProxy's ``map_ip``, addresses from a header."""
    port = free_port()
    both = (
        replace(DOWN, allow=("10.0.0.0/8", "2001:db8::/32", "::/0")),
        replace(READ, service=SITE, allow=("10.1.0.0/16", "0.0.0.0/1", "2001:db8:1::/48")),
    )
    state = EdgeState(Bind("127.0.0.1", port), None, (Service(SHOP), Service(SITE)), (), both)
    entries = modes.entries(state)
    map_file = tmp_path / "networks.map"
    map_file.write_text(commands.render_map(entries.networks))
    config = tmp_path / "cfg"
    config.write_text(
        "defaults\n    mode http\n    timeout client 5s\n    timeout connect 5s\n    timeout server 5s\n"
        f"frontend f\n    bind 127.0.0.1:{port}\n"
        f"    http-request return status 200 content-type text/plain"
        f" lf-string %[hdr_ip(x-from),map_ip({map_file})]\n"
    )
    child = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        with Client(port) as client:

            def who(address: str) -> set[str]:
                got = client.get("/", X_From=address).text
                return {modes.name(m) for m in both if f"{got}/{modes.name(m)}" in entries.texts}

            wait_until(lambda: answers(port))
            shop, site = (modes.name(m) for m in both)
            for address, expected in (
                ("10.1.2.3", {shop, site}),
                ("10.2.2.3", {shop, site}),
                ("9.1.1.1", {site}),
                ("200.1.1.1", set()),
                ("::ffff:10.1.2.3", {shop, site}),
                ("::ffff:200.1.1.1", set()),
                ("2001:db8::1", {shop}),
                ("2001:db8:1::1", {shop, site}),
                ("2002:a01:203::1", {shop}),
                ("::10.1.2.3", {shop}),
            ):
                assert who(address) == expected, address
    finally:
        child.kill()
        child.wait()


def answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


# Read-only


def test_read_only_lets_reading_pass(shop: Rig) -> None:
    put(shop, replace(READ, message=MESSAGE, retry_after=5))
    with Client(shop.port) as client:
        for method in ("GET", "HEAD", "OPTIONS"):
            assert client.request(method, "/x").status == 200
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "BREW"):
            assert client.request(method, "/x").status == 503, method
        for accept in ("application/json", "*/*"):
            problem = client.request("POST", "/x", b"body", Accept=accept)
            assert problem.headers["content-type"] == "application/problem+json"
            assert json.loads(problem.body)["detail"] == MESSAGE
            assert (problem.headers["retry-after"], problem.headers["cache-control"]) == ("5", "no-store")
        page = client.request("POST", "/x", b"body", Accept="text/html, */*")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "Read-only for now" in page.text and "é 漢 🦊" in page.text
        put(shop, replace(READ, allow=("127.0.0.1",)))
        assert client.request("POST", "/x", b"body").status == 200
    assert shop.backends["a1"].requests["POST /x"] == 1


def test_an_exempt_path_is_no_way_around(shop: Rig) -> None:
    put(shop, replace(READ, exempt=("/login", "/a/b/")))
    passing = (
        "/login", "/login/", "/login/x", "/login?next=/../admin//", "/login/a%20b", "/login/.x", "/login/x%C3%A9",
        "/a/b", "/a/b/c", "http://shop.example/login/x",
    )  # fmt: skip
    refused = (
        "/", "/loginx", "/LOGIN", "/Login/x", "/%6cogin", "/a", "/a/bc", "/x/login",
        "/login/../admin", "/login/..", "/login/%2e%2e/admin", "/login/%2E./admin", "/login/.%2e/admin",
        "/login/..;/admin", "/login/;/../admin", "/login%2f..%2fadmin", "/login/%2Fadmin", "//login",
        "/login//admin", "/login\\..\\admin", "/login/%5C..%5cadmin", "/login/%252e%252e/admin",
        "/login/%c0%ae%c0%ae/admin", "/login/%00", "/../login", "/login/./../admin",
        "http://shop.example/login/../x", "http://shop.example", "http://shop.example//login",
    )  # fmt: skip
    with Client(shop.port) as client:
        for target in passing:
            assert client.request("POST", target, b"body").status == 200, target
        for target in refused:
            assert client.request("POST", target, b"body").status == 503, target
            assert client.request("GET", target).status == 200, target
        put(shop, replace(READ, exempt=("/",)))
        assert client.request("POST", "/x", b"body").status == 200
        assert client.request("POST", "/x/../y", b"body").status == 503


def test_a_refused_body_leaves_the_connection_as_it_was(shop: Rig) -> None:
    with Client(shop.port) as client:
        client.get("/x")
        connection = client.socket
        for mode in (READ, DOWN, replace(DOWN, page="ours\n")):
            put(shop, mode)
            assert client.request("POST", "/x", b"12345" * 1000).status == 503
            client.send(
                b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )
            assert client.read_answer().status == 503
        put(shop)
        assert client.get("/who").text == "a1"
        assert client.socket is connection


def test_a_body_that_comes_later_than_its_head_is_waited_for(shop: Rig) -> None:
    with Client(shop.port) as client:
        client.get("/x")
        connection = client.socket
        for mode in (READ, replace(DOWN, page="ours\n")):
            put(shop, mode)
            client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
            time.sleep(0.1)
            client.send(b"x" * 5000)
            assert client.read_answer().status == 503
            assert client.request("POST", "/x", b"body").status == 503
        assert client.socket is connection


def test_a_body_that_never_comes_is_not_waited_for_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.edge.render.BODY_SECONDS", 0.3)
    rig.backend("a1")
    rig.start(rig.state(rig.server("a1")))
    put(rig, READ)
    with Client(rig.port) as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nx")
        assert client.read_answer().status == 408
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_answer().status == 503


@pytest.mark.parametrize("mode", [READ, DOWN, replace(DOWN, page="ours\n")])
def test_a_large_upload_is_refused_and_does_not_hang(shop: Rig, mode: Mode) -> None:
    """The connection is closed before all has come, so what sends on without a look may see a reset."""
    put(shop, mode)
    sent, block = 0, b"x" * (1 << 20)
    with Client(shop.port) as client:
        client.send(b"PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (100 << 20))
        try:
            while sent < 100:
                client.send(block)
                sent += 1
        except OSError:
            pass
        assert client.read_answer().status == 503
        assert sent < 50
        assert shop.backends["a1"].requests["PUT /up"] == 0
        client.close()
        put(shop)
        assert kind(client) == 200


def test_what_is_in_hand_goes_on(shop: Rig) -> None:
    """A long poll, a WebSocket and a stream from before; a WebSocket's handshake passes read-only."""
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with Client(shop.port) as poll, Client(shop.port) as ws, Client(shop.port) as stream:
        put(shop, READ)
        ws.send(handshake)
        assert ws.read_answer().status == 101
        poll.send(b"GET /slow?1 HTTP/1.1\r\nHost: x\r\n\r\n")
        stream.send(b"GET /sse?0.05 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.read_answer().status == 200
        wait_until(lambda: shop.backends["a1"].requests["GET /slow"] == 1)
        put(shop, DOWN)
        ws.send(b"still there")
        assert ws.receive() == b"a1:still there"
        assert poll.read_answer().status == 200
        assert b"data: a1" in stream.receive()
        poll.send(handshake)
        assert poll.read_answer().status == 503


# Everywhere, and over restarts


def test_a_restart_keeps_it_and_the_end_of_it(shop: Rig) -> None:
    def restart() -> None:
        child = shop.started[-1]
        for pid in (child.pid, *children(child.pid)):
            subprocess.run(["kill", "-9", str(pid)], check=True)
        child.wait()
        shop.spawn()
        shop.wait_ready()

    with Client(shop.port) as client:
        put(shop, replace(DOWN, message=MESSAGE, page="ours\n", allow=("10.0.0.0/8",)))
        restart()
        client.close()
        assert client.get("/x").text == "ours\n"
        assert put(shop, replace(DOWN, message=MESSAGE, page="ours\n", allow=("10.0.0.0/8",))) == "none"
        put(shop)
        restart()
        client.close()
        assert kind(client) == 200


def test_a_reload_is_never_needed(shop: Rig) -> None:
    pid = control.info(shop.layout).pid
    for of in ((DOWN,), (READ,), (), (DOWN, READ), (READ,), (replace(DOWN, page="x"),), ()):
        assert put(shop, *of) == "runtime"
        assert put(shop, *of) == "none"
    assert control.info(shop.layout).pid == pid


def test_what_someone_else_changed_is_healed(shop: Rig) -> None:
    put(shop, DOWN)
    control.ask(shop.layout, commands.delete_from_map(shop.layout.modes, SHOP))
    control.ask(shop.layout, commands.clear_map(shop.layout.mode_texts))
    assert put(shop, DOWN) == "runtime"
    control.ask(shop.layout, commands.add_to_map(shop.layout.modes, SHOP, "twice"))
    assert put(shop, DOWN) == "reload"
    with Client(shop.port) as client:
        assert "Down for maintenance" in client.get("/x").text
    assert put(shop, DOWN) == "none"


def test_draining_workers_obey_too(shop: Rig) -> None:
    """A kept connection brings an old worker one more request, however late."""
    with Client(shop.port) as one, Client(shop.port) as two, Client(shop.port) as three:
        for client in (one, two, three):
            assert kind(client) == 200
        reloaded = shop.state(shop.server("a1"), response_timeout=99.0)
        assert shop.edge.apply(reloaded).method == "reload"
        page = replace(DOWN, page="é" * (MAX_PAGE // 2), allow=("10.0.0.0/8",))
        assert shop.edge.apply(replace(reloaded, modes=(page,))).method == "runtime"
        assert kind(one) == 503
        # The process that switched is killed before it reaches the old worker: the next one sees to it.
        (old,) = [p for p in workers(shop) if p != control.info(shop.layout).pid]
        (socket_,) = shop.directory.glob("m*.sock")
        control.ask_master(socket_, f"@!{old} {commands.clear_map(shop.layout.modes)}")
        later = HaproxyEdge(shop.directory, shop.edge._clock)
        assert later.apply(replace(reloaded, modes=(page,))).method == "none"
        assert kind(two) == 503
        # A reload and a switch in one.
        assert shop.edge.apply(shop.state(shop.server("a1"), response_timeout=98.0)).method == "reload"
        assert kind(three) == 200


def workers(rig: Rig) -> list[int]:
    return children(rig.started[-1].pid)


def test_modes_of_a_new_service_need_no_second_look(shop: Rig) -> None:
    state = shop.state(shop.server("a1"), more=(Service(SITE),), routes=(Route("*", "/", SITE),))
    on = replace(state, modes=(replace(DOWN, service=SITE), READ))
    assert shop.edge.apply(on).method == "reload"
    with Client(shop.port) as client:
        assert "Down for maintenance" in client.get("/x").text
    assert shop.edge.apply(on).method == "none"


def test_an_edge_from_before_there_were_modes_starts_and_serves(shop: Rig) -> None:
    """Its configuration names no mode maps, so they need not be there."""
    config = shop.layout.config.read_text()
    older = re.sub(r"(?m)^\.if.*\n(?:.*\n)*?\.endif\n|.*mode.*\.map.*\n|.*txn\.(mode|retry).*\n", "", config)
    older = "".join(line for line in older.splitlines(keepends=True) if not line.startswith("# end of"))
    for path in shop.layout.mode_maps:
        path.unlink()
    shop.layout.config.write_text(commands.seal(older))
    child = shop.started[-1]
    for pid in (child.pid, *children(child.pid)):
        subprocess.run(["kill", "-9", str(pid)], check=True)
    child.wait()
    shop.spawn()
    shop.wait_ready()
    with Client(shop.port) as client:
        assert kind(client) == 200
        assert put(shop, DOWN) == "reload"
        client.close()
        assert kind(client) == 503


def test_switching_under_load_drops_nothing_and_is_never_wrong_afterwards(shop: Rig) -> None:
    on, seen = [], 0
    with Client(shop.port) as client:
        for n in range(20):
            on = [(), (DOWN,), (), (READ,)][n % 4]
            put(shop, *on)
            end = time.monotonic() + 0.02
            while time.monotonic() < end:
                got = (kind(client), kind(client, "POST"))
                assert got == {(): (200, 200), (DOWN,): (503, 503), (READ,): (200, 503)}[on]
                seen += 1
    assert seen > 20
