"""Looks at a database, read only: each query in a transaction of its own with a time limit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from homeport.database import refused
from homeport.database.insight.errors import BUSY, LOST, TOO_OLD, UNKNOWN_RULE
from homeport.database.insight.growth import Sizes
from homeport.database.insight.model import (
    LEAST_VERSION,
    About,
    Finding,
    Limits,
    Query,
    Report,
    Row,
    Rule,
    Skipped,
    version_text,
)
from homeport.database.insight.plans import plans
from homeport.database.insight.queries import missing_index, queries, slow_query
from homeport.database.insight.rules import BY_ID, MISSING, ORDER, RULES, SLOW
from homeport.kernel.errors import HomeportError
from homeport.kernel.text import nearest

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

STATEMENT_TIMEOUT = 5
"""Seconds, of each query."""
SETTINGS = (
    "SET TRANSACTION READ ONLY",
    f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s'",
    "SET LOCAL lock_timeout = '100ms'",
    "SET LOCAL search_path = pg_catalog, pg_temp",
)
MARK = "/* homeport_insight */ "
"""Begins each query, so that the statistics of statements can leave it out."""
MOST_QUERIES = 20
"""Of those that took most time in all, in the report and with a plan."""
LIMITS = Limits()


def report(
    connection: Connection,
    *,
    only: Collection[str] | None = None,
    planner: Connection | None = None,
    limits: Limits = LIMITS,
) -> Report:
    """What is wrong with the database that ``connection`` leads to; ``only``: the ids of rules.

    ``connection`` sees everything as a superuser or a member of pg_monitor; with fewer rights rules are
    skipped. ``planner`` is asked for plans, which may run functions of the app's: never a superuser. By
    default it is ``connection`` where that is none. It must not go through a transaction pool.

    Raises database.unknown_rule, insight_too_old, insight_busy, insight_lost.
    """
    rules = _asked(only)
    look = Look(connection)
    about, figures = look.about(limits)
    findings: list[Finding] = []
    for rule in rules:
        if rule.id not in (SLOW, MISSING):
            findings += rule.judge(look.rows(rule), about)
    asked: tuple[Query, ...] = ()
    if {SLOW, MISSING} & {r.id for r in rules}:
        found, asked = _queries(look, rules, planner, about)
        findings += found
    findings.sort(key=lambda f: (-f.severity, ORDER[f.rule], f.what))
    return Report(
        about, tuple(_once(findings)), tuple(look.skipped), asked, figures, tuple(r.id for r in rules)
    )


def snapshot(connection: Connection) -> Sizes:
    """The sizes of now, to be stored for :func:`homeport.database.insight.growth.growth`."""
    look = Look(connection)
    about, figures = look.about(LIMITS)
    tables = {row["table"]: row["bytes"] for row in look.ask("sizes.sql")}
    return Sizes(about.at, about.database, figures["bytes"], tables)


def _asked(only: Collection[str] | None) -> tuple[Rule, ...]:
    if only is None:
        return RULES
    for id_ in only:
        if id_ not in BY_ID:
            guess = nearest(id_, list(BY_ID))
            raise UNKNOWN_RULE.error(
                f'cannot look for "{id_[:80]}": there is no such rule',
                hint=f"did you mean {guess}?" if guess else f"rules: {', '.join(BY_ID)}",
            )
    return tuple(rule for rule in RULES if rule.id in only)


def _queries(
    look: Look, rules: Sequence[Rule], planner: Connection | None, about: About
) -> tuple[list[Finding], tuple[Query, ...]]:
    rows = [look.rows(rule) for rule in rules if rule.id in (SLOW, MISSING)]
    asked = queries(rows[0])
    planner = planner or (None if look.superuser else look.connection)
    tables = look.ask("large_tables.sql") if planner and asked else []
    schema = look.extensions.get("hypopg", "")
    asked, wanted = plans(planner, asked, tables, about, hypopg=schema, most=MOST_QUERIES)
    found: list[Finding] = []
    if BY_ID[SLOW] in rules:
        found += slow_query(asked, about)
    if BY_ID[MISSING] in rules:
        found += missing_index(wanted, about)
        if planner is None and asked:
            look.skipped.append(Skipped(MISSING, "plans are not made as a superuser"))
    return found, asked[:MOST_QUERIES]


def _once(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Without what another finding says better."""
    explained = {
        "sequential-scans": {f.what.partition(" ")[0] for f in findings if f.rule == MISSING},
        "redundant-index": {f.what for f in findings if f.rule == "duplicate-index"},
    }
    return (f for f in findings if f.what not in explained.get(f.rule, ()))


