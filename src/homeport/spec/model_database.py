"""``[database.NAME]`` and ``[cache.NAME]`` as frozen values. Times in seconds."""

from dataclasses import dataclass

ENGINES = ("postgresql", "sqlite")
POOLS = ("transaction", "session", "none")
ON_ROLLBACK = ("keep", "down")
UPKEEP = ("refresh", "analyze", "reindex")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """A statement that keeps a database well, by the clock."""

    name: str
    kind: str
    """One of :data:`UPKEEP`: REFRESH MATERIALIZED VIEW CONCURRENTLY, ANALYZE, REINDEX CONCURRENTLY."""
    target: str
    """The view, table or index, with its schema where it is not ``public``; "" is the whole database."""
    schedule: str
    timezone: str = "UTC"
    timeout: float = 3600.0


@dataclass(frozen=True, slots=True)
class Database:
    """A database of an app, one for each environment."""

    name: str
    engine: str = "postgresql"
    url: str = ""
    """The secret that holds the URL of a database that somebody else runs; "" is provisioned."""
    dedicated: bool = False
    """A cluster of its own instead of the one that apps share."""
    pool: str = "transaction"
    """How PgBouncer shares connections; "none": the app connects directly."""
    connections: int | None = None
    """How many the app may have at the server, all instances together; None: by the documented rule."""
    extensions: tuple[str, ...] = ()
    migrations: str = ""
    """A directory of the release with SQL files; "" has none."""
    migrate: str = ""
    """A shell line of the app's own tool, such as Alembic, instead of ``migrations``."""
    lock_timeout: float = 2.0
    """How long a migration waits for a lock before it lets go and tries again."""
    statement_timeout: float = 900.0
    """Of a migration's statement."""
    on_rollback: str = "keep"
    path: str = ""
    """With SQLite: the file, in a storage directory of the release."""
    maintenance: tuple[Upkeep, ...] = ()


@dataclass(frozen=True, slots=True)
class Cache:
    """A Redis of an environment's own."""

    name: str
    engine: str = "redis"
    memory: int = 64_000_000
    """Bytes; beyond it the least recently used keys go."""
    persistent: bool = False
    """Whether it outlives a restart of the machine."""
