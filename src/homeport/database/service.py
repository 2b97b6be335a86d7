"""Databases of apps. Every call looks at what is there and goes on from it: it may be cut off anywhere.

The app's password is in the secret that holds its URL and nowhere else; a role that disagrees is given it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from homeport.database import attached, plan, restore_points, roles, shares, urls
from homeport.database.commands import Pool
from homeport.database.connect import Connection
from homeport.database.errors import CANNOT_MOVE, DROPPING, NO_POOLER, NOT_CONFIRMED, UNKNOWN
from homeport.database.events import (
    ClientsHeld,
    CredentialsRetired,
    CredentialsRotated,
    DatabaseDropped,
    DatabaseMade,
    ServerRestarted,
)
from homeport.database.model import Cluster, Provisioned, Ready, RestorePoint
from homeport.database.owners import Owners
from homeport.database.pool import Pooler
from homeport.database.port import Secrets, Services
from homeport.database.provision import ACTOR, Clusters
from homeport.database.sizing import Wanted
from homeport.database.state import (
    DatabaseState,
    add_database,
    remove_database,
    set_database,
)
from homeport.journal.store import Store, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.secret import Secret
from homeport.spec.database_names import variable_of
from homeport.spec.model_database import Database
from homeport.system import net

PAUSE_TIMEOUT = 10.0


class Databases:
    """Every call may come from any thread."""

    def __init__(
        self,
        data_dir: Path,
        store: Store,
        services: Services,
        secrets: Secrets,
        clock: Clock,
        *,
        is_port_free: Callable[[int], bool] = net.is_port_free,
    ) -> None:
        self.state = DatabaseState(store)
        self.clusters = Clusters(data_dir, self.state, services, clock, is_port_free=is_port_free)
        self._store = store
        self._services = services
        self._secrets = secrets
        self._clock = clock
        self._lock = threading.RLock()
        self._owners = Owners(self.clusters, clock)

    # Making

    def ensure(
        self, app: str, environment: str, databases: Sequence[Database], replicas: int
    ) -> tuple[Ready, ...]:
        """Each PostgreSQL database of an environment, made where it is not there, and looked at where it is
        attached. ``replicas``: how many instances the app has, of all processes together.

        The URL of a provisioned one is kept as the secret of its variable.
        """
        return tuple(
            self._attach(app, environment, d) if d.url else self._provision(app, environment, d, replicas)
            for d in databases
            if d.engine == "postgresql"
        )

    def _attach(self, app: str, environment: str, database: Database) -> Ready:
        value = self._secrets.get(app, environment, database.url)
        if value is None:
            raise UNKNOWN.error(
                f'cannot attach database {database.name} of {app} {environment}: no secret "{database.url}"',
                hint=f"homeport secrets set {database.url}",
            )
        found = attached.check(Secret(value))
        return Ready(database.name, variable_of(database), Secret(value), True, database=found.database)

    def _provision(self, app: str, environment: str, wanted: Database, replicas: int) -> Ready:
        with self._lock:
            row = self._row(app, environment, wanted, replicas)
            cluster = self.clusters.ensure(row.cluster, dedicated=wanted.dedicated)
            return self._converge(row, cluster, variable_of(wanted))

    def _row(self, app: str, environment: str, wanted: Database, replicas: int) -> Provisioned:
        """Its record, made or brought up to date."""
        name = wanted.name
        row = self.state.database(app, environment, name)
        cluster = plan.cluster_name(app, environment, name, dedicated=wanted.dedicated)
        values = {
            "pool": wanted.pool,
            "connections": wanted.connections,
            "replicas": replicas,
            "extensions": list(wanted.extensions),
        }
        if row is not None and row.state == "dropping":
            raise DROPPING.error(
                f"cannot make {row.label}: it is being dropped",
                hint=f"homeport db drop, confirmed with {row.database}, ends that",
            )
        if row is not None and row.cluster != cluster:
            raise CANNOT_MOVE.error(
                f"cannot move {row.label} to cluster {cluster}: its data is in cluster {row.cluster}",
                hint="dump it, drop it, deploy, and restore the dump",
            )
        others = [
            d for d in self.state.databases(cluster=cluster) if row is None or d.database != row.database
        ]
        database = (
            row.database
            if row is not None
            else plan.database_name(app, environment, name, {d.database for d in others})
        )
        # Refused before it is recorded: what cannot be given must not stand in the way of the others.
        asked = (*map(shares.wanted, others), Wanted(database, replicas, wanted.connections))
        shares.shares(cluster, asked, self.clusters.sizes().for_apps)
        with self._store.transaction(ACTOR) as tx:
            if row is None:
                add_database(tx, app, environment, name, cluster=cluster, database=database, **values)
            else:
                set_database(tx, row, **values)
        return self.get(app, environment, name)

    def _converge(self, row: Provisioned, cluster: Cluster, variable: str) -> Ready:
        size = self._sizes(cluster)[row.database]
        with self.clusters.superuser(cluster) as admin:
            url = self._url(row, cluster, variable)
            _, password = urls.user_and_password(url.reveal())
            for step in plan.steps(row, roles.look(admin, row, password)):
                if step.kind == "rights":
                    with self.clusters.superuser(cluster, row.database) as inside:
                        roles.give_rights(inside, row)
                else:
                    roles.apply(admin, step, row, password, size)
            if row.extensions:
                with self.clusters.superuser(cluster, row.database) as inside:
                    roles.make_extensions(inside, row)
            if row.state == "making":
                with self._store.transaction(ACTOR) as tx:
                    set_database(tx, row, state="ready")
                    tx.append(
                        DatabaseMade(
                            app=row.app,
                            environment=row.environment,
                            name=row.name,
                            cluster=cluster.name,
                            database=row.database,
                        )
                    )
            self._pool(cluster, admin)
        return Ready(row.name, variable, url, False, cluster.name, row.database)

    def _url(self, row: Provisioned, cluster: Cluster, variable: str) -> Secret:
        """The app's URL: the secret's own, when it is that of its login; else one with a new password."""
        role = row.login_role(row.login)
        before = self._secrets.get(row.app, row.environment, variable)
        user, password = urls.user_and_password(before)
        if user != role or not password:
            password = roles.new_password()
        port = cluster.port if row.pool == "none" else cluster.pooler_port
        url = urls.url(role, password, port, row.database)
        if url != before:
            self._secrets.set(row.app, row.environment, variable, url)
        return Secret(url)

    def _sizes(self, cluster: Cluster) -> dict[str, int]:
        """Connections of each database of a cluster. Raises ``database.too_many_connections``."""
        asked = [shares.wanted(d) for d in self.state.databases(cluster=cluster.name)]
        return shares.shares(cluster.name, asked, self.clusters.sizes().for_apps)

    def _pool(self, cluster: Cluster, admin: Connection) -> None:
        """The pooler serves the databases of a cluster that are ready."""
        sizes = self._sizes(cluster)
        pools = [
            Pool(row, sizes[row.database], roles.verifiers(admin, row))
            for row in self.state.databases(cluster=cluster.name)
            if row.state == "ready" and row.pool != "none"
        ]
        self.pooler(cluster).ensure(pools)

    def pooler(self, cluster: Cluster) -> Pooler:
        return Pooler(self.clusters.layout(cluster.name), cluster, self._services, self._clock)

    # Looking

    def get(self, app: str, environment: str, name: str) -> Provisioned:
        """Raises ``database.unknown``."""
        row = self.state.database(app, environment, name)
        if row is None:
            known = [d.name for d in self.state.databases(app=app) if d.environment == environment]
            raise UNKNOWN.error(
                f"cannot find database {name} of {app} {environment}",
                hint=f"there are: {', '.join(known)}" if known else "it is made by the next deploy",
            )
        return row

    def cluster_of(self, row: Provisioned) -> Cluster:
        cluster = self.state.cluster(row.cluster)
        if cluster is None:
            raise UNKNOWN.error(f"cannot find cluster {row.cluster} of {row.label}")
        return cluster

    @contextmanager
    def connect_as_admin(self, app: str, environment: str, name: str) -> Iterator[Connection]:
        """A superuser's connection to a provisioned database; each statement a transaction of its own."""
        row = self.get(app, environment, name)
        with self.clusters.superuser(self.cluster_of(row), row.database) as connection:
            yield connection

    @contextmanager
    def owner_url(self, app: str, environment: str, name: str) -> Iterator[Secret]:
        """A URL of the login for migrations, which acts as the owner; directly, without the pooler.

        Its password is made for this block, and taken away when nobody uses it any more.
        """
        row = self.get(app, environment, name)
        with self._owners.url(row, self.cluster_of(row)) as url:
            yield url

    def admin_url(self, app: str, environment: str, name: str) -> str:
        """How the superuser reaches a database: by the unix socket, without a password."""
        row = self.get(app, environment, name)
        cluster = self.cluster_of(row)
        return urls.admin(self.clusters.layout(cluster.name), cluster, row.database)

    @contextmanager
    def reader_url(self, app: str, environment: str, name: str) -> Iterator[Secret]:
        """As :meth:`owner_url`, of a login that may read every table and nothing else."""
        row = self.get(app, environment, name)
        cluster = self.cluster_of(row)
        with self._lock, self.clusters.superuser(cluster, row.database) as inside:
            roles.make_reader(inside, row)
        with self._owners.url(row, cluster, row.reader) as url:
            yield url

    @contextmanager
    def connect_as_owner(self, app: str, environment: str, name: str) -> Iterator[Connection]:
        """A connection for migrations: what it makes belongs to the owner. Raises ``database.not_answering``."""
        row = self.get(app, environment, name)
        with self._owners.connect(row, self.cluster_of(row)) as connection:
            yield connection

    def restore_point(
        self, app: str, environment: str, name: str, *, change: str | None = None, label: str = "at"
    ) -> RestorePoint:
        """A named moment in the server's log, to which a point-in-time recovery can go back."""
        row = self.get(app, environment, name)
        with self.clusters.superuser(self.cluster_of(row)) as admin:
            return restore_points.make(self._store, admin, row, self._clock.now(), change=change, label=label)

    # Credentials

    def rotate(self, app: str, environment: str, database: Database, *, actor: str = ACTOR) -> Ready:
        """Give the app its other login, with a new password; the one before stays valid until :meth:`retire`.

        Made again before that, it gives the same.
        """
        with self._lock:
            row = self.get(app, environment, database.name)
            if row.previous is None:
                login = plan.other(row.login)
                with self._store.transaction(actor) as tx:
                    set_database(
                        tx, row, login=login, previous=row.login, rotated_at=text_time(self._clock.now())
                    )
                    tx.append(
                        CredentialsRotated(
                            app=app, environment=environment, name=row.name, role=row.login_role(login)
                        )
                    )
                row = self.get(app, environment, database.name)
            cluster = self.clusters.ensure(row.cluster, dedicated=database.dedicated)
            return self._converge(row, cluster, variable_of(database))

    def retire(
        self, app: str, environment: str, name: str, begun: datetime | None, *, actor: str = ACTOR
    ) -> bool:
        """Take the login before away, its connections included; False when there is none.

        ``begun``: when the rotation that is to end so began; of another one, which may have begun since it was looked
        at, nothing is taken away.
        """
        with self._lock:
            row = self.get(app, environment, name)
            if row.previous is None or row.rotated_at != begun:
                return False
            cluster = self.cluster_of(row)
            role = row.login_role(row.previous)
            with self.clusters.superuser(cluster) as admin:
                roles.lock(admin, role)
                self._pool(cluster, admin)
            with self._store.transaction(actor) as tx:
                set_database(tx, row, previous=None, hurried=False)
                tx.append(CredentialsRetired(app=app, environment=environment, name=name, role=role))
            return True

    # Holding clients

    def pause(
        self, app: str, environment: str, name: str, *, timeout: float = PAUSE_TIMEOUT, actor: str = ACTOR
    ) -> None:
        """Hold the app's clients, between two of their transactions. Raises ``database.busy``, ``.no_pooler``."""
        self._hold(app, environment, name, actor, timeout)

    def resume(self, app: str, environment: str, name: str, *, actor: str = ACTOR) -> None:
        self._hold(app, environment, name, actor, None)

    def _hold(self, app: str, environment: str, name: str, actor: str, timeout: float | None) -> None:
        row = self.get(app, environment, name)
        if row.pool == "none":
            raise NO_POOLER.error(
                f"cannot hold the clients of {row.label}: they connect without a pooler",
                hint='pool = "transaction" puts one before it',
            )
        pooler = self.pooler(self.cluster_of(row))
        if timeout is not None:
            pooler.pause(row.database, timeout=timeout)
        else:
            pooler.resume(row.database)
        with self._store.transaction(actor) as tx:
            tx.append(ClientsHeld(app=app, environment=environment, name=name, held=timeout is not None))

    def restart(
        self, cluster: Cluster, *, timeout: float = PAUSE_TIMEOUT, actor: str = ACTOR
    ) -> tuple[Provisioned, ...]:
        """Restart a server while the pooler holds its clients; returns the databases that have none and were cut
        off. Raises ``database.busy``: then it runs on."""
        pooler = self.pooler(cluster)
        rows = self.state.databases(cluster=cluster.name)
        held = [d.database for d in rows if d.state == "ready" and d.pool != "none"]
        began = self._clock.monotonic()
        with self._lock:
            before = pooler.paused()
            try:
                for database in held:
                    pooler.pause(database, timeout=timeout)
                self.clusters.restart(cluster)
            finally:
                for database in held:
                    if database not in before:
                        pooler.resume(database)
        with self._store.transaction(actor) as tx:
            seconds = round(self._clock.monotonic() - began, 3)
            tx.append(ServerRestarted(cluster=cluster.name, held=held, seconds=seconds))
        return tuple(d for d in rows if d.database not in held)

    # Dropping

    def drop(
        self, app: str, environment: str, database: Database, *, confirm: str, actor: str = ACTOR
    ) -> None:
        """Remove a database with all that is in it; a dedicated cluster goes with it.

        ``confirm`` repeats its name in PostgreSQL. Raises ``database.not_confirmed``.
        """
        row = self.get(app, environment, database.name)
        if confirm != row.database:
            raise NOT_CONFIRMED.error(
                f"cannot drop {row.label}: its name was not repeated", hint=f"confirm with {row.database}"
            )
        with self._lock:
            with self._store.transaction(actor) as tx:
                set_database(tx, row, state="dropping")
            cluster = self.state.cluster(row.cluster)
            if cluster is not None and cluster.dedicated:
                self.clusters.remove(cluster)
            elif cluster is not None:
                cluster = self.clusters.ensure(cluster.name, dedicated=False)
                with self.clusters.superuser(cluster) as admin:
                    self._pool(cluster, admin)
                    self.pooler(cluster).disconnect(row.database)
                    roles.drop(admin, row)
            self._secrets.remove(app, environment, variable_of(database))
            with self._store.transaction(actor) as tx:
                remove_database(tx, row)
                tx.append(
                    DatabaseDropped(
                        app=app,
                        environment=environment,
                        name=row.name,
                        cluster=row.cluster,
                        database=row.database,
                    )
                )
