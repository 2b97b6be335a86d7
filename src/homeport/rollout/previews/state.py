"""Reading and writing the table of previews. No decisions here."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from homeport.journal.schema import previews
from homeport.journal.store import Store, Transaction, parse_time, text_time
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.previews.model import Preview

NEVER = "9999-12-31T00:00:00.000000Z"


def read(store: Store, app: AppName | None = None) -> tuple[Preview, ...]:
    """Every preview, or those of an app, by name."""
    query = sa.select(previews).order_by(previews.c.app, previews.c.name)
    if app is not None:
        query = query.where(previews.c.app == app)
    with store.read() as c:
        return tuple(_preview(row) for row in c.execute(query))


def find(store: Store, app: AppName, environment: EnvironmentName) -> Preview | None:
    return next((p for p in read(store, app) if p.environment == environment), None)


def insert(tx: Transaction, preview: Preview) -> None:
    tx.execute(
        previews.insert().values(
            app=preview.app,
            environment=preview.environment,
            name=preview.name,
            branch=preview.branch,
            commit=preview.commit,
            actor=preview.actor,
            created_at=text_time(preview.created_at),
            expires_at=text_time(preview.expires_at),
            used_at=text_time(preview.used_at),
            asleep=preview.asleep,
        )
    )


def update(
    tx: Transaction,
    app: AppName,
    environment: EnvironmentName,
    *,
    commit: str | None = None,
    expires_at: datetime | None = None,
    used_at: datetime | None = None,
    asleep: bool | None = None,
) -> bool:
    """Write what is given; False where there is no such preview."""
    values: dict[str, Any] = {"commit": commit, "asleep": asleep}
    values |= {
        name: text_time(at) if at is not None else None
        for name, at in (("expires_at", expires_at), ("used_at", used_at))
    }
    given = {name: value for name, value in values.items() if value is not None}
    return tx.execute(previews.update().where(*_is(app, environment)).values(**given)).rowcount > 0


def _is(app: AppName, environment: EnvironmentName) -> tuple[sa.ColumnElement[bool], ...]:
    return previews.c.app == app, previews.c.environment == environment


def _preview(row: Row[Any]) -> Preview:
    return Preview(
        app=AppName(row.app),
        environment=EnvironmentName(row.environment),
        name=row.name,
        branch=row.branch,
        commit=row.commit,
        actor=row.actor,
        created_at=parse_time(row.created_at),
        expires_at=parse_time(row.expires_at or NEVER),
        used_at=parse_time(row.used_at),
        asleep=bool(row.asleep),
    )
