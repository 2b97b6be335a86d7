"""The plan: what is done, in which order, and that it survives interruption at each step."""

import random
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from homeport.edge import commands
from homeport.edge.commands import Layout
from homeport.edge.model import Bind, EdgeState, Mode, Route, Server, Service
from homeport.edge.observed import Pairs, Running, RunningServer
from homeport.edge.plan import Nothing, Reload, Runtime, differences, obey_modes, plan
from homeport.edge.render import digest
from homeport.kernel.ids import ServiceName

SHOP, SITE = ServiceName("shop.production.web"), ServiceName("site.production.web")
LAYOUT = Layout(Path("/edge"))


def state(*servers: Server, routes: tuple[Route, ...] = (Route("*", "/", SHOP),)) -> EdgeState:
    return EdgeState(Bind("0.0.0.0", 80), None, (Service(SHOP, servers), Service(SITE)), routes)


def server(name: str, weight: int = 100, **more: object) -> Server:
    return Server(name, 9000 + ord(name[0]), weight, **more)


def shop(*servers: Server, stick: str = "", asleep: bool = False) -> EdgeState:
    plain = state(*servers)
    return replace(
        plain, services=(replace(plain.services[0], stick=stick, asleep=asleep), *plain.services[1:])
    )


class HaproxyModel:
    """Obeys runtime commands as HAProxy does; ``busy`` servers cannot be deleted."""

    def __init__(self, start: EdgeState) -> None:
        self.digest = digest(start, LAYOUT)
        self.servers: dict[tuple[str, str], RunningServer] = {}
        self.maps: dict[str, dict[str, str]] = {
            str(LAYOUT.hosts): commands.host_entries(start.routes),
            str(LAYOUT.routes): commands.route_entries(start.routes),
            str(LAYOUT.health): commands.health_entries(start.services),
            str(LAYOUT.pins): commands.pin_entries(start.services),
        }
        for file, entries in zip(LAYOUT.mode_maps, commands.mode_entries(start), strict=True):
            self.maps[str(file)] = dict(entries)
        self.busy: set[str] = set()
        for service in start.services:
            for s in service.servers:
                self._add(service.name, s.name, commands.endpoint(s.address, s.port), s.weight, "UP")

    def _add(self, service: str, name: str, endpoint: str, weight: int, status: str) -> None:
        self.servers[service, name] = RunningServer(
            ServiceName(service), name, endpoint, weight, status, 0, 0, "L7OK/200"
        )

    def running(self) -> Running:
        return Running(
            1, self.digest, False,
            tuple(replace(s, connections=int(s.name in self.busy)) for s in self.servers.values()),
            *(self._pairs(file) for file in (LAYOUT.hosts, LAYOUT.routes, LAYOUT.health, LAYOUT.pins)),
            tuple(self._pairs(file) for file in LAYOUT.mode_maps),
        )  # fmt: skip

    def _pairs(self, file: Path) -> Pairs:
        return tuple(self.maps[str(file)].items())

    def modes_are_whole(self) -> bool:
        """Every mode that is switched on has all that answers are made of."""
        texts = self.maps[str(LAYOUT.mode_texts)]
        return all(
            {mode, f"{mode}.json", f"{mode}/retry"} <= texts.keys()
            for service, mode in self.maps[str(LAYOUT.modes)].items()
            if mode != f"{service}/asleep" or service not in self.maps[str(LAYOUT.asleep)]
        )

    def serves_or_holds(self) -> bool:
        return self.serving() > 0 or all(SHOP in self.maps[str(m)] for m in (LAYOUT.asleep, LAYOUT.modes))

    def obey(self, command: str) -> None:
        words = command.split()
        match words:
            case ["add", "map", file, key, value]:
                assert key not in self.maps[file], "HAProxy would hold the key twice"
                self.maps[file][key] = value
            case ["set", "map", file, key, value]:
                assert key in self.maps[file]
                self.maps[file][key] = value
            case ["del", "map", file, key]:
                del self.maps[file][key]
            case ["clear", "map", file]:
                self.maps[file].clear()
            case ["add", "server", name, endpoint, "weight", weight, *_]:
                service, _, instance = name.partition("/")
                assert (service, instance) not in self.servers
                assert instance in self.maps[str(LAYOUT.health)], "checked before its path is known"
                self._add(service, instance, endpoint, int(weight), "MAINT")
            case ["enable", "health", name]:
                self._find(name)
            case ["enable", "server", name] | ["set", "server", name, "state", "ready"]:
                self._change(name, status="UP")
            case ["set", "server", name, "weight", weight]:
                self._change(name, weight=int(weight))
            case ["set", "server", name, "state", "maint"]:
                self._change(name, status="MAINT")
            case ["del", "server", name]:
                found = self._find(name)
                if found.in_maintenance and found.name not in self.busy:
                    del self.servers[found.service, found.name]
            case _:
                raise AssertionError(f"unknown command: {command}")

    def _find(self, name: str) -> RunningServer:
        service, _, instance = name.partition("/")
        return self.servers[service, instance]

    def _change(self, name: str, **change: object) -> None:
        found = self._find(name)
        self.servers[found.service, found.name] = replace(found, **change)

    def serving(self) -> int:
        """The sum of weights that take new requests of the shop."""
        return sum(s.weight for s in self.servers.values() if not s.in_maintenance and s.service == SHOP)


