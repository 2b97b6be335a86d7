"""``homeport.toml`` to a :class:`~homeport.spec.model.Spec`, or all its errors at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from homeport.kernel.ids import AppName, ProcessName
from homeport.kernel.text import did_you_mean, nearest
from homeport.spec.document import read_document
from homeport.spec.keys import (
    DEFAULT_ROUTE,
    HEALTH,
    KEYS,
    LATER,
    PROCESS,
    PROCESS_NAME,
    RESERVED,
    RESERVED_PREFIX,
    keys_of,
    tables_in,
)
from homeport.spec.locate import Path, line_of
from homeport.spec.model import Build, Health, Process, Rollout, Route, Spec, Variable
from homeport.spec.problems import Problems, path_text
from homeport.spec.routes import ANY_HOST, read_route
from homeport.spec.values import VariableValue, shown

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LONGEST_GUESSED = 60
_MOST_GUESSED = 50
"""Longer words, and more known ones, are not compared: that takes the product of all their lengths."""

Values = Mapping[str, Any]


def parse(text: str, *, path: str = "homeport.toml") -> Spec:
    """The spec that ``text`` describes. ``path`` is what messages call the file.

    Raises HomeportError ``spec.invalid``, whose details name every error with its line and TOML path.
    """
    document, lines = read_document(text, file=path)
    problems = Problems(path)
    spec = _Reader(problems, lines).spec(document)
    if spec is None:
        raise problems.error(lines)
    return spec


class _Reader:
    """Reads tables, noting what is wrong with them; a wrong value is left out of what is read."""

    def __init__(self, problems: Problems, lines: Mapping[Path, int]) -> None:
        self._problems = problems
        self._lines = lines

    def spec(self, document: Values) -> Spec | None:
        """None when there was any problem."""
        self._refuse_unknown("", (), document)
        app = self._keys("app", ("app",), self._table(document, ("app",)))
        if "name" not in app and not self._problems.under(("app",)):
            self._problems.add(("app", "name"), 'is missing: add [app] with name = "…"')
        build = self._keys("build", ("build",), self._table(document, ("build",)))
        rollout = self._keys("rollout", ("rollout",), self._table(document, ("rollout",)))
        names = self._process_names(document)
        processes = tuple(self._process(name, document["processes"][name]) for name in names)
        routes = self._routes(document, names)
        variables = self._variables(self._table(document, ("env",)))
        self._check_routed(processes, routes, document)
        if len(self._problems) > 0:
            return None
        return Spec(
            AppName(app["name"]), Build(**build), processes, tuple(routes), Rollout(**rollout), variables
        )

    def _table(self, around: Values, path: Path) -> Values:
        """The table at ``path``, whose last key is looked up in ``around``; {} where there is none."""
        value = around.get(path[-1], {})
        if isinstance(value, dict):
            return value
        hint = f": write [{path_text(path)}], not [[…]]" if isinstance(value, list) else ""
        self._problems.add(path, f"must be a table, got {shown(value)}{hint}")
        return {}

    def _keys(self, table: str, path: Path, data: Values) -> dict[str, Any]:
        """The values of one table, by key, as its model holds them."""
        self._refuse_unknown(table, path, data)
        values: dict[str, Any] = {}
        for name, key in keys_of(table).items():
            if name in data:
                try:
                    values[name] = key.type.read(data[name])
                except ValueError as error:
                    self._problems.add((*path, name), str(error))
        return values

    def _refuse_unknown(self, table: str, path: Path, data: Values) -> None:
        known = (*keys_of(table), *tables_in(table))
        for name in data:
            if name in known:
                continue
            here = (*path, name)
            later = LATER.get(f"{table}.{name}" if table else name)
            if later:
                self._problems.add(here, f"{later} not in this version of Homeport yet; take it out")
            else:
                self._problems.add(here, f"unknown key{self._guess(name, known)}")

    def _process_names(self, document: Values) -> tuple[str, ...]:
        processes = self._table(document, ("processes",))
        if not processes and not self._problems.under(("processes",)):
            self._problems.add(
                ("processes",),
                "an app needs a process: add [processes.web] with a command or a static directory",
            )
        names = []
        for name, value in processes.items():
            path = ("processes", name)
            if not isinstance(value, dict) and name in (*keys_of(PROCESS), *keys_of(HEALTH)):
                self._problems.add(path, "belongs in a process, such as [processes.web]")
                continue
            if not isinstance(value, dict):
                self._table(processes, path)
                continue
            try:
                PROCESS_NAME.read(name)
            except ValueError as error:
                self._problems.add(path, str(error))
            names.append(name)
        return tuple(names)

    def _process(self, name: str, data: Values) -> Process:
        path = ("processes", name)
        values = self._keys(PROCESS, path, data)
        if "command" in data and "static" in data:
            self._problems.add(path, 'has both "command" and "static": a process has one of them')
        elif "command" not in data and "static" not in data:
            self._problems.add(path, 'needs a "command", or "static" with a directory')
        values.setdefault("command", "")
        health = self._keys(HEALTH, (*path, "health"), self._table(data, (*path, "health")))
        return Process(ProcessName(name), health=Health(**health), **values)

    def _routes(self, document: Values, processes: tuple[str, ...]) -> list[Route]:
        if "routes" not in document:
            host, process = DEFAULT_ROUTE
            return [Route(host, "/", ProcessName(process))] if process in processes else []
        routes: dict[tuple[str, str], Route] = {}
        first: dict[tuple[str, str], Path] = {}
        for key, process in self._table(document, ("routes",)).items():
            path = ("routes", key)
            if isinstance(process, dict):
                meant = _unnested(key, process)
                self._problems.add(path, f"must be the name of a process; a host stands in quotes: {meant}")
                continue
            try:
                host, prefix = read_route(key)
            except ValueError as error:
                self._problems.add(path, str(error))
                continue
            if not isinstance(process, str):
                self._problems.add(path, f"must be the name of a process, got {shown(process)}")
            elif process not in processes:
                self._problems.add(path, f"no process {shown(process)}{self._guess(process, processes)}")
            if (host, prefix) in first:
                other = first[host, prefix]
                self._problems.add(
                    path,
                    f"is the same route as '{path_text(other)}' in line {line_of(other, self._lines)}",
                )
                continue
            first[host, prefix] = path
            if isinstance(process, str):
                routes[host, prefix] = Route(host, prefix, ProcessName(process))
        return list(routes.values())

    def _check_routed(self, processes: tuple[Process, ...], routes: list[Route], document: Values) -> None:
        """What only a process that a route names may have. Left out while the routes are in doubt."""
        if self._problems.under(("routes",)):
            return
        routed = {route.process for route in routes}
        for process in processes:
            if process.name in routed:
                continue
            path = ("processes", process.name)
            example = f'a line "{ANY_HOST}" = "{process.name}" in [routes]'
            if process.static:
                self._problems.add(path, f"no route leads to this static site: add {example}")
            for key in ("health", "response_timeout"):
                if key in document["processes"][process.name]:
                    self._problems.add(
                        (*path, key), f"is for a process that a route names: add {example}, or take it out"
                    )

    def _variables(self, data: Values) -> tuple[Variable, ...]:
        variables = []
        for name, value in data.items():
            path = ("env", name)
            if not _VARIABLE.fullmatch(name):
                self._problems.add(
                    path, 'must be a name of at most 128 letters, digits and "_", no digit first'
                )
            elif name in RESERVED or name.startswith(RESERVED_PREFIX):
                self._problems.add(path, "is reserved: Homeport sets it itself")
            try:
                variables.append(Variable(name, VariableValue().read(value)))
            except ValueError as error:
                self._problems.add(path, str(error))
        return tuple(variables)

    def _guess(self, word: str, known: tuple[str, ...]) -> str:
        """What may have been meant: a known word near ``word``, or a key of that name in another table."""
        known = known[:_MOST_GUESSED]
        if self._problems.is_full or not known:
            return ""
        if len(word) > _LONGEST_GUESSED:
            return f"; known: {', '.join(sorted(known))}"
        elsewhere = [key.path for key in KEYS if key.name == word]
        if elsewhere and nearest(word, known) is None:
            return "; did you mean " + " or ".join(f"'{path}'" for path in elsewhere) + "?"
        return f"; {did_you_mean(word, known)}"


def _unnested(host: str, value: object) -> str:
    """The quoted line that was meant by a host without quotes, which TOML reads as nested tables."""
    while isinstance(value, dict) and len(value) == 1 and len(host) <= _LONGEST_GUESSED:
        [(label, value)] = value.items()
        host = f"{host}.{label}"
    return f"{shown(host)} = {shown(value) if isinstance(value, str) else '…'}"
