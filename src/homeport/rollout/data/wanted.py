"""What a spec says of databases and caches, as the rollout needs it. Pure."""

from collections.abc import Mapping
from urllib.parse import quote

from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.spec.database_names import variable_of, variable_of_cache
from homeport.spec.model import Spec
from homeport.spec.model_database import Database

NO_DATABASE = declare(
    "rollout.no_database",
    Kind.NOT_FOUND,
    "The homeport.toml has no database of that name, or it has no migrations.",
)


def given(spec: Spec) -> dict[str, str]:
    """Variables whose value follows from a table of ``homeport.toml``, with that table."""
    found = {variable_of(d): f"[database.{d.name}]" for d in spec.databases if d.url != variable_of(d)}
    return found | {variable_of_cache(c): f"[cache.{c.name}]" for c in spec.caches}


def database_of(spec: Spec, name: str) -> Database:
    """Raises ``rollout.no_database``."""
    found = next((d for d in spec.databases if d.name == name), None)
    if found is None:
        known = ", ".join(d.name for d in spec.databases)
        raise NO_DATABASE.error(
            f"cannot find database {name} of {spec.app}",
            hint=f"there are: {known}" if known else "[database.main] in homeport.toml gives it one",
        )
    return found


def migrated_by(spec: Spec) -> tuple[str, ...]:
    """The databases whose schema a release brings along."""
    return tuple(d.name for d in spec.databases if d.migrations or d.migrate)


def undone_by(spec: Spec) -> tuple[str, ...]:
    return tuple(d.name for d in spec.databases if d.migrations and d.on_rollback == "down")


def sqlite_file(spec: Spec, database: Database, storage: Mapping[str, str]) -> tuple[str, str]:
    """The storage directory that a SQLite database lies in, and its path below that."""
    found = next(s for s in spec.storage if database.path.startswith(f"{s.path}/"))
    return storage[found.name], database.path.removeprefix(f"{found.path}/")


def no_migrations(spec: Spec, name: str) -> HomeportError:
    return NO_DATABASE.error(
        f"cannot migrate database {name} of {spec.app}: it has no migrations of SQL files",
        hint=f'[database.{name}] migrations = "migrations" names their directory',
    )


def sqlite_urls(spec: Spec, storage: Mapping[str, str]) -> dict[str, str]:
    """Where the app finds its SQLite files: no secret."""
    found = {}
    for database in spec.databases:
        if database.engine == "sqlite":
            directory, file = sqlite_file(spec, database, storage)
            found[variable_of(database)] = f"sqlite:///{quote(f'{directory}/{file}')}"
    return found
