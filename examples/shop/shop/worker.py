"""The worker process: ``python -m shop.worker`` sums up the orders every few seconds."""

import json
import os
import signal
import threading
import time

from shop import release
from shop.orders import Orders, data_directory

INTERVAL = 5.0


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    directory = data_directory()
    orders = Orders(directory)
    print(f"worker of version {release.VERSION} started", flush=True)
    seen = -1
    while not stop.is_set():
        found = orders.all()
        if len(found) != seen:
            seen = len(found)
            summary = {
                "orders": seen,
                "items": sum(int(str(o.get("items", 0))) for o in found),
                "at": time.time(),
            }
            draft = directory / f".summary.{os.getpid()}"
            draft.write_text(json.dumps(summary))
            draft.replace(directory / "summary.json")
            print(f"{summary['orders']} orders, {summary['items']} items", flush=True)
        stop.wait(INTERVAL)
    orders.close()
    print("worker stopped", flush=True)


if __name__ == "__main__":
    main()
