"""What pg_restore lists of a dump: what is restored by whom. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<what>.+)")
_EXTENSION = re.compile(r"EXTENSION - (?P<name>\S+)")
_CREATE = re.compile(
    r"CREATE EXTENSION IF NOT EXISTS (?P<name>\"(?:[^\"]|\"\")+\"|\S+) WITH SCHEMA (?P<schema>.+);"
)
_OF_SUPERUSERS = (
    "EXTENSION",
    "EVENT TRIGGER",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "SUBSCRIPTION",
)
"""What only a superuser makes, or what would have effects beyond the database."""


@dataclass(frozen=True, slots=True)
class Contents:
    extensions: str
    """Lines for those alone; "" where there are none."""
    rest: str
    """Lines for what an owner of a database may restore."""
    rights: str
    """Of those, the lines for who may do what."""
    left_out: tuple[str, ...]
    """What only a superuser makes, such as "EVENT TRIGGER noted"; extensions apart."""


def contents(listed: str, made: frozenset[str] = frozenset()) -> Contents:
    """``made``: schemas that are there already, for extensions in them."""
    extensions: list[str] = []
    rest: list[str] = []
    rights: list[str] = []
    left_out: list[str] = []
    for line in listed.splitlines():
        match = _ENTRY.fullmatch(line.strip())
        if match is None:
            continue
        what = match["what"]
        if _EXTENSION.match(what):
            extensions.append(line)
        elif _is_superusers(what):
            if what.startswith(_OF_SUPERUSERS) and not what.startswith("EXTENSION"):
                left_out.append(what.rpartition(" ")[0].replace(" - ", " "))
        elif not _is_schema(what, made):
            rest.append(line)
            rights += [line] if what.startswith(("ACL ", "DEFAULT ACL ")) else []
    return Contents(_lines(extensions), _lines(rest), _lines(rights), tuple(left_out))


def _lines(found: list[str]) -> str:
    return "".join(f"{line}\n" for line in found)


def _is_superusers(what: str) -> bool:
    """Comments and labels of such things go with them."""
    about = re.sub(r"^(COMMENT|SECURITY LABEL) - ", "", what)
    return any(about.startswith(f"{type_} ") for type_ in _OF_SUPERUSERS)


def _is_schema(what: str, made: frozenset[str]) -> bool:
    return any(what.startswith(f"SCHEMA - {schema} ") for schema in made)


def extensions(sql: str) -> tuple[tuple[str, str], ...]:
    """(name, schema) of each that the SQL of a dump creates."""
    found = (_CREATE.fullmatch(line.strip()) for line in sql.splitlines())
    return tuple((_plain(m["name"]), _plain(m["schema"])) for m in found if m is not None)


def _plain(identifier: str) -> str:
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier
