"""Drills in which data are spoiled and the server is well: a table dropped, rows corrupted, a bad migration."""

from __future__ import annotations

from homeport.backup.drills import breaking
from homeport.backup.drills.breaking import Victim
from homeport.backup.drills.errors import NOT_BROUGHT_BACK, NOT_DETECTED, NOTHING_TO_BREAK
from homeport.backup.drills.ground import BACK, TWIN, Ground
from homeport.backup.drills.model import BREAK, CONTAIN, DETECT, PREPARE, RESTORE, SMOKE, VERIFY
from homeport.backup.drills.phases import (
    Found,
    Phase,
    Request,
    found,
    hold,
    marked_twin,
    must_differ,
    smoke,
    smoke_twin,
    verified,
)
from homeport.backup.physical.copy import Copy
from homeport.backup.physical.manifest import Table
from homeport.database.migrations.files import parse
from homeport.database.migrations.model import Direction, Goal, Migration, Options
from homeport.database.migrations.runner import PostgresMigrator
from homeport.database.migrations.session import Target
from homeport.database.model import SUPERUSER
from homeport.kernel.errors import HomeportError

BOOKS = "homeport_drill"
"""A schema in the twin, for what the drill's migrations are recorded in: the app's own are not touched."""
LAST = "99999999999999"
"""Versions of the drill's migrations: after all others."""


def _victim(ground: Ground) -> Victim:
    return Victim.of(ground.notes["victim"])


def _tables(ground: Ground) -> tuple[Table, ...]:
    return breaking.candidates(ground.manifest, ground.apps())


def _anew(ground: Ground) -> None:
    """A phase that breaks things was cut off: nobody knows how far it came."""
    if ground.notes.get("breaking"):
        ground.bring(TWIN, ground.at_mark())
    ground.note(breaking=True)


# A table is dropped


def drop(ground: Ground, _: Request) -> Found:
    _anew(ground)
    with ground.serving(TWIN) as copy:
        victim = breaking.drop_table(copy, _tables(ground))
        ground.note(victim=victim.document())
        ground.happened()
    return found(f"{victim.label} with {victim.rows:,} rows is dropped")


def see(ground: Ground, _: Request) -> Found:
    victim = _victim(ground)
    with ground.serving(TWIN) as copy:
        seen = must_differ(ground, copy, f"{victim.schema}.{victim.table}")
    return found(*seen[:5])


def back_to_the_moment(ground: Ground, _: Request) -> Found:
    restored = ground.bring(BACK, ground.at_mark())
    return found(
        f"restored {restored.label} from {restored.repository}, to the moment before",
        restore_seconds=round(restored.seconds, 3),
    )


def as_before(ground: Ground, _: Request) -> Found:
    return verified(ground)


# Rows are corrupted


def corrupt(ground: Ground, _: Request) -> Found:
    _anew(ground)
    with ground.serving(TWIN) as copy:
        victim, rows = breaking.spoil(copy, _tables(ground))
        ground.note(victim=victim.document())
        ground.happened()
    return found(f"UPDATE without WHERE changed {victim.label} in {rows:,} rows", rows_changed=rows)


def merge_back(ground: Ground, request: Request) -> Found:
    victim = _victim(ground)
    said = back_to_the_moment(ground, request)
    with ground.serving(TWIN) as twin, ground.serving(BACK) as back:
        with back.connect(victim.database) as past, twin.connect(victim.database) as present:
            merged = breaking.merge(past, present, victim)
    said["told"].append(f"{merged:,} rows of {victim.label} merged back")
    said["figures"]["rows_merged"] = merged
    return said


def twin_as_before(ground: Ground, _: Request) -> Found:
    return verified(ground, TWIN)


# Bad migrations


def _options() -> Options:
    return Options(patience=10.0, statement_timeout=600.0, schema=BOOKS, by="homeport drill")


def _migrator(ground: Ground, copy: Copy, database: str) -> PostgresMigrator:
    target = Target(f"host='{copy.directory}' port=5432 user={SUPERUSER} dbname='{database}'")
    return PostgresMigrator(target, _options(), ground.box.clock)


