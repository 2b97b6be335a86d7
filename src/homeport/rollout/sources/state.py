"""Reading and writing the tables of sources. No decisions here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from homeport.journal import schema
from homeport.journal.store import Store, Transaction, parse_time, text_time
from homeport.kernel.ids import AppName, RunId
from homeport.rollout.sources.model import Source, Work

_S = schema.sources.c
_D = schema.deliveries.c


def sources(store: Store) -> tuple[Source, ...]:
    with store.read() as c:
        return tuple(_source(row) for row in c.execute(sa.select(schema.sources).order_by(_S.app)))


def source(store: Store, app: AppName) -> Source | None:
    with store.read() as c:
        row = c.execute(sa.select(schema.sources).where(_S.app == app)).first()
    return _source(row) if row else None


def in_transaction(tx: Transaction, app: AppName) -> Source | None:
    row = tx.execute(sa.select(schema.sources).where(_S.app == app)).first()
    return _source(row) if row else None


def has_webhooks(store: Store) -> bool:
    with store.read() as c:
        return c.execute(sa.select(_S.app).where(_S.webhook).limit(1)).first() is not None


def ensure_app(tx: Transaction, app: AppName) -> None:
    """Its row: a source may be there before the first deploy."""
    a = schema.apps.c
    if tx.execute(sa.select(a.name).where(a.name == app)).first() is None:
        tx.execute(schema.apps.insert().values(name=app, last_release=0, created_at=text_time(tx.now)))


def put(tx: Transaction, source: Source) -> None:
    """Insert or replace."""
    values = {
        "url": source.url,
        "branch": source.branch,
        "directory": source.directory,
        "poll": source.poll,
        "webhook": source.webhook,
        "credential": source.credential,
        "seen": source.seen,
        "looked_at": text_time(source.looked_at) if source.looked_at else None,
        "failures": source.failures,
        "problem": source.problem,
        "pending": [work.to_json() for work in source.pending],
    }
    updated = tx.execute(schema.sources.update().where(_S.app == source.app).values(**values))
    if updated.rowcount == 0:
        tx.execute(schema.sources.insert().values(app=source.app, **values))


def delete(tx: Transaction, app: AppName) -> None:
    tx.execute(schema.sources.delete().where(_S.app == app))
    tx.execute(schema.deliveries.delete().where(_D.app == app))


def is_known(store: Store, app: AppName, id: str) -> bool:
    with store.read() as c:
        return c.execute(sa.select(_D.id).where(_D.app == app, _D.id == id)).first() is not None


def remember(tx: Transaction, app: AppName, ids: Sequence[str], before: datetime) -> bool:
    """Keep these deliveries, forget those from before a time; False when one of them was there."""
    tx.execute(schema.deliveries.delete().where(_D.at < text_time(before)))
    if tx.execute(sa.select(_D.id).where(_D.app == app, _D.id.in_(ids))).first() is not None:
        return False
    for id in dict.fromkeys(ids):
        tx.execute(schema.deliveries.insert().values(app=app, id=id, at=text_time(tx.now)))
    return True


def has_run(store: Store, id: RunId) -> bool:
    r = schema.pipeline_runs.c
    with store.read() as c:
        return c.execute(sa.select(r.id).where(r.id == id)).first() is not None


def _source(row: Row[Any]) -> Source:
    return Source(
        AppName(row.app),
        row.url,
        row.branch,
        row.directory,
        row.poll,
        row.webhook,
        row.credential,
        row.seen,
        parse_time(row.looked_at) if row.looked_at else None,
        row.failures,
        row.problem,
        tuple(Work(**work) for work in row.pending),
    )
