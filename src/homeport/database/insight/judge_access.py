"""Who may see and do what: row-level security, functions, passwords. Pure."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from homeport.database.insight.model import About, Finding, Mend, Row, Severity, literal

EXCLUSIVE = "ACCESS EXCLUSIVE on the table, for a moment: set lock_timeout"
CATALOG = "nothing that reads or writes wait for"


def rls_missing(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    """Where a database has no row-level security at all, its app may see to it: told of once, not per table."""
    if not rows:
        return
    if not rows[0]["used"]:
        tables = [r["table"] for r in rows]
        yield Finding(
            "rls-missing",
            Severity.NOTICE,
            about.database,
            f"{_tables(len(tables))} with a column that says whose a row is, and no row-level security anywhere: "
            "one forgotten WHERE shows everybody's rows",
            _rls_mend(rows[0]),
            {"tables": tables},
        )
        return
    for row in rows:
        yield Finding(
            "rls-missing",
            Severity.WARNING,
            row["table"],
            f"{row['table']} has {row['column']} and no row-level security, which other tables have",
            _rls_mend(row),
            {"column": row["column"]},
        )


def _tables(number: int) -> str:
    return "one table" if number == 1 else f"{number} tables"


def _policy(table: str, column: str, type_: str) -> str:
    setting = literal("app." + column.strip('"'))
    return f"CREATE POLICY own_rows ON {table} USING ({column} = current_setting({setting}, true)::{type_})"


def _rls_mend(row: Row) -> Mend:
    return Mend(
        f"{_policy(row['table'], row['column'], row['type'])}; "
        f"ALTER TABLE {row['table']} ENABLE ROW LEVEL SECURITY",
        EXCLUSIVE,
        False,
        "the app must say who asks in each transaction before this: without, it sees no rows",
    )


def policies(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for table, grouped in groupby(rows, key=lambda r: r["table"]):
        group = list(grouped)
        yield from _table(table, group)


def _table(table: str, rows: Sequence[Row]) -> Iterator[Finding]:
    first = rows[0]
    enable = f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    if not first["enabled"]:
        yield Finding(
            "rls-disabled",
            Severity.WARNING,
            table,
            f"{table} has policies, but row-level security is not enabled, so they do nothing",
            Mend(enable, EXCLUSIVE, False, "who no policy lets in sees no rows from then on"),
            {"policies": [r["policy"] for r in rows]},
        )
        return
    if first["policy"] is None:
        yield Finding(
            "rls-without-policy",
            Severity.WARNING,
            table,
            f"row-level security of {table} is enabled without a policy: all but its owner see no rows",
            Mend(
                _policy(table, first["owner_column"], first["owner_type"]) if first["owner_column"] else "",
                EXCLUSIVE,
                False,
                "or ALTER TABLE … DISABLE ROW LEVEL SECURITY, where it is not meant",
            ),
        )
        return
    by_owner = first["owner_logs_in"] and (not first["owner_super"] or first["owner_connected"])
    if not first["forced"] and by_owner:
        yield Finding(
            "rls-owner-bypass",
            Severity.WARNING,
            table,
            f"{first['owner']} owns {table} and can log in: the policies of {table} do not bind it",
            Mend(
                f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
                EXCLUSIVE,
                False,
                "better: the app's role owns no table",
            ),
            {"owner": first["owner"], "connected": first["owner_connected"]},
        )
    if any(not r["permissive"] for r in rows):
        # A restrictive policy narrows whatever the others let pass.
        return
    for row in rows:
        if not row["everybody"] or not _lets_all_pass(row):
            continue
        yield Finding(
            "policy-open",
            Severity.WARNING,
            f"{table} {row['policy']}",
            f"the policy {row['policy']} of {table} lets every role pass for {COMMANDS[row['command']]}",
            Mend(
                f"DROP POLICY {row['policy']} ON {table}",
                EXCLUSIVE,
                False,
                "ALTER POLICY … USING (…) where another condition is meant: policies are joined with OR, "
                "so this one undoes all others",
            ),
            {"using": row["using"], "check": row["check"]},
        )


COMMANDS = {"*": "everything", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}


def _lets_all_pass(row: Row) -> bool:
    """SELECT for all is usual where no row belongs to anybody; INSERT has no rows to see."""
    if row["command"] == "a":
        return False
    if row["command"] == "r" and row["owner_column"] is None:
        return False
    return bool(row["using"] == "true")


def security_definer(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        kind = "PROCEDURE" if row["kind"] == "p" else "FUNCTION"
        whose = f"its owner {row['owner']}" + (", a superuser" if row["super"] else "")
        path = ", ".join(dict.fromkeys(("pg_catalog", row["schema"], "pg_temp")))
        yield Finding(
            "security-definer",
            Severity.CRITICAL if row["super"] and row["everybody"] else Severity.WARNING,
            row["function"],
            f"{row['function']} is SECURITY DEFINER without a search_path of its own: "
            f"who calls it can put their own objects in its way and act as {whose}",
            Mend(f"ALTER {kind} {row['function']} SET search_path = {path}", CATALOG, True),
            {"owner": row["owner"], "superuser": row["super"], "everybody": row["everybody"]},
        )


def md5_password(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        yield Finding(
            "md5-password",
            Severity.WARNING,
            row["role"],
            f"the password of {row['role']} is kept as MD5: whoever reads it can log in with it",
            Mend(
                "",
                CATALOG,
                True,
                f"with password_encryption = {literal('scram-sha-256')}, in psql: \\password {row['role']}",
            ),
        )


def public_create(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        yield Finding(
            "public-create",
            Severity.WARNING,
            row["schema"],
            f"every role may create objects in the schema {row['schema']}, and so put them in the way of another's",
            Mend(
                f"REVOKE CREATE ON SCHEMA {row['schema']} FROM PUBLIC",
                CATALOG,
                True,
                "grant it to who needs it",
            ),
        )
