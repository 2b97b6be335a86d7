"""What is known of locks, in ``state.db``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from homeport.backup import events
from homeport.backup.locks.model import Known, Lock
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, parse_time, text_time

_T = tables.backup_locks
_L = _T.c


class Locks:
    """Every call may come from any thread, and from children."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self) -> tuple[Known, ...]:
        """Of repositories that there are."""
        there = sa.select(tables.backup_repositories.c.name)
        with self._store.read() as c:
            rows = c.execute(sa.select(_T).where(_L.repository.in_(there)).order_by(_L.repository)).all()
        return tuple(_known(r) for r in rows)

    def get(self, repository: str) -> Known | None:
        return next((k for k in self.list() if k.repository == repository), None)

    def ask(self, known: Known, *, actor: str) -> None:
        """From now on it is looked whether it holds."""
        with self._store.transaction(actor) as tx:
            tx.execute(_T.delete().where(_L.repository == known.repository))
            tx.execute(_T.insert().values(repository=known.repository, **_values(known)))
            tx.append(
                events.RepositoryLocked(name=known.repository, mode=known.asked.mode, days=known.asked.days)
            )

    def saw(self, known: Known) -> None:
        """Another look at one that is asked for still."""
        with self._store.transaction("homeport") as tx:
            tx.execute(_T.update().where(_L.repository == known.repository).values(**_values(known)))

    def forget(self, repository: str, *, actor: str) -> bool:
        """Whether a lock was asked for. The store's own goes on."""
        with self._store.transaction(actor) as tx:
            gone = tx.execute(_T.delete().where(_L.repository == repository)).rowcount > 0
            if gone:
                tx.append(events.RepositoryLocked(name=repository, mode="", days=0))
        return gone

    def undeleted(self, repository: str, since: str, deleted: int, overwritten: int, *, actor: str) -> None:
        with self._store.transaction(actor) as tx:
            tx.append(
                events.RepositoryUndeleted(
                    name=repository, since=since, deleted=deleted, overwritten=overwritten
                )
            )


def _values(k: Known) -> dict[str, Any]:
    return {
        "asked": k.asked.to_json(),
        "seen": k.seen.to_json() if k.seen else None,
        "seen_at": text_time(k.seen_at),
        "problem": k.problem,
        "renewed_at": text_time(k.renewed_at) if k.renewed_at else None,
    }


def _known(row: Any) -> Known:
    asked = Lock.of(row.asked)
    assert asked is not None
    renewed: datetime | None = parse_time(row.renewed_at) if row.renewed_at else None
    return Known(row.repository, asked, Lock.of(row.seen), parse_time(row.seen_at), row.problem, renewed)
