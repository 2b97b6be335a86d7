"""Migrations as pieces of work for a child.

A request names the database: ``engine``; ``url``, or ``storage`` and ``path`` of SQLite; ``options`` as
:class:`~homeport.database.migrations.model.Options` has them. And the migrations: ``directory``, or ``files`` as
[name, content in base64].
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeport.database.migrations.errors import UNKNOWN_VERSION
from homeport.database.migrations.lint import beside_python, lint
from homeport.database.migrations.model import (
    Direction,
    Goal,
    Migration,
    Options,
    Progress,
    Status,
    Subset,
)
from homeport.database.migrations.plan import Observed, pending, problems, statuses
from homeport.database.migrations.port import Migrator
from homeport.database.migrations.rules import refusal
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    from homeport.database.migrations.session import Target
    from homeport.database.works import Say

Request = Mapping[str, Any]


def look(request: Request, say: Say, clock: Clock) -> Any:
    """How each migration stands: ``statuses``, and ``problems`` that stop a run."""
    files = read_files(request)
    observed = migrator_of(request, clock).look(files)
    return {
        "statuses": [status_json(s) for s in statuses(observed)],
        "problems": [told_error(e) for e in problems(observed, Goal(subset=Subset.ALL))],
    }


def migrate(request: Request, say: Say, clock: Clock) -> Any:
    """Bring the database to ``goal`` and tell what was ``done``, is ``applied``, and which contracts are ``waiting``.

    ``first``: nothing serves yet; then a database without a record gets everything at once, and nobody is there
    who could be blocked. ``point``: a restore point (``url``, ``name``) to be made before the first step.
    """
    files = read_files(request)
    migrator = migrator_of(request, clock, lambda: make_point(request, say))
    goal = goal_of(request["goal"])
    observed = migrator.look(files)
    require_known(observed, goal)
    fresh = bool(request.get("first")) and not any(r.is_applied for r in observed.rows)
    if fresh and goal.direction is Direction.UP:
        goal = Goal(to=goal.to)
    elif goal.direction is Direction.UP and request["engine"] == "postgresql":
        refuse_unsafe(observed, goal)
    done = migrator.run(files, goal, note=noted(say))
    after = migrator.look(files)
    names = {m.version: m.filename for m in files} | {r.version: r.filename for r in observed.rows}
    return {
        "done": [asdict(d) | {"direction": d.direction.value, "filename": names[d.version]} for d in done],
        "waiting": [m.version for m in pending(after, Goal(subset=Subset.CONTRACT))],
        "applied": [r.version for r in after.rows if r.is_applied],
    }


def undo(request: Request, say: Say, clock: Clock) -> Any:
    """Take back what the change ``change`` applied, the last first; see :func:`applied_by`."""
    files = read_files(request)
    migrator = migrator_of(request, clock)
    mark = applied_by("", request["change"])
    rows = [r for r in migrator.look(files).rows if r.is_applied and r.by.endswith(mark)]
    if not rows:
        return {"done": []}
    goal = Goal(Direction.DOWN, versions=tuple(r.version for r in rows))
    done = migrator.run(files, goal, note=noted(say))
    names = {r.version: r.filename for r in rows}
    return {
        "done": [asdict(d) | {"direction": d.direction.value, "filename": names[d.version]} for d in done]
    }


def tool(request: Request, say: Say, clock: Clock) -> Any:
    """Run the app's own command; its output is said as it comes."""
    from homeport.database.migrations.tools import run_tool

    make_point(request, say)
    ran = run_tool(
        request["command"],
        target=target_of(request),
        directory=Path(request["directory"]),
        environment=request["environment"],
        variable=request["variable"],
        options=Options(**request["options"]),
        clock=clock,
        timeout=request["timeout"],
        on_output=lambda chunk: say("output", {"text": chunk.decode("utf-8", "replace")}),
        note=noted(say),
        user=request.get("user"),
    )
    return {"seconds": ran.seconds, "attempts": ran.attempts}


def told_error(e: HomeportError) -> dict[str, Any]:
    return {"code": e.code, "sentence": e.sentence, "hint": e.hint, "details": list(e.details)}


def applied_by(actor: str, change: str) -> str:
    """What Homeport's table says of who applied a migration; ends with the change."""
    return f"{actor} ({change})"


def make_point(request: Request, say: Say) -> None:
    """The restore point that was asked for, if one was."""
    from homeport.database.migrations.restore_point import restore_point
    from homeport.database.migrations.session import Target

    if point := request.get("point"):
        made = restore_point(Target(point["url"]), point["name"])
        if made.named:
            say("point", {"name": made.name, "lsn": made.lsn})


def refuse_unsafe(observed: Observed, goal: Goal) -> None:
    """Raises ``database.migration_unsafe`` for what linting finds in what is to be applied."""
    found = refusal(lint(pending(observed, goal), program=beside_python()))
    if found is not None:
        raise found


def require_known(observed: Observed, goal: Goal) -> None:
    """Raises ``database.unknown_migration`` where ``goal.to`` is no version: nobody means all, or none, by a slip."""
    known = {int(m.version) for m in observed.files} | {int(r.version) for r in observed.rows}
    nothing = goal.direction is Direction.DOWN and int(goal.to or 0) == 0
    if goal.to and not nothing and int(goal.to) not in known:
        raise UNKNOWN_VERSION.error(
            f"cannot migrate {goal.direction.value} to {goal.to}: no migration has this version",
            hint="homeport migrate status lists them",
        )


def goal_of(data: Mapping[str, Any]) -> Goal:
    return Goal(
        Direction(data.get("direction", "up")),
        Subset(data.get("subset", "all")),
        data.get("to", ""),
        tuple(data.get("versions", ())),
        bool(data.get("out_of_order", False)),
    )


def read_files(request: Request) -> tuple[Migration, ...]:
    """Raises ``database.migration_invalid`` or ``database.migrations_unreadable``."""
    is_sqlite = request["engine"] == "sqlite"
    if "files" in request:
        if is_sqlite:
            from homeport.database.sqlite.files import parse_all
        else:
            from homeport.database.migrations.files import parse_all
        return parse_all([(name, base64.b64decode(content)) for name, content in request["files"]])
    if is_sqlite:
        from homeport.database.sqlite.directory import read
    else:
        from homeport.database.migrations.directory import read
    return read(Path(request["directory"]))


def status_json(status: Status) -> dict[str, Any]:
    row = status.row
    return {
        "version": status.version,
        "description": status.description,
        "state": status.state,
        "contract": status.contract,
        "applied_at": row.applied_at.isoformat() if row and row.applied_at else None,
        "rolled_back_at": row.rolled_back_at.isoformat() if row and row.rolled_back_at else None,
        "duration": row.duration if row else None,
        "by": row.by if row else "",
        "release": row.release if row else "",
    }


def target_of(request: Request) -> Target:
    from homeport.database.migrations.session import Target

    return Target(request["url"])


def migrator_of(request: Request, clock: Clock, before_first: Callable[[], None] = lambda: None) -> Migrator:
    options = Options(**request["options"])
    if request["engine"] == "sqlite":
        from homeport.database.sqlite.file import SqliteFile
        from homeport.database.sqlite.migrator import SqliteMigrator

        return SqliteMigrator(SqliteFile(Path(request["storage"]), request["path"]), options, clock)
    from homeport.database.migrations.runner import PostgresMigrator

    return PostgresMigrator(target_of(request), options, clock, before_first=before_first)


def noted(say: Say) -> Callable[[Progress], None]:
    return lambda p: say(
        "progress", {"kind": p.kind, "version": p.version, "text": p.text, "seconds": p.seconds}
    )
