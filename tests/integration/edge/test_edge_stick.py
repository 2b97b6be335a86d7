"""Visitors' cookies: who is followed where, and what a dead server does to them."""

from dataclasses import replace
from typing import Any

import pytest
from edge_rig import SHOP, Answer, Client, Rig, free_port, wait_until

from homeport.edge.certificate import self_signed
from homeport.edge.model import Bind, EdgeState, Server
from homeport.system.clock import RealClock

COOKIE = f"homeport-side-{SHOP}"


def pinned(rig: Rig, *servers: Server, stick: str = "pin") -> EdgeState:
    return rig.state(*servers, stick=stick, check_interval=0.2, unhealthy_after=1000)


def told(answer: Answer) -> str | None:
    """The server that the answer's cookie names."""
    text = answer.headers.get("set-cookie", "")
    if not text:
        return None
    name, _, rest = text.partition("=")
    value, _, options = rest.partition(";")
    assert name == COOKIE
    assert options.strip() == "Path=/; HttpOnly; SameSite=Lax"
    return value


@pytest.fixture
def two(rig: Any) -> Rig:
    """``a1`` with all of the weight and ``b1``."""
    made: Rig = rig
    for name in ("a1", "b1"):
        made.backend(name)
    made.start(pinned(made, made.server("a1"), made.server("b1", 0, follow=True)))
    made.wait_up("a1", "b1")
    return made


def ask(rig: Rig, side: str = "", target: str = "/who", method: str = "GET") -> Answer:
    with Client(rig.port) as client:
        more = {"Cookie": f"other=1; {COOKIE}={side}; more=2"} if side else {}
        return client.request(method, target, b"xx" if method == "POST" else b"", **more)


def test_a_visitor_is_told_once_and_then_followed(two: Rig) -> None:
    first = ask(two)
    assert (first.text, told(first)) == ("a1", "a1")
    again = ask(two, "a1")
    assert (again.text, told(again)) == ("a1", None)
    assert [ask(two, "b1").text for _ in range(10)] == ["b1"] * 10
    assert told(ask(two, "b1")) is None


def test_following_changes_without_a_reload(two: Rig) -> None:
    off = pinned(two, two.server("a1"), two.server("b1", 0, follow=False))
    assert two.edge.apply(off).method == "runtime"
    answer = ask(two, "b1")
    assert (answer.text, told(answer)) == ("a1", "a1")
    on = pinned(two, two.server("a1", 0), two.server("b1", 100))
    assert two.edge.apply(on).method == "runtime"
    answer = ask(two, "a1")
    assert (answer.text, told(answer)) == ("b1", "b1")


def test_a_side_is_left_with_its_weight(two: Rig) -> None:
    both = pinned(two, two.server("a1"), two.server("b1", 5), stick="side")
    assert two.edge.apply(both).method == "runtime"
    assert ask(two, "b1").text == "b1"
    weightless = pinned(two, two.server("a1"), two.server("b1", 0, follow=True), stick="side")
    assert two.edge.apply(weightless).method == "runtime"
    assert ask(two, "b1").text == "a1"


def test_a_server_that_died_costs_no_get(two: Rig) -> None:
    two.backends["b1"].dying = True
    answers = [ask(two, "b1") for _ in range(10)]
    assert [(a.status, a.text, told(a)) for a in answers] == [(200, "a1", "a1")] * 10
    two.backends["b1"].stop()
    for method in ("GET", "POST"):
        answers = [ask(two, "b1", method=method) for _ in range(10)]
        assert [(a.status, a.text, told(a)) for a in answers] == [(200, "a1", "a1")] * 10
    counted = {c.name: c for c in two.edge.counts().servers}
    assert (counted["b1"].requests, counted["b1"].errors) == (30, 30)
    assert counted["a1"].errors == 0


def test_a_server_that_is_down_or_gone_is_not_followed(two: Rig) -> None:
    quick = two.state(two.server("a1"), two.server("b1", 0, follow=True), stick="pin")
    two.edge.apply(quick)
    two.backends["b1"].health_status = 500
    wait_until(lambda: {s.name: s.up for s in two.edge.observe()} == {"a1": True, "b1": False})
    assert ask(two, "b1").text == "a1"
    two.backends["b1"].health_status = 200
    wait_until(lambda: all(s.up for s in two.edge.observe()))
    assert ask(two, "b1").text == "b1"
    assert two.edge.apply(two.state(two.server("a1"), stick="pin")).method == "runtime"
    answer = ask(two, "b1")
    assert (answer.text, told(answer)) == ("a1", "a1")


@pytest.mark.parametrize("side", ["", "nobody", "a1;", "%61", "a" * 3000, "../x", '"', "a1\x01", "shop/a1"])
def test_a_cookie_that_names_nobody_is_replaced(two: Rig, side: str) -> None:
    answer = ask(two, side)
    if answer.status == 400:
        assert "\x01" in side
        return
    assert answer.text == "a1"
    assert told(answer) in ("a1", None if side == "a1;" else "a1")


def test_what_caches_share_out_carries_no_cookie(two: Rig) -> None:
    for control, sets in (
        ("public, max-age=60", False),
        ("s-maxage=60", False),
        ("Public", False),
        ("no-store", True),
        ("private, max-age=60", True),
    ):
        assert (told(ask(two, "", f"/cache?{control.replace(' ', '+')}")) is not None) is sets, control


def test_without_stick_there_is_no_cookie(two: Rig) -> None:
    two.edge.apply(two.state(two.server("a1"), two.server("b1", 0, follow=True)))
    answer = ask(two, "b1")
    assert (answer.text, told(answer)) == ("a1", None)


def test_over_tls_the_cookie_is_for_tls(two: Rig) -> None:
    import http.client
    import ssl

    port = free_port()
    two.layout.certs.mkdir(exist_ok=True)
    two.layout.default_certificate.write_bytes(self_signed(RealClock().now()))
    state = pinned(two, two.server("a1"))
    assert two.edge.apply(replace(state, https=Bind("127.0.0.1", port))).method == "reload"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    connection.request("GET", "/who")
    cookie = connection.getresponse().getheader("Set-Cookie")
    connection.close()
    assert cookie == f"{COOKIE}=a1; Path=/; HttpOnly; SameSite=Lax; Secure"
