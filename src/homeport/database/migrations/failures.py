"""What PostgreSQL's errors mean for a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeport.database import refused
from homeport.database.migrations.errors import BLOCKED, CANCELLED, FAILED, LOST, NO_SPACE, TIMED_OUT
from homeport.database.migrations.model import Migration, Section, Statement
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    import psycopg

    from homeport.database.migrations.session import Conn

TRY_AGAIN = ("55P03", "40P01", "40001")
"""lock_not_available, deadlock_detected, serialization_failure."""


def is_blocked(error: psycopg.Error) -> bool:
    """Whether the same file may succeed a moment later."""
    return error.sqlstate in TRY_AGAIN


def is_lost(conn: Conn, error: psycopg.Error) -> bool:
    """Whether the connection is gone, so that the server's answer is not known."""
    return conn.closed or (error.sqlstate or "").startswith(("57P", "08"))


def lost(migration: Migration) -> HomeportError:
    return LOST.error(
        f"cannot go on with {migration.filename}: the connection to PostgreSQL broke",
        hint="migrate again when it answers: the next run sees how far this one came",
    )


def blocked(migration: Migration, attempts: int, patience: float, holders: list[str]) -> HomeportError:
    return BLOCKED.error(
        f"cannot apply {migration.filename}: it did not get its locks in {attempts} attempts over {patience:g} s",
        hint="end the long transactions named below, or try at a quieter time",
        details=holders,
    )


def failed(
    migration: Migration,
    section: Section,
    statement: Statement | None,
    error: psycopg.Error,
    *,
    stopped: bool,
) -> HomeportError:
    """The error for people: which line, what PostgreSQL said. Values of rows are left out."""
    if stopped:
        return CANCELLED.error(
            f"cannot go on with {migration.filename}: it was stopped; nothing of it stayed"
        )
    line = _line(section, statement, error)
    message = refused.message(error) if error.diag.message_primary else "it gave no reason"
    if statement is not None and statement.is_secret:
        message = f"SQLSTATE {error.sqlstate}"
    details = [statement.summary] if statement is not None else []
    if error.diag.context and not (statement is not None and statement.is_secret):
        details += [place] if (place := refused.context(error.diag.context)) else []
    where = f"cannot apply {migration.filename}: line {line}: "
    if error.sqlstate == "57014":
        return TIMED_OUT.error(
            f"{where}it ran past statement_timeout",
            hint="do less in one statement, or raise [database.NAME] statement_timeout",
            details=details,
        )
    if error.sqlstate == "53100":
        return NO_SPACE.error(
            f"{where}PostgreSQL's disk is full", hint="free space, then migrate again", details=details
        )
    hint = error.diag.message_hint or "correct the file, then migrate again"
    return FAILED.error(f"{where}{message}", hint=hint, details=details)


def _line(section: Section, statement: Statement | None, error: psycopg.Error) -> int:
    if statement is None:
        return section.line
    position = error.diag.statement_position
    if position is None:
        return statement.line
    return statement.line + statement.text.count("\n", 0, int(position) - 1)
