"""Named moments in a server's log."""

from datetime import datetime

from homeport.database.connect import Connection
from homeport.database.events import RestorePointMade
from homeport.database.model import Provisioned, RestorePoint
from homeport.database.state import add_restore_point
from homeport.journal.store import Store

LONGEST = 63


def name_of(row: Provisioned, label: str, now: datetime) -> str:
    """Unique by its time; its end is kept where it is too long."""
    return f"{row.database}_{label}_{now:%Y%m%dT%H%M%S%f}"[-LONGEST:]


def make(
    store: Store,
    connection: Connection,
    row: Provisioned,
    now: datetime,
    *,
    change: str | None,
    label: str,
) -> RestorePoint:
    """``connection`` is the superuser's."""
    id = name_of(row, label, now)
    found = connection.execute("SELECT pg_create_restore_point(%s)::text", (id,)).fetchone()
    assert found is not None
    return record(store, row, id, found[0], now, change=change)


def record(
    store: Store, row: Provisioned, id: str, lsn: str, now: datetime, *, change: str | None
) -> RestorePoint:
    """One that stands in the server's log."""
    point = RestorePoint(id, row.app, row.environment, row.name, lsn, now, change)
    with store.transaction("homeport") as tx:
        add_restore_point(tx, point)
        tx.append(
            RestorePointMade(
                app=row.app,
                environment=row.environment,
                change=change,
                name=row.name,
                point=id,
                lsn=point.lsn,
            )
        )
    return point
