"""Databases and caches: what is read, what is refused, and where an app finds them."""

import pytest

from homeport.kernel.errors import HomeportError
from homeport.spec.database_names import variable_of, variable_of_cache
from homeport.spec.model import Spec
from homeport.spec.model_database import Cache, Database, Upkeep
from homeport.spec.parse import parse

APP = '[app]\nname = "shop"\n[processes.web]\ncommand = "run"\n'
DATA = "[storage.data]\npath = 'var/data'\n"
UPKEEP = "[database.main.maintenance.x]\n"


def read(text: str) -> Spec:
    return parse(APP + text)


def problems(text: str) -> list[str]:
    with pytest.raises(HomeportError) as caught:
        read(text)
    return [detail.removeprefix("homeport.toml:") for detail in caught.value.details]


def test_a_database_needs_nothing_but_its_name() -> None:
    spec = read("[database.main]\n[cache.main]")
    assert spec.databases == (Database("main"),)
    assert spec.caches == (Cache("main"),)
    assert (read("").databases, read("").caches) == ((), ())


def test_a_database_with_every_key() -> None:
    [main, accounts] = read("""[database.main]
engine = "postgresql"
dedicated = true
pool = "session"
connections = 20
extensions = ["pg_trgm", "uuid-ossp"]
migrations = "./db/migrations/"
lock_timeout = "500ms"
statement_timeout = "1h"
on_rollback = "down"
[database.main.maintenance]
daily = { kind = "refresh", target = "reports.Daily_1", schedule = "0 4 * * *", timeout = "10m" }
all = { kind = "analyze", schedule = "@weekly", timezone = "Europe/Berlin" }
[database.accounts]
url = "secret:ACCOUNTS_URL"
pool = "none"
migrate = " bin/migrate "
""").databases
    assert main == Database(
        "main", dedicated=True, pool="session", connections=20, extensions=("pg_trgm", "uuid-ossp"),
        migrations="db/migrations", lock_timeout=0.5, statement_timeout=3600.0, on_rollback="down",
        maintenance=(
            Upkeep("daily", "refresh", "reports.Daily_1", "0 4 * * *", timeout=600.0),
            Upkeep("all", "analyze", "", "@weekly", "Europe/Berlin"),
        ),
    )  # fmt: skip
    assert accounts == Database("accounts", url="ACCOUNTS_URL", pool="none", migrate="bin/migrate")


def test_a_sqlite_database_is_a_file_in_storage_and_has_no_pool() -> None:
    spec = read(
        f"{DATA}[database.main]\nengine = 'sqlite'\npath = './var/data/a.db'\nmigrations = 'migrations'"
    )
    assert spec.databases == (
        Database("main", "sqlite", pool="none", path="var/data/a.db", migrations="migrations"),
    )


def test_a_cache_with_every_key() -> None:
    spec = read("[cache.sessions]\nengine = 'redis'\nmemory = '256MiB'\npersistent = true")
    assert spec.caches == (Cache("sessions", "redis", 256 * 2**20, True),)


@pytest.mark.parametrize(
    ("name", "database", "cache"),
    [
        ("main", "DATABASE_URL", "REDIS_URL"),
        ("legacy-shop", "LEGACY_SHOP_DATABASE_URL", "LEGACY_SHOP_REDIS_URL"),
        ("v2", "V2_DATABASE_URL", "V2_REDIS_URL"),
    ],
)
def test_the_variable_of_a_url(name: str, database: str, cache: str) -> None:
    assert variable_of(Database(name)) == database
    assert variable_of_cache(Cache(name)) == cache


def test_the_variable_may_be_declared_without_a_value() -> None:
    spec = read("[variables]\nDATABASE_URL = { secret = true, required = true }\n[database.main]")
    assert spec.variables[0].value is None


