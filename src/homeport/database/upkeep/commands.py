"""Steps of upkeep as SQL. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeport.database.upkeep.model import Analyze, Clean, Name, Refresh, Reindex, Step

if TYPE_CHECKING:
    from psycopg.sql import Composed, Identifier


def statement(step: Step) -> Composed:
    # psycopg costs memory that a control plane without databases does not need.
    from psycopg.sql import SQL

    match step:
        case Clean(index):
            return SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(_name(index))
        case Refresh(view, concurrently):
            how = SQL("CONCURRENTLY ") if concurrently else SQL("")
            return SQL("REFRESH MATERIALIZED VIEW {}{}").format(how, _name(view))
        case Analyze(table):
            return SQL("ANALYZE {}").format(_name(table)) if table else SQL("ANALYZE").format()
        case Reindex(target, kind):
            kinds = {"INDEX": SQL("INDEX"), "TABLE": SQL("TABLE")}
            return SQL("REINDEX {} CONCURRENTLY {}").format(kinds[kind], _name(target))


def text(step: Step) -> str:
    return statement(step).as_string(None)


def _name(name: Name) -> Identifier:
    from psycopg.sql import Identifier

    return Identifier(name.schema, name.name)
