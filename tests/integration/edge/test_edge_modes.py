"""Maintenance on a real HAProxy: what clients see, and who passes."""

import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from edge_rig import SHOP, Client, Rig, free_port, wait_until

from homeport.edge import commands, modes
from homeport.edge.model import Bind, EdgeState, Mode, Route, Service
from homeport.edge.modes import MAX_MESSAGE, MAX_PAGE
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ServiceName

SITE = ServiceName("site.production.web")
DOWN = Mode(SHOP, "maintenance")
READ = Mode(SHOP, "read-only")
MESSAGE = "\"'\\ %[src] %ci <b>&amp; \n\t # ; ${HOME} é 漢 🦊"


# Maintenance


def test_maintenance_is_a_page_or_a_problem_document(shop: Rig) -> None:
    with Client(shop.port) as client:
        assert client.status() == 200
        assert shop.put(replace(DOWN, message=MESSAGE, retry_after=77)) == "runtime"
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
        assert shop.put() == "runtime"
        assert client.status() == 200


@pytest.mark.parametrize(
    "page",
    [
        "<!doctype html>\r\n<pre>\n\n%[src] \\n \"'\t</pre>\n<script>// é 漢 🦊\nx()</script>\n",
        "\n" + "é" * (MAX_PAGE // 2 - 1) + "\n",
    ],
)
def test_an_apps_own_page_comes_out_byte_by_byte(shop: Rig, page: str) -> None:
    shop.put(replace(DOWN, message=MESSAGE, page=page, retry_after=9))
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
    shop.put(replace(DOWN, message='"' * MAX_MESSAGE))
    with Client(shop.port) as client:
        assert "&quot;" * MAX_MESSAGE in client.get("/x").text
        assert json.loads(client.get("/x", Accept="application/json").body)["detail"] == '"' * MAX_MESSAGE


def test_a_bad_mode_changes_nothing(shop: Rig) -> None:
    shop.put(DOWN)
    before = {path: path.read_bytes() for path in shop.layout.maps}
    with pytest.raises(HomeportError) as caught:
        shop.put(replace(READ, message="a\x00b"), replace(DOWN, page="x" * (MAX_PAGE + 1)))
    assert caught.value.code == "edge.bad_mode" and len(caught.value.details) == 2
    assert {path: path.read_bytes() for path in shop.layout.maps} == before
    assert shop.put(DOWN) == "none"


def test_only_that_service_and_without_a_server_too(rig: Rig) -> None:
    rig.backend("a1")
    routes = (Route("*", "/", SHOP), Route("*", "/site", SITE))
    state = rig.state(rig.server("a1"), routes=routes, more=(Service(SITE),))
    rig.start(state)
    rig.edge.apply(replace(state, modes=(replace(DOWN, service=SITE),)))
    with Client(rig.port) as client:
        assert client.status() == 200
        answer = client.get("/site/x")
        assert answer.status == 503 and "Down for maintenance" in answer.text
        # The service goes, and its mode with it; one of that name that comes back is open.
        assert rig.edge.apply(rig.state(rig.server("a1"))).method == "reload"
        rig.edge.apply(state)
        assert "Down for maintenance" not in client.get("/site/x").text


def test_maintenance_wins_over_read_only_and_leaves_it(shop: Rig) -> None:
    with Client(shop.port) as client:
        shop.put(READ, DOWN)
        assert (client.status(), client.status("POST")) == (503, 503)
        shop.put(READ)
        assert (client.status(), client.status("POST")) == (200, 503)


def test_health_checks_go_on(shop: Rig) -> None:
    shop.wait_up("a1")
    shop.put(DOWN)
    seen = len(shop.backends["a1"].health_requests)
    wait_until(lambda: len(shop.backends["a1"].health_requests) > seen + 5)
    assert all(s.up for s in shop.edge.observe())


def test_the_log_has_the_service_and_the_status(shop: Rig) -> None:
    shop.put(replace(DOWN, page="<p>ours\n"))
    with Client(shop.port) as client:
        client.get("/page")
        client.get("/problem", Accept="application/json")
        shop.put(READ)
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
            assert (client.status(), client.status("POST", "/site")) == (200, 200)
            on = (replace(DOWN, allow=("10.0.0.0/8",)), replace(READ, service=SITE, allow=(narrow,)))
            rig.edge.apply(replace(state, modes=on))
            assert (client.status(), client.status("POST", "/site")) == (503, 200)


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
