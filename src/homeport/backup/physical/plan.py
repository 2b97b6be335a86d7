"""Which backup leads to a moment, what is wrong with a cluster's backups, what stays of the log. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from homeport.backup.physical.model import AtPoint, AtTime, Newest, OfBackup, PhysicalBackup, Target
from homeport.backup.physical.wal import (
    Archive,
    Gap,
    Segment,
    archived_until,
    continuity,
    gaps,
    largest,
    position,
    segment_at,
    way,
)
from homeport.kernel.units import format_duration, format_size

LAG = timedelta(minutes=3)
"""How long a segment may wait to be archived: three times the time after which one is."""
HEARTBEAT_LATE = timedelta(minutes=3)
SLOT_BEHIND = 1 << 30
"""Bytes of log that a receiver may be behind."""
LEAST_ROOM = 32 << 20
"""Bytes on a repository's disk below which it counts as full: two segments of the log."""
LOG_SHARE = 0.5
"""Of the disk's free bytes and the log's own together, which the log may take."""


def before(backup: PhysicalBackup, target: Target) -> bool:
    """Whether the backup was over when the moment came."""
    match target:
        case Newest():
            return True
        case OfBackup(label):
            return backup.label == label
        case AtTime(at):
            return backup.stopped_at <= at
        case AtPoint(_, lsn, _):
            return position(backup.stop_lsn) <= position(lsn)


def candidates(
    backups: Iterable[PhysicalBackup], target: Target, order: Sequence[str]
) -> tuple[PhysicalBackup, ...]:
    """What leads to the target: the newest first, of the same age by the ``order`` of repositories.

    Runs into several repositories have labels of their own: those that stopped within a minute of each other
    are of one age.
    """
    found = sorted((b for b in backups if before(b, target)), key=lambda b: b.stopped_at, reverse=True)
    groups: list[list[PhysicalBackup]] = []
    for backup in found:
        if groups and groups[-1][0].stopped_at - backup.stopped_at < timedelta(minutes=1):
            groups[-1].append(backup)
        else:
            groups.append([backup])
    return tuple(
        b
        for group in groups
        for b in sorted(group, key=lambda b: (order.index(b.repository), -b.stopped_at.timestamp()))
    )


def recovery(target: Target) -> tuple[str, str]:
    """(kind, target) as pgBackRest takes them."""
    match target:
        case Newest():
            return "default", ""
        case OfBackup():
            return "immediate", ""
        case AtTime(at):
            return "time", at.strftime("%Y-%m-%d %H:%M:%S.%f%z")
        case AtPoint(name):
            return "name", name


@dataclass(frozen=True, slots=True)
class Served:
    """A return to an earlier moment: from ``since`` on the cluster was on ``timeline``, until then on ``before``."""

    timeline: int
    since: datetime
    before: int
    name: str = ""
    """Under which it was restored."""


def timeline(target: Target, backup: PhysicalBackup, archive: Archive, served: Sequence[Served]) -> int:
    """Which timeline leads to what is meant: at a moment before a return, the one that was left by it."""
    match target:
        case Newest():
            return archive.timeline()
        case OfBackup():
            return backup.stop.timeline
        case AtTime(at) | AtPoint(_, _, at):
            after = [s.before for s in sorted(served, key=lambda s: s.since) if s.since > at]
            return after[0] if after else archive.timeline()


def holes(
    backup: PhysicalBackup, target: Target, archive: Archive, tail: Iterable[Segment], to: int
) -> tuple[Gap, ...]:
    """What is missing between a backup and the target on timeline ``to``. ``tail``: segments that only the
    receiver has.

    A moment of the clock is nowhere in the log: whether it was reached shows when the log was replayed.
    """
    there = replace(archive, segments=archive.segments | frozenset(tail))
    own = gaps(there.segments, backup.start, backup.stop)
    match target:
        case OfBackup() | AtTime():
            return own
        case AtPoint(_, lsn, _):
            stretches = way(there, backup.start, to, segment_at(to, lsn).number)
        case Newest():
            stretches = way(there, backup.start, to)
    missing = (gap for first, last in stretches for gap in gaps(there.segments, first, last))
    return tuple(sorted(largest({*own, *missing})))


def to_replay(backup: PhysicalBackup, target: Target, archive: Archive) -> int:
    """Segments, at most."""
    if isinstance(target, OfBackup):
        return backup.stop.number - backup.start.number + 1
    return sum(1 for s in archive.segments if s.number >= backup.start.number)


def promised(backups: Iterable[PhysicalBackup], archive: Archive, base: str | None) -> tuple[Gap, ...]:
    """What is missing of one repository's log: from ``base`` (its oldest backup for None) to the newest segment,
    and within each older backup."""
    of_it = sorted((b for b in backups if b.archive == archive.id), key=lambda b: b.start_lsn_position)
    if not of_it:
        return ()
    start = next((b for b in of_it if b.label == base), of_it[0])
    older = [b.stretch for b in of_it if b.start_lsn_position < start.start_lsn_position]
    return continuity(archive, start.stretch, older)


