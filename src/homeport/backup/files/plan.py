"""What is backed up, which snapshots go, whose a lock is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from homeport.backup.files.model import HOMEPORT, Lock, Run, Snapshot, environment_series
from homeport.backup.retention import Backup, Kind, Selection, select
from homeport.kernel.ids import is_name
from homeport.spec.model_backup import Keep

STATE = "state.db"
KEY = "secrets.key"
SETTINGS = "homeport.json"
SEALED = "secrets.key.sealed"
STALE = timedelta(minutes=30)
"""restic's own measure: a lock is written anew every five minutes."""
LATE = timedelta(seconds=5)
"""How long after its start was written down a restic may take its lock before clocks."""
ROOM = 1.1
LEAST_ROOM = 32 << 20
"""Bytes on a repository's disk below which it counts as full."""
MARGIN = 50_000_000
"""Bytes that are left on a disk, whatever is written."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What one series is made from. Paths are relative to the data directory."""

    series: str
    trees: tuple[str, ...]
    """Backed up as they are, all SQLite files in them as copies; one that is not there is left out."""
    databases: tuple[str, ...] = ()
    """SQLite files outside of the trees, backed up as copies."""
    sealed: tuple[str, ...] = ()
    """Backed up sealed for the passphrase, never as they are."""


def sources(environments: Iterable[tuple[str, str]]) -> tuple[Sources, ...]:
    """All of a data directory, by series: Homeport's own, and the storage of each (app, environment).

    Left out is what can be made anew (``supervisor``, ``edge`` but for its certificates, caches), what is
    only of the moment (sockets, locks, ``cron``), logs, and what is backed up otherwise (``postgresql``).
    """
    own = Sources(
        HOMEPORT,
        (SETTINGS, "releases", "repositories", "archives", "pipelines", "edge/certs"),
        (STATE,),
        (KEY,),
    )
    return (own, *(storage(app, environment) for app, environment in sorted(set(environments))))


def storage(app: str, environment: str) -> Sources:
    """Raises ValueError for names that are none."""
    if not (is_name(app) and is_name(environment)):
        raise ValueError(f"{app!r}, {environment!r}")
    return Sources(environment_series(app, environment), (f"storage/{app}/{environment}",))


def room(size: int) -> int:
    """Bytes that have to be free to write ``size``."""
    return int(size * ROOM) + MARGIN


def retained(
    snapshots: Iterable[Snapshot], proven: Mapping[str, bool], keep: Callable[[str], Keep], now: datetime
) -> dict[str, Selection]:
    """By series, each by what is to be kept of it. ``proven``: by snapshot, how its last proof ended.

    Unfinished ones are not among them: see :func:`unfinished`.
    """
    series: dict[str, list[Backup]] = {}
    for s in snapshots:
        if s.is_finished:
            state = proven.get(s.id)
            kind = Kind.DUMP if s.series.count(".") == 2 else Kind.FILES
            series.setdefault(s.series, []).append(
                Backup(s.id, s.at, kind, proven=state is True, broken=state is False)
            )
    return {name: select(found, keep(name), now, window=timedelta(0)) for name, found in series.items()}


def unfinished(snapshots: Iterable[Snapshot]) -> tuple[str, ...]:
    """Ids of what was cut off. Only to be believed while nobody makes a backup."""
    return tuple(s.id for s in snapshots if not s.is_finished)


def candidates(
    snapshots: Iterable[Snapshot], before: datetime | None = None
) -> dict[str, tuple[Snapshot, ...]]:
    """What each series can be restored from, made at ``before`` or earlier: newest first."""
    found: dict[str, tuple[Snapshot, ...]] = {}
    for s in sorted(snapshots, key=lambda s: (s.at, s.id), reverse=True):
        if s.is_finished and (before is None or s.at <= before):
            found[s.series] = (*found.get(s.series, ()), s)
    return found


def worth_trying(newest_first: Sequence[Snapshot], most: int) -> tuple[Snapshot, ...]:
    """Which to try in turn, where one may be damaged: the newest ``most``, then the oldest of each hour (UTC).

    Those of Homeport's own state can be a minute apart and share what is damaged; the first of an hour mostly is the
    one that was proven with all others.
    """
    oldest = {(s.at.astimezone(UTC).date(), s.at.astimezone(UTC).hour): s for s in newest_first}
    first = tuple(newest_first[:most])
    return (*first, *[s for s in oldest.values() if s not in first][:most])


@dataclass(frozen=True, slots=True)
class LockVerdict:
    may_unlock: bool
    """All that ``restic unlock`` would remove is provably ours, and there is something."""
    holder: Lock | None
    """Who still holds the repository, or may; None: nobody."""


def judge_locks(
    locks: Sequence[Lock], host: str, alive: frozenset[int], runs: Iterable[Run], now: datetime
) -> LockVerdict:
    """``alive``: processes of this machine among those that the locks name; ``runs``: ours, whatever became of them.

    A lock is provably ours when it names this host and a process that we started then and that is no more: host
    names repeat, and so do process ids, but not together with the moment. So is one that names a process that is not
    on this host and that was not renewed for half an hour: whoever lives renews it every five minutes.
    """
    known = tuple(runs)

    def dead_here(lock: Lock) -> bool:
        return lock.host == host and lock.pid not in alive

    def ours(lock: Lock) -> bool:
        return dead_here(lock) and (
            now - lock.at > STALE
            or any(
                r.pid == lock.pid and r.began - LATE <= lock.at <= r.began + timedelta(days=2) for r in known
            )
        )

    removed = [k for k in locks if dead_here(k) or now - k.at > STALE]
    others = [k for k in locks if not ours(k)]
    may = bool(removed) and all(map(ours, removed))
    return LockVerdict(may, others[0] if others else None)
