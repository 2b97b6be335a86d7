"""What the values of ``[database]`` and ``[cache]`` may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeport.kernel.text import did_you_mean, nearest
from homeport.kernel.variables import is_name
from homeport.spec.values import shown
from homeport.spec.variables import name_problem

EXTENSIONS = (
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
)
"""Those whose control file says ``trusted`` in PostgreSQL 15: the owner of a database may create them."""

_SCHEME = "secret:"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")


@dataclass(frozen=True, slots=True)
class SecretUrl:
    """Which secret holds a URL; held as the secret's name. What else was written is never shown: it may be
    the URL, with its password."""

    words: str = '"secret:NAME"'

    def read(self, value: object) -> str:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                "must not be a URL, which holds a password: set it with `homeport secrets set NAME`, and write "
                '"secret:NAME"'
            )
        name = value.removeprefix(_SCHEME) if isinstance(value, str) else ""
        if not isinstance(value, str) or not value.startswith(_SCHEME) or not is_name(name):
            raise ValueError(
                'must be "secret:" and the name of a secret, such as "secret:REPORTS_URL", which '
                "`homeport secrets set REPORTS_URL` sets"
            )
        if name_problem(name):
            raise ValueError(f"must name a secret of yours: {shown(name)} is reserved")
        return name


@dataclass(frozen=True, slots=True)
class Extension:
    words: str = "extension"

    def read(self, value: object) -> str:
        if isinstance(value, str) and value in EXTENSIONS:
            return value
        reason = f'must be an extension that the owner of a database may create, such as "pg_trgm", got {shown(value)}'
        if isinstance(value, str) and len(value) <= 60 and nearest(value, EXTENSIONS):
            reason += f"; {did_you_mean(value, EXTENSIONS)}"
        raise ValueError(reason)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name in a database, with or without its schema."""

    words: str = "name in the database"

    def read(self, value: object) -> str:
        if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
            return value
        raise ValueError(
            'must be a name in the database, such as "daily_orders" or "reports.daily_orders": letters, digits and '
            f'"_", no digit first, at most 63 each, got {shown(value)}'
        )


@dataclass(frozen=True, slots=True)
class CacheEngine:
    words: str = '"redis"'

    def read(self, value: object) -> str:
        if value == "redis" and isinstance(value, str):
            return value
        raise ValueError(f'must be "redis", got {shown(value)}')