class Look:
    """The rows of each query, asked once."""

    def __init__(self, connection: Connection) -> None:
        require_idle(connection)
        self.connection = connection
        self.skipped: list[Skipped] = []
        self.superuser = False
        self.reads_stats = False
        self.extensions: dict[str, str] = {}
        self._known: dict[str, list[Row] | str] = {}

    def about(self, limits: Limits) -> tuple[About, dict[str, Any]]:
        version = self.connection.info.server_version
        if version < LEAST_VERSION:
            raise TOO_OLD.error(
                f"cannot look at a server with PostgreSQL {version_text(version)}: 15 is the oldest",
                hint="upgrade the server",
            )
        (row,) = self.ask("about.sql")
        self.superuser, self.reads_stats = row["super"], row["reads_stats"]
        self.extensions = {e["name"]: e["schema"] for e in self.ask("extensions.sql")}
        figures = {
            key: row[key]
            for key in (
                "bytes", "connections", "max_connections", "hits", "reads", "deadlocks", "temp_bytes",
                "commits", "rollbacks", "standby",
            )
        }  # fmt: skip
        blocks = row["hits"] + row["reads"]
        figures["cache_hits"] = row["hits"] / blocks if blocks else None
        about = About(
            row["database"], row["version"], row["at"].astimezone(UTC), row["statistics_age"] or 0.0, limits
        )
        return about, figures

    def rows(self, rule: Rule) -> list[Row]:
        """Of a rule's query; none where it cannot be asked, which is then in ``skipped``."""
        if rule.reads_stats and not self.reads_stats:
            return self._skip(rule, "not permitted: the role is no member of pg_monitor")
        if rule.extension and rule.extension not in self.extensions:
            return self._skip(rule, f"the extension {rule.extension} is not installed in this database")
        known = self._known.get(rule.file)
        if known is None:
            try:
                known = self.ask(rule.file, self.extensions.get(rule.extension, ""))
            except _Unanswered as e:
                known = e.reason
            self._known[rule.file] = known
        if isinstance(known, str):
            return self._skip(rule, known)
        seen = [row for row in known if row.get("permitted", True) and not row.get("locked", False)]
        for reason, number in (
            ("not permitted for", sum(not row.get("permitted", True) for row in known)),
            ("locked:", sum(bool(row.get("locked", False)) for row in known)),
        ):
            if number:
                self._skip(rule, f"{reason} {number} object{'s' * (number > 1)}")
        return seen

    def _skip(self, rule: Rule, reason: str) -> list[Row]:
        self.skipped.append(Skipped(rule.id, reason))
        return []

    def ask(self, file: str, extension: str = "") -> list[Row]:
        from psycopg.rows import dict_row

        text = files("homeport.database.insight").joinpath("sql", file).read_text(encoding="utf-8")
        with _answering(self.connection), read_only(self.connection):
            cursor = self.connection.cursor(row_factory=dict_row)
            query = MARK + text.replace("{extension}", extension)
            return list(cursor.execute(query.encode(), prepare=False))


class _Unanswered(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def require_idle(connection: Connection) -> None:
    from psycopg.pq import TransactionStatus

    if connection.closed:
        raise LOST.error("cannot look at the database: the connection is closed", hint="try again")
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise BUSY.error(
            "cannot look at the database: the connection is in a transaction", hint="end it first"
        )


@contextmanager
def read_only(connection: Connection) -> Iterator[None]:
    """A transaction that changes nothing, with time limits, undone at its end."""
    with connection.transaction(force_rollback=True):
        for setting in SETTINGS:
            connection.execute(setting, prepare=False)
        yield


@contextmanager
def _answering(connection: Connection) -> Iterator[None]:
    """Raises _Unanswered for what the server refuses; database.insight_lost where it is gone."""
    import psycopg

    try:
        yield
    except psycopg.Error as e:
        if connection.closed:
            raise lost(e) from None
        raise _Unanswered(reason(e)) from None


def lost(error: psycopg.Error) -> HomeportError:
    return LOST.error("cannot look at the database: the connection was lost", hint="try again")


def reason(error: psycopg.Error) -> str:
    """Why a query has no answer, in a few words."""
    from psycopg import errors

    if isinstance(error, errors.InsufficientPrivilege):
        return "not permitted"
    if isinstance(error, errors.QueryCanceled):
        return f"took longer than {STATEMENT_TIMEOUT} s"
    if isinstance(error, errors.LockNotAvailable):
        return "something that it reads is locked"
    if isinstance(error, errors.ObjectNotInPrerequisiteState):
        return "pg_stat_statements is not in shared_preload_libraries"
    return refused.why(error)[:200]
