"""What people ask of a database's schema, as pieces of work for a child: nothing of it changes the schema.

Requests are those of :mod:`homeport.database.works_migrations`, with ``admin`` in them where a scratch database is
made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from homeport.database.migrations.errors import WRONG_ENGINE
from homeport.database.migrations.lint import beside_python, lint
from homeport.database.migrations.model import Direction, Goal, Migration, Options
from homeport.database.migrations.plan import Clean, Record, Run, Step, pending, plan
from homeport.database.migrations.repair import Act, Choice, Repair
from homeport.database.migrations.rules import Finding
from homeport.database.works_migrations import (
    Request,
    goal_of,
    migrator_of,
    read_files,
    require_known,
    target_of,
)
from homeport.kernel.clock import Clock

if TYPE_CHECKING:
    from homeport.database.migrations.differences import Difference
    from homeport.database.works import Say

SHOWN = 200
"""Lines of a diff that are shown."""


def planned(request: Request, say: Say, clock: Clock) -> Any:
    """What a run to ``goal`` would do: ``steps`` and, as text, the ``sql`` that it would send.

    ``steps`` of the request: of a goal downwards, how many migrations, counted from the last one.
    """
    files = read_files(request)
    observed = migrator_of(request, clock).look(files)
    goal = goal_of(request["goal"])
    require_known(observed, goal)
    if request.get("steps"):
        applied = [r.version for r in sorted(observed.rows, key=lambda r: r.filename) if r.is_applied]
        goal = Goal(Direction.DOWN, versions=tuple(applied[-int(request["steps"]) :]))
        if not goal.versions:
            return {"steps": [], "sql": ""}
    steps = plan(observed, goal)
    return {"steps": [_step(s) for s in steps], "sql": _sql(request, steps)}


def verify(request: Request, say: Say, clock: Clock) -> Any:
    """How the schema differs from the one that the applied migrations give."""
    from homeport.database.migrations.drift import drift
    from homeport.database.migrations.session import Target

    refuse_sqlite(request, "verify")
    found = drift(target_of(request), Target(request["admin"]), Options(**request["options"]), clock)
    return {"differences": [difference_json(d) for d in found]}


def repair(request: Request, say: Say, clock: Clock) -> Any:
    """What would bring the table back to the truth; done where ``agreed`` says the same."""
    from homeport.database.migrations import repair as repairing

    refuse_sqlite(request, "repair")
    files, options, target = read_files(request), Options(**request["options"]), target_of(request)
    choice, adopt = Choice(request.get("choice", "")), bool(request.get("adopt", False))
    if "agreed" not in request:
        found = repairing.look(target, options, clock, files, choice=choice, adopt=adopt)
        return {"repairs": [repair_json(r) for r in found], "done": False}
    agreed = [_repair(r) for r in request["agreed"]]
    repairing.repair(target, options, clock, files, agreed, choice=choice, adopt=adopt)
    return {"repairs": [repair_json(r) for r in agreed], "done": True}


def dump(request: Request, say: Say, clock: Clock) -> Any:
    """The schema as SQL."""
    if request["engine"] == "sqlite":
        from pathlib import Path

        from homeport.database.sqlite.file import SqliteFile

        with SqliteFile(Path(request["storage"]), request["path"]).connect() as connection:
            rows = connection.execute(
                "select sql from sqlite_schema where sql is not null and name not like 'sqlite_%' order by rowid"
            ).fetchall()
        return {"sql": "".join(f"{sql};\n" for (sql,) in rows)}
    from homeport.database.machine import programs
    from homeport.database.migrations import scratch

    return {"sql": scratch.dump(target_of(request), Options(**request["options"]), programs()[1])}


def check(request: Request, say: Say, clock: Clock) -> Any:
    """Whether the files can be used at all; no database is looked at."""
    return {"files": [m.filename for m in read_files(request)]}


def linted(request: Request, say: Say, clock: Clock) -> Any:
    """What the linter finds in the files; in those that are pending where a database is named as well."""
    refuse_sqlite(request, "lint")
    files = read_files(request)
    if "url" in request:
        files = pending(migrator_of(request, clock).look(files), Goal())
    return {"files": [m.filename for m in files], "findings": lint_json(files)}


# As JSON


def lint_json(files: Sequence[Migration]) -> list[dict[str, Any]]:
    return [finding_json(f) for f in lint(files, program=beside_python())]


def finding_json(f: Finding) -> dict[str, Any]:
    return {
        "filename": f.filename,
        "line": f.line,
        "rule": f.rule,
        "level": f.level,
        "sentence": f.sentence,
        "hint": f.hint,
        "allowed": f.allowed,
        "stops": f.stops,
    }


def difference_json(d: Difference) -> dict[str, Any]:
    diff = list(d.diff)
    more = [f"… {len(diff) - SHOWN} more lines"] if len(diff) > SHOWN else []
    return {"kind": d.kind, "name": d.name, "sentence": d.sentence, "diff": diff[:SHOWN] + more}


def repair_json(r: Repair) -> dict[str, Any]:
    return {"act": r.act.value, "version": r.version, "sentence": r.sentence, "details": list(r.details)}


# Within


def _repair(data: dict[str, Any]) -> Repair:
    return Repair(Act(data["act"]), data["version"], data["sentence"], tuple(data["details"]))


def _step(step: Step) -> dict[str, Any]:
    if isinstance(step, Clean):
        names = ", ".join(f"{schema}.{name}" for schema, name in step.indexes)
        return {
            "act": "clean",
            "version": step.version,
            "filename": "",
            "direction": "",
            "contract": False,
            "statements": [f"drop {names}, which was left invalid"],
        }
    migration = step.migration
    section = migration.section(step.direction)
    runs = isinstance(step, Run) and section is not None
    return {
        "act": "record" if isinstance(step, Record) else "run" if runs else "finalize",
        "version": migration.version,
        "filename": migration.filename,
        "direction": step.direction.value,
        "contract": migration.contract,
        "statements": [s.summary for s in section.statements] if runs and section is not None else [],
    }


def _sql(request: Request, steps: Sequence[Step]) -> str:
    if not steps:
        return ""
    if request["engine"] != "sqlite":
        from homeport.database.migrations.preview import sql

        return sql(steps, Options(**request["options"]))
    lines = []
    for step in steps:
        if isinstance(step, Run) and (section := step.migration.section(step.direction)) is not None:
            body = [f"{s.text.strip()};" for s in section.statements]
            around = section.lone is None
            lines += [f"-- {step.migration.filename}: {step.direction.value}"]
            lines += ["BEGIN IMMEDIATE;", *body, "COMMIT;"] if around else body
    return "\n".join(lines) + "\n"


def refuse_sqlite(request: Request, what: str) -> None:
    if request["engine"] == "sqlite":
        raise WRONG_ENGINE.error(
            f"cannot {what} migrations of a SQLite database: that is for PostgreSQL",
            hint="homeport migrate status and plan work with both",
        )