STATES = (
    state(server("a")),
    state(server("a", 0), server("b")),
    state(server("b", 256), routes=(Route("shop.example", "/", SHOP), Route("*", "/x", SITE))),
    state(server("b", 5, health_path="/up"), server("c", 7), routes=(Route("shop.example", "/", SITE),)),
    state(server("a", 1, health_path="/a"), server("b", 0), server("c", 3)),
    replace(
        state(server("a")),
        modes=(
            Mode(SHOP, "maintenance", "one", allow=("10.0.0.0/8", "::1/128")),
            Mode(SITE, "read-only", "two", allow=("10.1.0.0/16",), exempt=("/login",)),
        ),
    ),
    replace(state(server("b")), modes=(Mode(SHOP, "read-only", exempt=("/",)), Mode(SITE, "maintenance"))),
    shop(asleep=True),
)
PINNED = (
    shop(server("a"), server("b", 0, follow=True), stick="pin"),
    shop(server("a", 0), server("b", follow=False), stick="pin"),
    shop(server("b"), server("c", 3), stick="pin"),
    shop(stick="pin", asleep=True),
)
PAIRS = (*product(STATES, STATES), *product(PINNED, PINNED))


@pytest.mark.parametrize(("first", "then"), PAIRS)
def test_it_arrives_from_every_interrupted_prefix_and_always_serves(
    first: EdgeState, then: EdgeState
) -> None:
    whole = plan(HaproxyModel(first).running(), then, LAYOUT)
    steps = whole.commands if isinstance(whole, Runtime) else ()
    for stop in range(len(steps) + 1):
        haproxy = HaproxyModel(first)
        for step in steps[:stop]:
            haproxy.obey(step)
            assert haproxy.serves_or_holds(), f"no server after {step}"
            assert haproxy.modes_are_whole(), step
        rest = plan(haproxy.running(), then, LAYOUT)
        for step in rest.commands if isinstance(rest, Runtime) else ():
            haproxy.obey(step)
            assert haproxy.serves_or_holds(), f"no server after {step}"
            assert haproxy.modes_are_whole(), step
        assert differences(haproxy.running(), then, LAYOUT) == ()
        want = {s.name: s.weight for s in then.services[0].servers}
        assert {s.name: s.weight for s in haproxy.servers.values() if not s.in_maintenance} == want


def test_the_same_again_is_nothing() -> None:
    for one in (*STATES, *PINNED):
        assert plan(HaproxyModel(one).running(), one, LAYOUT) == Nothing()


def test_a_busy_server_is_closed_now_and_deleted_once_idle() -> None:
    haproxy = HaproxyModel(state(server("a"), server("b")))
    haproxy.busy = {"a"}
    step = plan(haproxy.running(), state(server("b")), LAYOUT)
    assert isinstance(step, Runtime)
    assert f"set server {SHOP}/a state maint" in step.commands
    for command in step.commands:
        haproxy.obey(command)
    assert plan(haproxy.running(), state(server("b")), LAYOUT) == Nothing()
    haproxy.busy = set()
    assert plan(haproxy.running(), state(server("b")), LAYOUT) == Nothing((f"del server {SHOP}/a",))


def test_raising_comes_before_lowering() -> None:
    step = plan(
        HaproxyModel(state(server("a", 100), server("b", 0))).running(),
        state(server("a", 0), server("b", 100)),
        LAYOUT,
    )
    assert step == Runtime((f"set server {SHOP}/b weight 100", f"set server {SHOP}/a weight 0"))


def test_what_needs_a_reload() -> None:
    start = state(server("a"))
    running = HaproxyModel(start).running()
    other = start.services[0]
    for changed in (
        replace(start, http=Bind("0.0.0.0", 81)),
        replace(start, https=Bind("0.0.0.0", 443)),
        replace(start, drain_limit=1.0),
        replace(start, services=start.services[:1]),
        replace(start, services=(replace(other, response_timeout=1.0), start.services[1])),
        replace(start, services=(replace(other, check_interval=9.0), start.services[1])),
        replace(start, services=(replace(other, unhealthy_after=9), start.services[1])),
        replace(start, services=(replace(other, stick="side"), start.services[1])),
        replace(start, hooks="/run/hooks.sock"),
        state(replace(server("a"), port=1)),
        state(replace(server("a"), address="::1")),
    ):
        assert isinstance(plan(running, changed, LAYOUT), Reload), changed
    assert isinstance(plan(replace(running, stopping=True), start, LAYOUT), Reload)
    doubled = replace(running, routes=running.routes * 2)
    assert plan(doubled, start, LAYOUT) == Reload("a map holds a key twice")
    assert differences(doubled, start, LAYOUT) == ("a map holds a key twice",)


