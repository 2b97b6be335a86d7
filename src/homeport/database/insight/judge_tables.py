"""How tables, sequences and transaction ids stand. Pure."""

from collections.abc import Iterator, Sequence

from homeport.database.insight.model import About, Finding, Mend, Row, Severity, percent
from homeport.kernel.units import format_duration, format_size

SHARE_UPDATE = "SHARE UPDATE EXCLUSIVE on the table: reads and writes go on, changes of the schema wait"
TRANSACTIONS = 2_147_483_647


def table_bloat(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        if row["wasted"] < about.limits.bloat_bytes or row["share"] < about.limits.bloat:
            continue
        yield Finding(
            "table-bloat",
            Severity.NOTICE,
            row["table"],
            f"about {format_size(row['wasted'])} of the {format_size(row['bytes'])} of {row['table']} hold nothing "
            f"({percent(row['share'])}, an estimate)",
            Mend(
                f"VACUUM FULL {row['table']}",
                "ACCESS EXCLUSIVE on the table while it is written anew: nobody reads or writes it",
                False,
                "in a maintenance window, or with pg_repack, which locks for a moment only; new rows "
                "fill the room by and by",
            ),
            {"bytes": row["bytes"], "wasted": row["wasted"], "share": row["share"], "estimate": True},
        )


def dead_rows(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        dead, live = row["dead"], row["live"]
        if dead < about.limits.dead_rows or dead < about.limits.dead * (dead + live):
            continue
        when = "never" if row["never_vacuumed"] else f"last {format_duration(row['vacuumed'])} ago"
        yield Finding(
            "dead-rows",
            Severity.WARNING,
            row["table"],
            f"{dead:,} of {dead + live:,} rows of {row['table']} are dead; it was vacuumed {when}",
            Mend(
                f"VACUUM (ANALYZE) {row['table']}",
                SHARE_UPDATE,
                True,
                "cannot run in a transaction. Where they stay, an old transaction, a prepared one or a replication "
                "slot holds them",
            ),
            {"dead": dead, "live": live, "bytes": row["bytes"]},
        )


def never_analysed(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        known = max(row["live"], row["estimated"])
        if not row["never_analysed"] or max(known, row["changed"]) < about.limits.large_rows:
            continue
        if row["estimated"] >= 0 and row["changed"] < about.limits.large_rows:
            # Its counters were lost in a crash or a restore, not its statistics.
            continue
        yield Finding(
            "never-analysed",
            Severity.WARNING,
            row["table"],
            f"{row['table']} was never analysed, so plans for its about {known:,} rows are guesses",
            Mend(f"ANALYZE {row['table']}", SHARE_UPDATE, True),
            {"rows": known, "changed": row["changed"]},
        )


def autovacuum_off(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        if not row["autovacuum_off"]:
            continue
        yield Finding(
            "autovacuum-off",
            Severity.WARNING,
            row["table"],
            f"autovacuum is switched off for {row['table']}: dead rows stay, statistics grow old",
            Mend(f"ALTER TABLE {row['table']} RESET (autovacuum_enabled)", SHARE_UPDATE, True),
            {"dead": row["dead"], "bytes": row["bytes"]},
        )


def sequence_exhaustion(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        most = min(row["column_most"], row["sequence_most"])
        share = row["last_value"] / most
        if share < about.limits.sequence:
            continue
        column = f"{row['table']}.{row['column']}"
        left = max(0, most - row["last_value"])
        narrow_column = row["column_most"] <= row["sequence_most"] and row["type"] != "bigint"
        if narrow_column:
            limit = f"its type {row['type']} ends"
            mend = Mend(
                f"ALTER TABLE {row['table']} ALTER COLUMN {row['column']} TYPE bigint",
                "ACCESS EXCLUSIVE on the table while it and its indexes are written anew",
                False,
                "under load: a new bigint column, filled by a trigger and in batches, then swapped; columns that "
                "refer to it likewise",
            )
        else:
            limit = f"its sequence {row['sequence']} ends"
            mend = Mend(
                f"ALTER SEQUENCE {row['sequence']} AS bigint MAXVALUE {2**63 - 1}",
                "SHARE ROW EXCLUSIVE on the sequence, for a moment",
                True,
            )
        yield Finding(
            "sequence-exhaustion",
            Severity.CRITICAL if share >= about.limits.sequence_critical else Severity.WARNING,
            column,
            f"{column} stands at {row['last_value']:,}: {limit} at {most:,}, "
            f"{left:,} further rows away, and inserts fail then",
            mend,
            {
                "last": row["last_value"],
                "most": most,
                "left": left,
                "share": share,
                "sequence": row["sequence"],
            },
        )


def wraparound(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    database = next((r for r in rows if r["kind"] == "database"), None)
    if database is None:
        return
    for ids, setting, name in (
        ("xids", "freeze_max_age", "transactions"),
        ("multixacts", "multixact_freeze_max_age", "multixacts"),
    ):
        age = database[ids]
        times = about.limits.wraparound_times * database[setting]
        if age < min(times, about.limits.wraparound_critical):
            continue
        tables = sorted((r for r in rows if r["kind"] == "table"), key=lambda r: -r[ids])
        oldest = tables[0]["name"] if tables else ""
        yield Finding(
            "wraparound",
            Severity.CRITICAL if age >= about.limits.wraparound_critical else Severity.WARNING,
            database["name"],
            f"{database['name']} is {age:,} {name} from its oldest frozen row and autovacuum, which begins at "
            f"{database[setting]:,}, does not get on; PostgreSQL takes no writes any more {TRANSACTIONS - age:,} on",
            Mend(
                f"VACUUM (FREEZE) {oldest}" if oldest else "VACUUM (FREEZE)",
                SHARE_UPDATE,
                True,
                "end old transactions, prepared ones and replication slots first: they hold it back",
            ),
            {
                "age": age,
                "freeze_max_age": database[setting],
                "left": TRANSACTIONS - age,
                "oldest": [r["name"] for r in tables],
            },
        )


def unvalidated_constraint(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        kind = "foreign key" if row["kind"] == "f" else "check"
        yield Finding(
            "unvalidated-constraint",
            Severity.NOTICE,
            f"{row['table']} {row['name']}",
            f"the {kind} {row['name']} of {row['table']} was never checked for the rows that were there before it",
            Mend(
                f"ALTER TABLE {row['table']} VALIDATE CONSTRAINT {row['name']}",
                "SHARE UPDATE EXCLUSIVE on the table (for a foreign key ROW SHARE on the other): reads and writes "
                "go on",
                True,
                "fails where a row breaks it",
            ),
            {"definition": row["definition"], "rows": row["rows"]},
        )
