"""What is there against what the applied migrations give."""

from __future__ import annotations

from dataclasses import replace

from homeport.database.migrations.catalog import Snapshot, snapshot
from homeport.database.migrations.differences import Difference, differences
from homeport.database.migrations.files import parse
from homeport.database.migrations.model import Goal, Migration, Options, Row
from homeport.database.migrations.runner import PostgresMigrator
from homeport.database.migrations.scratch import is_apart, scratch
from homeport.database.migrations.session import Target, connect
from homeport.database.migrations.table import Table
from homeport.kernel.clock import Clock


def drift(target: Target, admin: Target, options: Options, clock: Clock) -> tuple[Difference, ...]:
    """How the schema differs from the one that the applied migrations make on an empty database.

    They run as the table keeps them, in the order in which they were applied. ``admin`` may create a
    database. Raises what a run raises, and ``database.migration_trial_failed``.
    """
    with connect(target, options) as conn:
        rows = [r for r in Table(options).rows(conn) if r.is_applied]
        there = snapshot(conn, schema=options.schema)
    own = replace(options, owner="" if is_apart(target, admin) else options.owner, reader="")
    with scratch(target, admin, options, clock, programs=None) as made:
        expected = replay(made, rows, own, clock)
    return differences(there, expected)


def replay(made: Target, rows: list[Row], options: Options, clock: Clock) -> Snapshot:
    """The schema that the rows' migrations give on an empty database."""
    migrator = PostgresMigrator(made, options, clock)
    files: list[Migration] = []
    in_order = sorted(rows, key=lambda r: (r.applied_at is not None and r.applied_at.timestamp(), r.filename))
    for row, after in zip(in_order, [*in_order[1:], None], strict=True):
        files.append(parse(row.filename, row.source.encode()))
        if after is None or after.filename < row.filename:
            files.sort(key=lambda m: m.filename)
            migrator.run(files, Goal(out_of_order=True))
    with connect(made, options) as conn:
        return snapshot(conn, schema=options.schema)
