"""Bring the table back to the truth: what is to be done is said first, then done. Nothing here touches data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from homeport.database.migrations.errors import CHANGED
from homeport.database.migrations.model import Direction, Migration, Options
from homeport.database.migrations.plan import UNTOLD, Observed, diff
from homeport.database.migrations.runner import PostgresMigrator, never, silent
from homeport.database.migrations.session import Target, connect, locked
from homeport.database.migrations.table import Table
from homeport.kernel.clock import Clock


class Choice(Enum):
    """What is known of a statement that was cut off and that nothing shows the end of."""

    NOT_SAID = ""
    DONE = "done"
    AGAIN = "again"


class Act(Enum):
    ACCEPT = "accept"
    FORGET = "forget"
    DONE = "done"
    AGAIN = "again"
    ADOPT = "adopt"


@dataclass(frozen=True, slots=True)
class Repair:
    act: Act
    version: str
    sentence: str
    details: tuple[str, ...] = ()


def propose(
    observed: Observed, *, dbmate: Sequence[str] = (), choice: Choice = Choice.NOT_SAID
) -> tuple[Repair, ...]:
    """What would make :func:`homeport.database.migrations.plan.problems` go away. Pure.

    ``dbmate``: the versions in dbmate's own table, which are taken over.
    """
    files = {m.version: m for m in observed.files}
    rows = {r.version: r for r in observed.rows}
    found = []
    for row in observed.rows:
        file = files.get(row.version)
        if file is None and (row.is_applied or row.running is not None):
            found.append(
                Repair(
                    Act.FORGET,
                    row.version,
                    f"forget {row.filename}, whose file is gone; what it changed in the database stays",
                    tuple(row.source.splitlines()[:200]),
                )
            )
            continue
        if file is not None and file.checksum != row.checksum and (row.is_applied or row.running is not None):
            found.append(
                Repair(
                    Act.ACCEPT,
                    row.version,
                    f"take {file.filename} as it is now for what was applied; the database is not changed",
                    diff(row, file),
                )
            )
        if row.running is None or file is None or choice is Choice.NOT_SAID:
            continue
        section = file.section(row.running)
        if section is None or section.lone is None or section.lone.lone in UNTOLD:
            what = "applied" if row.running is Direction.UP else "taken back"
            sentence = (
                f"count {row.filename} as {what}"
                if choice is Choice.DONE
                else f"count {row.filename} as not {what}, so that the next run begins it anew"
            )
            found.append(Repair(Act(choice.value), row.version, sentence))
    for version in dbmate:
        if version in rows:
            continue
        file = files.get(version)
        if file is not None:
            found.append(
                Repair(Act.ADOPT, version, f"count {file.filename} as applied, as dbmate's table has it")
            )
    return tuple(found)


def unknown_to_files(observed: Observed, dbmate: Sequence[str]) -> tuple[str, ...]:
    """Versions of dbmate's table that no file has; they cannot be taken over."""
    known = {m.version for m in observed.files} | {r.version for r in observed.rows}
    return tuple(v for v in dbmate if v not in known)


def look(
    target: Target,
    options: Options,
    clock: Clock,
    files: Sequence[Migration],
    *,
    choice: Choice = Choice.NOT_SAID,
    adopt: bool = False,
) -> tuple[Repair, ...]:
    """What :func:`repair` would do now. Changes nothing."""
    observed = PostgresMigrator(target, options, clock).look(files)
    with connect(target, options) as conn:
        dbmate = Table(options).dbmate_versions(conn) if adopt else ()
    return propose(observed, dbmate=dbmate, choice=choice)


def repair(
    target: Target,
    options: Options,
    clock: Clock,
    files: Sequence[Migration],
    agreed: Sequence[Repair],
    *,
    choice: Choice = Choice.NOT_SAID,
    adopt: bool = False,
) -> None:
    """Do what was proposed and agreed to, in one transaction.

    Raises ``database.migration_changed`` when something else would be done by now.
    """
    table = Table(options)
    by_version = {m.version: m for m in files}
    with connect(target, options) as conn, locked(conn, options, clock, silent, never):
        if look(target, options, clock, files, choice=choice, adopt=adopt) != tuple(agreed):
            raise CHANGED.error(
                "cannot repair: the table or the files have changed since the repair was proposed",
                hint="look at what is proposed now",
            )
        rows = {r.version: r for r in table.rows(conn)}
        table.create(conn)
        with conn.transaction():
            for one in agreed:
                file, row = by_version.get(one.version), rows.get(one.version)
                if one.act is Act.FORGET:
                    table.forget(conn, one.version)
                elif one.act is Act.ACCEPT and file is not None:
                    table.accept(conn, file)
                elif one.act is Act.ADOPT and file is not None:
                    table.record(conn, file, Direction.UP, 0.0)
                elif one.act is Act.DONE and file is not None and row is not None and row.running is not None:
                    table.record(conn, file, row.running, 0.0)
                elif one.act is Act.AGAIN:
                    table.end(conn, one.version)
