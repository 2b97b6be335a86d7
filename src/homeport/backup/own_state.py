"""Homeport's own state follows what people do: releases, config, secrets and the journal are backed up within a minute
or two of a change, in a lane of their own, so that a lost machine takes no deploy with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from homeport.backup import plan
from homeport.backup.errors import NO_REPOSITORIES, UNDER_WAY
from homeport.backup.files.model import HOMEPORT
from homeport.backup.model import FAILED, MAKING, STATE, Run
from homeport.backup.service import Backups
from homeport.journal import schema
from homeport.journal.store import Store, parse_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

log = logging.getLogger(__name__)

ACTOR = "homeport"
EVERY = 5.0
"""Seconds between two looks at the journal."""
QUIET = timedelta(seconds=5)
"""Changes that follow each other closer than this are one."""
LONGEST = timedelta(seconds=30)
"""A change waits no longer for others."""
APART = timedelta(seconds=60)
"""From the beginning of one to that of the next."""
AGAIN = timedelta(minutes=5)
"""One that failed is not tried again sooner, and after each more that failed in twice the time: a store that hangs
would keep restores of files waiting."""
LATEST = timedelta(hours=1)
"""No pause is longer."""
RUNS = 20
"""As many of the newest are looked at."""
HEAL = "heal"
"""What a change is that brings back what had died."""
WHOSEVER = ("change.finished", "run.finished", "database.rotated")
"""Kinds that matter also where Homeport itself did it; what anybody else does matters always."""
PASSING = (
    "backup.started", "backup.step_ended", "backup.ended",
    "change.started", "build.started", "build.finished", "build.reused", "build.failed", "gate.passed",
    "instance.started", "instance.ready", "instance.stopped", "traffic.shifted", "canary.step", "canary.steered",
    "hook.finished", "database.restore_point", "run.queued", "run.started", "stage.started", "stage.finished",
    "command.run", "command.ended", "database.shell", "secret.revealed", "cron.asked", "source.webhook_received",
)  # fmt: skip
"""Kinds that ask for none, whoever did it: they change nothing, or are steps of what is told at its end. A release that
is being built had better not be read."""


def due(
    changed: tuple[datetime, datetime], kept: datetime | None, runs: Sequence[Run], now: datetime
) -> bool | None:
    """Whether to begin now; None: all is kept. Pure.

    ``changed``: when it changed first and last since all was kept; ``kept``: up to when everything is kept in every
    repository; ``runs``: some, the newest first.
    """
    first, newest = changed
    if kept is not None and kept > newest:
        return None
    if now - newest < QUIET and now - first < LONGEST:
        return False
    # A time that is to come tells of a clock that was wrong.
    past = [r for r in runs if r.started_at <= now]
    if not past:
        return True
    last = past[0]
    if not last.is_over:
        return False
    if last.state != FAILED:
        pause = APART
    elif newest > last.started_at and last.made_any:
        # Where it can be kept, it does not wait for a repository that is away.
        pause = AGAIN
    else:
        failures = next((n for n, r in enumerate(past) if r.state != FAILED), len(past))
        pause = min(AGAIN * 2 ** (failures - 1), LATEST)
    return now - last.started_at >= pause


class OwnState:
    """:meth:`tick` is called from one thread alone."""

    def __init__(self, backups: Backups, store: Store, clock: Clock) -> None:
        self._backups = backups
        self._store = store
        self._clock = clock
        self._looked = -EVERY
        self._seen = 0
        self._changed: tuple[datetime, datetime] | None = None

    def tick(self) -> None:
        looked = self._clock.monotonic()
        if looked - self._looked < EVERY:
            return
        self._looked = looked
        self._look()
        if self._changed is None or not self._backups.repositories.ready():
            return
        runs = self._backups.runs.list(kinds=(STATE, "backup"), limit=RUNS)
        if not any(r.is_over for r in runs) and self._backups.runs.under_way(MAKING) is not None:
            # The first backup of everything is about to do it.
            return
        now = self._clock.now()
        kept = plan.files_as_of(runs, (HOMEPORT,), now)[HOMEPORT]
        begin = due(self._changed, kept, [r for r in runs if r.kind == STATE], now)
        if begin is None:
            self._changed = None
        elif begin:
            self._begin()

    def _look(self) -> None:
        e = schema.events.c
        with self._store.read() as c:
            until = c.execute(sa.select(sa.func.max(e.seq))).scalar_one() or 0
            query = (
                sa.select(sa.func.min(e.at), sa.func.max(e.at))
                .where(e.seq > self._seen, e.seq <= until)
                .where(sa.or_(e.actor != ACTOR, e.kind.in_(WHOSEVER)), e.kind.not_in(PASSING))
                # An environment that cannot be healed is tried again and again.
                .where(
                    sa.not_(
                        sa.and_(e.actor == ACTOR, sa.func.coalesce(e.data["what"].as_string(), "") == HEAL)
                    )
                )
            )
            first, newest = c.execute(query).one()
        self._seen = until
        if newest is not None:
            now = self._clock.now()
            since = self._changed[0] if self._changed else min(parse_time(first), now)
            self._changed = (since, min(parse_time(newest), now))

    def _begin(self) -> None:
        try:
            self._backups.back_up_state(actor=ACTOR)
        except HomeportError as e:
            if e.type not in (UNDER_WAY, NO_REPOSITORIES):
                log.error("backup of Homeport's own state: %s", e.sentence)
