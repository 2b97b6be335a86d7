"""Clusters and databases as frozen values, and where their files are. Pure."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from homeport.kernel.secret import Secret

SUPERUSER = "homeport"
"""PostgreSQL's superuser in our clusters; it has no password and comes in by the unix socket only."""
MAIN = "main"
"""The cluster that databases share."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a cluster's files are below the data directory. Paths only."""

    data: Path
    cluster: str

    @property
    def clusters(self) -> Path:
        return self.data / "postgresql"

    @property
    def directory(self) -> Path:
        return self.clusters / self.cluster

    @property
    def files(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.directory / "data"

    def log(self, service: str) -> Path:
        """What a server or its pooler prints."""
        return self.data / "logs" / f"{service}.log"

    @property
    def unfinished(self) -> Path:
        """What initdb writes into, before it is renamed."""
        return self.directory / "data.new"

    @property
    def sockets(self) -> Path:
        """Short: a unix socket's path may have 107 bytes."""
        return self.directory / "s"

    @property
    def conf(self) -> Path:
        return self.directory / "postgresql.conf"

    @property
    def backup_conf(self) -> Path:
        """Read after ``conf``, where it is there: how the cluster is archived."""
        return self.directory / "backup.conf"

    @property
    def hba(self) -> Path:
        return self.directory / "pg_hba.conf"

    @property
    def ident(self) -> Path:
        return self.directory / "pg_ident.conf"

    @property
    def pooler(self) -> Path:
        return self.directory / "pgbouncer.ini"

    @property
    def pooler_hba(self) -> Path:
        return self.directory / "pgbouncer_hba.conf"

    @property
    def userlist(self) -> Path:
        return self.directory / "userlist.txt"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A PostgreSQL server of our own, and its pooler."""

    name: str
    version: int
    """PostgreSQL's major version."""
    state: str
    """"making" until its files are whole, then "ready"."""
    port: int
    pooler_port: int
    dedicated: bool

    @property
    def service(self) -> str:
        return f"postgresql.{self.name}"

    @property
    def pooler_service(self) -> str:
        return f"pgbouncer.{self.name}"


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A database that Homeport made, as recorded."""

    app: str
    environment: str
    name: str
    cluster: str
    database: str
    state: str
    """"making", "ready" or "dropping"."""
    login: str
    """The login that the app uses: "a" or "b"."""
    previous: str | None
    """The login before it, while both are valid."""
    pool: str
    connections: int | None
    replicas: int
    extensions: tuple[str, ...]
    created_at: datetime
    rotated_at: datetime | None = None
    hurried: bool = False
    """While a rotation is under way: nobody waits for those that could go back to the login before."""

    @property
    def owner(self) -> str:
        """Cannot log in; owns the database and its schemas."""
        return f"{self.database}_owner"

    @property
    def role(self) -> str:
        """Cannot log in; what the app may do."""
        return f"{self.database}_app"

    @property
    def migrator(self) -> str:
        """Logs in for migrations and acts as the owner."""
        return f"{self.database}_migrate"

    @property
    def reader(self) -> str:
        """Logs in to look: a person's, who may read and nothing else. Made when it is first asked for."""
        return f"{self.database}_read"

    def login_role(self, login: str) -> str:
        return f"{self.database}_{login}"

    @property
    def label(self) -> str:
        """For messages."""
        return f"database {self.name} of {self.app} {self.environment}"


@dataclass(frozen=True, slots=True)
class Ready:
    """A database that an app may connect to."""

    name: str
    variable: str
    """The environment variable that gives the app its URL."""
    url: Secret
    attached: bool
    """Somebody else runs it: there is no cluster of ours behind it."""
    cluster: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """What was found out about a database that somebody else runs."""

    version: int
    """As in server_version_num, such as 150018."""
    database: str
    role: str
    bytes: int
    superuser: bool
    tls: bool


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A named moment that a point-in-time recovery can go back to."""

    id: str
    app: str
    environment: str
    name: str
    lsn: str
    at: datetime
    change: str | None
