"""A cluster's files as they were at a moment, beside those that serve."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from homeport.backup.physical import commands, heartbeat, plan, room
from homeport.backup.physical.copy import Copy, prefer_archive, received_files, remove
from homeport.backup.physical.errors import (
    DAMAGED,
    FAILED,
    IN_FUTURE,
    MISSING,
    NO_BUCKET,
    NO_SPACE,
    NOT_STARTED,
    NOTHING_BEFORE,
    OTHER_TIMELINE,
    REFUSED,
    UNKNOWN,
    UNREACHABLE,
    WAL_GAP,
    WRONG_PASSPHRASE,
)
from homeport.backup.physical.model import (
    AtPoint,
    AtTime,
    Newest,
    OfBackup,
    PhysicalBackup,
    Restored,
    Target,
)
from homeport.backup.physical.pgbackrest import OnProgress, PgBackRest
from homeport.backup.physical.plan import Served
from homeport.backup.physical.wal import Archive, Segment, received
from homeport.backup.stores import CERTIFICATE
from homeport.database import machine
from homeport.database.connect import first_line
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_moment, format_size
from homeport.system import files

PASSED_OVER = {
    t.code
    for t in (
        DAMAGED,
        MISSING,
        UNREACHABLE,
        CERTIFICATE,
        REFUSED,
        NO_BUCKET,
        WRONG_PASSPHRASE,
        WAL_GAP,
        OTHER_TIMELINE,
        FAILED,
        NOT_STARTED,
    )
}
"""What an older backup, or another repository, may do better."""
MOST_NAMED = 4
"""Files in a sentence."""
_RESET = ("restore_command", "recovery_target_name", "recovery_target_time", "recovery_target",
          "recovery_target_action", "recovery_target_timeline", "archive_mode")  # fmt: skip


def tell(target: Target) -> str:
    match target:
        case Newest():
            return "the newest moment"
        case OfBackup(label):
            return f"backup {label}"
        case AtTime(at):
            return format_moment(at)
        case AtPoint(name):
            return f"restore point {name}"


def choose(
    program: PgBackRest, target: Target, clock: Clock, repositories: Iterable[str]
) -> tuple[tuple[PhysicalBackup, ...], list[str]]:
    """(what leads to the target, which repositories cannot be read and why).

    Raises ``backup.in_future``, ``.unknown_backup``, ``.nothing_before``, or why the only repository cannot be read.
    """
    if isinstance(target, AtTime) and target.at > clock.now():
        raise IN_FUTURE.error(
            f"cannot return to {tell(target)}: it has not come yet",
            hint=f"it is {format_moment(clock.now())} by this machine's clock",
        )
    order = tuple(repositories)
    backups: list[PhysicalBackup] = []
    unreadable: list[str] = []
    last: HomeportError | None = None
    for name in order:
        try:
            backups += program.backups(name)
        except HomeportError as e:
            if e.code not in PASSED_OVER:
                raise
            unreadable.append(e.sentence)
            last = e
    found = plan.candidates(backups, target, order)
    if not found:
        if not backups and last is not None:
            raise last
        if isinstance(target, OfBackup):
            raise UNKNOWN.error(
                f"cannot find backup {target.label}", hint="homeport backup list", details=unreadable
            )
        oldest = min((b.stopped_at for b in backups), default=None)
        since = f"the oldest is of {format_moment(oldest)}" if oldest else "there is none"
        raise NOTHING_BEFORE.error(
            f"cannot return to {tell(target)}: no backup is from before it", hint=since, details=unreadable
        )
    return found, unreadable


@dataclass(frozen=True, slots=True)
class Way:
    """From a backup to a target."""

    archive: Archive
    tail: dict[Segment, Path]
    """What only the receiver has."""
    timeline: int


def check_log(
    program: PgBackRest,
    backup: PhysicalBackup,
    target: Target,
    *,
    with_tail: bool,
    timeline: int | None = None,
    served: Sequence[Served] = (),
) -> Way:
    """Raises ``backup.wal_gap``, ``backup.other_timeline``. ``timeline`` None: the one that ``served`` tells of."""
    archive = program.archive(backup.repository, backup.archive)
    to = timeline if timeline is not None else plan.timeline(target, backup, archive, served)
    if not archive.leads(backup.stop.timeline, backup.stop.number, to):
        raise OTHER_TIMELINE.error(
            f"cannot come from backup {backup.label} to {tell(target)}: the cluster had returned to a moment before it",
            hint=f"that backup leads to moments on timeline {backup.stop.timeline} only",
        )
    layout = program.layout
    tail: dict[Segment, Path] = {}
    if with_tail:
        names = received(received_files(layout.received))
        tail = {
            s: layout.received / name
            for s, name in names.items()
            if s not in archive.segments and s.number >= backup.start.number
        }
    holes = plan.holes(backup, target, archive, tail, to)
    if holes:
        raise WAL_GAP.error(
            f"cannot come from backup {backup.label} to {tell(target)}: repository {backup.repository} lacks "
            + ", ".join(map(str, holes)),
            hint=f"a moment before {holes[0].first} can be restored; a new full backup begins anew",
            details=[str(g) for g in holes],
        )
    return Way(archive, tail, to)


def check_room(where: Path, backup: PhysicalBackup, segments: int) -> None:
    """Raises ``backup.no_space``."""
    wanted, free = commands.copy_bytes(backup.bytes, segments), files.free_bytes(where)
    if wanted > free:
        raise NO_SPACE.error(
            f"cannot restore {backup.label}: it needs {format_size(wanted)}, and {format_size(free)} are free",
            hint=f"make room on the disk of {where}",
        )


def restore(
    program: PgBackRest,
    target: Target,
    into: Path,
    version: int,
    clock: Clock,
    *,
    on_progress: OnProgress,
    repositories: Iterable[str],
    timeline: int | None = None,
    served: Sequence[Served] = (),
) -> Restored:
    """``into`` gets the files as ``data``; what a restore that was cut off left there is removed first by the caller.

    Tries one backup after the other while it is the backup that is broken. Raises what the last one came to.
    """
    began = clock.monotonic()
    found, passed_over = choose(program, target, clock, repositories)
    error: HomeportError | None = None
    for backup in found:
        copy = Copy(program, into, version, clock, throwaway=False)
        try:
            way = check_log(
                program, backup, target, with_tail=not isinstance(target, OfBackup), timeline=timeline, served=served
            )  # fmt: skip
            check_room(into.parent, backup, plan.to_replay(backup, target, way.archive))
            copy.make()
            fetch(program, backup, target, copy.files, way.timeline, idle=False, on_progress=on_progress)
            copy.add_log(way.tail)
            copy.start()
            return _settle(copy, backup, len(way.tail), clock.monotonic() - began, clock, passed_over)
        except HomeportError as e:
            copy.end()
            try:
                if e.code not in PASSED_OVER:
                    raise
                if e.type is NOT_STARTED:
                    room.must_not_be_full(into, f"restore {backup.label}", (e.sentence, *e.details))
            finally:
                remove(into, into.parent, clock)
            passed_over.append(e.sentence)
            error = e
        except BaseException:
            copy.end()
            raise
    assert error is not None
    raise error


def fetch(
    program: PgBackRest,
    backup: PhysicalBackup,
    target: Target,
    into: Path,
    timeline: int,
    *,
    idle: bool,
    on_progress: OnProgress,
) -> None:
    """The files of a backup, and how to go on from them to the target. Raises what pgBackRest says of the repository;
    where it cannot unpack a file and does not say which (its error 29), the sentence names it."""
    kind, value = plan.recovery(target)
    argv = commands.restore(
        program.layout, program.settings.number(backup.repository), backup.label, into,
        kind=kind, target=value, timeline=timeline, idle=idle,
    )  # fmt: skip
    try:
        program.work(argv, "copy", f"restore {backup.label} from repository {backup.repository}", on_progress)
    except HomeportError as e:
        half = _half_written(into)
        if (
            e.type is not DAMAGED
            or not half
            or any(f"{into}/{name}" in line for line in e.details for name in half)
        ):
            raise
        which = half[0] if len(half) == 1 else f"one of {', '.join(half)}"
        raise DAMAGED.error(f"{e.sentence}: {which}", hint=e.hint, details=e.details) from e


def _half_written(into: Path) -> list[str]:
    """What pgBackRest had in hand when it gave up: a file that it has finished has the time that it had in the cluster,
    and its manifest it writes first."""
    try:
        began = (into / "backup.manifest").stat().st_mtime_ns
    except FileNotFoundError:
        return []
    found = (Path(directory, name) for directory, _, names in os.walk(into) for name in names)
    late = (p for p in found if not p.is_symlink() and p.stat().st_mtime_ns > began)
    return sorted(str(p.relative_to(into)) for p in late)[:MOST_NAMED]


def _settle(
    copy: Copy, backup: PhysicalBackup, tail: int, seconds: float, clock: Clock, passed_over: list[str]
) -> Restored:
    """Take away what only the recovery needed, and stop it."""
    import psycopg
    from psycopg import sql

    began = clock.monotonic()
    try:
        timeline = copy.timeline()
        with copy.connect("postgres") as connection:
            for setting in _RESET:
                connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(setting)))
            beat = heartbeat.newest(connection)
    except psycopg.Error as e:
        raise NOT_STARTED.error(f"cannot finish the restored copy: {first_line(e)}") from e
    last = copy.last_commit()
    copy.stop()
    prefer_archive(machine.user(), copy.files, timeline)
    lsn = copy.left_at(timeline)
    size = files.tree_bytes(copy.files)
    copy.finish()
    return Restored(
        copy.files, backup.repository, backup.label, timeline, lsn, last, beat, tail, size,
        seconds + clock.monotonic() - began, tuple(passed_over),
    )  # fmt: skip
