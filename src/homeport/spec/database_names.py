"""Which environment variable an app finds the URL of a database or a cache in. Pure."""

from __future__ import annotations

from homeport.spec.model_database import Cache, Database

MAIN = "main"
"""The name of the database, or the cache, whose variable has no name before it."""


def variable_of(database: Database) -> str:
    """``DATABASE_URL`` for ``main``; ``LEGACY_SHOP_DATABASE_URL`` for ``legacy-shop``."""
    return _prefixed(database.name, "DATABASE_URL")


def variable_of_cache(cache: Cache) -> str:
    """``REDIS_URL`` for ``main``; ``SESSIONS_REDIS_URL`` for ``sessions``."""
    return _prefixed(cache.name, "REDIS_URL")


def _prefixed(name: str, variable: str) -> str:
    return variable if name == MAIN else f"{name.upper().replace('-', '_')}_{variable}"
