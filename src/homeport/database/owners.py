"""The logins for migrations and for people: they have a password only while somebody uses it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from homeport.database import roles, urls
from homeport.database.connect import Connection, not_answering
from homeport.database.errors import NOT_ANSWERING
from homeport.database.model import Cluster, Provisioned
from homeport.database.provision import Clusters
from homeport.journal.store import text_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

VALID = timedelta(hours=2)
"""How long a password is valid after it was last asked for, where it could not be taken away."""


@dataclass(slots=True)
class _Use:
    password: str
    users: int = 0


class Owners:
    """Several may migrate one database at a time, and connect again: they share a password."""

    def __init__(self, clusters: Clusters, clock: Clock) -> None:
        self._clusters = clusters
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: dict[tuple[str, str], _Use] = {}

    @contextmanager
    def url(self, row: Provisioned, cluster: Cluster, role: str = "") -> Iterator[Secret]:
        """``role``: another one of the database's; the login for migrations by default."""
        role = role or row.migrator
        key = (cluster.name, role)
        with self._lock:
            use = self._uses.get(key) or _Use(roles.new_password())
            until = text_time(self._clock.now() + VALID)
            with self._clusters.superuser(cluster) as admin:
                roles.set_password(admin, role, use.password, until=until)
            self._uses[key] = use
            use.users += 1
        try:
            yield Secret(urls.url(role, use.password, cluster.port, row.database))
        finally:
            with self._lock:
                use.users -= 1
                if not use.users:
                    del self._uses[key]
                    self._take_away(role, cluster)

    def _take_away(self, role: str, cluster: Cluster) -> None:
        """Where the server is gone, the password ends by itself."""
        with suppress(psycopg.Error):
            try:
                with self._clusters.superuser(cluster) as admin:
                    roles.forget_password(admin, role)
            except HomeportError as e:
                if e.code != NOT_ANSWERING.code:
                    raise

    @contextmanager
    def connect(self, row: Provisioned, cluster: Cluster) -> Iterator[Connection]:
        with self.url(row, cluster) as url:
            try:
                connection = psycopg.connect(
                    url.reveal(), autocommit=True, connect_timeout=5, application_name="homeport migrate"
                )
            except psycopg.OperationalError as e:
                raise not_answering(row.label, e) from None
            with connection:
                yield connection
