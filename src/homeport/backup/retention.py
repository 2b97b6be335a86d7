"""Which backups are kept. Pure; one rule for every kind of backup and every repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from homeport.spec.model_backup import Keep


class Kind(Enum):
    FULL = "full"
    DIFFERENTIAL = "differential"
    INCREMENTAL = "incremental"
    FILES = "files"
    DUMP = "dump"

    @property
    def is_physical(self) -> bool:
        """Whether WAL can be replayed onto it."""
        return self in (Kind.FULL, Kind.DIFFERENTIAL, Kind.INCREMENTAL)


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup in one repository."""

    id: str
    at: datetime
    """Aware; the moment that it can be restored to, which for a physical one is its end."""
    kind: Kind
    proven: bool = False
    """It was restored and checked, and all was right."""
    broken: bool = False
    """The last proof of it failed."""
    needs: tuple[str, ...] = ()
    """Backups of the same repository without which it cannot be restored; theirs follow."""


@dataclass(frozen=True, slots=True)
class Kept:
    backup: Backup
    reasons: tuple[str, ...]
    """Such as "hourly" or "point-in-time recovery"; never empty."""


@dataclass(frozen=True, slots=True)
class Selection:
    """All that was given, each once: newest first."""

    keep: tuple[Kept, ...]
    drop: tuple[tuple[Backup, str], ...]
    """With the reason. Those that need others come before these."""
    base: Backup | None = None
    """The physical backup after whose start all WAL has to stay; None where there is no physical one."""


_PERIODS: tuple[tuple[str, Callable[[datetime], object]], ...] = (
    ("hourly", lambda at: (at.year, at.month, at.day, at.hour)),
    ("daily", lambda at: at.date()),
    ("weekly", lambda at: at.isocalendar()[:2]),
    ("monthly", lambda at: (at.year, at.month)),
)


def select(backups: Iterable[Backup], keep: Keep, now: datetime, *, window: timedelta) -> Selection:
    """What to keep of one series (one app's, cluster's or database's) in one repository.

    Periods are of UTC, weeks begin on Monday, and only those that have a usable backup are counted, so that
    nothing goes while no new ones come. A period is stood for by its newest proven backup, else by its newest.
    Kept besides, with all that they need:

    - the newest backup, and the newest proven one;
    - what point-in-time recovery to any moment of the last ``window`` starts from: the newest physical backup
      from before it and, where that one is not proven, the newest proven one from before it; where none is from
      before it, the oldest;
    - those whose time lies after ``now``: a clock that jumped takes nothing away. They stand for no period;
    - those that cannot be restored, until a newer one is proven: it may be the proof that fails.

    Raises ValueError for two backups of one id, or a time without a zone.
    """
    newest_first = sorted(backups, key=lambda b: (b.at.astimezone(UTC), b.id), reverse=True)
    if any(b.at.tzinfo is None for b in newest_first) or now.tzinfo is None:
        raise ValueError("a time without a zone")
    by_id = {b.id: b for b in newest_first}
    if len(by_id) != len(newest_first):
        raise ValueError("two backups of one id")
    whole = {b.id: _is_whole(b, by_id) for b in newest_first}
    past = [b for b in newest_first if b.at <= now]
    usable = [b for b in past if whole[b.id] and not b.broken]
    is_usable = {b.id for b in usable}
    reasons: dict[str, list[str]] = {b.id: [] for b in newest_first}

    for backup in newest_first:
        if backup.at > now:
            reasons[backup.id].append("its time has not come: a clock jumped")
    for backup in usable[:1] or past[:1]:
        reasons[backup.id].append("the newest")
    for backup in [b for b in usable if b.proven][:1]:
        reasons[backup.id].append("the newest that is proven")
    proven_since = False
    for backup in past:
        proven_since = proven_since or (backup.proven and backup.id in is_usable)
        if not proven_since and backup.id not in is_usable:
            reasons[backup.id].append("cannot be restored, and none is proven since")
    for name, period in _PERIODS:
        for backup in _representatives(usable, period)[: getattr(keep, name)]:
            reasons[backup.id].append(name)
    bases = _bases([b for b in usable if b.kind.is_physical], now - window)
    for backup in bases:
        reasons[backup.id].append("point-in-time recovery")
    _add_needed(newest_first, by_id, reasons)

    return Selection(
        keep=tuple(Kept(b, tuple(reasons[b.id])) for b in newest_first if reasons[b.id]),
        drop=tuple((b, _why_not(b, whole[b.id])) for b in _dependants_first(newest_first, reasons, by_id)),
        base=bases[-1] if bases else None,
    )


def _is_whole(backup: Backup, by_id: dict[str, Backup]) -> bool:
    """Whether all that it needs is there and not known to be broken."""
    return all(need in by_id and not by_id[need].broken for need in _needs(backup, by_id))


def _needs(backup: Backup, by_id: dict[str, Backup]) -> set[str]:
    """Ids of all that it needs, theirs included, and those that are not there."""
    found: set[str] = set()
    todo = list(backup.needs)
    while todo:
        need = todo.pop()
        if need not in found:
            found.add(need)
            todo += by_id[need].needs if need in by_id else ()
    return found - {backup.id}


def _representatives(usable: list[Backup], period: Callable[[datetime], object]) -> list[Backup]:
    """One for each period, newest first."""
    found: dict[object, Backup] = {}
    for backup in usable:
        key = period(backup.at.astimezone(UTC))
        if key not in found or (backup.proven and not found[key].proven):
            found[key] = backup
    return list(found.values())


def _bases(physical: list[Backup], start: datetime) -> list[Backup]:
    """Newest first."""
    before = [b for b in physical if b.at <= start]
    if not before:
        return physical[-1:]
    found = before[:1]
    if not found[0].proven:
        found += [b for b in before if b.proven][:1]
    return found


def _add_needed(newest_first: list[Backup], by_id: dict[str, Backup], reasons: dict[str, list[str]]) -> None:
    kept = [b for b in newest_first if reasons[b.id]]
    for backup in kept:
        for need in sorted(_needs(backup, by_id) & by_id.keys()):
            if not any(reason.startswith("needed by ") for reason in reasons[need]):
                reasons[need].append(f"needed by {backup.id}")


def _dependants_first(
    newest_first: list[Backup], reasons: dict[str, list[str]], by_id: dict[str, Backup]
) -> list[Backup]:
    dropped = [b for b in newest_first if not reasons[b.id]]
    return sorted(dropped, key=lambda b: -len(_needs(b, by_id)))


def _why_not(backup: Backup, is_whole: bool) -> str:
    if backup.broken:
        return "its proof failed"
    if not is_whole:
        return "a backup that it needs is missing or broken"
    return "others stand for its hour, day, week and month, or these are past"
