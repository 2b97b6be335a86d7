"""Which databases there are: of what serves, and those kept of what is gone. Reaches no server."""

from dataclasses import dataclass
from pathlib import Path

from homeport.database import urls
from homeport.database.errors import UNKNOWN
from homeport.database.model import Layout, Provisioned
from homeport.database.port import ServiceStatus
from homeport.guard.errors import UNKNOWN_SECRET
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.data.wanted import sqlite_file
from homeport.rollout.model import Environment
from homeport.rollout.parts import Parts
from homeport.spec.database_names import MAIN, variable_of
from homeport.spec.model import Spec
from homeport.spec.model_database import Database


@dataclass(frozen=True, slots=True)
class Known:
    """A database as the state tells of it."""

    app: AppName
    environment: EnvironmentName
    name: str
    """In homeport.toml."""
    spec: Database
    row: Provisioned | None = None
    """Of one that Homeport made."""
    file: tuple[str, str] | None = None
    """Of SQLite: the storage directory, and the file's path below it."""
    kept: bool = False
    """No release that serves or is kept warm has it."""

    @property
    def kind(self) -> str:
        if self.spec.engine == "sqlite":
            return "sqlite"
        return "provisioned" if self.row is not None else "attached" if self.spec.url else "coming"

    @property
    def variable(self) -> str:
        return variable_of(self.spec)

    @property
    def key(self) -> str:
        return f"{self.app}.{self.environment}.{self.name}"

    @property
    def label(self) -> str:
        return f"database {self.name} of {self.app} {self.environment}"


def all_of(parts: Parts, app: AppName | None = None) -> tuple[Known, ...]:
    """By app, environment and name."""
    found: dict[tuple[str, str, str], Known] = {}
    rows = {(r.app, r.environment, r.name): r for r in parts.stores.state.databases(app=app)}
    for environment in parts.state.environments(app):
        for spec in _specs(parts, environment):
            for database in spec.databases:
                key: tuple[str, str, str] = (environment.app, environment.name, database.name)
                if key not in found:
                    found[key] = _known(parts, environment, spec, database, rows.get(key))
    for other, row in rows.items():
        if other not in found:
            cluster = parts.stores.state.cluster(row.cluster)
            database = Database(
                row.name,
                dedicated=cluster is not None and cluster.dedicated,
                pool=row.pool,
                connections=row.connections,
                extensions=row.extensions,
            )
            found[other] = Known(
                AppName(row.app), EnvironmentName(row.environment), row.name, database, row, kept=True
            )
    return tuple(found[key] for key in sorted(found))


def one(parts: Parts, app: AppName, environment: EnvironmentName, name: str | None) -> Known:
    """By its name in homeport.toml; without one: the only one, or main. Raises ``database.unknown``."""
    mine = [k for k in all_of(parts, app) if k.environment == environment]
    names = [k.name for k in mine]
    if name is None:
        name = names[0] if len(names) == 1 else MAIN
    for known in mine:
        if known.name == name:
            return known
    if not mine:
        parts.state.environment(app, environment)
        raise UNKNOWN.error(
            f"cannot find a database of {app} {environment}: it has none",
            hint="[database.main] in homeport.toml and a deploy give it one",
        )
    raise UNKNOWN.error(
        f"cannot find database {name} of {app} {environment}", hint=f"there are: {', '.join(names)}"
    )


def _specs(parts: Parts, environment: Environment) -> list[Spec]:
    """Of the release that serves first, then of those that could again at once."""
    releases = [environment.serving] if environment.serving is not None else []
    others = {i.release for i in parts.state.instances(environment.app, environment.name)}
    releases += sorted(others - set(releases))
    return [parts.spec(environment.app, environment.name, r) for r in releases]


def _known(
    parts: Parts, environment: Environment, spec: Spec, database: Database, row: Provisioned | None
) -> Known:
    file = None
    if database.engine == "sqlite":
        file = sqlite_file(spec, database, parts.storage(environment.app, environment.name, spec))
    elif database.url:
        row = None
    return Known(environment.app, environment.name, database.name, database, row, file)


def layout(parts: Parts, row: Provisioned) -> Layout:
    return Layout(parts.data_dir, row.cluster)


def admin(parts: Parts, row: Provisioned) -> str:
    """The superuser's connection."""
    cluster = parts.stores.state.cluster(row.cluster)
    if cluster is None:
        raise UNKNOWN.error(f"cannot find cluster {row.cluster} of {row.label}")
    return urls.admin(layout(parts, row), cluster, row.database)


def url_of(parts: Parts, known: Known) -> str:
    """What its app connects to. Raises ``guard.unknown_secret``. Not of SQLite."""
    name = known.spec.url or known.variable
    if name not in parts.vault.versions(known.app, known.environment):
        raise UNKNOWN_SECRET.error(
            f"cannot tell the URL of {known.label}: no secret {name}",
            hint=f"homeport secrets set {name}" if known.spec.url else "the next deploy makes it",
        )
    return parts.vault.reveal(known.app, known.environment, name)


def direct_url(parts: Parts, known: Known) -> str | None:
    """The app's login at the server itself, without the pooler; None where it is not known just now."""
    assert known.row is not None
    cluster = parts.stores.state.cluster(known.row.cluster)
    try:
        user, password = urls.user_and_password(url_of(parts, known))
    except HomeportError:
        return None
    return urls.url(user, password, cluster.port, known.row.database) if cluster and password else None


def service(parts: Parts, name: str) -> ServiceStatus | None:
    return parts.stores.services.status(name)


def file_of(known: Known) -> Path:
    assert known.file is not None
    return Path(known.file[0]) / known.file[1]