def since(backups: Sequence[PhysicalBackup], base: str) -> int:
    """How many backups there are from ``base`` on, itself included; all where it is not among them."""
    labels = [b.label for b in sorted(backups, key=lambda b: b.label)]
    return len(labels) - labels.index(base) if base in labels else len(labels)


@dataclass(frozen=True, slots=True)
class ServerLook:
    """What a cluster's server and disk say just now. Times are the server's."""

    now: datetime
    archive_command: str
    last_archived: str
    """Its newest segment, by its own account; "" for none."""
    last_archived_at: datetime | None
    last_failed: str
    last_failed_at: datetime | None
    current: Segment
    """That is being written."""
    ready: int
    """Segments that wait to be archived."""
    oldest_ready_at: datetime | None
    slot: bool
    slot_active: bool
    slot_status: str
    """"reserved", "extended", "unreserved", "lost"."""
    slot_behind: int
    """Bytes."""
    log_bytes: int
    """Of the server's log directory."""
    free_bytes: int
    heartbeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that endangers a recovery. ``code`` never changes its meaning."""

    code: str
    sentence: str
    hint: str
    wants_full: bool = False
    """Only a new full backup ends it."""


def findings(
    look: ServerLook,
    archive_command: str,
    archives: Mapping[str, Archive],
    gaps_: Mapping[str, tuple[Gap, ...]],
    problems: Mapping[str, str],
    *,
    receiver_runs: bool,
    free: Mapping[str, int] | None = None,
) -> tuple[Finding, ...]:
    """All that is wrong, the worst first. ``archives``, ``gaps_``, ``problems`` by repository, and so is ``free``:
    bytes on the disks of those that are directories."""
    found: list[Finding] = []
    for name, problem in problems.items():
        found.append(
            Finding("repository", f"repository {name} cannot be used: {problem}", "nothing arrives there")
        )
    for name, size in (free or {}).items():
        if size < LEAST_ROOM:
            found.append(
                Finding(
                    "repository_full",
                    f"the disk of repository {name} is full: {format_size(size)} are free",
                    "make room there; until then the log waits on this machine's disk",
                )
            )
    if look.archive_command != archive_command:
        found.append(
            Finding(
                "archive_command",
                "the server archives by a command that is not Homeport's, so its log may go nowhere",
                "ALTER SYSTEM RESET archive_command, and a full backup",
                True,
            )
        )
    for name, missing in gaps_.items():
        for gap in missing:
            found.append(
                Finding(
                    "wal_gap",
                    f"repository {name} lacks {gap} of the log: no backup before leads to a moment after",
                    "a full backup begins anew",
                    True,
                )
            )
    last = archived_until(look.last_archived)
    if last is not None:
        for name, archive in archives.items():
            if not archive.segments:
                found.append(
                    Finding(
                        "repository_empty",
                        f"repository {name} holds nothing of the server's log: it is new, its files were removed, "
                        "or its disk is not mounted",
                        "where its files are gone, homeport backup repository add makes it anew; see who removed them",
                        True,
                    )
                )
            elif last not in archive.segments:
                found.append(
                    Finding(
                        "archive_lies",
                        f"the server counts {look.last_archived} as archived, and repository {name} has it not",
                        "see what its archive_command does; a full backup begins anew",
                        True,
                    )
                )
    found += _behind(look)
    found += _receiver(look, runs=receiver_runs)
    if look.log_bytes > LOG_SHARE * (look.log_bytes + look.free_bytes):
        found.append(
            Finding(
                "log_fills_disk",
                f"the server's log takes {format_size(look.log_bytes)}, and {format_size(look.free_bytes)} are free",
                "end what holds it back, or give the disk room",
            )
        )
    if look.heartbeat_at is None or look.now - look.heartbeat_at > HEARTBEAT_LATE:
        ago = (
            f"for {format_duration((look.now - look.heartbeat_at).total_seconds())}"
            if look.heartbeat_at is not None
            else "yet"
        )
        found.append(Finding("heartbeat", f"no heartbeat was written {ago}", "see that Homeport runs"))
    return tuple(found)


def _behind(look: ServerLook) -> list[Finding]:
    if look.oldest_ready_at is None or look.now - look.oldest_ready_at <= LAG:
        return []
    waits = format_duration((look.now - look.oldest_ready_at).total_seconds())
    failed = f"; {look.last_failed} failed last" if look.last_failed else ""
    return [
        Finding(
            "archive_lag",
            f"{look.ready} segments wait to be archived, the oldest for {waits}{failed}",
            "the server's log says why",
        )
    ]


def _receiver(look: ServerLook, *, runs: bool) -> list[Finding]:
    if look.slot_status == "lost":
        return [
            Finding("slot_lost", "the receiver was behind so far that it lost its place", "it begins anew")
        ]
    if not look.slot:
        return [Finding("no_slot", "the receiver has no place of its own in the log", "it is made anew")]
    if not runs or not look.slot_active:
        return [
            Finding(
                "receiver_down",
                "the receiver takes nothing: what was not archived yet can be lost",
                "homeport logs shows why",
            )
        ]
    if look.slot_behind > SLOT_BEHIND:
        return [
            Finding(
                "slot_behind",
                f"the receiver is {format_size(look.slot_behind)} behind",
                "its disk or the machine is too slow",
            )
        ]
    return []
