"""What to do so that HAProxy runs what is wanted. Pure.

The order of a runtime change holds the promise that no request finds a service without a server that
had one before and is to have one after: servers are added and raised first, routes moved next, and only
then are others lowered, closed and removed. Cookies are followed to servers after those are there and
until before they are lowered. Around that, modes are switched on before anything else and off after all
else; so a service sleeps before its servers go and wakes when they are there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homeport.edge import commands
from homeport.edge.commands import Layout, endpoint
from homeport.edge.model import EdgeState, Server, Service
from homeport.edge.observed import Pairs, Running, RunningServer
from homeport.edge.render import digest


@dataclass(frozen=True, slots=True)
class Nothing:
    """It runs already. ``leftovers`` are commands that remove closed servers that have become idle."""

    leftovers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """``reason`` is for people."""

    reason: str


Plan = Nothing | Runtime | Reload


def plan(running: Running, state: EdgeState, layout: Layout) -> Plan:
    if running.digest != digest(state, layout):
        return Reload("listeners, services or their settings differ")
    if running.stopping:
        return Reload("the worker that answers is stopping")
    have = {(s.service, s.name): s for s in running.servers}
    want = {(service.name, s.name): (service, s) for service in state.services for s in service.servers}
    for key, (_, server) in want.items():
        found = have.get(key)
        if found is not None and found.endpoint != endpoint(server.address, server.port):
            return Reload(f"server {server.name} moved from {found.endpoint}")
    maps = (
        _MapChange.between(layout.health, running.health, commands.health_entries(state.services)),
        _MapChange.between(layout.routes, running.routes, commands.route_entries(state.routes)),
        _MapChange.between(layout.hosts, running.hosts, commands.host_entries(state.routes)),
        _MapChange.between(layout.pins, running.pins, commands.pin_entries(state.services)),
    )
    mode_changes = _mode_changes(running.mode_maps, state, layout)
    if any(change is None for change in (*maps, *mode_changes)):
        return Reload("a map holds a key twice")
    health, routes, hosts, pins = (change for change in maps if change is not None)
    switched = [change for change in mode_changes if change is not None]

    opened: list[str] = []
    raised: list[str] = []
    lowered: list[str] = []
    for key in sorted(want):
        service, server = want[key]
        found = have.get(key)
        if found is None:
            opened += commands.add_server(service, server)
        else:
            up, down = _adjust(found, service, server)
            raised += up
            lowered += down
    gone = [have[key] for key in sorted(have) if key not in want]
    closed = [commands.close_server(s.service, s.name) for s in gone if not s.in_maintenance]
    removable = [commands.delete_server(s.service, s.name) for s in gone if s.connections == 0]

    main = (
        *(command for change in switched for command in change.put),
        *health.put, *opened, *raised, *pins.put, *routes.put, *hosts.put, *pins.dropped, *lowered,
        *hosts.dropped, *routes.dropped, *closed,
        *(command for change in reversed(switched) for command in change.dropped),
    )  # fmt: skip
    if not main and not health.dropped:
        return Nothing(tuple(removable))
    return Runtime((*main, *removable, *health.dropped))


def obey_modes(have: tuple[Pairs, ...], state: EdgeState, layout: Layout) -> tuple[str, ...]:
    """Commands by which a worker whose mode maps hold ``have`` obeys the modes of ``state``; () when it does."""
    put: list[str] = []
    dropped: list[str] = []
    wanted = commands.mode_entries(state)
    for file, entries, change in zip(
        layout.mode_maps, wanted, _mode_changes(have, state, layout), strict=True
    ):
        if change is None:
            put.append(commands.clear_map(file))
            put += (commands.add_to_map(file, key, entries[key]) for key in sorted(entries))
        else:
            put += change.put
            dropped = [*change.dropped, *dropped]
    return (*put, *dropped)


def _mode_changes(
    have: tuple[Pairs, ...], state: EdgeState, layout: Layout
) -> "tuple[_MapChange | None, ...]":
    return tuple(
        _MapChange.between(file, pairs, entries)
        for file, pairs, entries in zip(layout.mode_maps, have, commands.mode_entries(state), strict=True)
    )


def _adjust(found: RunningServer, service: Service, server: Server) -> tuple[list[str], list[str]]:
    """Commands that raise a server's share and ones that lower it."""
    weight = [commands.set_weight(service.name, server.name, server.weight)]
    if found.in_maintenance:
        return [*weight, *commands.reopen_server(service.name, server.name)], []
    if found.weight == server.weight:
        return [], []
    return (weight, []) if server.weight > found.weight else ([], weight)


@dataclass(frozen=True, slots=True)
class _MapChange:
    put: tuple[str, ...]
    dropped: tuple[str, ...]

    @staticmethod
    def between(file: Path, have: Pairs, want: Mapping[str, str]) -> "_MapChange | None":
        """None when a key is held twice: no command says which of the two is meant."""
        now = dict(have)
        if len(now) != len(have):
            return None
        put = []
        for key in sorted(want):
            if key not in now:
                put.append(commands.add_to_map(file, key, want[key]))
            elif now[key] != want[key]:
                put.append(commands.set_in_map(file, key, want[key]))
        dropped = [commands.delete_from_map(file, key) for key in sorted(now) if key not in want]
        return _MapChange(tuple(put), tuple(dropped))


def differences(running: Running, state: EdgeState, layout: Layout) -> tuple[str, ...]:
    """What still differs, for people; () when nothing does."""
    match plan(running, state, layout):
        case Nothing():
            return ()
        case Reload(reason):
            return (reason,)
        case Runtime(steps):
            return tuple(f"still to do: {step}" for step in steps)
