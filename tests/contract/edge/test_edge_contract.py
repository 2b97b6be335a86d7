"""What every Edge does: the fake that the rooms above test with, and HAProxy."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from edge_rig import SHOP, Client, Rig, wait_until

from homeport.edge.fake import FakeEdge
from homeport.edge.haproxy import HaproxyEdge
from homeport.edge.model import Bind, EdgeState, Mode, Route, Server, Service
from homeport.edge.port import Edge
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ServiceName

OTHER = ServiceName("other.production.web")


@dataclass
class Case:
    edge: Edge
    rig: Rig

    def state(self, *servers: Server, routes: tuple[Route, ...] = (Route("*", "/", SHOP),)) -> EdgeState:
        return self.rig.state(*servers, routes=routes)

    def server(self, name: str, weight: int = 100) -> Server:
        return self.rig.server(name, weight)

    def fail(self, name: str, failing: bool) -> None:
        if isinstance(self.edge, FakeEdge):
            (self.edge.down.add if failing else self.edge.down.discard)(name)
        else:
            self.rig.backends[name].health_status = 500 if failing else 200

    def vanish(self) -> None:
        if isinstance(self.edge, FakeEdge):
            self.edge.reachable = False
        else:
            self.rig.layout.admin_socket.unlink()
            for path in self.rig.directory.glob("m*.sock"):
                path.unlink()


@pytest.fixture(params=["fake", "haproxy"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    rig = Rig()
    try:
        for name in ("a1", "b1"):
            rig.backend(name)
        edge: Edge
        if request.param == "fake":
            edge = FakeEdge()
            edge.apply(rig.state())
        else:
            edge = HaproxyEdge(rig.directory, rig.edge._clock)
            rig.start(rig.state())
        yield Case(edge, rig)
    finally:
        rig.close()


def weights(edge: Edge) -> dict[str, int]:
    return {s.name: s.weight for s in edge.observe()}


def test_apply_is_idempotent_and_says_how(case: Case) -> None:
    one = case.state(case.server("a1"))
    assert case.edge.apply(one).method == "runtime"
    assert case.edge.apply(one).method == "none"
    both = case.state(case.server("b1", 30), case.server("a1", 70))
    assert case.edge.apply(both).method == "runtime"
    assert case.edge.apply(case.state(case.server("a1", 70), case.server("b1", 30))).method == "none"
    more = replace(both, services=(*both.services, Service(OTHER)))
    assert case.edge.apply(more).method == "reload"
    assert case.edge.apply(replace(more, services=more.services[::-1])).method == "none"
    assert case.edge.apply(both).method == "reload"


def test_observe_tells_what_was_applied(case: Case) -> None:
    case.edge.apply(case.state(case.server("a1", 0), case.server("b1", 256)))
    seen = {s.name: s for s in case.edge.observe()}
    assert weights(case.edge) == {"a1": 0, "b1": 256}
    assert {s.service for s in seen.values()} == {SHOP}
    assert {name: s.port for name, s in seen.items()} == {n: case.server(n).port for n in ("a1", "b1")}
    assert all(s.up and s.sessions == 0 for s in seen.values())


def test_a_removed_server_gets_nothing(case: Case) -> None:
    case.edge.apply(case.state(case.server("a1"), case.server("b1")))
    case.edge.apply(case.state(case.server("b1")))
    assert weights(case.edge).get("a1", 0) == 0


def test_routes_change_without_a_reload(case: Case) -> None:
    routes = (Route("shop.example", "/", SHOP), Route("shop.example", "/api", SHOP))
    state = case.state(case.server("a1"))
    assert case.edge.apply(state).method == "runtime"
    assert case.edge.apply(replace(state, routes=routes)).method == "runtime"
    assert case.edge.apply(replace(state, routes=routes[::-1])).method == "none"


def test_health_is_seen(case: Case) -> None:
    case.edge.apply(case.state(case.server("a1"), case.server("b1")))
    case.fail("a1", True)
    wait_until(lambda: {s.name: s.up for s in case.edge.observe()} == {"a1": False, "b1": True})
    case.fail("a1", False)
    wait_until(lambda: {s.name: s.up for s in case.edge.observe()} == {"a1": True, "b1": True})
    status = next(s for s in case.edge.observe() if s.name == "a1")
    assert status.check == "L7OK/200"


def test_sessions_of_servers_known_and_not(case: Case) -> None:
    case.edge.apply(case.state(case.server("a1")))
    assert case.edge.sessions(SHOP, "a1") == 0
    assert case.edge.sessions(SHOP, "nobody") == 0
    assert case.edge.sessions(OTHER, "a1") == 0
    if isinstance(case.edge, FakeEdge):
        case.edge.in_hand["a1"] = 1
        assert case.edge.sessions(SHOP, "a1") == 1
        return
    with Client(case.rig.port) as client:
        client.send(b"GET /slow?20 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: case.edge.sessions(SHOP, "a1") == 1)


def shop(state: EdgeState, **settings: object) -> EdgeState:
    changed = replace(state.services[0], **settings)
    return replace(state, services=(changed, *state.services[1:]))


def test_counts(case: Case) -> None:
    case.edge.apply(case.state(case.server("a1"), case.server("b1", 0)))
    first = case.edge.counts()
    assert {(c.service, c.name, c.requests, c.errors, c.sessions) for c in first.servers} == {
        (SHOP, "a1", 0, 0, 0),
        (SHOP, "b1", 0, 0, 0),
    }
    if isinstance(case.edge, FakeEdge):
        case.edge.counted["a1"] = (5, 2)
    else:
        with Client(case.rig.port) as client:
            for target in ("/who", "/who", "/status?404", "/status?500", "/status?503"):
                client.get(target)
    second = case.edge.counts()
    assert second.worker == first.worker
    assert {c.name: (c.requests, c.errors) for c in second.servers} == {"a1": (5, 2), "b1": (0, 0)}


def test_what_waits_for_an_answer(case: Case) -> None:
    case.edge.apply(case.state(case.server("a1")))
    assert case.edge.waiting(SHOP, "a1") == case.edge.waiting(SHOP, "nobody") == 0
    if isinstance(case.edge, FakeEdge):
        case.edge.unanswered["a1"] = 1
        assert case.edge.waiting(SHOP, "a1") == 1
        return
    with Client(case.rig.port) as client:
        client.send(b"GET /slow?20 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: case.edge.waiting(SHOP, "a1") == 1)


def test_sleeping_and_waking_without_a_reload_and_who_wants_in(case: Case) -> None:
    awake = case.state(case.server("a1"))
    assert case.edge.apply(awake).method == "runtime"
    assert case.edge.apply(shop(case.state(), asleep=True)).method == "runtime"
    assert case.edge.apply(shop(case.state(), asleep=True)).method == "none"
    assert case.edge.wanted() == frozenset()
    with Client(case.rig.port) as client:
        if isinstance(case.edge, FakeEdge):
            case.edge.asked.add(SHOP)
        else:
            client.send(b"GET /who HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: case.edge.wanted() == {SHOP})
        assert case.edge.apply(awake).method == "runtime"
        if isinstance(case.edge, HaproxyEdge):
            assert client.read_answer().text == "a1"
    assert case.edge.wanted() == frozenset()


def test_cookies_are_followed_elsewhere_without_a_reload(case: Case) -> None:
    def pinned(follow: bool | None) -> EdgeState:
        one = replace(case.server("b1", 0), follow=follow)
        return shop(case.state(case.server("a1"), one), stick="pin")

    case.edge.apply(case.state(case.server("a1"), case.server("b1", 0)))
    assert case.edge.apply(pinned(None)).method == "reload"
    assert case.edge.apply(pinned(False)).method == "none"
    assert case.edge.apply(pinned(True)).method == "runtime"
    assert case.edge.apply(pinned(True)).method == "none"
    assert case.edge.apply(pinned(None)).method == "runtime"


def test_hooks_begin_by_a_reload_and_are_no_server(case: Case) -> None:
    hooked = replace(case.state(case.server("a1")), hooks="/run/homeport/hooks.sock")
    assert case.edge.apply(hooked).method == "reload"
    assert case.edge.apply(hooked).method == "none"
    assert [s.name for s in case.edge.observe()] == ["a1"]
    assert [c.name for c in case.edge.counts().servers] == ["a1"]


BROKEN = {
    "a weight over 256": lambda c: c.state(c.server("a1", 257)),
    "a negative weight": lambda c: c.state(c.server("a1", -1)),
    "a server name with a space": lambda c: c.state(replace(c.server("a1"), name="a b")),
    "a server name with a line break": lambda c: c.state(replace(c.server("a1"), name="a\n    stats enable")),
    "an address that is none": lambda c: c.state(replace(c.server("a1"), address="localhost; quit")),
    "a health path with a command": lambda c: c.state(replace(c.server("a1"), health_path="/;shutdown")),
    "a server twice": lambda c: c.state(c.server("a1"), c.server("a1")),
    "a route to nowhere": lambda c: c.state(routes=(Route("*", "/", OTHER),)),
    "a route twice": lambda c: c.state(routes=(Route("*", "/x", SHOP), Route("*", "/x/", SHOP))),
    "a host that is none": lambda c: c.state(routes=(Route("a b", "/", SHOP),)),
    "a prefix that is none": lambda c: c.state(routes=(Route("*", "x", SHOP),)),
    "a stick that is none": lambda c: shop(c.state(c.server("a1")), stick="left"),
    "hooks with a command": lambda c: replace(c.state(), hooks="/run/x.sock check"),
    "hooks on no path": lambda c: replace(c.state(), hooks="localhost:80"),
    "hooks beyond what a socket can be": lambda c: replace(c.state(), hooks="/" + "x" * 107),
    "a service with the name of hooks": lambda c: replace(c.state(), services=(Service("hooks"),), routes=()),
    "a port that is none": lambda c: replace(c.state(), http=Bind("127.0.0.1", 0)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_bad_state_is_refused_and_nothing_changes(case: Case, what: str) -> None:
    case.edge.apply(case.state(case.server("a1")))
    with pytest.raises(HomeportError) as caught:
        case.edge.apply(BROKEN[what](case))
    assert caught.value.code == "edge.config_invalid"
    assert caught.value.details
    assert case.edge.apply(case.state(case.server("a1"))).method == "none"


DOWN, READ = Mode(SHOP, "maintenance", "soon"), Mode(SHOP, "read-only", allow=("10.0.0.0/8",), exempt=("/x",))


def test_modes_are_switched_without_a_reload(case: Case) -> None:
    state = case.state(case.server("a1"))
    case.edge.apply(state)
    for modes, method in (
        ((DOWN,), "runtime"),
        ((DOWN,), "none"),
        ((READ, DOWN), "none"),
        ((DOWN, READ), "none"),
        ((replace(DOWN, message="later"), READ), "runtime"),
        ((READ,), "runtime"),
        ((READ, replace(DOWN, service=OTHER)), "none"),
        ((), "runtime"),
        ((replace(DOWN, service=OTHER),), "none"),
    ):
        assert case.edge.apply(replace(state, modes=modes)).method == method, modes


BAD_MODES = {
    "another kind": (replace(DOWN, kind="off"),),
    "a control character": (replace(DOWN, message="\x1b[2J"),),
    "no network": (replace(DOWN, allow=("here",)),),
    "an exempt path with dots": (replace(READ, exempt=("/x/..",)),),
    "a page too long": (replace(DOWN, page="x" * 10241),),
    "one kind twice": (DOWN, replace(DOWN, message="other")),
    "of a service that is not there": (replace(DOWN, service=OTHER, retry_after=0),),
}


@pytest.mark.parametrize("what", BAD_MODES)
def test_a_bad_mode_is_refused_and_nothing_changes(case: Case, what: str) -> None:
    good = replace(case.state(case.server("a1")), modes=(READ,))
    case.edge.apply(good)
    with pytest.raises(HomeportError) as caught:
        case.edge.apply(replace(good, modes=BAD_MODES[what]))
    assert caught.value.code == "edge.bad_mode"
    assert caught.value.details
    assert case.edge.apply(good).method == "none"


def test_out_of_reach(case: Case) -> None:
    state = case.state(case.server("a1"))
    case.edge.apply(state)
    case.vanish()
    for call in (
        lambda: case.edge.apply(state),
        case.edge.observe,
        lambda: case.edge.sessions(SHOP, "a1"),
        case.edge.counts,
        lambda: case.edge.waiting(SHOP, "a1"),
        case.edge.wanted,
    ):
        with pytest.raises(HomeportError) as caught:
            call()
        assert caught.value.code == "edge.unreachable"
