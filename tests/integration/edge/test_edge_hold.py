"""Services that sleep: requests are held, told of, and go on when the service wakes."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from edge_rig import SHOP, Answer, Client, Rig, wait_until

from homeport.edge import commands, control, hold
from homeport.edge.model import EdgeState, Mode, Route, Server, Service
from homeport.kernel.ids import ServiceName

OTHER = ServiceName("other.production.web")


def shop(rig: Rig, *servers: Server, asleep: bool = False, modes: tuple[Mode, ...] = ()) -> EdgeState:
    """The shop, and another service that is awake, at /other."""
    plain = rig.state(
        *servers,
        routes=(Route("*", "/", SHOP), Route("*", "/other", OTHER)),
        more=(Service(OTHER, (rig.server("o1"),)),),
    )
    return replace(
        plain,
        services=(replace(plain.services[0], asleep=asleep), *plain.services[1:]),
        modes=modes,
    )


class Call:
    """A request in a thread of its own."""

    def __init__(self, rig: Rig, method: str = "GET", target: str = "/who", body: bytes = b"") -> None:
        self.answer: Answer | None = None
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(rig.port, method, target, body))
        self._thread.start()

    def _run(self, port: int, method: str, target: str, body: bytes) -> None:
        try:
            with Client(port, timeout=45) as client:
                self.answer = client.request(method, target, body)
        except BaseException as e:
            self.failure = e

    @property
    def pending(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> Answer:
        self._thread.join(45)
        assert self.failure is None, self.failure
        assert self.answer is not None
        return self.answer


@pytest.fixture
def asleep(rig: Any) -> Rig:
    made: Rig = rig
    for name in ("a1", "o1"):
        made.backend(name)
    made.start(shop(made, made.server("a1")))
    made.wait_up("a1", "o1")
    assert made.edge.apply(shop(made, asleep=True)).method == "runtime"
    return made


def wake(rig: Rig) -> None:
    assert rig.edge.apply(shop(rig, rig.server("a1"))).method == "runtime"


def held(rig: Rig) -> None:
    wait_until(lambda: rig.edge.wanted() == {SHOP}, what="a wish")


def test_requests_are_held_told_and_go_on(asleep: Rig) -> None:
    assert asleep.edge.wanted() == frozenset()
    body = b"x" * 300_000
    calls = [Call(asleep) for _ in range(5)] + [Call(asleep, "POST", "/upload", body) for _ in range(5)]
    for _ in range(3):
        held(asleep)
    assert all(call.pending for call in calls)
    assert sum(asleep.backends["a1"].requests.values()) == 0
    wake(asleep)
    answers = [call.wait() for call in calls]
    assert [(a.status, a.text) for a in answers] == [(200, "a1")] * 5 + [(200, str(len(body)))] * 5
    assert asleep.backends["a1"].requests == {"GET /who": 5, "POST /upload": 5}
    assert asleep.edge.wanted() == frozenset()


def test_a_wish_is_told_that_nobody_waits_for_any_more(asleep: Rig) -> None:
    with Client(asleep.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        held(asleep)
    wake(asleep)
    assert asleep.edge.apply(shop(asleep, asleep=True)).method == "runtime"
    wait_until(lambda: asleep.edge.wanted() == frozenset())


def test_a_wish_that_came_true_is_not_told_later(asleep: Rig) -> None:
    call = Call(asleep)
    held(asleep)
    wait_until(lambda: "shop" in control.ask(asleep.layout, commands.show_map(asleep.layout.wanted)))
    wake(asleep)
    assert call.wait().text == "a1"
    assert asleep.edge.apply(shop(asleep, asleep=True)).method == "runtime"
    assert asleep.edge.wanted() == frozenset()


def test_held_requests_hold_up_nobody_else(asleep: Rig) -> None:
    calls = [Call(asleep) for _ in range(10)]
    held(asleep)
    with Client(asleep.port, timeout=5) as client:
        for _ in range(300):
            assert client.get("/other").text == "o1"
    assert all(call.pending for call in calls)
    wake(asleep)
    assert [call.wait().text for call in calls] == ["a1"] * 10


def test_it_waits_for_a_server_that_is_up(asleep: Rig) -> None:
    call = Call(asleep)
    held(asleep)
    assert asleep.edge.apply(shop(asleep)).method == "runtime"
    time.sleep(0.3)
    assert call.pending
    wake(asleep)
    assert call.wait().text == "a1"


def test_it_sleeps_and_wakes_under_load_without_a_failure(asleep: Rig) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def load() -> None:
        with Client(asleep.port, timeout=45) as client:
            while not stop.is_set():
                statuses.append(client.status())

    wake(asleep)
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        asleep.edge.apply(shop(asleep, asleep.server("a1"), asleep=True))
        wait_until(lambda: asleep.edge.sessions(SHOP, "a1") == 0)
        asleep.edge.apply(shop(asleep, asleep=True))
        held(asleep)
        wake(asleep)
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}


def test_a_reload_meanwhile_sends_held_requests_to_the_new_worker(asleep: Rig) -> None:
    get, post = Call(asleep, "GET", "/who?x=1&y=/"), Call(asleep, "POST", "/upload", b"body")
    held(asleep)
    more = replace(shop(asleep, asleep=True), hooks=str(asleep.directory / "none.sock"))
    assert asleep.edge.apply(more).method == "reload"
    for call, target in ((get, "/who?x=1&y=/"), (post, "/upload")):
        answer = call.wait()
        assert (answer.status, answer.headers["location"]) == (307, target)
        assert answer.headers["connection"] == "close"
    again = Call(asleep)
    held(asleep)
    assert asleep.edge.apply(replace(more, services=shop(asleep, asleep.server("a1")).services))
    assert again.wait().text == "a1"


DOWN, READ = Mode(SHOP, "maintenance", "soon", retry_after=77), Mode(SHOP, "read-only", retry_after=88)


def test_maintenance_wakes_nobody_but_for_those_whom_it_lets_through(asleep: Rig) -> None:
    asleep.edge.apply(shop(asleep, asleep=True, modes=(DOWN,)))
    with Client(asleep.port) as client:
        answer = client.get("/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "77")
    assert asleep.edge.wanted() == frozenset()
    let_in = replace(DOWN, allow=("127.0.0.0/8",))
    asleep.edge.apply(shop(asleep, asleep=True, modes=(let_in,)))
    call = Call(asleep)
    held(asleep)
    asleep.edge.apply(shop(asleep, asleep.server("a1"), modes=(let_in,)))
    assert call.wait().text == "a1"


def test_read_only_is_obeyed_by_what_was_held(asleep: Rig) -> None:
    asleep.edge.apply(shop(asleep, asleep=True, modes=(READ,)))
    get, post = Call(asleep), Call(asleep, "POST", "/upload", b"x")
    held(asleep)
    asleep.edge.apply(shop(asleep, asleep.server("a1"), modes=(READ,)))
    assert (get.wait().text, post.wait().status) == ("a1", 503)
    assert asleep.backends["a1"].requests == {"GET /who": 1}


def test_a_mode_switched_on_meanwhile_is_obeyed(asleep: Rig) -> None:
    call = Call(asleep)
    held(asleep)
    asleep.edge.apply(shop(asleep, asleep.server("a1"), modes=(DOWN,)))
    answer = call.wait()
    assert (answer.status, answer.headers["retry-after"]) == (503, "77")


def test_who_waits_too_long_is_told_to_come_again(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "SECONDS", 1)
    for name in ("a1", "o1"):
        rig.backend(name)
    rig.start(shop(rig, asleep=True))
    with Client(rig.port) as client:
        answer = client.get("/", Accept="application/json")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert rig.edge.wanted() in ({SHOP}, frozenset())


def test_a_haproxy_without_lua_tells_the_wish_and_has_clients_come_again(
    asleep: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other branch of ``.if feature(LUA)``, on an HAProxy that has it."""
    from homeport.edge import render

    whole = render._settings
    monkeypatch.setattr(render, "_settings", lambda *a: whole(*a).replace("feature(LUA)", "feature(NO_LUA)"))
    assert asleep.edge.apply(shop(asleep, asleep=True)).method == "reload"
    with Client(asleep.port) as client:
        answer = client.get("/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert asleep.edge.wanted() == {SHOP}
    assert asleep.edge.wanted() == frozenset()


def test_it_comes_up_asleep(asleep: Rig) -> None:
    """From disk alone, as after a reboot."""
    for child in asleep.started:
        child.terminate()
        child.wait(10)
    asleep.spawn()
    asleep.wait_ready()
    call = Call(asleep)
    held(asleep)
    wake(asleep)
    assert call.wait().text == "a1"
