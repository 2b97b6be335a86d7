"""What changing credentials and restarting the server cost the requests of examples/shop: none may fail.

    python bench/database.py [--rounds N]

A mixed load of GETs and POSTs goes on while ``homeport db rotate --now`` gives the app another login and ends the
former one, and ``homeport db restart`` restarts PostgreSQL while PgBouncer holds the clients. Every order that was
acknowledged must be there once afterwards.
"""

import argparse
import json
import sys
import time
from typing import Any

from load import LoadProcess, Mix, compare_orders
from ship import HOST, Shop, figure

ROLLED_BACK = 7
TRIES = 4


def run(rounds: int = 2, say: Any = lambda text: None) -> list[dict[str, Any]]:
    rotations, restarts = [], []
    with Shop() as shop:
        shop.deploy()
        load = LoadProcess(shop.address, HOST, Mix())
        with load:
            time.sleep(1)
            for _ in range(rounds):
                rotations.append(_timed(shop, load, say, "db", "rotate", "--now", "-q"))
                restarts.append(_timed(shop, load, say, "db", "restart"))
            time.sleep(1)
            found = load.stop()
        orders = compare_orders(found["acknowledged"], found["unacknowledged"], shop.orders())
        left = len(orders["lost"]) + len(orders["doubled"])
        still = [d["name"] for d in shop.homeport.json("db", "list", "--app", "shop") if d["rotating_since"]]
    for failure in found["failures"]:
        say(f"failed: {failure}")
    return [
        figure(f"requests sent over {rounds} rotations and {rounds} restarts of PostgreSQL", found["sent"], "requests"),
        figure("requests failed", found["failed"], "requests", "0", found["failed"] == 0),
        figure("POSTs acknowledged", found["orders_acknowledged"], "requests"),
        figure("POSTs lost or doubled", left, "requests", "0", left == 0),
        figure("former logins still valid", len(still), "logins", "0", not still),
        figure("longest request meanwhile", found["by_kind"]["get"]["ms"]["max"], "ms"),
        figure("db rotate --now", round(max(rotations), 2), "s"),
        figure("db restart", round(max(restarts), 2), "s"),
    ]  # fmt: skip


def _timed(shop: Shop, load: LoadProcess, say: Any, *arguments: str) -> float:
    """Asked again where a busy machine did not bring up the new instances in time."""
    began = time.monotonic()
    for _ in range(TRIES):
        done = shop.homeport.run(*arguments, cwd=shop.app.directory, status=None)
        if done.returncode != ROLLED_BACK:
            break
        say(f"{' '.join(arguments)}: taken back, {done.stderr.splitlines()[0]}")
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    seconds = time.monotonic() - began
    say(f"{' '.join(arguments)}: {seconds:.2f} s; {load.latest['sent']} sent, {load.latest['failed']} failed")
    time.sleep(0.5)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    figures = run(options.rounds, lambda t: print(t, file=sys.stderr, flush=True))
    print(json.dumps(figures, indent=2, ensure_ascii=False))
    return 1 if any(f["holds"] is False for f in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
