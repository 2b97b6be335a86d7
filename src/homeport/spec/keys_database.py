"""The keys of ``homeport.toml`` about databases and caches."""

from __future__ import annotations

from homeport.spec.containers import Array
from homeport.spec.key import Key, Table
from homeport.spec.model_database import ENGINES, ON_ROLLBACK, POOLS, UPKEEP
from homeport.spec.values import Choice, Duration, File, Flag, ShellLine, ShortText, Size, Whole
from homeport.spec.values_database import EXTENSIONS, CacheEngine, Extension, Identifier, SecretUrl

DATABASE = "database.NAME"
MAINTENANCE = "database.NAME.maintenance.NAME"
CACHE = "cache.NAME"

DATABASE_TABLES = (
    Table(
        DATABASE,
        "A database of the app's own, such as `[database.main]`, one for each environment. The app finds its URL in "
        "the environment variable `DATABASE_URL` when it is called `main`, and in one with its name in front "
        "otherwise: `[database.legacy-shop]` gives `LEGACY_SHOP_DATABASE_URL`. `[variables]` may declare that "
        "variable, but gives it no value. At most 10.\n\n"
        'With `engine = "sqlite"` it is a file in a directory of `[storage]`, and `url`, `dedicated`, `pool`, '
        "`connections`, `extensions` and `maintenance` have no meaning. An environment may change any key, the engine "
        "too; what the app says has to fit the engine that comes out, so keys of one engine only belong to the "
        "environments that have it.\n\n"
        "Extensions that can be asked for are those that PostgreSQL trusts the owner of a database with: "
        + ", ".join(f"`{name}`" for name in EXTENSIONS)
        + ".",
    ),
    Table(
        MAINTENANCE,
        "A statement that keeps the database well, by the clock, such as `[database.main.maintenance.daily-orders]`. "
        "At most 20 of a database. Also in one line, under `[database.main.maintenance]`: `daily-orders = "
        '{ kind = "refresh", target = "daily_orders", schedule = "0 4 * * *" }`.',
    ),
)

CACHE_TABLES = (
    Table(
        CACHE,
        "A Redis of the app's own, such as `[cache.main]`, one for each environment. The app finds its URL in the "
        "environment variable `REDIS_URL` when it is called `main`, and in one with its name in front otherwise: "
        "`[cache.sessions]` gives `SESSIONS_REDIS_URL`. At most 10.",
    ),
)

DATABASE_KEYS = (
    Key(
        DATABASE,
        "engine",
        Choice(ENGINES),
        "What runs it.",
        "postgresql",
        default="postgresql",
    ),
    Key(
        DATABASE,
        "url",
        SecretUrl(),
        "A database that somebody else runs, such as a managed service: `secret:` and the name of the secret that "
        "holds its URL, set with `homeport secrets set`. The URL itself has a password, so it never stands in the "
        "file.",
        "secret:REPORTS_URL",
        absent="Homeport provisions it",
    ),
    Key(
        DATABASE,
        "dedicated",
        Flag(),
        "A server of its own instead of the one that apps share.",
        True,
        default=False,
    ),
    Key(
        DATABASE,
        "pool",
        Choice(POOLS),
        "How long PgBouncer lends the app's connections one of the server's: for a `transaction`, or for the whole "
        "`session`, which `LISTEN`, advisory locks and `SET` need. `none`: the app connects to the server itself.",
        "session",
        default="transaction",
    ),
    Key(
        DATABASE,
        "connections",
        Whole(1, 1000),
        "How many connections to the server the app may have, all its instances together.",
        20,
        absent="by the size of the machine",
    ),
    Key(
        DATABASE,
        "extensions",
        Array(Extension(), "extensions", '["pg_trgm"]'),
        "PostgreSQL extensions that are there before the first migration.",
        ["pg_trgm", "citext"],
        absent="none",
    ),
    Key(
        DATABASE,
        "migrations",
        File("directory", "migrations"),
        "A directory of the release with migrations, plain SQL files. They run before the release starts.",
        "migrations",
        absent="none",
    ),
    Key(
        DATABASE,
        "migrate",
        ShellLine(),
        "A shell line of the app's own migration tool, such as Alembic, Django, Prisma or Drizzle, instead of "
        "`migrations`.",
        "bin/migrate",
        absent="none",
    ),
    Key(
        DATABASE,
        "lock_timeout",
        Duration("10ms", "10m"),
        "How long a migration waits for a lock, and others wait behind it, before it lets go and tries again.",
        "1s",
        default="2s",
    ),
    Key(
        DATABASE,
        "statement_timeout",
        Duration("1s", "7d"),
        "A statement of a migration that takes longer is stopped, and the migration has failed.",
        "5m",
        default="15m",
    ),
    Key(
        DATABASE,
        "on_rollback",
        Choice(ON_ROLLBACK),
        "What becomes of a release's migrations when its rollout is taken back: `keep` them, which older releases can "
        "work with, or run their `down` sections.",
        "down",
        default="keep",
    ),
    Key(
        DATABASE,
        "path",
        File("file", "var/data/shop.db"),
        "Of SQLite: its file, in a directory of `[storage]`.",
        "var/data/reports.db",
        absent="required with SQLite",
    ),
    Key(
        MAINTENANCE,
        "kind",
        Choice(UPKEEP),
        "`REFRESH MATERIALIZED VIEW CONCURRENTLY`, `ANALYZE` or `REINDEX CONCURRENTLY`.",
        "refresh",
        absent="required",
    ),
    Key(
        MAINTENANCE,
        "target",
        Identifier(),
        "The materialized view, table or index, with its schema where that is not `public`, spelled as the database "
        "has it.",
        "reports.daily_orders",
        absent="the whole database, with `analyze`; else required",
    ),
    Key(
        MAINTENANCE,
        "schedule",
        ShortText(200),
        "When it runs, as in `[cron.NAME]`.",
        "0 4 * * *",
        absent="required",
    ),
    Key(
        MAINTENANCE,
        "timezone",
        ShortText(64),
        "The time zone of the schedule.",
        "Europe/Berlin",
        default="UTC",
    ),
    Key(
        MAINTENANCE,
        "timeout",
        Duration("1s", "7d"),
        "A statement that takes longer is stopped and has failed.",
        "10m",
        default="1h",
    ),
)

CACHE_KEYS = (
    Key(
        CACHE,
        "engine",
        CacheEngine(),
        "What runs it.",
        "redis",
        default="redis",
    ),
    Key(
        CACHE,
        "memory",
        Size("8MB", "1TB"),
        "How much its keys may take together; beyond that, those that were not used for longest go.",
        "256MB",
        default="64MB",
    ),
    Key(
        CACHE,
        "persistent",
        Flag(),
        "Whether its keys outlive a restart of the machine. They are written to disk once a second.",
        True,
        default=False,
    ),
)
