"""Insight on a database with planted faults and on one that is well, and its rules beside pghero's.

    python bench/insight.py [--json]

pghero's rules are those of its overview, space, connections, queries and maintenance pages and of its methods,
as read in a stored copy of its repository (versions 1 to 3; what is newer than that copy is not here).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import faults
import psycopg
from postgres import Postgres
from ship import figure

from homeport.database.insight.model import Limits, Report
from homeport.database.insight.rules import RULES
from homeport.database.insight.service import report

AT_ONCE = Limits(statistics_age=0, idle_in_transaction=1, long_transaction=2, lock_wait=1, prepared=0)
"""Those of time only: a bench has no week. All others are the usual ones."""

PGHERO: tuple[tuple[str, str, str], ...] = (
    ("long running queries", "long-transaction", "by the age of the transaction, not of its last query"),
    ("number of connections", "connections", "against the limits, not against a fixed 500"),
    ("connections by source", "", "figures without a fault"),
    ("connections idle in transaction", "idle-in-transaction", "each by itself, with what it holds"),
    ("cache hit rate", "cache-hits", "not before 50,000 blocks were read: a cold cache is no fault"),
    (
        "vacuuming needed (transaction ids)",
        "wraparound",
        "also multixacts, and against autovacuum's own limit",
    ),
    (
        "columns near integer overflow",
        "sequence-exhaustion",
        "also where the sequence ends before the column",
    ),
    ("invalid indexes", "invalid-index", "not those that are being built"),
    (
        "duplicate indexes",
        "duplicate-index",
        "told apart from those that another one begins with; predicates too",
    ),
    ("duplicate indexes (prefix)", "redundant-index", ""),
    ("suggested indexes", "missing-index", "from the plan; tried by hypopg where it is installed"),
    ("missing indexes (scans)", "sequential-scans", ""),
    (
        "unused indexes",
        "unused-index",
        "by the age of the counters; not what a constraint or foreign key needs",
    ),
    ("slow queries", "slow-query", "with plans for any parameters"),
    ("query stats not enabled", "slow-query", "in the report as a rule that could not look"),
    ("inactive replication slots", "replication-slot", "with the WAL that each holds"),
    ("blocked queries", "lock-tree", "as a tree with its root"),
    ("index bloat", "index-bloat", ""),
    ("invalid constraints", "unvalidated-constraint", ""),
    ("space growth", "growth", "by homeport.database.insight.growth over stored sizes"),
    ("maintenance: last vacuum, dead rows", "dead-rows", "pghero lists them without a limit"),
    ("maintenance: last analyze", "never-analysed", "pghero lists them without a limit"),
    ("replication lag", "", "Homeport runs no replicas"),
    ("historical query stats", "", "pg_stat_statements as it stands; history belongs to the room watch"),
    ("system metrics (CPU, IOPS)", "", "belongs to the room watch"),
    ("tune (settings)", "unsafe-setting", "sizes of memory are set by Homeport's own rules"),
    ("kill queries", "", "each finding has the statement that ends its session"),
)
"""Its rule, ours ("" for none), and what differs or why not."""


def figures(say: Callable[[str], object] = print) -> list[dict[str, Any]]:
    found, made = _planted()
    missed = faults.missed(found)
    clean, seconds = _clean()
    number = len(faults.FAULTS)
    for line in missed:
        say(f"  missed: {line}")
    for finding in clean.findings:
        say(f"  false: {finding.rule} {finding.what}: {finding.sentence}")
    have = {ours for _, ours, _ in PGHERO if ours}
    return [
        figure(
            "planted faults found", number - len(missed), f"of {number}", "all of at least 20", not missed
        ),
        figure(
            "false findings on a clean database under load", len(clean.findings), "", "0", not clean.findings
        ),
        figure("rules that could not look at the clean one", len(clean.skipped), f"of {len(RULES)}"),
        figure("a report of the clean database", round(seconds, 2), "s"),
        figure("a report of the one with faults", round(made, 2), "s"),
        figure("pghero's rules that Homeport has", sum(bool(o) for _, o, _ in PGHERO), f"of {len(PGHERO)}"),
        figure("rules that pghero has not", len({r.id for r in RULES} - have), f"of {len(RULES)}"),
    ]


def _planted() -> tuple[Report, float]:
    with Postgres(checksums=False, settings=faults.SETTINGS) as cluster:
        faults.create(cluster.dsn(), "shop")
        with faults.planted(cluster.dsn("shop")):
            time.sleep(2.5)
            return _look(cluster.dsn("shop"), cluster.dsn("shop"), AT_ONCE)


def _clean() -> tuple[Report, float]:
    with Postgres() as cluster:
        faults.create(cluster.dsn(), "shop")
        faults.clean(cluster.dsn("shop"))
        return _look(cluster.dsn("shop"), cluster.dsn("shop", "migrations"), Limits(statistics_age=0))


def _look(dsn: str, planner: str, limits: Limits) -> tuple[Report, float]:
    with psycopg.connect(dsn) as connection, psycopg.connect(planner) as plans:
        begun = time.monotonic()
        found = report(connection, planner=plans, limits=limits)
        return found, time.monotonic() - begun


def table() -> str:
    lines = [f"{'pghero':38} {'Homeport':24} what differs, or why not"]
    lines += [f"{theirs:38} {ours or 'no':24} {why}".rstrip() for theirs, ours, why in PGHERO]
    have = {ours for _, ours, _ in PGHERO}
    lines += [f"{'no':38} {rule.id:24} {rule.title}" for rule in RULES if rule.id not in have]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/insight.py", description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines = figures(lambda text: print(text, file=sys.stderr))
    if options.json:
        print(json.dumps(lines, indent=2))
    else:
        for line in lines:
            holds = {None: "", True: "holds", False: "DOES NOT HOLD"}[line["holds"]]
            print(f"{line['name']:48} {line['value']} {line['unit']}  {line['bound']} {holds}".rstrip())
        print(f"\n{table()}")
    return 0 if all(line["holds"] is not False for line in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
