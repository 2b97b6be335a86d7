"""The trial of what is pending, as a piece of work for a child: a report that a person decides by.

Every part of it stands for itself: what cannot be found out is said in its place, and the others are told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.database.migrations.errors import TRIAL_FAILED
from homeport.database.migrations.model import Goal, Migration, Options
from homeport.database.migrations.plan import pending
from homeport.database.works_migrations import (
    Request,
    migrator_of,
    noted,
    read_files,
    target_of,
    told_error,
)
from homeport.database.works_schemas import difference_json, lint_json, refuse_sqlite
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    from homeport.database.migrations.trial import Touched, Trial
    from homeport.database.works import Say

MOST = 50
"""Differences of a kind that are told."""


def trial(request: Request, say: Say, clock: Clock) -> Any:
    """Try what is pending, contracts too, up, down and up on a scratch database, and say what else is known of it.

    ``failure``: why it failed there; ``note``: why there is no such database.
    """
    refuse_sqlite(request, "try")
    files = read_files(request)
    wanted = pending(migrator_of(request, clock).look(files), Goal())
    report: dict[str, Any] = {
        "pending": [pending_json(m) for m in wanted],
        "findings": [],
        "drift": [],
        "tried": [],
        "without_down": [],
        "leavings": [],
        "unstable": [],
        "failure": None,
        "note": "",
        "problems": [],
    }
    if not wanted:
        return report
    _part(report, "lint", lambda: report.update(findings=lint_json(wanted)))
    _part(report, "look for drift", lambda: report.update(drift=_drift(request, clock)))
    try:
        report.update(_tried(_try(request, files, clock)))
    except HomeportError as e:
        if e.type is not TRIAL_FAILED:
            report["failure"] = told_error(e)
            return report
        report["note"] = e.sentence
        others = [p for p in report["problems"] if not p["sentence"].endswith(e.sentence)]
        report["problems"] = [*others, told_error(e)]
    return report


def trial_tool(request: Request, say: Say, clock: Clock) -> Any:
    """Run the app's own command on a scratch database, and tell how it changes the schema.

    Raises ``database.migration_trial_failed`` where the command could come into production from there.
    """
    from homeport.database.machine import programs
    from homeport.database.migrations.catalog import snapshot
    from homeport.database.migrations.differences import differences
    from homeport.database.migrations.scratch import is_apart, scratch
    from homeport.database.migrations.session import Target, connect
    from homeport.database.migrations.tools import run_tool

    target, admin = target_of(request), Target(request["admin"])
    if not is_apart(target, admin):
        raise TRIAL_FAILED.error(
            "cannot try the app's own command: it would be given the credentials of the database itself",
            hint="it can be tried where Homeport runs the database; else try it by hand on a copy",
        )
    options = Options(statement_timeout=request["timeout"])
    output: list[str] = []
    with scratch(target, admin, Options(**request["options"]), clock, programs=programs()[1]) as made:
        with connect(made, options) as conn:
            before = snapshot(conn)
            try:
                ran = run_tool(
                    request["command"],
                    target=made,
                    directory=Path(request["directory"]),
                    environment=request["environment"],
                    variable=request["variable"],
                    options=options,
                    clock=clock,
                    timeout=request["timeout"],
                    on_output=lambda chunk: output.append(chunk.decode("utf-8", "replace")),
                    note=noted(say),
                    user=request.get("user"),
                )
            except HomeportError as e:
                return {"failure": told_error(e), "changes": [], "seconds": 0.0}
            after = snapshot(conn)
    found = [difference_json(d) for d in differences(after, before)]
    return {"failure": None, "changes": found[:MOST], "seconds": round(ran.seconds, 3)}


def pending_json(m: Migration) -> dict[str, Any]:
    return {
        "version": m.version,
        "filename": m.filename,
        "contract": m.contract,
        "down": m.down is not None,
        "statements": [s.summary for s in m.up.statements][:MOST],
    }


def _part(report: dict[str, Any], what: str, find: Callable[[], None]) -> None:
    try:
        find()
    except HomeportError as e:
        report["problems"].append(told_error(e) | {"sentence": f"cannot {what}: {e.sentence}"})


def _drift(request: Request, clock: Clock) -> list[dict[str, Any]]:
    from homeport.database.migrations.drift import drift
    from homeport.database.migrations.session import Target

    found = drift(target_of(request), Target(request["admin"]), Options(**request["options"]), clock)
    return [difference_json(d) for d in found[:MOST]]


def _try(request: Request, files: Sequence[Migration], clock: Clock) -> Trial:
    from homeport.database.machine import programs
    from homeport.database.migrations import trial as trials
    from homeport.database.migrations.session import Target

    return trials.trial(
        target_of(request),
        Target(request["admin"]),
        files,
        Goal(),
        Options(**request["options"]),
        clock,
        programs=programs()[1],
    )


def _tried(found: Trial) -> dict[str, Any]:
    return {
        "tried": [
            {
                "version": t.version,
                "filename": t.filename,
                "direction": t.direction.value,
                "seconds": round(t.seconds, 4),
                "touched": [_touched(x) for x in t.touched],
            }
            for t in found.tried
        ],
        "without_down": list(found.without_down),
        "leavings": [difference_json(d) for d in found.leavings[:MOST]],
        "unstable": [difference_json(d) for d in found.unstable[:MOST]],
        "failure": told_error(found.failure) if found.failure is not None else None,
    }


def _touched(t: Touched) -> dict[str, Any]:
    return {
        "table": t.table,
        "lock": t.lock,
        "waits": t.waits,
        "rewritten": t.rewritten,
        "rows": t.rows,
        "size": t.size,
        "reckoned": round(t.reckoned, 3) if t.reckoned is not None else None,
    }
