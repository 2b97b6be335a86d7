"""What is done to databases by the clock: rotations go on, upkeep runs when it is due, sizes are kept once a day."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from homeport.database.events import UpkeepEnded
from homeport.database.upkeep.plan import due
from homeport.database.worker import Worker
from homeport.journal import schema_databases as tables
from homeport.journal.store import Transaction, parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.data import known
from homeport.rollout.data.known import Known
from homeport.rollout.data.looking import Looks
from homeport.rollout.data.migrations import Migrations
from homeport.rollout.data.rotation import Rotations
from homeport.rollout.data.shells import Shells
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts
from homeport.spec.model_database import Upkeep

log = logging.getLogger(__name__)

ACTOR = "homeport"
UPKEEP_EVERY = 10.0
"""Seconds between two looks at what upkeep is due."""
SIZES_EVERY = 600.0
DAY = timedelta(days=1)
KEEP = timedelta(days=40)
SPARE = 60.0
"""Seconds after its own time limit in which upkeep must have ended, what it left behind cleaned up."""
AT_ONCE = 4
"""Databases that upkeep works on at a time."""

_U = tables.upkeep.c
_S = tables.database_sizes.c

Key = tuple[str, str, str, str]
"""App, environment, database, upkeep."""


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of a piece of upkeep."""

    planned_to: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    outcome: Mapping[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        return self.started_at is not None and self.finished_at is None


@dataclass(frozen=True, slots=True)
class Due:
    key: Key
    upkeep: Upkeep
    at: datetime


def next_due(
    wanted: Mapping[Key, Upkeep],
    runs: Mapping[Key, Run],
    busy: frozenset[tuple[str, str, str]],
    now: datetime,
) -> tuple[Due, ...]:
    """What to begin now, at most one for a database; pure. Those ``busy`` are worked on already.

    Times missed while nobody looked are made up by one run. A run that was cut off is due again. What is seen for
    the first time is due from its next time on. Of two that are due the one that ran longer ago comes first, so
    that none keeps another from its turn.
    """
    found: dict[tuple[str, str, str], Due] = {}
    for key, run in sorted(runs.items(), key=lambda item: (item[1].planned_to, item[0])):
        upkeep, database = wanted.get(key), key[:3]
        if upkeep is None or database in busy or database in found:
            continue
        at = run.planned_to if run.is_open else due(upkeep, run.planned_to, now)
        if at is not None:
            found[database] = Due(key, upkeep, at)
    return tuple(found.values())


class Rounds:
    """:meth:`tick` is called from one thread alone; what takes time is done in others."""

    def __init__(
        self, parts: Parts, migrations: Migrations, rotations: Rotations, looks: Looks, shells: Shells
    ) -> None:
        self._parts = parts
        self._migrations = migrations
        self._rotations = rotations
        self._looks = looks
        self._shells = shells
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upkeep")
        self._slow = ThreadPoolExecutor(2, thread_name_prefix="databases")
        self._busy: set[tuple[str, str, str]] = set()
        self._under_way: set[str] = set()
        self._looked: dict[str, float] = {}

    def tick(self) -> None:
        """One look. Each part fails for itself."""
        self._apart("rotation", 0.0, self._rotations.tick)
        self._apart("shells", 0.0, self._shells.sweep)
        if self._is_time("upkeep", UPKEEP_EVERY):
            self._begin_upkeep()
        self._apart("sizes", SIZES_EVERY, self.keep_sizes)

    def _is_time(self, what: str, every: float) -> bool:
        now = self._parts.clock.monotonic()
        if now - self._looked.get(what, float("-inf")) < every:
            return False
        self._looked[what] = now
        return True

    def _apart(self, what: str, every: float, act: Callable[[], None]) -> None:
        """In a thread of its own, unless it still goes on from before."""
        if what in self._under_way or not self._is_time(what, every):
            return
        self._under_way.add(what)

        def run() -> None:
            try:
                act()
            except HomeportError as e:
                log.warning("%s: %s", what, e.sentence)
            except Exception:
                log.exception(what)
            finally:
                self._under_way.discard(what)

        self._slow.submit(run)

    # Upkeep

    def wanted(self, app: AppName | None = None) -> dict[Key, Upkeep]:
        """Of what serves."""
        found: dict[Key, Upkeep] = {}
        for e in self._parts.state.environments(app):
            if e.serving is not None:
                for d in self._parts.spec(e.app, e.name, e.serving).databases:
                    found |= {(e.app, e.name, d.name, u.name): u for u in d.maintenance}
        return found

    def runs(self) -> dict[Key, Run]:
        with self._parts.state.store.read() as c:
            return {
                (r.app, r.environment, r.name, r.upkeep): Run(
                    parse_time(r.planned_to),
                    parse_time(r.started_at) if r.started_at else None,
                    parse_time(r.finished_at) if r.finished_at else None,
                    r.outcome,
                )
                for r in c.execute(sa.select(tables.upkeep))
            }

    def _begin_upkeep(self) -> None:
        wanted = self.wanted()
        if not wanted:
            return
        # Before what is read of runs: one that ends in between would look as if it had been cut off.
        busy = frozenset(self._busy)
        runs = self.runs()
        new = [key for key in wanted if key not in runs]
        if new:
            with self._parts.state.store.transaction(ACTOR) as tx:
                for key in new:
                    _write(tx, key, planned_to=text_time(tx.now))
        moving: set[tuple[str, str]] = {(c.app, c.environment) for c in self._parts.state.running()}
        free = {key: u for key, u in wanted.items() if (key[0], key[1]) not in moving}
        for one in next_due(free, runs, busy, self._parts.clock.now()):
            self._busy.add(one.key[:3])
            self._pool.submit(self._run, one)

    def _run(self, one: Due) -> None:
        try:
            self.run(one)
        except Exception:
            log.exception("upkeep %s", ".".join(one.key))
        finally:
            self._busy.discard(one.key[:3])

    def run(self, one: Due) -> None:
        """Have it done, and tell how it ended."""
        app, environment, name, upkeep = one.key
        store = self._parts.state.store
        with store.transaction(ACTOR) as tx:
            _write(tx, one.key, planned_to=text_time(one.at), started_at=text_time(tx.now), finished_at=None)
        began = self._parts.clock.monotonic()
        try:
            outcome = self._migrations.ask(
                "upkeep",
                AppName(app),
                EnvironmentName(environment),
                name,
                {"upkeep": asdict(one.upkeep), "files": []},
                timeout=one.upkeep.timeout + SPARE,
            )
        except HomeportError as e:
            outcome = {
                "upkeep": upkeep,
                "state": "failed",
                "statement": "",
                "seconds": self._parts.clock.monotonic() - began,
                "error": {"code": e.code, "sentence": e.sentence, "hint": e.hint},
            }
        outcome["seconds"] = round(float(outcome["seconds"]), 3)
        with store.transaction(ACTOR) as tx:
            _write(tx, one.key, finished_at=text_time(tx.now), outcome=outcome)
            tx.append(
                UpkeepEnded(
                    app=app,
                    environment=environment,
                    name=name,
                    upkeep=upkeep,
                    state=outcome["state"],
                    statement=outcome["statement"],
                    seconds=outcome["seconds"],
                    reason=(outcome["error"] or {}).get("sentence", ""),
                )
            )

    # Sizes

    def keep_sizes(self) -> None:
        """Of every PostgreSQL database that something uses, once a day."""
        found = [k for k in known.all_of(self._parts) if k.kind in ("provisioned", "attached") and not k.kept]
        last = self._last_sizes()
        now = self._parts.clock.now()
        for k in found:
            if k.row is not None and k.row.state != "ready":
                continue
            at = last.get((k.app, k.environment, k.name))
            if at is None or now - at >= DAY or at > now:
                try:
                    self._keep_size(k, self._looks.snapshot(k))
                except HomeportError as e:
                    log.warning("the size of %s is not known: %s", k.label, e.sentence)
        self._forget(now)

    def _keep_size(self, k: Known, sizes: Mapping[str, Any]) -> None:
        with self._parts.state.store.transaction(ACTOR) as tx:
            tx.execute(
                tables.database_sizes.insert().values(
                    app=k.app, environment=k.environment, name=k.name, at=text_time(tx.now), sizes=sizes
                )
            )

    def _last_sizes(self) -> dict[tuple[str, str, str], datetime]:
        query = sa.select(_S.app, _S.environment, _S.name, sa.func.max(_S.at).label("at")).group_by(
            _S.app, _S.environment, _S.name
        )
        with self._parts.state.store.read() as c:
            return {(r.app, r.environment, r.name): parse_time(r.at) for r in c.execute(query)}

    def _forget(self, now: datetime) -> None:
        """What is old, and what is of environments that are gone."""
        there = {(e.app, e.name) for e in self._parts.state.environments()}
        kept = {(d.app, d.environment) for d in self._parts.stores.state.databases()}
        with self._parts.state.store.read() as c:
            known_of = {
                (r.app, r.environment)
                for table in (tables.upkeep, tables.database_sizes)
                for r in c.execute(sa.select(table.c.app, table.c.environment).distinct())
            }
        gone = known_of - there - kept
        with self._parts.state.store.transaction(ACTOR) as tx:
            tx.execute(tables.database_sizes.delete().where(_S.at < text_time(now - KEEP)))
            for app, environment in gone:
                for table in (tables.upkeep, tables.database_sizes):
                    tx.execute(table.delete().where(table.c.app == app, table.c.environment == environment))


def _write(tx: Transaction, key: Key, **values: Any) -> None:
    app, environment, name, upkeep = key
    same = (_U.app == app, _U.environment == environment, _U.name == name, _U.upkeep == upkeep)
    if not tx.execute(tables.upkeep.update().where(*same).values(**values)).rowcount:
        tx.execute(
            tables.upkeep.insert().values(
                app=app, environment=environment, name=name, upkeep=upkeep, **values
            )
        )


@dataclass(frozen=True, slots=True)
class DatabaseServices:
    """What people ask of databases, and what goes by the clock."""

    looks: Looks
    rotations: Rotations
    shells: Shells
    rounds: Rounds

    @classmethod
    def of(
        cls, parts: Parts, rollouts: Rollouts, migrations: Migrations, worker: Worker
    ) -> "DatabaseServices":
        looks, rotations, shells = Looks(parts, worker), Rotations(parts, rollouts), Shells(parts)
        return cls(looks, rotations, shells, Rounds(parts, migrations, rotations, looks, shells))
