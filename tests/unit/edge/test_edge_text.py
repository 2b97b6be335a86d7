"""Text in and out: the configuration, maps, pages, commands, HAProxy's answers, versions."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from homeport.edge import commands, observed, pages, preflight, start
from homeport.edge.commands import Layout
from homeport.edge.model import Bind, EdgeState, Route, Server, Service
from homeport.edge.render import digest, render
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ServiceName

GOLDEN = Path(__file__).parent / "golden"
LAYOUT = Layout(Path("/var/lib/homeport/edge"))
SHOP = ServiceName("shop.production.web")

EMPTY = EdgeState(Bind("0.0.0.0", 80), None)
FULL = EdgeState(
    Bind("0.0.0.0", 80),
    Bind("::", 443),
    (
        Service(
            SHOP,
            (
                Server("shop.production.r8.web.1", 20011, 5, "/health"),
                Server("shop.production.r7.web.1", 20010, 95, "/up?deep=1", "10.0.0.2"),
            ),
            check_interval=0.25,
            check_timeout=1.5,
            unhealthy_after=2,
            response_timeout=120.0,
        ),
        Service(ServiceName("docs.staging.web")),
    ),
    (Route("Shop.example", "/", SHOP), Route("shop.example", "/docs/", ServiceName("docs.staging.web"))),
    drain_limit=30.0,
)


@pytest.mark.parametrize(
    ("name", "state", "layout"),
    [("empty", EMPTY, LAYOUT), ("full", FULL, replace(LAYOUT, user="haproxy", group="haproxy"))],
)
def test_golden_configuration(name: str, state: EdgeState, layout: Layout) -> None:
    """To take a change over, delete the file and run the test twice."""
    path = GOLDEN / f"{name}.cfg"
    text = render(state, layout)
    if not path.exists():
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
        pytest.fail(f"wrote {path}: look at it and run again")
    assert text == path.read_text()


def test_servers_are_no_part_of_the_digest_and_all_else_is() -> None:
    bare = replace(FULL, services=tuple(replace(s, servers=()) for s in FULL.services), routes=())
    assert digest(bare, LAYOUT) == digest(FULL, LAYOUT)
    assert digest(replace(FULL, drain_limit=31.0), LAYOUT) != digest(FULL, LAYOUT)
    assert digest(FULL, replace(LAYOUT, user="haproxy")) != digest(FULL, LAYOUT)


def test_maps() -> None:
    files = commands.map_files(FULL, LAYOUT)
    lines = {
        path.name: [x for x in text.splitlines() if not x.startswith("#")] for path, text in files.items()
    }
    assert lines["hosts.map"] == ["shop.example shop.example"]
    assert lines["routes.map"] == ["shop.example/ shop.production.web", "shop.example/docs/ docs.staging.web"]
    assert lines["health.map"] == [
        "shop.production.r7.web.1 /up?deep=1",
        "shop.production.r8.web.1 /health",
    ]
    assert all(commands.is_sealed(text) for text in files.values())


def test_a_seal_shows_every_cut_and_change() -> None:
    whole = commands.seal("one\ntwo\n")
    assert commands.is_sealed(whole)
    assert not any(commands.is_sealed(whole[:n]) for n in range(len(whole)))
    assert not commands.is_sealed(whole.replace("two", "three"))
    assert not commands.is_sealed(whole + "more\n")
    assert not commands.is_sealed("")


def test_prefixes_end_at_a_segment() -> None:
    for prefix, path, below in (
        ("/", "/", True),
        ("/", "/x", True),
        ("/hs", "/hs", True),
        ("/hs/", "/hs", True),
        ("/hs", "/hs/x", True),
        ("/hs", "/hsx", False),
        ("/hs", "/h", False),
    ):
        assert f"example.com{path}/".startswith(commands.route_key("Example.com", prefix)) is below


def test_pages_are_one_line_each_and_make_whole_documents() -> None:
    entries = pages.entries()
    assert all("\n" not in value and value == value.strip() for value in entries.values())
    for page in pages.BY_ACCEPT:
        document = json.loads(entries[f"{page.status}.json"] + "an-id" + entries["end.json"])
        assert document["status"] == page.status and document["request_id"] == "an-id"
        html = entries[str(page.status)] + "an-id" + entries["end"]
        assert html.startswith("<!doctype html>") and html.endswith("</html>") and f"{page.status}" in html
    for page in pages.STATIC:
        head, _, body = pages.raw_response(page).partition("\r\n\r\n")
        assert f"Content-Length: {len(body.encode())}" in head


def test_batches_keep_order_and_fit() -> None:
    lines = [f"set server a/b{n} weight 1" for n in range(1000)]
    made = list(commands.batches(lines))
    assert len(made) > 1 and all(len(batch) <= 8000 for batch in made)
    assert [x for batch in made for x in batch.split("; ")] == lines
    assert list(commands.batches(())) == []


def test_server_options_are_said_in_full() -> None:
    service = FULL.services[0]
    assert commands.add_server(service, service.servers[1]) == (
        "add server shop.production.web/shop.production.r7.web.1 10.0.0.2:20010 weight 95"
        " pool-purge-delay 1s check inter 250ms fall 2 rise 1",
        "enable health shop.production.web/shop.production.r7.web.1",
        "enable server shop.production.web/shop.production.r7.web.1",
    )
    line = f"    server shop.production.r7.web.1 {commands.server_options(service, service.servers[1])}\n"
    assert line in render(FULL, LAYOUT)


STAT = (
    "\n# pxname,svname,scur,status,weight,type,check_status,check_code,last_chk,addr,uweight,"
    "used_conn_cur,idle_conn_cur,safe_conn_cur,\n"
    "a.b.c,s1,3,UP,50,2,L7OK,200,,127.0.0.1:9001,50,1,2,0,\n"
    'a.b.c,s2,0,DOWN 1/2,50,2,* L7STS,500,"says ""no"", twice",127.0.0.1:9002,50,0,0,0,\n'
    "a.b.c,s3,0,MAINT,7,2,L4CON,,,[::1]:9003,7,0,0,0,\n"
    "a.b.c,s4,0,DRAIN,0,2,INI,,,127.0.0.1:9004,0,0,0,0,\n"
    "a.b.c,BACKEND,0,UP,50,1,,,,,50,,,,\n\n"
)


def test_servers_as_haproxy_reports_them() -> None:
    got = [s.to_status() for s in observed.parse_servers(STAT)]
    assert [(s.name, s.port, s.weight, s.up, s.sessions, s.check) for s in got] == [
        ("s1", 9001, 50, True, 3, "L7OK/200"),
        ("s2", 9002, 50, False, 0, "L7STS/500"),
        ("s3", 9003, 0, False, 0, "L4CON"),
        ("s4", 9004, 0, True, 0, "INI"),
    ]
    assert [s.connections for s in observed.parse_servers(STAT)] == [3, 0, 0, 0]
    assert observed.parse_servers("No such proxy.\n") == ()


def test_other_answers_of_haproxy() -> None:
    info = observed.parse_info(
        "Name: HAProxy\nVersion: 2.6.12\nPid: 42\ndescription: homeport abc\nStopping: 0\n"
    )
    assert (info.pid, info.digest, info.stopping, info.version) == (42, "abc", False, "2.6.12")
    assert observed.parse_info("Pid: 1\ndescription: mine\n").digest == ""
    with pytest.raises(ValueError):
        observed.parse_info("Unknown command\n")
    assert observed.parse_map("0x55 a/ b\n0x56 s1 /up?x=1\n\n") == (("a/", "b"), ("s1", "/up?x=1"))
    assert observed.parse_maps("\n0x1 a b c\n\n\n", 3) == ((), (("a", "b c"),), ())
    for cut in ("", "\n", "\n\n\n", "\n0x1 a b\n"):
        with pytest.raises(ValueError):
            observed.parse_maps(cut, 2)
    text = (
        "#<PID> <type> <reloads> <uptime> <version>\n42 master 1 [failed: 2] 0d00h 2.6\n# workers\n"
        "50 worker 0 0d00h 2.6\n# old workers\n43 worker 1 0d00h 2.6\n# programs\n"
    )
    assert observed.parse_workers(text) == (50, 43)
    assert observed.parse_failed_reloads(text) == 2
    assert observed.parse_failed_reloads("") == 0


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12-1+deb12u4"),
        ("HAProxy version 2.8.5-1ubuntu3 2024/04/01", "2.8.5-1ubuntu3"),
        ("HAProxy version 3.2.0 2025", "3.2.0"),
    ],
)
def test_versions_that_will_do(output: str, version: str) -> None:
    assert preflight.read_version(output) == version


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("HA-Proxy version 1.8.19-1+deb10u3 2020/08/01", "edge.haproxy_too_old"),
        ("HAProxy version 2.4.22-0ubuntu0.22.04.2 2023/08/14", "edge.haproxy_too_old"),
        ("something else", "edge.haproxy_missing"),
    ],
)
def test_versions_that_will_not(output: str, code: str) -> None:
    with pytest.raises(HomeportError) as caught:
        preflight.read_version(output)
    assert caught.value.code == code and caught.value.hint


def test_no_haproxy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.process, "program", lambda name: None)
    with pytest.raises(HomeportError) as caught:
        preflight.check_haproxy()
    assert (caught.value.code, caught.value.hint) == ("edge.haproxy_missing", "apt-get install haproxy")


def test_binds_are_read_back_from_the_configuration() -> None:
    assert preflight.binds_of(render(FULL, LAYOUT)) == (Bind("0.0.0.0", 80), Bind("::", 443))
    assert preflight.binds_of("") == ()


def test_command_line_of_haproxy() -> None:
    program = Path("/usr/sbin/haproxy")
    config, pid = str(LAYOUT.config), str(LAYOUT.pid_file)
    base = [str(program), "-W", "-db", "-f", config, "-p", pid, "-S", f"{LAYOUT.directory}/m7.sock,mode,600"]
    admin = str(LAYOUT.admin_socket)
    assert start.arguments(program, LAYOUT, 7, (), sockets=True) == base
    assert start.arguments(program, LAYOUT, 7, (3, 4), sockets=True) == [*base, "-x", admin, "-sf", "3", "4"]
    assert start.arguments(program, LAYOUT, 7, (3,), sockets=False) == [*base, "-sf", "3"]
