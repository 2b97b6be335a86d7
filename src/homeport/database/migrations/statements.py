"""A section as PostgreSQL's parser sees it: its statements, and which must stand alone. Pure.

The parser takes about 20 MB of memory, so it is loaded with the first section.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from homeport.database.migrations.errors import BAD_FILE
from homeport.database.migrations.model import Lone, Statement
from homeport.kernel.errors import HomeportError

if TYPE_CHECKING:
    from postgast.pg_query_pb2 import RawStmt

BACKSLASH = re.compile(r"^[ \t]*\\(\w+|.)", re.MULTILINE)
ROLES = ("role", "session_authorization")
RESET_ALL = 6
"""VAR_RESET_ALL of libpg_query."""
IDENTITY = (
    "it would change whose rights the rest of the migration has",
    "migrations run as the owner of the database; leave it out",
)


def split(filename: str, body: str, line: int, *, in_transaction: bool) -> tuple[Statement, ...]:
    """The statements of a section whose text ``body`` begins on ``line`` of the file.

    Raises ``database.migration_invalid``: a syntax error with line and column; a statement that would end
    the transaction or change roles; one that cannot run in a transaction and does not stand alone.
    """
    from postgast import PgQueryError, parse

    raw = body.encode()
    try:
        tree = parse(body)
    except PgQueryError as e:
        # In characters, from 1; statements' places below are in bytes.
        raise _syntax_error(filename, body, line, max(e.cursorpos - 1, 0), e.message) from e
    statements = [_statement(filename, raw, line, stmt, in_transaction) for stmt in tree.stmts]
    lone = next((s for s in statements if s.lone is not None), None)
    if lone is not None and len(statements) > 1:
        raise BAD_FILE.error(
            f"cannot use {filename}: line {lone.line} cannot run in a transaction and does not stand alone",
            hint="move it to a migration of its own",
            details=[lone.summary],
        )
    if not in_transaction and len(statements) > 1:
        raise BAD_FILE.error(
            f"cannot use {filename}: it is to run without a transaction and has {len(statements)} statements",
            hint="a failure between them would leave half of it: give each a migration of its own",
        )
    _check_new_enum_values(filename, tree.stmts, statements)
    return tuple(statements)


def _statement(filename: str, raw: bytes, first: int, stmt: RawStmt, in_transaction: bool) -> Statement:
    start = stmt.stmt_location
    end = start + stmt.stmt_len if stmt.stmt_len else len(raw)
    piece = raw[start:end]
    begin = start + _leading(piece.decode())
    text = raw[begin:end].decode().rstrip().rstrip(";")
    line = first + raw.count(b"\n", 0, begin)
    kind = stmt.stmt.WhichOneof("node") or ""
    node = getattr(stmt.stmt, kind)
    _refuse(filename, line, kind, node)
    lone, name, table = _classify(kind, node)
    if lone is None and not in_transaction and kind in ("do_stmt", "call_stmt"):
        lone = Lone.BATCHES
    if lone is Lone.CREATE_INDEX and not name[1]:
        raise BAD_FILE.error(
            f"cannot use {filename}: line {line} makes an index without a name",
            hint="give it a name, so that what a failure leaves behind can be found",
        )
    return Statement(text, line, lone, name, table)


def _leading(text: str) -> int:
    """Bytes of blanks and comments before the first word."""
    match = re.match(r"(?:\s+|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)*", text)
    return len(match[0].encode()) if match else 0


def _refuse(filename: str, line: int, kind: str, node: Any) -> None:
    why: tuple[str, str] | None = None
    if kind == "transaction_stmt":
        why = (
            "begins or ends a transaction, and each file runs in one of its own",
            "leave out BEGIN, COMMIT, ROLLBACK and SAVEPOINT",
        )
    elif kind == "variable_set_stmt" and (node.name in ROLES or node.kind == RESET_ALL):
        why = ("changes the role or resets the session's settings: " + IDENTITY[0], IDENTITY[1])
    elif kind == "discard_stmt":
        why = ("discards the session's state, which holds the lock of migrations", "leave it out")
    elif kind == "copy_stmt" and not node.filename:
        why = ("copies from or to psql, which does not run here", "write INSERT … VALUES instead of COPY")
    if why is not None:
        raise BAD_FILE.error(f"cannot use {filename}: line {line} {why[0]}", hint=why[1])


def _classify(kind: str, node: Any) -> tuple[Lone | None, tuple[str, str], tuple[str, str]]:
    none = ("", "")
    if kind == "index_stmt" and node.concurrent:
        table = (node.relation.schemaname, node.relation.relname)
        return Lone.CREATE_INDEX, (table[0], node.idxname), table
    if kind == "drop_stmt" and node.concurrent:
        return Lone.DROP_INDEX, _qualified(node.objects[0]), none
    if kind == "reindex_stmt":  # kind 1 is an index, 2 a table; wider ones never run in a transaction
        target = (node.relation.schemaname, node.relation.relname)
        concurrently = any(_is_on(p.def_elem) for p in node.params if p.def_elem.defname == "concurrently")
        if concurrently or node.kind not in (1, 2):
            return Lone.REINDEX, target, target if node.kind == 2 else none
    if kind == "alter_table_stmt":
        for command in node.cmds:
            definition = getattr(command.alter_table_cmd, "def")
            if definition.WhichOneof("node") == "partition_cmd" and definition.partition_cmd.concurrent:
                part = definition.partition_cmd.name
                name = (part.schemaname, part.relname)
                return Lone.DETACH, name, (node.relation.schemaname, node.relation.relname)
    if kind == "vacuum_stmt" and node.is_vacuumcmd:
        return Lone.REPEATABLE, none, none
    if kind == "cluster_stmt" and not node.HasField("relation"):
        return Lone.REPEATABLE, none, none
    if kind == "alter_system_stmt":
        return Lone.REPEATABLE, none, none
    if kind in (
        "createdb_stmt",
        "dropdb_stmt",
        "create_table_space_stmt",
        "drop_table_space_stmt",
        "create_subscription_stmt",
        "drop_subscription_stmt",
        "alter_subscription_stmt",
    ):
        return Lone.WHOLE, none, none
    if kind == "alter_database_stmt" and any(o.def_elem.defname == "tablespace" for o in node.options):
        return Lone.REPEATABLE, none, none
    return None, none, none


def _is_on(option: Any) -> bool:
    word = option.arg.string.sval if option.HasField("arg") else "true"
    return word.lower() not in ("false", "off", "0")


def _qualified(node: Any) -> tuple[str, str]:
    words = [item.string.sval for item in node.list.items]
    return (words[-2] if len(words) > 1 else "", words[-1])


def _check_new_enum_values(filename: str, stmts: Any, statements: list[Statement]) -> None:
    """A value that ALTER TYPE adds cannot be used by the transaction that adds it (PostgreSQL ≥ 12), unless
    the transaction made the type too."""
    made = {
        _type_name(s.stmt.create_enum_stmt.type_name) for s in stmts if s.stmt.HasField("create_enum_stmt")
    }
    for index, s in enumerate(stmts):
        if not s.stmt.HasField("alter_enum_stmt"):
            continue
        node = s.stmt.alter_enum_stmt
        if node.old_val or _type_name(node.type_name) in made:
            continue
        quoted = "'" + node.new_val.replace("'", "''") + "'"
        if any(quoted in other.text for other in statements[index + 1 :]):
            raise BAD_FILE.error(
                f"cannot use {filename}: line {statements[index].line} adds the value {quoted}, "
                "and the same file uses it",
                hint="PostgreSQL takes a new enum value only after the transaction that adds it: "
                "move what uses it to the next migration",
            )


def _type_name(items: Any) -> str:
    return ".".join(item.string.sval for item in items)


def _syntax_error(filename: str, body: str, line: int, at: int, message: str) -> HomeportError:
    before = body[:at]
    row = line + before.count("\n")
    column = at - (before.rfind("\n") + 1) + 1
    lines = body.split("\n")
    text = lines[min(row - line, len(lines) - 1)][:200]
    hint = "correct the SQL; PostgreSQL's own parser says so"
    match = BACKSLASH.match(body, before.rfind("\n") + 1)
    if match is not None:
        hint = f"\\{match[1]} is a command of psql, which does not run here; leave it out"
    return BAD_FILE.error(
        f"cannot use {filename}: line {row}, column {column}: {message}",
        hint=hint,
        details=[text] if text.strip() else [],
    )
