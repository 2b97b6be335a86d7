"""The worker process: ``python -m shop.worker`` packs what was ordered, in the order it came in.

The queue is the file of orders and a mark of how far it is packed. Two workers at once would pack an
order twice, so ``homeport.toml`` says that it is exclusive.
"""

import json
import os
import signal
import threading
from pathlib import Path

from shop import release
from shop.orders import Orders, data_directory

INTERVAL = 1.0


def pack(orders: Orders, directory: Path) -> int:
    """Pack every order since the mark; returns how many."""
    mark = directory / "packed.json"
    done = json.loads(mark.read_text())["orders"] if mark.exists() else 0
    found = orders.all()
    waiting = found[done:]
    if waiting:
        with open(directory / "packed.jsonl", "a") as log:
            for order in waiting:
                log.write(json.dumps({"id": order["id"], "by": os.getpid()}) + "\n")
        draft = directory / f".packed.{os.getpid()}"
        draft.write_text(json.dumps({"orders": len(found)}))
        draft.replace(mark)
    return len(waiting)


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    directory = data_directory()
    orders = Orders(directory)
    heartbeat = os.environ.get("HOMEPORT_HEARTBEAT")
    print(f"worker of version {release.VERSION} started", flush=True)
    while not stop.is_set():
        packed = pack(orders, directory)
        if packed:
            print(f"{packed} orders packed", flush=True)
        if heartbeat:
            Path(heartbeat).touch()
        stop.wait(INTERVAL)
    orders.close()
    print("worker stopped", flush=True)


if __name__ == "__main__":
    main()
