"""How the server is set, and what its cache and its clocks of collations say. Pure."""

from collections.abc import Iterator, Sequence

from homeport.database.insight.model import About, Finding, Mend, Row, Severity, percent
from homeport.kernel.units import format_size

RELOAD = "nothing; takes effect with SELECT pg_reload_conf()"


def cache_hits(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        hits, reads = row["hits"], row["reads"]
        if reads < about.limits.cache_reads or hits >= about.limits.cache_hits * (hits + reads):
            continue
        share = hits / (hits + reads)
        yield Finding(
            "cache-hits",
            Severity.NOTICE,
            about.database,
            f"{percent(share)} of the blocks that queries wanted were in shared_buffers ({row['shared_buffers']}); "
            f"the database has {format_size(row['bytes'])}",
            Mend(
                f"ALTER SYSTEM SET shared_buffers = '{max(128, row['buffers'] * 2 // 1048576)}MB'",
                "nothing; takes a restart",
                False,
                "or queries that read less: see slow queries and sequential scans. What the system caches of files "
                "is not counted here",
            ),
            {"share": share, "hits": hits, "reads": reads, "bytes": row["bytes"], "buffers": row["buffers"]},
        )


def checksums_off(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    if any(r["name"] == "data_checksums" and r["setting"] == "off" for r in rows):
        yield Finding(
            "checksums-off",
            Severity.WARNING,
            "data_checksums",
            "data checksums are off: a page that the disk damaged is given out as if it were right",
            Mend("", "everything", False, "stop PostgreSQL, run pg_checksums --enable, start it"),
        )


UNSAFE = {
    "fsync": ("off", "a crash of the machine can destroy the whole cluster", "on"),
    "full_page_writes": ("off", "a crash of the machine can leave pages half written", "on"),
    "zero_damaged_pages": ("on", "damaged pages are emptied in silence", "off"),
    "ignore_checksum_failure": ("on", "damaged pages are given out as if they were right", "off"),
    "ignore_invalid_pages": ("on", "recovery goes on over damage", "off"),
    "autovacuum": ("off", "dead rows stay, statistics grow old, and transaction ids run out", "on"),
    "track_counts": ("off", "autovacuum does not know where to work", "on"),
}


def unsafe_setting(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        bad, why, good = UNSAFE.get(row["name"], ("", "", ""))
        if row["setting"] != bad:
            continue
        restart = row["context"] == "postmaster"
        yield Finding(
            "unsafe-setting",
            Severity.CRITICAL,
            row["name"],
            f"{row['name']} is {bad}: {why}",
            Mend(
                f"ALTER SYSTEM SET {row['name']} = {good}",
                "nothing; takes a restart" if restart else RELOAD,
                not restart,
            ),
            {"source": row["source"]},
        )


def collation_version(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    for row in rows:
        yield Finding(
            "collation-version",
            Severity.CRITICAL,
            row["name"],
            f"{row['name']} was made with version {row['made']} of its collation and the machine has {row['now']}: "
            "indexes over text may be in the wrong order, so that rows are not found or are doubled",
            Mend(
                f"REINDEX DATABASE CONCURRENTLY {row['name']}",
                "SHARE UPDATE EXCLUSIVE on one table after another: reads and writes go on",
                True,
                f"cannot run in a transaction; then ALTER DATABASE {row['name']} REFRESH COLLATION VERSION",
            ),
            {"made": row["made"], "now": row["now"]},
        )