def test_environments_change_databases_and_caches_key_by_key() -> None:
    spec = read(f"""{DATA}[database.main]
migrations = "migrations"
[cache.main]
memory = "64MB"
[environments.staging.database.main.maintenance]
x = {{ kind = "analyze", schedule = "@daily" }}
[environments.preview.database.main]
engine = "sqlite"
path = "var/data/a.db"
[environments.production.database.main]
url = "secret:MANAGED_URL"
[environments.production.cache]
main = {{ persistent = true }}
more = {{}}
""")
    staging, preview, production = (spec.for_environment(e) for e in ("staging", "preview", "production"))
    assert [u.name for u in staging.databases[0].maintenance] == ["x"]
    assert preview.databases == (
        Database("main", "sqlite", pool="none", path="var/data/a.db", migrations="migrations"),
    )
    assert production.databases == (Database("main", url="MANAGED_URL", migrations="migrations"),)
    assert production.caches == (Cache("main", persistent=True), Cache("more"))
    assert spec.databases == (Database("main", migrations="migrations"),)
    assert spec.caches == (Cache("main"),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[database]\nengine = 'postgresql'",
         ["6: at 'database.engine': belongs in a table, such as [database.main]"]),
        ("[cache]\nmemory = '64MB'", ["6: at 'cache.memory': belongs in a table, such as [cache.main]"]),
        ("[database.Main]\n[cache.my_cache]",
         ["5: at 'database.Main': must be a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first, such as "
          "\"shop\", got \"Main\"",
          "6: at 'cache.my_cache': must be a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first, such as "
          "\"shop\", got \"my_cache\""]),
        ("[database.main]\nengine = 'postgres'\n[cache.main]\nengine = 'memcached'\nmemory = 64",
         ["6: at 'database.main.engine': must be \"postgresql\" or \"sqlite\", got \"postgres\"; did you mean "
          "\"postgresql\"?",
          "8: at 'cache.main.engine': must be \"redis\", got \"memcached\"",
          "9: at 'cache.main.memory': must be a size from 8MB to 1TB, such as \"512MB\" or \"2GB\", got 64"]),
        ("".join(f"[database.a{n}]\n[cache.a{n}]\n" for n in range(11)),
         ["5: at 'database': are 11; at most 10 are possible", "6: at 'cache': are 11; at most 10 are possible"]),
        ("[database.main]\nurl = 'secret:A'\ndedicated = true",
         ["7: at 'database.main.dedicated': has no use with a url: somebody else runs that server; take one of the two "
          "out"]),
        ("[database.main]\nurl = 'secret:PORT'",
         ["6: at 'database.main.url': must name a secret of yours: \"PORT\" is reserved"]),
        ("[variables]\nA = 'x'\n[database.main]\nurl = 'secret:A'",
         ["8: at 'database.main.url': names a secret, and [variables] has A as none: add secret = true there"]),
        ("[database.main]\nmigrations = 'm'\nmigrate = 'x'",
         ["5: at 'database.main': has both \"migrations\" and \"migrate\": a database has one of them"]),
        *((f"[database.main]\n{migrate}on_rollback = 'down'",
           [f"{line}: at 'database.main.on_rollback': is \"down\", which needs \"migrations\": only SQL files have down "
            "sections"]) for line, migrate in ((6, ""), (7, "migrate = 'x'\n"))),
        ("[database.main]\nextensions = ['pg_trgn', 'postgis', 3]",
         ["6: at 'database.main.extensions[1]': must be an extension that the owner of a database may create, such as "
          "\"pg_trgm\", got \"pg_trgn\"; did you mean \"pg_trgm\"?",
          "6: at 'database.main.extensions[2]': must be an extension that the owner of a database may create, such as "
          "\"pg_trgm\", got \"postgis\"",
          "6: at 'database.main.extensions[3]': must be an extension that the owner of a database may create, such as "
          "\"pg_trgm\", got 3"]),
        ("[database.main]\npool = 'statement'\nconnections = 0\nlock_timeout = 2\nmigrations = '../m'",
         ["6: at 'database.main.pool': must be \"transaction\" or \"session\" or \"none\", got \"statement\"",
          "7: at 'database.main.connections': must be a whole number from 1 to 1000, got 0",
          "8: at 'database.main.lock_timeout': must be a duration from 10ms to 10m, such as \"30s\" or \"10m\", got 2",
          "9: at 'database.main.migrations': must stay inside the release: no \"..\", got \"../m\""]),
        ("[database.main]\npath = 'var/a.db'",
         ["6: at 'database.main.path': is for SQLite: write engine = \"sqlite\", or take it out"]),
        ("[database.main]\nengine = 'sqlite'", ["5: at 'database.main': needs a key \"path\""]),
        (f"{DATA}[database.main]\nengine = 'sqlite'\npath = 'var/data/a'\nurl = 'secret:A'\npool = 'none'\n"
         "dedicated = false\nconnections = 1\nextensions = ['lo']\nmaintenance = {}",
         [f"{n}: at 'database.main.{key}': is for PostgreSQL, and the engine here is \"sqlite\": take it out"
          for n, key in enumerate(("url", "pool", "dedicated", "connections", "extensions", "maintenance"), 10)]),
        ("[database.main]\nengine = 'sqlite'\npath = 'a.db'",
         ["7: at 'database.main.path': must lie in a directory of [storage], or each release has a database of its "
          "own: write path = \"var/data/…\", and add [storage.data] with path = \"var/data\""]),
        ("[database.main]\nengine = 'sqlite'\npath = 'x/a.db'",
         ["7: at 'database.main.path': must lie in a directory of [storage], or each release has a database of its "
          "own: add [storage.data] with path = \"x\""]),
        *((f"{DATA}[database.main]\nengine = 'sqlite'\npath = '{path}'",
           ["9: at 'database.main.path': must lie in a directory of [storage], or each release has a database of its "
            f"own: such as \"var/data/{end}\""]) for path, end in (("var/database/a.db", "a.db"), ("var/data", "data"))),
        (f"{DATA}[database.a]\nengine = 'sqlite'\npath = 'var/data/a'\n[database.b]\nengine = 'sqlite'\n"
         "path = './var//data/a'",
         ["12: at 'database.b.path': is the same file as 'database.a.path' in line 9"]),
        ("[variables]\nDATABASE_URL = 'x'\nA_REDIS_URL = { from = 'file:/a' }\n[database.main]\n[cache.a]",
         ["6: at 'variables.DATABASE_URL': is set by [database.main]: take the value out here, or call the database "
          "something else",
          "7: at 'variables.A_REDIS_URL': is set by [cache.a]: take the value out here, or call the cache something "
          "else"]),
        ("[database.homeport]\n[cache.homeport-x]",
         ["5: at 'database.homeport': gives the variable \"HOMEPORT_DATABASE_URL\", which is reserved: call it "
          "something else",
          "6: at 'cache.homeport-x': gives the variable \"HOMEPORT_X_REDIS_URL\", which is reserved: call it something "
          "else"]),
        (UPKEEP, [f"5: at 'database.main.maintenance.x': needs a key \"{key}\"" for key in ("kind", "schedule")]),
        *((f"{UPKEEP}kind = '{kind}'\nschedule = '@daily'",
           [f"5: at 'database.main.maintenance.x': needs a \"target\", the {what} that it is about"])
          for kind, what in (("refresh", "materialized view"), ("reindex", "table or index"))),
        *((f"{UPKEEP}kind = 'reindex'\nschedule = '@daily'\ntarget = {target}",
           ["8: at 'database.main.maintenance.x.target': must be a name in the database, such as \"daily_orders\" or "
            "\"reports.daily_orders\": letters, digits and \"_\", no digit first, at most 63 each, got "
            f"{target}"]) for target in ('"a.b.c"', '"a;drop"', '"1a"', '""', '"ä"', '"a."', '"a\\n"', "3")),
        (f"{UPKEEP}kind = 'vacuum'\nschedule = '0 0 30 2 *'",
         ["6: at 'database.main.maintenance.x.kind': must be \"refresh\" or \"analyze\" or \"reindex\", got \"vacuum\"",
          "7: at 'database.main.maintenance.x.schedule': must be a time that comes: \"0 0 30 2 *\" never does"]),
        ("[database.main.maintenance]\nkind = 'analyze'\nX = { kind = 'analyze', schedule = '@daily' }",
         ["6: at 'database.main.maintenance.kind': must be a table, got \"analyze\"",
          "7: at 'database.main.maintenance.X': must be a name: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first, "
          "such as \"shop\", got \"X\""]),
        ("[database.main.maintenance]\n" + "".join(
            f"a{n} = {{ kind = 'analyze', schedule = '@daily' }}\n" for n in range(21)),
         ["5: at 'database.main.maintenance': are 21 statements; at most 20 are possible"]),
        ("[environments.s.database.main]\nurl = 'secret:A'\n[environments.s.variables]\nDATABASE_URL = 'x'",
         ["8: at 'environments.s.variables.DATABASE_URL': is set by [database.main]: take the value out here, or call "
          "the database something else"]),
        ("[database.main]\npool = 'session'\n[environments.s.database.main]\nengine = 'sqlite'",
         ["7: at 'environments.s.database.main.pool': is for PostgreSQL, and the engine here is \"sqlite\": take it "
          "out",
          "7: at 'environments.s.database.main': needs a key \"path\""]),
    ],
)  # fmt: skip
def test_each_error_says_where_and_what(text: str, problem: list[str]) -> None:
    assert problems(text) == problem


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunter2@h/d", "secret:postgresql://u:hunter2@h/d", "hunter2", "secret:hunter-2"]
)
def test_a_url_in_the_file_is_refused_and_not_told(url: str) -> None:
    [problem] = problems(f"[database.main]\nurl = '{url}'")
    assert problem.startswith("6: at 'database.main.url': must ")
    assert "homeport secrets set" in problem
    assert "hunter" not in problem
