"""Which service a request goes to."""

from dataclasses import replace

import pytest
from edge_rig import SHOP, Client, Rig

from homeport.edge.model import EdgeState, Route, Server, Service
from homeport.kernel.ids import ServiceName

SITE, HS, DEEP, ANY = (ServiceName(f"{n}.production.web") for n in ("site", "hs", "deep", "any"))


def routed(rig: Rig, *routes: Route) -> EdgeState:
    names = {"site": SITE, "hs": HS, "deep": DEEP, "any": ANY}
    services = tuple(
        Service(service, (Server(name, rig.backends[name].port, 1),)) for name, service in names.items()
    )
    return replace(rig.state(), services=services, routes=routes)


@pytest.fixture
def four(rig: Rig) -> Rig:
    for name in ("site", "hs", "deep", "any"):
        rig.backend(name)
    rig.start(
        routed(
            rig,
            Route("example.com", "/hs", HS),
            Route("example.com", "/", SITE),
            Route("example.com", "/hs/deep/er", DEEP),
            Route("Only.Example.com", "/part", HS),
            Route("*", "/", ANY),
            Route("*", "/hs", DEEP),
        )
    )
    return rig


def test_the_longest_prefix_wins_at_whole_segments(four: Rig) -> None:
    expected = {
        ("example.com", "/"): "site",
        ("example.com", "/x"): "site",
        ("example.com", "/hs"): "hs",
        ("example.com", "/hs/"): "hs",
        ("example.com", "/hs/x"): "hs",
        ("example.com", "/hs?q=/hs/deep/er"): "hs",
        ("example.com", "/hsx"): "site",
        ("example.com", "/hs/deep"): "hs",
        ("example.com", "/hs/deep/er"): "deep",
        ("example.com", "/hs/deep/er/x"): "deep",
        ("example.com", "/hs/deep/err"): "hs",
        ("example.com", "/HS"): "site",
        ("EXAMPLE.com", "/hs"): "hs",
        ("example.com:8080", "/hs"): "hs",
        ("example.com.", "/hs"): "hs",
        ("example.comx", "/hs"): "deep",
        ("only.example.com", "/part/x"): "hs",
        ("other.example", "/"): "any",
        ("other.example", "/hs/x"): "deep",
        ("[::1]:80", "/"): "any",
    }
    with Client(four.port) as client:
        got = {key: client.get(key[1], host=key[0]).text for key in expected}
    assert got == expected


def test_a_host_with_routes_of_its_own_never_falls_back(four: Rig) -> None:
    with Client(four.port) as client:
        assert client.get("/", host="only.example.com").status == 404
        assert client.get("/party", host="only.example.com").status == 404


def test_routes_change_while_running(four: Rig) -> None:
    with Client(four.port) as client:
        assert four.edge.apply(routed(four, Route("new.example", "/a", HS))).method == "runtime"
        assert client.get("/a", host="new.example").text == "hs"
        assert client.get("/", host="example.com").status == 404
        moved = routed(four, Route("new.example", "/a", SITE), Route("*", "/", ANY))
        assert four.edge.apply(moved).method == "runtime"
        assert client.get("/a", host="new.example").text == "site"
        assert client.get("/", host="example.com").text == "any"
        assert four.edge.apply(moved).method == "none"


def test_nothing_to_serve_is_404_everywhere(rig: Rig) -> None:
    rig.start(replace(rig.state(), services=(), routes=()))
    with Client(rig.port) as client:
        page = client.get("/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
        assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "404 Not Found" in page.text and "haproxy" not in page.text.lower()
        problem = client.get("/x", Accept="application/json")
        assert (problem.status, problem.headers["content-type"]) == (404, "application/problem+json")
        assert client.request("HEAD", "/x").status == 404
        assert client.get("*").status in (400, 404)
    assert rig.edge.observe() == ()
    assert rig.edge.sessions(SHOP, "nobody") == 0
