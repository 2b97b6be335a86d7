"""What a run would send to PostgreSQL, as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from homeport.database.migrations.model import Options
from homeport.database.migrations.plan import Clean, Finalize, Record, Step
from homeport.database.migrations.table import quoted


def sql(steps: Sequence[Step], options: Options) -> str:
    """The statements of a plan, as psql would run them, without the rows of Homeport's table."""
    lines = [
        f"SET lock_timeout = {round(options.lock_timeout * 1000)};",
        f"SET statement_timeout = {round(options.statement_timeout * 1000)};",
    ]
    if options.owner:
        lines.append(f"SET ROLE {quoted(options.owner)};")
    for step in steps:
        lines.append("")
        if isinstance(step, Clean):
            lines += [f"DROP INDEX CONCURRENTLY {quoted(s)}.{quoted(n)};" for s, n in step.indexes]
            continue
        migration = step.migration
        section = migration.section(step.direction)
        lines.append(f"-- {migration.filename}: {step.direction.value}")
        if isinstance(step, Record):
            lines.append("-- it has taken effect; only its record is missing")
        elif isinstance(step, Finalize):
            lines.append("-- the detaching that was cut off is ended with FINALIZE")
        elif section is not None:
            body = [f"{s.text.strip()};" for s in section.statements]
            lines += body if section.lone is not None else ["BEGIN;", *body, "COMMIT;"]
    return "\n".join(lines) + "\n"
