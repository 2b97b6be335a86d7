"""Asks for the plans of statements, never running them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from homeport.database.insight.model import About, Query, Row
from homeport.database.insight.queries import Candidate, Trial, candidates, parameters, why_no_plan

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

SUPERUSER = "plans are not made as a superuser: planning may run functions of the app's"
SETTINGS = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL statement_timeout = '5s'",
    "SET LOCAL lock_timeout = '100ms'",
    "SET LOCAL plan_cache_mode = force_generic_plan",
)
NAME = "homeport_insight"

Wanted = dict[Candidate, list[tuple[Query, Trial | None]]]


def plans(
    planner: Connection | None,
    asked: Sequence[Query],
    tables: Sequence[Row],
    about: About,
    *,
    hypopg: str,
    most: int,
) -> tuple[tuple[Query, ...], Wanted]:
    """The first ``most`` queries with their plans, and the indexes that those ask for.

    ``hypopg``: the quoted schema of that extension, "" where it is not there.
    """
    wanted: Wanted = {}
    planned: list[Query] = []
    for query in asked[:most]:
        no_plan = SUPERUSER if planner is None else why_no_plan(query)
        if no_plan or planner is None:
            planned.append(replace(query, no_plan=no_plan))
            continue
        with _prepared(planner, query.text) as prepared:
            plan = None if prepared.refused else prepared.explain()
            planned.append(replace(query, plan=plan, no_plan="" if plan else prepared.refused))
            for candidate in candidates(plan, tables, about):
                trial = prepared.tried(candidate, hypopg) if hypopg else None
                wanted.setdefault(candidate, []).append((query, trial))
    return (*planned, *asked[most:]), wanted


class _Prepared:
    def __init__(self, connection: Connection, text: str) -> None:
        self._connection = connection
        self._text = text
        nulls = ", ".join(["NULL"] * parameters(text))
        self._execute = f"EXECUTE {NAME}({nulls})" if nulls else f"EXECUTE {NAME}"
        self.refused = ""

    def prepare(self) -> None:
        import psycopg

        try:
            # Binary: by the extended protocol, which takes one statement and no second one after a semicolon.
            with self._connection.transaction():
                self._connection.execute(
                    f"PREPARE {NAME} AS {self._text}".encode(), binary=True, prepare=False
                )
        except psycopg.Error as e:
            self._refuse(e)

    def explain(self) -> dict[str, Any] | None:
        import psycopg

        try:
            with self._connection.transaction():
                # Else the plan of before stays, also with an index that was not there then.
                self._connection.execute("DISCARD PLANS", prepare=False)
                command = f"EXPLAIN (FORMAT JSON, VERBOSE) {self._execute}"
                row = self._connection.execute(command.encode(), prepare=False).fetchone()
        except psycopg.Error as e:
            self._refuse(e)
            return None
        return dict(row[0][0]) if row else None

    def tried(self, candidate: Candidate, schema: str) -> Trial | None:
        """With an index that only the planner of this session sees."""
        import psycopg

        before = self.explain()
        try:
            with self._connection.transaction():
                statement = candidate.statement.replace(" CONCURRENTLY", "", 1)
                create = f"/* {NAME} */ SELECT {schema}.hypopg_create_index(%s)".encode()
                self._connection.execute(create, [statement], prepare=False)
                after = self.explain()
        except psycopg.Error:
            after = None
        finally:
            self._connection.execute(f"/* {NAME} */ SELECT {schema}.hypopg_reset()".encode(), prepare=False)
        if before is None or after is None:
            return None
        return Trial(before["Plan"]["Total Cost"], after["Plan"]["Total Cost"])

    def _refuse(self, error: psycopg.Error) -> None:
        if self._connection.closed:
            raise error
        text = " ".join((error.diag.message_primary or "refused").split())
        self.refused = f"cannot be planned without its parameters: {text[:200]}"


@contextmanager
def _prepared(connection: Connection, text: str) -> Iterator[_Prepared]:
    """In a transaction that changes nothing and is undone; the prepared statement, which is not, is dropped."""
    with connection.transaction(force_rollback=True):
        for setting in SETTINGS:
            connection.execute(setting, prepare=False)
        prepared = _Prepared(connection, text)
        prepared.prepare()
        known = not prepared.refused
        yield prepared
        if known:
            connection.execute(f"DEALLOCATE {NAME}".encode(), prepare=False)
