"""What phases of several scenarios have in common. A phase gives {"told", "figures", "todo"}."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from homeport.backup.drills.errors import NOT_DETECTED, SMOKE
from homeport.backup.drills.ground import BACK, TWIN, Ground
from homeport.backup.physical.copy import Copy
from homeport.backup.physical.proof import Question, ask
from homeport.kernel.units import format_duration

Request = Mapping[str, Any]
Found = dict[str, Any]
Phase = Callable[[Ground, Request], Found]
HOLDING = 10.0
"""Seconds in which a server takes a new setting."""
NO_QUESTIONS = "Name queries in [backup.proof] whose answers you know: they say whether an app could work with what is restored"


def found(*told: str, todo: Sequence[str] = (), **figures: Any) -> Found:
    return {"told": list(told), "figures": figures, "todo": list(todo)}


def nothing(_: Ground, __: Request) -> Found:
    return found("there is nothing to do")


def marked_twin(ground: Ground, _: Request) -> Found:
    """A copy of production as of a moment whose rows are known."""
    ground.begin()
    ground.must_have_room(2)
    mark = ground.mark()
    restored = ground.bring(TWIN, ground.at_mark())
    return found(
        f"a twin as of {mark.at:%H:%M:%S} UTC, {mark.rows:,} rows in {len(mark.tables)} tables",
        twin_seconds=round(restored.seconds, 3),
        bytes=restored.bytes,
    )


def must_differ(ground: Ground, copy: Copy, victim: str) -> tuple[str, ...]:
    """Found by comparison with what is known of the moment before. Raises ``drill.not_detected``."""
    from homeport.backup.physical.manifest import compare

    seen = compare(ground.manifest, copy.connect)
    differences = (*seen.differences, *seen.undecided)
    if not any(victim in d for d in differences):
        raise NOT_DETECTED.error(f"cannot see what was done to {victim}", details=differences)
    return differences


def hold(ground: Ground, _: Request) -> Found:
    """Nobody writes to the twin any more."""
    with ground.serving(TWIN) as copy:
        return hold_copy(ground, copy)


def hold_copy(ground: Ground, copy: Copy) -> Found:
    clock = ground.box.clock
    began = clock.monotonic()
    with copy.connect("postgres") as c:
        c.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        c.execute("SELECT pg_reload_conf()")
    while _writable(copy):
        if clock.monotonic() - began > HOLDING:
            raise NOT_DETECTED.error("cannot hold writers: a new session may still write")
        clock.sleep(0.01)
    seconds = clock.monotonic() - began
    return found(
        f"writers are refused after {format_duration(seconds)}; in production: homeport read-only on",
        read_only_seconds=round(seconds, 3),
    )


def _writable(copy: Copy) -> bool:
    with copy.connect("postgres") as c:
        with suppress(psycopg.errors.ReadOnlySqlTransaction):
            c.execute("CREATE TEMP SEQUENCE held")
            c.execute("SELECT nextval('held')")
            row = c.execute("SHOW transaction_read_only").fetchone()
            return row is not None and row[0] == "off"
    return False


def verified(ground: Ground, name: str = BACK) -> Found:
    """The copy has what production had at the mark, to the row."""
    with ground.serving(name) as copy:
        said = ground.must_be_as_marked(copy)
    return found(
        f"{said['rows']:,} rows in {said['tables']} tables are as they were, to the row",
        *(f"undecided: {u}" for u in said["undecided"]),
        rows=said["rows"],
        rows_lost=0,
        rpo=0.0,
    )


def smoke(ground: Ground, request: Request, name: str = BACK) -> Found:
    """The apps' own questions. Raises ``drill.smoke_failed``."""
    questions = [Question(**q) for q in request.get("questions", ())]
    with ground.serving(name) as copy:
        wrong = ask(copy, questions)
    if wrong:
        raise SMOKE.error(f"cannot call it usable: {wrong[0]}", details=wrong[1:])
    if not questions:
        return found("it takes connections; no app has questions of its own", todo=[NO_QUESTIONS])
    return found(
        f"{len(questions)} questions of apps are answered as they should be", questions=len(questions)
    )


def smoke_twin(ground: Ground, request: Request) -> Found:
    return smoke(ground, request, TWIN)
