"""``[processes]`` and ``[routes]``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from homeport.kernel.ids import ProcessName
from homeport.spec.keys import DEFAULT_ROUTE
from homeport.spec.keys_processes import HEALTH, HEARTBEAT, LIVENESS, PROCESS
from homeport.spec.locate import Path
from homeport.spec.model import Health, Heartbeat, Liveness, Process, Route
from homeport.spec.reading import Reading, Values
from homeport.spec.routes import ANY_HOST, read_route
from homeport.spec.values import Name, shown

OWN_NAMES = ("cron-", "run-", "hook-")
"""What the names of Homeport's own instances begin with."""
MOST_REHOSTED = 1000
"""Routes that ``domains`` may give: the app's routes times the domains."""
_LONGEST_GUESSED = 60

_WORKERS_ONLY = ("start", "exclusive", "liveness", "heartbeat")
_ROUTED_ONLY = ("health", "response_timeout")


def read_processes(reading: Reading, document: Values) -> tuple[Process, ...]:
    """At least one, or a problem."""
    found = reading.named(document, "processes", "web")
    if not found and not reading.problems.under(("processes",)):
        reading.problems.add(
            ("processes",),
            "an app needs a process: add [processes.web] with a command or a static directory",
        )
    return tuple(
        reading.once(f"process {name}", (data,), partial(_process, reading, name, data))
        for name, data in found.items()
    )


def _process(reading: Reading, name: str, data: Values) -> Process:
    path = ("processes", name)
    try:
        Name().read(name)
        if name.startswith(OWN_NAMES):
            own = " or ".join(f'"{start}"' for start in OWN_NAMES)
            raise ValueError(f"must not begin with {own}: such names are Homeport's own")
    except ValueError as error:
        reading.problems.add(path, str(error))
    values = reading.keys(PROCESS, path, data)
    if "command" in data and "static" in data:
        reading.problems.add(path, 'has both "command" and "static": a process has one of them')
    elif "command" not in data and "static" not in data:
        reading.problems.add(path, 'needs a "command", or "static" with a directory')
    values.setdefault("command", "")
    health = reading.keys(HEALTH, (*path, "health"), reading.table(data, (*path, "health")))
    return Process(
        ProcessName(name),
        health=Health(**health),
        liveness=_liveness(reading, path, data),
        heartbeat=_heartbeat(reading, path, data),
        **values,
    )


def _liveness(reading: Reading, process: Path, data: Values) -> Liveness | None:
    path = (*process, "liveness")
    table = reading.table(data, path)
    values = reading.keys(LIVENESS, path, table)
    if "liveness" not in data or not isinstance(data["liveness"], dict):
        return None
    return Liveness(**values) if reading.required(("command",), path, table) and "command" in values else None


def _heartbeat(reading: Reading, process: Path, data: Values) -> Heartbeat | None:
    path = (*process, "heartbeat")
    table = reading.table(data, path)
    values = reading.keys(HEARTBEAT, path, table)
    if "heartbeat" not in data or not isinstance(data["heartbeat"], dict):
        return None
    return Heartbeat(**values) if reading.required(("file",), path, table) and "file" in values else None


def read_routes(reading: Reading, document: Values, processes: tuple[str, ...]) -> tuple[Route, ...]:
    """The routes of ``[routes]``, or the default one where there is no such table."""
    if "routes" not in document:
        host, process = DEFAULT_ROUTE
        return (Route(host, "/", ProcessName(process)),) if process in processes else ()
    written, named = reading.once("routes", (document["routes"],), partial(_routes, reading, document))
    known = frozenset(processes)
    if not named <= known:
        for key, route in written:
            if route.process not in known:
                reason = f"no process {shown(route.process)}{reading.guess(route.process, processes)}"
                reading.problems.add(("routes", key), reason)
    return tuple(route for _, route in written)


def _routes(
    reading: Reading, document: Values
) -> tuple[tuple[tuple[str, Route], ...], frozenset[ProcessName]]:
    """The routes, each with its key, and the processes that they name, whether or not those are there."""
    routes: dict[tuple[str, str], tuple[str, Route]] = {}
    for key, process in reading.table(document, ("routes",)).items():
        path = ("routes", key)
        if isinstance(process, dict):
            meant = _unnested(key, process)
            reading.problems.add(path, f"must be the name of a process; a host stands in quotes: {meant}")
            continue
        try:
            host, prefix = read_route(key)
        except ValueError as error:
            reading.problems.add(path, str(error))
            continue
        if not isinstance(process, str):
            reading.problems.add(path, f"must be the name of a process, got {shown(process)}")
        elif (host, prefix) in routes:
            other = reading.place(("routes", routes[host, prefix][0]))
            reading.problems.add(path, f"is the same route as {other}")
        else:
            routes[host, prefix] = (key, Route(host, prefix, ProcessName(process)))
    return tuple(routes.values()), frozenset(route.process for _, route in routes.values())


def rehosted(app_routes: Iterable[Route], domains: tuple[str, ...], environment: str) -> tuple[Route, ...]:
    """The app's routes on other hosts, each prefix on each of them.

    Raises ValueError with a reason when they have no one meaning there, or are too many.
    """
    by_prefix: dict[str, ProcessName] = {}
    for route in app_routes:
        other = by_prefix.setdefault(route.prefix, route.process)
        if other != route.process:
            raise ValueError(
                f"cannot stand for the hosts of the app's routes, which lead {shown(route.prefix)} to "
                f'"{other}" on one and to "{route.process}" on another; write '
                f"[environments.{environment}.routes] instead"
            )
    if not by_prefix:
        raise ValueError("have no use: the app has no routes")
    if len(by_prefix) * len(domains) > MOST_REHOSTED:
        raise ValueError(
            f"give {len(by_prefix) * len(domains):,} routes, with the {len(by_prefix)} paths of the app's routes on "
            f"each; at most {MOST_REHOSTED:,} are possible"
        )
    return tuple(Route(host, prefix, process) for host in domains for prefix, process in by_prefix.items())


def check_routed(
    reading: Reading, processes: tuple[Process, ...], routes: Iterable[Route], document: Values
) -> None:
    """What only a process that a route names may have, and what only a worker."""
    routed = {route.process for route in routes}
    for process in processes:
        path = ("processes", process.name)
        written = document["processes"][process.name]
        if process.name in routed:
            for key in _WORKERS_ONLY:
                if key in written:
                    reading.problems.add(
                        (*path, key),
                        "is for a worker, and a route leads to this process: take it out, or the route",
                    )
            continue
        example = f'a line "{ANY_HOST}" = "{process.name}" in [routes]'
        if process.static:
            reading.problems.add(path, f"no route leads to this static site: add {example}")
        for key in _ROUTED_ONLY:
            if key in written:
                reading.problems.add(
                    (*path, key), f"is for a process that a route names: add {example}, or take it out"
                )


def _unnested(host: str, value: object) -> str:
    """The quoted line that was meant by a host without quotes, which TOML reads as nested tables."""
    while isinstance(value, dict) and len(value) == 1 and len(host) <= _LONGEST_GUESSED:
        [(label, value)] = value.items()
        host = f"{host}.{label}"
    return f"{shown(host)} = {shown(value) if isinstance(value, str) else '…'}"
