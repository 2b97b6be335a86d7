"""The worker process: ``python -m shop.worker`` packs what was ordered, in the order it came in."""

import os
import signal
import threading
from pathlib import Path

from shop import release
from shop.orders import for_packing

INTERVAL = 1.0


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    orders = for_packing()
    heartbeat = os.environ.get("HOMEPORT_HEARTBEAT")
    print(f"worker of version {release.VERSION} started", flush=True)
    while not stop.is_set():
        packed = orders.pack()
        if packed:
            print(f"{packed} orders packed", flush=True)
        if heartbeat:
            Path(heartbeat).touch()
        stop.wait(INTERVAL)
    orders.close()
    print("worker stopped", flush=True)


if __name__ == "__main__":
    main()
