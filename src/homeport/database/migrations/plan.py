"""What to do, from the files, the table's rows and what lone statements left behind. Pure.

A run takes the first step, looks again and plans again, so a plan holds from any point at which a run was
cut off. :func:`problems` come first: while there is one, nothing is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff

from homeport.database.migrations.errors import CHANGED, NO_DOWN, OUT_OF_ORDER, UNFINISHED, UNKNOWN_VERSION
from homeport.database.migrations.model import (
    Direction,
    Goal,
    Lone,
    Migration,
    Remnant,
    Row,
    Section,
    Seen,
    Statement,
    Status,
    Subset,
)
from homeport.kernel.errors import HomeportError

UNTOLD = (Lone.WHOLE, Lone.BATCHES)
LONGEST_DIFF = 200
"""Lines of a diff that are shown."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is. ``seen`` has an entry for each lone statement that :func:`to_look_at` names."""

    files: tuple[Migration, ...]
    rows: tuple[Row, ...]
    seen: Mapping[tuple[str, Direction], Seen]


@dataclass(frozen=True, slots=True)
class Clean:
    """Drop indexes that a cut-off statement left invalid; they serve no query."""

    version: str
    indexes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Run a section and record it, in one transaction where the section allows it."""

    migration: Migration
    direction: Direction
    resumed: bool = False
    """It was cut off and begins anew."""


@dataclass(frozen=True, slots=True)
class Finalize:
    """End a detaching of a partition that was cut off half-way, and record it."""

    migration: Migration
    direction: Direction


@dataclass(frozen=True, slots=True)
class Record:
    """A lone statement took effect and its record was cut off: record it now."""

    migration: Migration
    direction: Direction


Step = Clean | Run | Finalize | Record


def to_look_at(
    files: Sequence[Migration], rows: Sequence[Row]
) -> tuple[tuple[str, Direction, Statement], ...]:
    """The lone statements whose object matters: those that may run, and those that were begun."""
    by_version = {r.version: r for r in rows}
    found = []
    for migration in files:
        row = by_version.get(migration.version)
        begun = row.running if row is not None else None
        pending = row is None or not row.is_applied
        for direction in Direction:
            section = migration.section(direction)
            if section is None or section.lone is None:
                continue
            if begun is direction or (begun is None and pending == (direction is Direction.UP)):
                found.append((migration.version, direction, section.lone))
    return tuple(found)


def problems(observed: Observed, goal: Goal) -> tuple[HomeportError, ...]:
    """Why nothing may be done, worst first."""
    return (
        *_changed(observed),
        *_unfinished(observed),
        *(_out_of_order(observed, goal) if goal.direction is Direction.UP else ()),
        *(_without_down(observed, goal) if goal.direction is Direction.DOWN else ()),
    )


def plan(observed: Observed, goal: Goal) -> tuple[Step, ...]:
    """The steps to the goal, in order. Raises the first of :func:`problems`, the others in its details."""
    found = problems(observed, goal)
    if found:
        first = found[0]
        details = [*first.details, *(e.sentence for e in found[1:])]
        raise HomeportError(first.type, first.sentence, first.hint, tuple(details))
    steps: list[Step] = []
    files = {m.version: m for m in observed.files}
    begun = next((r for r in observed.rows if r.running is not None), None)
    if begun is not None and begun.running is not None:
        steps += _resume(observed, files[begun.version], begun.running)
    wanted = pending(observed, goal) if goal.direction is Direction.UP else reverted(observed, goal)
    for migration in wanted:
        if begun is not None and migration.version == begun.version and begun.running is goal.direction:
            continue
        steps += _run(observed, migration, goal.direction)
    return tuple(steps)


def pending(observed: Observed, goal: Goal) -> tuple[Migration, ...]:
    """The files that an upward goal asks for and that are not applied, in order."""
    rows = {r.version: r for r in observed.rows}
    wanted = []
    for migration in observed.files:
        row = rows.get(migration.version)
        if row is not None and row.is_applied:
            continue
        if goal.subset is Subset.EXPAND and migration.contract:
            continue
        if goal.subset is Subset.CONTRACT and not migration.contract:
            continue
        if goal.to and _order(migration.version) > _order(goal.to):
            continue
        wanted.append(migration)
    return tuple(wanted)


def reverted(observed: Observed, goal: Goal) -> tuple[Migration, ...]:
    """The files that a downward goal takes back, the last first."""
    applied = [r.version for r in sorted(observed.rows, key=lambda r: r.filename) if r.is_applied]
    if goal.versions:
        chosen = [v for v in applied if v in goal.versions]
    else:
        chosen = [v for v in applied if _order(v) > _order(goal.to)]
    files = {m.version: m for m in observed.files}
    return tuple(files[v] for v in reversed(chosen) if v in files)


def statuses(observed: Observed) -> tuple[Status, ...]:
    """Every version that a file or a row has, in order."""
    files = {m.version: m for m in observed.files}
    rows = {r.version: r for r in observed.rows}
    newest = _newest(observed)
    names = {m.filename: m.version for m in observed.files} | {
        r.filename: r.version for r in observed.rows if r.version not in files
    }
    found = []
    for filename in sorted(names):
        version = names[filename]
        file, row = files.get(version), rows.get(version)
        description = file.description if file is not None else row.description if row is not None else ""
        contract = file.contract if file is not None else False
        found.append(Status(version, description, _state(file, row, newest), contract, row))
    return tuple(found)


def _state(file: Migration | None, row: Row | None, newest: str) -> str:
    if row is not None and row.running is not None:
        return "unfinished"
    if row is not None and row.is_applied:
        if file is None:
            return "missing"
        return "applied" if file.checksum == row.checksum else "changed"
    if row is not None and row.rolled_back_at is not None:
        return "rolled back"
    late = file is not None and not file.contract and file.filename < newest
    return "out of order" if late else "pending"


def diff(row: Row, file: Migration | None) -> tuple[str, ...]:
    """How a file differs from what was applied."""
    after = file.source if file is not None else ""
    name = file.filename if file is not None else "/dev/null"
    lines = [
        line.rstrip("\n")
        for line in unified_diff(
            row.source.splitlines(True), after.splitlines(True), f"{row.filename} (applied)", name, n=2
        )
    ]
    if len(lines) > LONGEST_DIFF:
        lines = [*lines[:LONGEST_DIFF], f"… {len(lines) - LONGEST_DIFF} more lines"]
    return tuple(lines)


def _order(version: str) -> tuple[int, str]:
    return int(version or 0), version


def _newest(observed: Observed) -> str:
    """The last file name that is applied; a contract does not count, for it may come late."""
    contracts = {m.version for m in observed.files if m.contract}
    return max((r.filename for r in observed.rows if r.is_applied and r.version not in contracts), default="")


def _changed(observed: Observed) -> list[HomeportError]:
    files = {m.version: m for m in observed.files}
    found = []
    for row in observed.rows:
        file = files.get(row.version)
        if not row.is_applied and row.running is None:
            continue
        if file is None:
            found.append(
                CHANGED.error(
                    f"cannot migrate: {row.filename} was applied and its file is gone",
                    hint="put it back, as it stands below, or see what homeport migrate repair proposes",
                    details=row.source.splitlines()[:LONGEST_DIFF],
                )
            )
        elif file.checksum != row.checksum:
            found.append(
                CHANGED.error(
                    f"cannot migrate: {file.filename} was changed after it was applied",
                    hint="put it back and write a new migration, or see what homeport migrate repair proposes",
                    details=diff(row, file),
                )
            )
    return found


def _unfinished(observed: Observed) -> list[HomeportError]:
    files = {m.version: m for m in observed.files}
    found = []
    for row in observed.rows:
        if row.running is None or row.version not in files:
            continue
        section = files[row.version].section(row.running)
        if section is not None and section.lone is not None and section.lone.lone not in UNTOLD:
            continue
        what = section.statements[0].summary if section is not None and section.statements else ""
        found.append(
            UNFINISHED.error(
                f"cannot migrate: the {row.running.value} section of {row.filename} was cut off, and nothing "
                "shows how far it came",
                hint="look at the database, then homeport migrate repair with --done or --again",
                details=[what] if what else [],
            )
        )
    return found


def _out_of_order(observed: Observed, goal: Goal) -> list[HomeportError]:
    if goal.out_of_order:
        return []
    newest = _newest(observed)
    late = [m for m in pending(observed, goal) if not m.contract and m.filename < newest]
    begun = {r.version for r in observed.rows if r.running is not None}
    return [
        OUT_OF_ORDER.error(
            f"cannot apply {m.filename}: {newest} was applied before it",
            hint="give it a new version, or allow it with --out-of-order",
        )
        for m in late
        if m.version not in begun
    ]


def _without_down(observed: Observed, goal: Goal) -> list[HomeportError]:
    # One that was taken back already is no error: a run looks again after each step.
    known = {r.version for r in observed.rows if r.applied_at is not None}
    found = [
        UNKNOWN_VERSION.error(f"cannot take back {v}: it was never applied")
        for v in goal.versions
        if v not in known
    ]
    for m in reverted(observed, goal):
        if m.down is None:
            found.append(
                NO_DOWN.error(
                    f"cannot take back {m.filename}: it has no down section",
                    hint="write a new migration that undoes it, or restore a backup",
                )
            )
    return found


def _run(observed: Observed, migration: Migration, direction: Direction) -> list[Step]:
    seen = observed.seen.get((migration.version, direction))
    steps: list[Step] = []
    if seen is not None and seen.invalid:
        steps.append(Clean(migration.version, seen.invalid))
    return [*steps, Run(migration, direction)]


def _resume(observed: Observed, migration: Migration, direction: Direction) -> list[Step]:
    """What a lone statement that was begun, and perhaps finished, still needs."""
    section = migration.section(direction)
    lone = _lone(section)
    seen = observed.seen[(migration.version, direction)]
    again: list[Step] = [Run(migration, direction, resumed=True)]
    if seen.invalid:
        return [Clean(migration.version, seen.invalid), *again]
    if lone is Lone.CREATE_INDEX and seen.remnant is Remnant.PRESENT:
        return [Record(migration, direction)]
    if lone in (Lone.DROP_INDEX, Lone.DETACH) and seen.remnant is Remnant.ABSENT:
        return [Record(migration, direction)]
    if lone is Lone.DETACH and seen.remnant is Remnant.INVALID:
        return [Finalize(migration, direction)]
    return again


def _lone(section: Section | None) -> Lone | None:
    return section.lone.lone if section is not None and section.lone is not None else None
