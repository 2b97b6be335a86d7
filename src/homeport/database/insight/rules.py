"""The rules, in the order in which a report has findings of one severity. Pure."""

from collections.abc import Callable, Iterator, Sequence

from homeport.database.insight import (
    judge_access,
    judge_indexes,
    judge_server,
    judge_sessions,
    judge_tables,
)
from homeport.database.insight.model import About, Finding, Row, Rule


def _only(
    id_: str, judge: Callable[[Sequence[Row], About], Iterator[Finding]]
) -> Callable[[Sequence[Row], About], Iterator[Finding]]:
    """One of the kinds of finding that a judge gives."""
    return lambda rows, about: (f for f in judge(rows, about) if f.rule == id_)


def _nothing(rows: Sequence[Row], about: About) -> Iterator[Finding]:
    """Of rules whose findings come from more than one query: see service."""
    return iter(())


SLOW, MISSING = "slow-query", "missing-index"

RULES: tuple[Rule, ...] = (
    Rule("connections", "connections near the limit", judge_sessions.connections, reads_stats=True),
    Rule("lock-tree", "who waits for whom", judge_sessions.lock_tree, "locks", reads_stats=True),
    Rule(
        "idle-in-transaction",
        "sessions idle in a transaction",
        judge_sessions.idle_in_transaction,
        "sessions",
        reads_stats=True,
    ),
    Rule(
        "long-transaction",
        "long transactions and queries",
        judge_sessions.long_transaction,
        "sessions",
        reads_stats=True,
    ),
    Rule("prepared-transaction", "prepared transactions left behind", judge_sessions.prepared_transaction),
    Rule("replication-slot", "replication slots that hold WAL", judge_sessions.replication_slot),
    Rule("wraparound", "transaction ids that run out", judge_tables.wraparound),
    Rule(
        "sequence-exhaustion", "sequences and integer columns that run out", judge_tables.sequence_exhaustion
    ),
    Rule("unsafe-setting", "settings that put data in danger", judge_server.unsafe_setting, "settings"),
    Rule("checksums-off", "data checksums", judge_server.checksums_off, "settings"),
    Rule("collation-version", "collations newer than their indexes", judge_server.collation_version),
    Rule("invalid-index", "invalid indexes", judge_indexes.invalid_index),
    Rule("duplicate-index", "indexes that are the same", judge_indexes.duplicate_index, "indexes"),
    Rule("redundant-index", "indexes that another one begins with", judge_indexes.redundant_index, "indexes"),
    Rule("unused-index", "indexes that nothing uses", judge_indexes.unused_index),
    Rule("foreign-key-index", "foreign keys without an index", judge_indexes.foreign_key_index),
    Rule(SLOW, "slow queries", _nothing, "statements", "pg_stat_statements"),
    Rule(MISSING, "indexes that queries ask for", _nothing, "statements", "pg_stat_statements"),
    Rule("sequential-scans", "large tables read from end to end", judge_indexes.sequential_scans),
    Rule("table-bloat", "bloat of tables", judge_tables.table_bloat),
    Rule("index-bloat", "bloat of indexes", judge_indexes.index_bloat),
    Rule("dead-rows", "dead rows that stay", judge_tables.dead_rows, "tables"),
    Rule("never-analysed", "tables without statistics", judge_tables.never_analysed, "tables"),
    Rule("autovacuum-off", "tables without autovacuum", judge_tables.autovacuum_off, "tables"),
    Rule("unvalidated-constraint", "constraints never validated", judge_tables.unvalidated_constraint),
    Rule("cache-hits", "blocks found in the cache", judge_server.cache_hits),
    Rule("rls-missing", "rows of owners without row-level security", judge_access.rls_missing),
    *(
        Rule(id_, title, _only(id_, judge_access.policies), "policies")
        for id_, title in (
            ("rls-disabled", "policies that do nothing"),
            ("rls-without-policy", "row-level security without a policy"),
            ("rls-owner-bypass", "owners that policies do not bind"),
            ("policy-open", "policies that let all pass"),
        )
    ),
    Rule("security-definer", "SECURITY DEFINER without a search_path", judge_access.security_definer),
    Rule("public-create", "schemas in which everybody may create", judge_access.public_create),
    Rule("md5-password", "passwords kept as MD5", judge_access.md5_password),
)
BY_ID = {rule.id: rule for rule in RULES}
ORDER = {rule.id: n for n, rule in enumerate(RULES)}
