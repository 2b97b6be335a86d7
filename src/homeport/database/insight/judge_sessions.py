"""What sessions, locks, prepared transactions and replication slots do to others. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from homeport.database.insight.model import About, Finding, Mend, Row, Severity, literal, without_values
from homeport.kernel.units import format_duration, format_size

NO_LOCK = "nothing"
ENDS = "nothing; the session loses its transaction, its client gets an error"


def connections(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        most, used, idle = row["most"], row["used"], row["idle"]
        share = used / most
        if share < about.limits.connections:
            continue
        what = {"server": "the server", "database": row["name"], "role": row["name"]}[row["kind"]]
        of = {"server": "the server takes", "database": "the database takes", "role": "the role may have"}
        raise_ = {
            "server": "",
            "database": f"ALTER DATABASE {row['name']} CONNECTION LIMIT {most * 2}",
            "role": f"ALTER ROLE {row['name']} CONNECTION LIMIT {most * 2}",
        }[row["kind"]]
        yield Finding(
            "connections",
            Severity.CRITICAL if share >= about.limits.connections_critical else Severity.WARNING,
            what,
            f"{used} of {most} connections that {of[row['kind']]} are used, {idle} of them idle",
            Mend(
                raise_,
                NO_LOCK,
                bool(raise_),
                "connect through the pool; a higher max_connections costs memory and takes a restart",
            ),
            {"used": used, "most": most, "idle": idle, "share": share},
        )


def idle_in_transaction(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        state, idle = row["state"], row["in_state"]
        if state is None or not state.startswith("idle in transaction") or idle is None:
            continue
        if idle < about.limits.idle_in_transaction:
            continue
        grave = row["transaction"] >= about.limits.long_transaction
        yield Finding(
            "idle-in-transaction",
            Severity.WARNING if grave else Severity.NOTICE,
            session(row),
            f"{session(row)} has been idle in a transaction for {format_duration(idle)}: "
            "it keeps its locks, and VACUUM from removing dead rows",
            Mend(
                f"SELECT pg_terminate_backend({row['pid']})",
                ENDS,
                True,
                f"ALTER ROLE {row['role']} SET idle_in_transaction_session_timeout = '60s' prevents it",
            ),
            {
                "pid": row["pid"],
                "idle": idle,
                "transaction": row["transaction"],
                "last": without_values(row["query"] or ""),
            },
        )


def long_transaction(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    """But for those that wait for a lock: lock-tree tells of whom they wait for."""
    for row in rows:
        state, since = row["state"], row["transaction"]
        if state is None or state.startswith("idle in transaction") or row["waits"]:
            continue
        if since is None or since < about.limits.long_transaction:
            continue
        yield Finding(
            "long-transaction",
            Severity.WARNING,
            session(row),
            f"{session(row)} has been in one transaction for {format_duration(since)}: {without_values(row['query'] or '')}",
            Mend(
                f"SELECT pg_cancel_backend({row['pid']})",
                "nothing; the statement is cancelled, its client gets an error",
                True,
                "in steps of its own where it changes many rows; statement_timeout bounds it",
            ),
            {
                "pid": row["pid"],
                "transaction": since,
                "query": without_values(row["query"] or ""),
                "holds": row["holds"],
            },
        )


def lock_tree(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    """One finding for each session that blocks others and waits for nobody; a cycle is a deadlock and ends itself."""
    by_pid = {row["pid"]: row for row in rows}
    children: dict[int, list[int]] = {}
    for row in rows:
        for blocker in dict.fromkeys(row["blockers"]):
            children.setdefault(blocker, []).append(row["pid"])
    for root in sorted(children):
        if by_pid.get(root, {}).get("blockers"):
            continue
        tree, waiting = _tree(root, children, by_pid)
        longest = max((by_pid[pid]["waits"] or 0.0 for pid in waiting), default=0.0)
        if longest < about.limits.lock_wait:
            continue
        if root == 0:
            yield Finding(
                "lock-tree",
                Severity.WARNING,
                "a prepared transaction",
                f"a prepared transaction keeps {_sessions(len(waiting))} waiting, for up to {format_duration(longest)}",
                Mend("", NO_LOCK, True, "COMMIT PREPARED or ROLLBACK PREPARED it: see prepared-transaction"),
                {"waiting": len(waiting), "longest": longest, "tree": tree},
            )
            continue
        row = by_pid[root]
        relation = next((by_pid[p]["relation"] for p in waiting if by_pid[p]["relation"]), None)
        yield Finding(
            "lock-tree",
            Severity.WARNING,
            session(row),
            f"{session(row)} keeps {_sessions(len(waiting))} waiting, for up to {format_duration(longest)}"
            + (f", at {relation}" if relation else ""),
            Mend(
                f"SELECT pg_terminate_backend({root})",
                ENDS,
                True,
                "lock_timeout in whatever changes the schema keeps one waiter from becoming a queue",
            ),
            {
                "pid": root,
                "waiting": len(waiting),
                "longest": longest,
                "tree": tree,
                "query": without_values(row["query"] or ""),
            },
        )


def _tree(
    root: int, children: Mapping[int, Sequence[int]], by_pid: Mapping[int, Row]
) -> tuple[list[dict[str, object]], list[int]]:
    """The sessions under ``root`` in depth-first order, each once, and their pids."""
    lines: list[dict[str, object]] = []
    found: list[int] = []
    stack = [(pid, 1) for pid in reversed(children[root])]
    seen = {root}
    while stack:
        pid, depth = stack.pop()
        if pid in seen:
            continue
        seen.add(pid)
        found.append(pid)
        row = by_pid[pid]
        lines.append(
            {
                "pid": pid,
                "depth": depth,
                "role": row["role"],
                "mode": row["mode"],
                "relation": row["relation"],
                "waits": row["waits"],
                "query": without_values(row["query"] or ""),
            }
        )
        stack.extend((child, depth + 1) for child in reversed(children.get(pid, ())))
    return lines, found


def prepared_transaction(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        if row["age"] < about.limits.prepared:
            continue
        yield Finding(
            "prepared-transaction",
            Severity.CRITICAL,
            row["gid"],
            f"the prepared transaction {literal(row['gid'])} of {row['role']} is {format_duration(row['age'])} old: "
            "it keeps its locks, and VACUUM from removing dead rows, also over restarts",
            Mend(
                f"ROLLBACK PREPARED {literal(row['gid'])}",
                "nothing; its changes are lost",
                True,
                "COMMIT PREPARED keeps them: its transaction manager knows which is right",
            ),
            {"age": row["age"], "holds": row["holds"]},
        )


def replication_slot(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        retained, status = row["retained"] or 0, row["wal_status"]
        lost = status in ("lost", "unreserved")
        if row["active"] and not lost and retained < about.limits.slot_bytes_critical:
            continue
        if lost or retained >= about.limits.slot_bytes_critical:
            severity = Severity.CRITICAL
        else:
            severity = Severity.WARNING if retained >= about.limits.slot_bytes else Severity.NOTICE
        state = "is read by nobody" if not row["active"] else "is behind"
        yield Finding(
            "replication-slot",
            severity,
            row["name"],
            f"the replication slot {row['name']} {state} and holds {format_size(retained)} of WAL"
            + (
                f" ({status}: what reads it must begin anew)" if lost else ": it grows until the disk is full"
            ),
            Mend(
                f"SELECT pg_drop_replication_slot({literal(row['name'])})",
                NO_LOCK,
                True,
                "whatever reads it must begin anew afterwards; max_slot_wal_keep_size bounds it",
            ),
            {"retained": retained, "active": row["active"], "status": status},
        )


def session(row: Row) -> str:
    application = f" ({row['application']})" if row.get("application") else ""
    return f"session {row['pid']} of {row['role']}{application}"


def _sessions(number: int) -> str:
    return "one session" if number == 1 else f"{number} sessions"
