"""``script/bench [NAME…] [--json]``: each figure as name, value, unit, bound, holds, and its peers' values."""

import argparse
import json
import os
import platform
import sys
from typing import Any

import backup
import canary
import cron
import database
import edge
import expand_contract
import insight
import lost_cluster
import migrations
import modes
import pipeline
import recover
import restore
import ship

BENCHES = {
    "edge": lambda options, say: edge.run(options.seconds),
    "load": lambda options, say: ship.under_load(options.deploys, options.rollbacks, say),
    "times": lambda options, say: ship.times(say=say),
    "idle": lambda options, say: ship.idle(say=say),
    "promote": lambda options, say: ship.promote(say=say),
    "modes": lambda options, say: modes.run(),
    "cron": lambda options, say: cron.figures(options.jobs, options.cron_seconds, options.kills),
    "pipeline": lambda options, say: pipeline.run(options.rounds, say),
    "canary": lambda options, say: canary.run(say=say),
    "database": lambda options, say: database.run(say=say),
    "expand": lambda options, say: expand_contract.run(say=say)["figures"],
    "migrations": lambda options, say: migrations.run(say=say),
    "insight": lambda options, say: insight.figures(say),
    "backup": lambda options, say: backup.run(say=say),
    "restore": lambda options, say: restore.run(say=say),
    "recover": lambda options, say: recover.run(say=say),
    "lost": lambda options, say: lost_cluster.run(options.lost_clusters, say=say),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all by default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=4.0, help="per measurement of the edge")
    parser.add_argument("--deploys", type=int, default=100)
    parser.add_argument("--rollbacks", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=20, help="scheduled commands, each due every second")
    parser.add_argument("--cron-seconds", type=float, default=53.0)
    parser.add_argument("--kills", type=int, default=50, help="of the control plane, meanwhile")
    parser.add_argument("--rounds", type=int, default=5, help="pushes through the pipeline")
    parser.add_argument(
        "--lost-clusters", type=int, default=20, help="asynchronous, and as many synchronous ones"
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"unknown bench: {', '.join(sorted(unknown))}; known: {', '.join(BENCHES)}")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    figures: list[dict[str, Any]] = []
    for name in options.names or BENCHES:
        say(f"# {name}")
        figures += BENCHES[name](options, say)
    if options.json:
        machine = {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        }
        print(json.dumps({"machine": machine, "figures": figures}, indent=2))
    else:
        for f in figures:
            holds = {True: "holds", False: "DOES NOT HOLD", None: ""}[f["holds"]]
            peers = "  ".join(f"{k} {v}" for k, v in (f.get("peers") or {}).items())
            print(f"{f['name']:62} {f['value']!s:>10} {f['unit']:8} {f['bound'] or '':7} {holds:14} {peers}")
    return 1 if any(f["holds"] is False for f in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
