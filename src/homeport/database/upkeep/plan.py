"""Which statements a piece of upkeep takes, and when it is due. Pure."""

from __future__ import annotations

from datetime import datetime

from homeport.database.upkeep.errors import NO_TARGET, NO_UNIQUE_INDEX, UNDER_WAY, WRONG_TARGET
from homeport.database.upkeep.model import INDEX, Analyze, Clean, Name, Refresh, Reindex, Seen, Step
from homeport.spec.model_database import Upkeep
from homeport.spec.schedule import Schedule

KINDS = {
    "r": "a table",
    "p": "a partitioned table",
    "m": "a materialized view",
    "v": "a view",
    "i": "an index",
    "I": "an index of a partitioned table",
    "S": "a sequence",
    "f": "a foreign table",
    "t": "a TOAST table",
    "c": "a type",
}
TAKES = {
    "refresh": ("m",),
    "analyze": ("r", "p", "m", "f"),
    "reindex": ("i", "I", "r", "p", "m"),
}
WANTS = {
    "refresh": "a materialized view",
    "analyze": "a table or a materialized view",
    "reindex": "an index, a table or a materialized view",
}


def due(upkeep: Upkeep, since: datetime, now: datetime) -> datetime | None:
    """The newest time later than ``since`` at which it was to run; None: none came. Missed ones are not made up."""
    times = Schedule(upkeep.schedule, upkeep.timezone).due(since, now, most=1)
    return times[-1] if times else None


def target(upkeep: Upkeep) -> Name | None:
    """None is the whole database."""
    if not upkeep.target:
        return None
    schema, dot, name = upkeep.target.partition(".")
    return Name(schema, name) if dot else Name("public", schema)


def plan(upkeep: Upkeep, seen: Seen | None) -> tuple[Step, ...]:
    """``seen``: the target as it is; None where it is not there, or is the whole database.

    Raises database.no_upkeep_target, wrong_upkeep_target, no_unique_index, upkeep_under_way.
    """
    wanted = target(upkeep)
    if wanted is None:
        if upkeep.kind != "analyze":
            raise WRONG_TARGET.error(
                f"cannot {upkeep.kind} a whole database",
                hint=f"name {WANTS[upkeep.kind]} as its target",
            )
        return (Analyze(None),)
    if seen is None:
        raise NO_TARGET.error(
            f"cannot {upkeep.kind} {wanted}: it is not there",
            hint="names are taken as they are written, capitals and small letters too; is its migration applied?",
        )
    if seen.kind not in TAKES[upkeep.kind]:
        raise WRONG_TARGET.error(
            f"cannot {upkeep.kind} {wanted}: it is {KINDS.get(seen.kind, 'something else')}",
            hint=f"{upkeep.kind} takes {WANTS[upkeep.kind]}",
        )
    if upkeep.kind == "refresh":
        return (_refresh(seen),)
    if upkeep.kind == "analyze":
        return (Analyze(seen.name),)
    return _reindex(seen)


def _refresh(seen: Seen) -> Refresh:
    """A view that was never filled cannot be read anyway, so locking it costs nobody anything."""
    if not seen.filled:
        return Refresh(seen.name, concurrently=False)
    if not seen.unique:
        raise NO_UNIQUE_INDEX.error(
            f"cannot refresh {seen.name} beside its readers: it has no unique index on plain columns "
            "over all its rows",
            hint=f"in a migration: CREATE UNIQUE INDEX ON {seen.name} (…) with columns that identify a row, "
            "without WHERE and without expressions",
        )
    return Refresh(seen.name, concurrently=True)


def _reindex(seen: Seen) -> tuple[Step, ...]:
    if seen.building:
        raise UNDER_WAY.error(
            f"cannot reindex {seen.name}: an index of its table is being built", hint="try again later"
        )
    if seen.system:
        raise WRONG_TARGET.error(
            f"cannot reindex {seen.name}: it belongs to PostgreSQL itself",
            hint="REINDEX SYSTEM in a maintenance window",
        )
    if seen.exclusion:
        raise WRONG_TARGET.error(
            f"cannot reindex {seen.name} beside its users: it belongs to an exclusion constraint",
            hint="REINDEX without CONCURRENTLY in a maintenance window",
        )
    kind = "INDEX" if seen.kind in INDEX else "TABLE"
    return (*(Clean(index) for index in seen.leftovers), Reindex(seen.name, kind))
