"""Clusters, databases and restore points in ``state.db``."""

from typing import Any

import sqlalchemy as sa

from homeport.database.model import Cluster, Provisioned, RestorePoint
from homeport.journal import schema
from homeport.journal.store import Store, Transaction, parse_time, text_time

_C = schema.clusters.c
_D = schema.databases.c
_R = schema.restore_points.c


def _cluster(row: Any) -> Cluster:
    return Cluster(row.name, row.version, row.state, row.port, row.pooler_port, row.dedicated)


def _database(row: Any) -> Provisioned:
    return Provisioned(
        app=row.app,
        environment=row.environment,
        name=row.name,
        cluster=row.cluster,
        database=row.database,
        state=row.state,
        login=row.login,
        previous=row.previous,
        pool=row.pool,
        connections=row.connections,
        replicas=row.replicas,
        extensions=tuple(row.extensions),
        created_at=parse_time(row.created_at),
        rotated_at=parse_time(row.rotated_at) if row.rotated_at else None,
        hurried=row.hurried,
    )


def _of(app: str, environment: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _D.app == app, _D.environment == environment, _D.name == name


class DatabaseState:
    """Reads; the writes below are for a transaction of the caller's."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def clusters(self) -> tuple[Cluster, ...]:
        with self.store.read() as c:
            return tuple(map(_cluster, c.execute(sa.select(schema.clusters).order_by(_C.name))))

    def cluster(self, name: str) -> Cluster | None:
        return next((c for c in self.clusters() if c.name == name), None)

    def databases(self, *, cluster: str | None = None, app: str | None = None) -> tuple[Provisioned, ...]:
        query = sa.select(schema.databases).order_by(_D.app, _D.environment, _D.name)
        if cluster is not None:
            query = query.where(_D.cluster == cluster)
        if app is not None:
            query = query.where(_D.app == app)
        with self.store.read() as c:
            return tuple(map(_database, c.execute(query)))

    def database(self, app: str, environment: str, name: str) -> Provisioned | None:
        with self.store.read() as c:
            row = c.execute(sa.select(schema.databases).where(*_of(app, environment, name))).first()
        return _database(row) if row is not None else None

    def restore_points(self, app: str, environment: str, name: str) -> tuple[RestorePoint, ...]:
        """Newest first."""
        query = (
            sa.select(schema.restore_points)
            .where(_R.app == app, _R.environment == environment, _R.name == name)
            .order_by(_R.at.desc())
        )
        with self.store.read() as c:
            return tuple(
                RestorePoint(r.id, r.app, r.environment, r.name, r.lsn, parse_time(r.at), r.change)
                for r in c.execute(query)
            )


def add_cluster(tx: Transaction, cluster: Cluster) -> None:
    tx.execute(
        schema.clusters.insert().values(
            name=cluster.name,
            version=cluster.version,
            state=cluster.state,
            port=cluster.port,
            pooler_port=cluster.pooler_port,
            dedicated=cluster.dedicated,
            created_at=text_time(tx.now),
        )
    )


def set_cluster(tx: Transaction, name: str, **values: Any) -> None:
    tx.execute(schema.clusters.update().where(_C.name == name).values(**values))


def remove_cluster(tx: Transaction, name: str) -> None:
    tx.execute(schema.clusters.delete().where(_C.name == name))


def add_database(tx: Transaction, app: str, environment: str, name: str, **values: Any) -> None:
    tx.execute(
        schema.databases.insert().values(
            app=app,
            environment=environment,
            name=name,
            engine="postgresql",
            state="making",
            login="a",
            created_at=text_time(tx.now),
            **values,
        )
    )


def set_database(tx: Transaction, row: Provisioned, **values: Any) -> None:
    tx.execute(schema.databases.update().where(*_of(row.app, row.environment, row.name)).values(**values))


def remove_database(tx: Transaction, row: Provisioned) -> None:
    tx.execute(schema.databases.delete().where(*_of(row.app, row.environment, row.name)))
    tx.execute(
        schema.restore_points.delete().where(
            _R.app == row.app, _R.environment == row.environment, _R.name == row.name
        )
    )


def add_restore_point(tx: Transaction, point: RestorePoint) -> None:
    tx.execute(
        schema.restore_points.insert().values(
            id=point.id,
            app=point.app,
            environment=point.environment,
            name=point.name,
            lsn=point.lsn,
            at=text_time(point.at),
            change=point.change,
        )
    )