def test_order_never_matters() -> None:
    shuffle = random.Random(7).shuffle
    full = STATES[3]
    services, routes = list(full.services), list(full.routes)
    shuffle(services)
    shuffle(routes)
    services = [replace(s, servers=s.servers[::-1]) for s in services]
    turned = replace(full, services=tuple(services), routes=tuple(routes))
    assert plan(HaproxyModel(full).running(), turned, LAYOUT) == Nothing()


ON = replace(state(server("a"), server("b", 0)), modes=(Mode(SHOP, "maintenance", allow=("10.0.0.0/8",)),))


def test_modes_go_on_before_all_else_and_off_after() -> None:
    off = state(server("a", 0), server("b"))
    on = plan(HaproxyModel(off).running(), ON, LAYOUT)
    assert isinstance(on, Runtime)
    where = on.commands.index(f"add map {LAYOUT.modes} {SHOP} {SHOP}/maintenance")
    assert all(" map " in command for command in on.commands[:where])
    assert [c.split()[2] for c in on.commands[where + 1 :]] == [f"{SHOP}/a", f"{SHOP}/b"]
    back = plan(HaproxyModel(ON).running(), off, LAYOUT)
    assert isinstance(back, Runtime)
    where = back.commands.index(f"del map {LAYOUT.modes} {SHOP}")
    assert [c.split()[:2] for c in back.commands[:where]] == [["set", "server"]] * 2
    assert all(c.startswith("del map ") for c in back.commands[where:])


@pytest.mark.parametrize("then", STATES)
def test_a_draining_worker_obeys_the_modes_from_whatever_it_has(then: EdgeState) -> None:
    for first in STATES:
        haproxy = HaproxyModel(first)
        for command in obey_modes(haproxy.running().mode_maps, then, LAYOUT):
            haproxy.obey(command)
            assert haproxy.modes_are_whole(), command
        assert obey_modes(haproxy.running().mode_maps, then, LAYOUT) == ()


def test_a_mode_map_that_holds_a_key_twice_is_made_anew() -> None:
    running = HaproxyModel(ON).running()
    doubled = (*running.mode_maps[:-1], running.mode_maps[-1] * 2)
    assert plan(replace(running, mode_maps=doubled), ON, LAYOUT) == Reload("a map holds a key twice")
    assert obey_modes(doubled, ON, LAYOUT) == (
        f"clear map {LAYOUT.modes}",
        f"add map {LAYOUT.modes} {SHOP} {SHOP}/maintenance",
    )


def test_a_service_sleeps_before_its_servers_go_and_wakes_when_they_are_there() -> None:
    there, asleep = shop(server("a"), server("b")), shop(asleep=True)
    down = plan(HaproxyModel(there).running(), asleep, LAYOUT)
    assert isinstance(down, Runtime)
    assert down.commands[:2] == (
        f"add map {LAYOUT.asleep} {SHOP} {SHOP}",
        f"add map {LAYOUT.modes} {SHOP} {SHOP}/asleep",
    )
    up = plan(HaproxyModel(asleep).running(), there, LAYOUT)
    assert isinstance(up, Runtime)
    assert up.commands[-2:] == (f"del map {LAYOUT.modes} {SHOP}", f"del map {LAYOUT.asleep} {SHOP}")


def test_following_changes_by_runtime_commands() -> None:
    both = shop(server("a"), server("b", 0, follow=True), stick="pin")
    none = shop(server("a"), server("b", 0, follow=False), stick="pin")
    assert plan(HaproxyModel(both).running(), none, LAYOUT) == Runtime((f"del map {LAYOUT.pins} b",))
    assert plan(HaproxyModel(none).running(), both, LAYOUT) == Runtime((f"add map {LAYOUT.pins} b b",))
    gone = plan(HaproxyModel(both).running(), shop(server("a"), stick="pin"), LAYOUT)
    assert isinstance(gone, Runtime)
    assert gone.commands[:2] == (f"del map {LAYOUT.pins} b", f"set server {SHOP}/b state maint")


@pytest.mark.parametrize(
    ("stick", "weight", "follow", "followed"),
    [
        ("", 100, True, False),
        ("side", 100, None, True),
        ("side", 0, None, False),
        ("side", 0, True, False),
        ("side", 100, False, False),
        ("pin", 100, None, True),
        ("pin", 0, None, False),
        ("pin", 0, True, True),
        ("pin", 100, False, False),
    ],
)
def test_which_servers_cookies_are_followed_to(
    stick: str, weight: int, follow: bool | None, followed: bool
) -> None:
    one = shop(server("a", weight, follow=follow), stick=stick)
    assert commands.pin_entries(one.services) == ({"a": "a"} if followed else {})
