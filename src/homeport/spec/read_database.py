"""``[database]`` and ``[cache]``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from homeport.spec.database_names import variable_of, variable_of_cache
from homeport.spec.keys_database import CACHE, DATABASE, MAINTENANCE
from homeport.spec.locate import Path
from homeport.spec.model import Storage, Variable
from homeport.spec.model_database import Cache, Database, Upkeep
from homeport.spec.problems import path_text
from homeport.spec.read_settings import check_schedule
from homeport.spec.reading import Reading, Values
from homeport.spec.values import Name, quoted, shown
from homeport.spec.variables import name_problem

MOST_DATABASES = 10
MOST_CACHES = 10
MOST_UPKEEPS = 20
"""Of one database."""

_NOT_SQLITE = ("url", "dedicated", "pool", "connections", "extensions", "maintenance")
_WITH_TARGET = ("refresh", "reindex")


def read_databases(
    reading: Reading, document: Values, storage: Iterable[Storage], variables: Iterable[Variable]
) -> tuple[Database, ...]:
    directories = tuple(s.path for s in storage)
    found = _named(reading, document, "database", MOST_DATABASES)
    databases = tuple(
        reading.once(
            ("database", name, directories), (data,), partial(_database, reading, name, data, directories)
        )
        for name, data in found.items()
    )
    given = {v.name: v for v in variables}
    for database in databases:
        _check_variable(reading, ("database", database.name), variable_of(database), given)
        _check_secret(reading, ("database", database.name, "url"), database.url, given)
    _refuse_shared_files(reading, databases)
    return databases


def read_caches(reading: Reading, document: Values, variables: Iterable[Variable]) -> tuple[Cache, ...]:
    found = _named(reading, document, "cache", MOST_CACHES)
    caches = tuple(
        reading.once(("cache", name), (data,), partial(_cache, reading, name, data))
        for name, data in found.items()
    )
    given = {v.name: v for v in variables}
    for cache in caches:
        _check_variable(reading, ("cache", cache.name), variable_of_cache(cache), given)
    return caches


def _named(reading: Reading, document: Values, table: str, most: int) -> Values:
    found = reading.named(document, table, "main")
    if len(found) > most:
        reading.problems.add((table,), f"are {len(found):,}; at most {most} are possible")
        return {}
    return found


def _check_name(reading: Reading, path: Path) -> None:
    try:
        Name().read(path[-1])
    except ValueError as error:
        reading.problems.add(path, str(error))


def _database(reading: Reading, name: str, data: Values, directories: tuple[str, ...]) -> Database:
    path = ("database", name)
    _check_name(reading, path)
    is_sqlite = data.get("engine") == "sqlite"
    alien = [key for key in _NOT_SQLITE if key in data] if is_sqlite else []
    for key in alien:
        reading.problems.add((*path, key), 'is for PostgreSQL, and the engine here is "sqlite": take it out')
    data = {key: value for key, value in data.items() if key not in alien}
    values = reading.keys(DATABASE, path, data)
    if is_sqlite:
        values["pool"] = "none"
        _check_file(reading, path, data, values, directories)
    elif "path" in data:
        reading.problems.add((*path, "path"), 'is for SQLite: write engine = "sqlite", or take it out')
        values.pop("path", None)
    if values.get("dedicated") and "url" in data:
        reading.problems.add(
            (*path, "dedicated"),
            "has no use with a url: somebody else runs that server; take one of the two out",
        )
    if "migrations" in data and "migrate" in data:
        reading.problems.add(path, 'has both "migrations" and "migrate": a database has one of them')
    elif values.get("on_rollback") == "down" and "migrations" not in data:
        reading.problems.add(
            (*path, "on_rollback"), 'is "down", which needs "migrations": only SQL files have down sections'
        )
    return Database(name, maintenance=_maintenance(reading, path, data), **values)


def _check_file(
    reading: Reading, path: Path, data: Values, values: dict[str, Any], directories: tuple[str, ...]
) -> None:
    if not reading.required(("path",), path, data) or "path" not in values:
        return
    file = values["path"]
    if any(file.startswith(f"{directory}/") for directory in directories):
        return
    parent = file.rpartition("/")[0]
    if not directories and parent:
        what = f"add [storage.data] with path = {quoted(parent)}"
    elif not directories:
        what = 'write path = "var/data/…", and add [storage.data] with path = "var/data"'
    else:
        what = "such as " + " or ".join(quoted(f"{d}/{file.rpartition('/')[2]}") for d in directories[:3])
    reading.problems.add(
        (*path, "path"),
        f"must lie in a directory of [storage], or each release has a database of its own: {what}",
    )


def _maintenance(reading: Reading, database: Path, data: Values) -> tuple[Upkeep, ...]:
    path = (*database, "maintenance")
    tables = reading.table(data, path)
    if len(tables) > MOST_UPKEEPS:
        reading.problems.add(path, f"are {len(tables):,} statements; at most {MOST_UPKEEPS} are possible")
        return ()
    upkeeps = (_upkeep(reading, tables, (*path, name)) for name in tables)
    return tuple(upkeep for upkeep in upkeeps if upkeep is not None)


def _upkeep(reading: Reading, tables: Values, path: Path) -> Upkeep | None:
    """None when it cannot be read."""
    _check_name(reading, path)
    data = reading.table(tables, path)
    if not isinstance(tables[path[-1]], dict):
        return None
    values = reading.keys(MAINTENANCE, path, data)
    has_all = reading.required(("kind", "schedule"), path, data)
    if values.get("kind") in _WITH_TARGET and "target" not in data:
        what = "materialized view" if values["kind"] == "refresh" else "table or index"
        reading.problems.add(path, f'needs a "target", the {what} that it is about')
    if "schedule" in values:
        check_schedule(reading, path, values["schedule"], values.get("timezone", "UTC"))
    if not has_all or "kind" not in values or "schedule" not in values:
        return None
    return Upkeep(path[-1], values.pop("kind"), values.pop("target", ""), values.pop("schedule"), **values)


def _cache(reading: Reading, name: str, data: Values) -> Cache:
    path = ("cache", name)
    _check_name(reading, path)
    return Cache(name, **reading.keys(CACHE, path, data))


def _check_variable(reading: Reading, path: Path, name: str, given: dict[str, Variable]) -> None:
    """``[variables]`` may declare where the URL goes, but not say what it is."""
    if name_problem(name):
        reading.problems.add(
            path, f"gives the variable {shown(name)}, which is reserved: call it something else"
        )
    variable = given.get(name)
    if variable is not None and (variable.value is not None or variable.source):
        reading.problems.add(
            ("variables", name),
            f"is set by [{path_text(path)}]: take the value out here, or call the {path[0]} something else",
        )


def _check_secret(reading: Reading, path: Path, name: str, given: dict[str, Variable]) -> None:
    variable = given.get(name)
    if variable is not None and not variable.secret:
        reading.problems.add(
            path, f"names a secret, and [variables] has {name} as none: add secret = true there"
        )


def _refuse_shared_files(reading: Reading, databases: Iterable[Database]) -> None:
    files: dict[str, Database] = {}
    for database in databases:
        if not database.path:
            continue
        other = files.setdefault(database.path, database)
        if other is not database:
            reading.problems.add(
                ("database", database.name, "path"),
                f"is the same file as {reading.place(('database', other.name, 'path'))}",
            )
