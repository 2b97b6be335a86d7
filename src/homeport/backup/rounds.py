"""What backups do by the clock: a look each minute, backups when they are due, one at once where the log has a gap."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from homeport.backup import coverage, events, plan
from homeport.backup.errors import UNDER_WAY
from homeport.backup.model import MAKING
from homeport.backup.service import Backups
from homeport.journal import schema_backups as tables
from homeport.journal.store import Store, parse_time, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

log = logging.getLogger(__name__)

ACTOR = "homeport"
LOOK_EVERY = 60.0
DUE_EVERY = 10.0
AGAIN = timedelta(minutes=30)
"""A full backup that a gap asked for is not tried again sooner."""
KEEP_LOOKS = timedelta(days=8)
KEEP_CHANGES = timedelta(days=400)
_L = tables.backup_looks.c


@dataclass(frozen=True, slots=True)
class Look:
    cluster: str
    at: datetime
    lost: int | None
    findings: tuple[Mapping[str, Any], ...]


class Rounds:
    """:meth:`tick` is called from one thread alone; what takes time is done in another."""

    def __init__(self, backups: Backups, store: Store, clock: Clock) -> None:
        self._backups = backups
        self._store = store
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="backups")
        self._looking = threading.Lock()
        self._looked = -LOOK_EVERY
        self._asked = -DUE_EVERY
        backups.here["look"] = lambda run, step, told: self._look_now()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def tick(self) -> None:
        now = self._clock.monotonic()
        if now - self._asked >= DUE_EVERY:
            self._asked = now
            if self._backups.repositories.ready():
                self._begin_due()
        if now - self._looked >= LOOK_EVERY and self._backups.repositories.ready():
            self._looked = now
            self._pool.submit(self._look_apart)

    def look_soon(self) -> None:
        """At the next tick."""
        self._looked = -LOOK_EVERY

    # Backups

    def _begin_due(self) -> None:
        now = self._clock.now()
        runs = self._backups.runs.list(kinds=("backup",), limit=200)
        wanted = self._backups.wanted()
        schedules = wanted.schedules
        full = plan.due(schedules, plan.last_of(runs, now, full=True), now, full=True) is not None
        some = full or plan.due(schedules, plan.last_of(runs, now, full=False), now, full=False) is not None
        last = next((r for r in runs if r.subject == "all" and r.started_at <= now), None)
        some = some or coverage.is_new(wanted, self._backups.repositories.ready(), last)
        if some and self._backups.runs.under_way(MAKING) is None:
            self._begin(full=full)

    def _begin(self, *, full: bool) -> None:
        try:
            self._backups.back_up(full=full, actor=ACTOR)
        except HomeportError as e:
            if e.type is not UNDER_WAY:
                log.error("backup: %s", e.sentence)

    # Looking

    def _look_apart(self) -> None:
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._look_quietly()
        finally:
            self._looking.release()

    def _look_now(self) -> None:
        with self._looking:
            self._look_quietly()

    def _look_quietly(self) -> None:
        try:
            self.look()
        except HomeportError as e:
            log.error("look at backups: %s", e.sentence)
        except Exception:
            log.exception("look at backups")

    def look(self) -> tuple[Look, ...]:
        """One look at each cluster, recorded; a gap in the log begins a full backup at once."""
        found = self._backups.look()
        before = {look.cluster: look for look in self.latest()}
        now = self._clock.now()
        looks = tuple(Look(name, now, f["lost"], tuple(f["findings"])) for name, f in found.items())
        with self._store.transaction(ACTOR) as tx:
            for look in looks:
                was = before.get(look.cluster)
                changed = _codes(was) != _codes(look)
                tx.execute(
                    tables.backup_looks.insert().values(
                        cluster=look.cluster,
                        at=text_time(now),
                        lost=look.lost,
                        findings=[dict(f) for f in look.findings],
                        changed=changed,
                    )
                )
                if changed and (look.findings or (was is not None and was.findings)):
                    tx.append(
                        events.Endangered(
                            cluster=look.cluster, findings=[str(f["sentence"]) for f in look.findings]
                        )
                    )
            tx.execute(
                tables.backup_looks.delete().where(
                    sa.or_(
                        sa.and_(
                            _L.at < text_time(now - KEEP_LOOKS),
                            _L.changed.is_(False),
                            _is_not_the_worst(text_time(now - KEEP_LOOKS)),
                        ),
                        _L.at < text_time(now - KEEP_CHANGES),
                    )
                )
            )
        if any(f["wants_full"] for look in looks for f in look.findings):
            self._mend(now)
        return looks

    def _mend(self, now: datetime) -> None:
        last = plan.last_of(self._backups.runs.list(kinds=("backup",), limit=200), now, full=True)
        if (last is None or now - last > AGAIN) and self._backups.runs.under_way(MAKING) is None:
            log.warning("the log of a cluster has a gap: a full backup begins anew")
            self._begin(full=True)

    def latest(self) -> tuple[Look, ...]:
        """The newest look at each cluster."""
        newest = sa.select(_L.cluster, sa.func.max(_L.at).label("at")).group_by(_L.cluster).subquery()
        query = sa.select(tables.backup_looks).join(
            newest, sa.and_(_L.cluster == newest.c.cluster, _L.at == newest.c.at)
        )
        with self._store.read() as c:
            return tuple(_look(row) for row in c.execute(query.order_by(_L.cluster)))

    def history(self, cluster: str, since: datetime) -> tuple[Look, ...]:
        query = (
            sa.select(tables.backup_looks)
            .where(_L.cluster == cluster, _L.at >= text_time(since))
            .order_by(_L.at)
        )
        with self._store.read() as c:
            return tuple(_look(row) for row in c.execute(query))


def _is_not_the_worst(before: str) -> sa.ColumnElement[bool]:
    """Another look at the cluster on the same day, older than ``before`` as well, found more to lose."""
    other = tables.backup_looks.alias()
    day, most = sa.func.substr(_L.at, 1, 10), sa.func.coalesce(_L.lost, -1)
    theirs = sa.func.coalesce(other.c.lost, -1)
    return sa.exists().where(
        other.c.cluster == _L.cluster,
        other.c.at >= day,
        sa.func.substr(other.c.at, 1, 10) == day,
        other.c.at < before,
        sa.or_(theirs > most, sa.and_(theirs == most, other.c.at > _L.at)),
    )


def _codes(look: Look | None) -> Sequence[str]:
    return sorted(str(f["code"]) for f in look.findings) if look is not None else ()


def _look(row: Any) -> Look:
    return Look(row.cluster, parse_time(row.at), row.lost, tuple(row.findings))
