"""Indexes that are too many, too few, broken or bloated. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from homeport.database.insight.model import About, Finding, Mend, Row, Severity, percent
from homeport.kernel.units import format_duration, format_size

DROP_LOCKS = (
    "SHARE UPDATE EXCLUSIVE on the table: reads and writes go on; waits for the transactions that use it"
)
CREATE_LOCKS = (
    "SHARE UPDATE EXCLUSIVE on the table: reads and writes go on; waits for the transactions of that time"
)
OUTSIDE = "cannot run in a transaction"


def drop(index: str) -> str:
    return f"DROP INDEX CONCURRENTLY {index}"


def unused_index(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    if about.statistics_age < about.limits.statistics_age:
        return
    for row in rows:
        if row["bytes"] < about.limits.unused_bytes:
            continue
        yield Finding(
            "unused-index",
            Severity.NOTICE,
            row["index"],
            f"{row['index']} was not used in {format_duration(about.statistics_age)}, takes {format_size(row['bytes'])} "
            f"and is kept up by each of {row['writes']:,} writes",
            Mend(
                drop(row["index"]),
                DROP_LOCKS,
                True,
                f"{OUTSIDE}; look at replicas first, which count for themselves. Back with: {row['definition']}"
                if row["definition"]
                else OUTSIDE,
            ),
            {
                "bytes": row["bytes"],
                "writes": row["writes"],
                "table": row["table"],
                "age": about.statistics_age,
            },
        )


@dataclass(frozen=True, slots=True)
class _Index:
    row: Row

    @property
    def keys(self) -> tuple[tuple[int, int, int, int], ...]:
        """Each key column with its operator class, collation and order."""
        r = self.row
        n = r["keys"]
        return tuple(
            zip(r["columns"][:n], r["classes"][:n], r["collations"][:n], r["options"][:n], strict=True)
        )

    @property
    def included(self) -> frozenset[int]:
        return frozenset(self.row["columns"][self.row["keys"] :])

    @property
    def name(self) -> str:
        return str(self.row["index"])

    @property
    def must_stay(self) -> bool:
        return bool(self.row["primary"] or self.row["bound"])


def duplicate_index(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    """Of indexes that are the same all but one are told of; a unique one is the one that stays."""
    groups: defaultdict[tuple[object, ...], list[_Index]] = defaultdict(list)
    for row in rows:
        index = _Index(row)
        shape = row["shape"] if row["expressions"] else row["predicate"]
        key = (row["table_id"], row["method"], index.keys, index.included, shape)
        groups[key].append(index)
    for same in groups.values():
        same.sort(key=lambda i: (not i.must_stay, not i.row["unique"], i.name))
        stays = same[0]
        for index in same[1:]:
            if index.must_stay or (
                index.row["unique"] and index.row["nulls_same"] != stays.row["nulls_same"]
            ):
                continue
            yield Finding(
                "duplicate-index",
                Severity.WARNING,
                index.name,
                f"{index.name} is the same as {stays.name}, takes {format_size(index.row['bytes'])} and slows each write",
                Mend(drop(index.name), DROP_LOCKS, True, OUTSIDE),
                {"bytes": index.row["bytes"], "covered_by": stays.name, "table": index.row["table"]},
            )


def redundant_index(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    """B-trees whose keys another one begins with, so that it serves every query that they serve."""
    groups: defaultdict[tuple[object, ...], list[_Index]] = defaultdict(list)
    for row in rows:
        if row["method"] == "btree" and not row["expressions"]:
            groups[row["table_id"], row["predicate"]].append(_Index(row))
    for group in groups.values():
        for index in group:
            if index.row["unique"] or index.must_stay:
                continue
            n = len(index.keys)
            longer = (
                o
                for o in group
                if len(o.keys) > n
                and o.keys[:n] == index.keys
                and index.included <= {c for c, *_ in o.keys} | o.included
            )
            wider = min(longer, key=lambda o: (len(o.keys), o.name), default=None)
            if wider is None:
                continue
            yield Finding(
                "redundant-index",
                Severity.NOTICE,
                index.name,
                f"{wider.name} begins with the columns of {index.name} and serves its queries; "
                f"it takes {format_size(index.row['bytes'])} and slows each write",
                Mend(drop(index.name), DROP_LOCKS, True, OUTSIDE),
                {"bytes": index.row["bytes"], "covered_by": wider.name, "table": index.row["table"]},
            )


def foreign_key_index(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        if row["rows"] < about.limits.large_rows:
            continue
        columns = ", ".join(row["columns"])
        yield Finding(
            "foreign-key-index",
            Severity.WARNING,
            f"{row['table']} ({columns})",
            f"no index begins with the foreign key {row['name']} ({columns}) of {row['table']}: each delete in "
            f"{row['refers']} reads all its {row['rows']:,} rows",
            Mend(f"CREATE INDEX CONCURRENTLY ON {row['table']} ({columns})", CREATE_LOCKS, True, OUTSIDE),
            {"rows": row["rows"], "bytes": row["bytes"], "refers": row["refers"], "constraint": row["name"]},
        )


def sequential_scans(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        if row["rows"] < about.limits.large_rows or row["scans"] < about.limits.scans:
            continue
        each = row["read"] / row["scans"]
        if each < about.limits.large_rows or row["index_scans"] > row["scans"] * 10:
            continue
        yield Finding(
            "sequential-scans",
            Severity.NOTICE,
            row["table"],
            f"{row['table']} ({row['rows']:,} rows) was read from end to end {row['scans']:,} times, "
            f"{each:,.0f} rows each time, and by an index {row['index_scans']:,} times",
            Mend("", "nothing", True, "see the plans of the slow queries for the columns that want an index"),
            {
                "scans": row["scans"],
                "index_scans": row["index_scans"],
                "rows": row["rows"],
                "bytes": row["bytes"],
            },
        )


def invalid_index(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        cost = " but is kept up by each write" if row["written"] else ""
        if row["kind"] == "I":
            sentence = (
                f"{row['index']} is not valid: not every partition of {row['table']} has its part of it"
            )
            mend = Mend(
                "",
                "ALTER INDEX … ATTACH PARTITION: ACCESS EXCLUSIVE on the parent index, for a moment",
                True,
                "CREATE INDEX CONCURRENTLY on each partition without one, then ALTER INDEX … ATTACH PARTITION",
            )
        elif row["leftover"]:
            sentence = f"{row['index']} is what a REINDEX that was cut off left: no query uses it{cost}"
            mend = Mend(drop(row["index"]), DROP_LOCKS, True, OUTSIDE)
        else:
            sentence = f"{row['index']} was never finished: no query uses it{cost}"
            mend = Mend(
                f"REINDEX INDEX CONCURRENTLY {row['index']}",
                CREATE_LOCKS,
                True,
                f"{OUTSIDE}; a unique one fails again where rows are not unique. Or drop it: {drop(row['index'])}",
            )
        yield Finding(
            "invalid-index",
            Severity.WARNING,
            row["index"],
            sentence,
            mend,
            {"bytes": row["bytes"], "table": row["table"], "definition": row["definition"]},
        )


def index_bloat(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        if row["wasted"] < about.limits.bloat_bytes or row["share"] < about.limits.bloat:
            continue
        yield Finding(
            "index-bloat",
            Severity.NOTICE,
            row["index"],
            f"about {format_size(row['wasted'])} of the {format_size(row['bytes'])} of {row['index']} hold nothing "
            f"({percent(row['share'])}, an estimate)",
            Mend(f"REINDEX INDEX CONCURRENTLY {row['index']}", CREATE_LOCKS, True, OUTSIDE),
            {"bytes": row["bytes"], "wasted": row["wasted"], "share": row["share"], "estimate": True},
        )