def _half_way() -> Migration:
    text = (
        f"-- migrate:up\nCREATE TABLE {BOOKS}.half_way (id int);\nSELECT 1 / 0;\n"
        f"-- migrate:down\nDROP TABLE {BOOKS}.half_way;\n"
    )
    return parse(f"{LAST}_drill_half_way.sql", text.encode())


def _dropping(victim: Victim, type_: str) -> Migration:
    table, column = f'"{victim.schema}"."{victim.table}"', f'"{victim.column}"'
    text = (
        f"-- homeport:contract\n-- migrate:up\nALTER TABLE {table} DROP COLUMN {column} CASCADE;\n"
        f"-- migrate:down\nALTER TABLE {table} ADD COLUMN {column} {type_};\n"
    )
    return parse(f"{LAST}_drill_drop_column.sql", text.encode())


def migrate(ground: Ground, _: Request) -> Found:
    """One that fails half way leaves nothing; one that drops a column succeeds."""
    _anew(ground)
    with ground.serving(TWIN) as copy:
        tables = _tables(ground)
        victim = next(
            (v for v, _, _ in breaking.with_column(copy, tables, keyed=False) if '"' not in v.label), None
        )
        if victim is None:
            raise NOTHING_TO_BREAK.error("cannot rehearse it: no table has a column to drop")
        with copy.connect(victim.database) as c:
            c.execute(f"CREATE SCHEMA {BOOKS}")
        migrator = _migrator(ground, copy, victim.database)
        try:
            migrator.run((_half_way(),), Goal())
        except HomeportError as e:
            refused = e.sentence
        else:
            raise NOT_DETECTED.error("cannot see that a migration fails half way: it passed")
        with copy.connect(victim.database) as c:
            left = c.execute(f"SELECT to_regclass('{BOOKS}.half_way') IS NOT NULL").fetchone()
            type_ = c.execute(
                "SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
                "WHERE a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass AND a.attname = %s",
                (victim.schema, victim.table, victim.column),
            ).fetchone()
        if left is None or left[0] or type_ is None:
            raise NOT_BROUGHT_BACK.error(
                "cannot take back a migration that failed half way: its table is there"
            )
        ground.note(victim=victim.document(), type=type_[0])
        ground.happened()
        migrator.run((_dropping(victim, type_[0]),), Goal())
    return found(f"one that fails half way left nothing: {refused}", f"another dropped {victim.label}")


def down_then_back(ground: Ground, request: Request) -> Found:
    """Down brings the column and none of its values: only a restore does."""
    victim = _victim(ground)
    migration = _dropping(victim, ground.notes["type"])
    with ground.serving(TWIN) as copy:
        with copy.connect("postgres") as c:
            c.execute("ALTER SYSTEM RESET default_transaction_read_only")
            c.execute("SELECT pg_reload_conf()")
        ground.box.clock.sleep(0.2)
        if not ground.notes.get("down"):
            _migrator(ground, copy, victim.database).run(
                (migration,), Goal(direction=Direction.DOWN, versions=(migration.version,))
            )
            ground.note(down=True)
        must_differ(ground, copy, f"{victim.schema}.{victim.table}")
    said = back_to_the_moment(ground, request)
    said["told"].insert(0, f"down brought {victim.label} back without its values")
    return said


TABLE_DROPPED: dict[str, Phase] = {
    PREPARE: marked_twin,
    BREAK: drop,
    DETECT: see,
    CONTAIN: hold,
    RESTORE: back_to_the_moment,
    VERIFY: as_before,
    SMOKE: smoke,
}
ROWS_CORRUPTED: dict[str, Phase] = {
    **TABLE_DROPPED,
    BREAK: corrupt,
    RESTORE: merge_back,
    VERIFY: twin_as_before,
    SMOKE: smoke_twin,
}
BAD_MIGRATION: dict[str, Phase] = {**TABLE_DROPPED, BREAK: migrate, RESTORE: down_then_back}
