"""Orders without a database: one line each in one file that all instances of all releases append to.

A line is written with a single ``write`` to a file opened with ``O_APPEND``, so instances need no lock.
An order that is sent twice is stored twice. For a look at the shop, and for tests of what lies before it.
"""

import json
import os
from pathlib import Path
from typing import Any

from shop.orders import Order, Report


def read(directory: Path) -> list[dict[str, Any]]:
    """Every order in the order of arrival; a line cut short by a full disk is left out."""
    found = []
    for line in (directory / "orders.jsonl").read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


class FileOrders:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        path = directory / "orders.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        os.close(self._file)

    async def add(self, order: Order) -> None:
        line = json.dumps({"id": order.key, "items": order.items}, separators=(",", ":")).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError("the disk is full: the order was not stored whole")

    async def get(self, key: str) -> Order | None:
        return next((Order(key, o["items"]) for o in read(self._directory) if o["id"] == key), None)

    async def keys(self) -> list[str]:
        return [str(order["id"]) for order in read(self._directory)]

    def ready(self) -> bool:
        return True

    def trouble(self) -> str:
        return ""


class FilePacking:
    """The queue is the file of orders and a mark of how far it is packed: two at once would pack an order twice."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._mark = directory / "packed.json"
        (directory / "orders.jsonl").touch()

    def _packed(self) -> int:
        return int(json.loads(self._mark.read_text())["orders"]) if self._mark.exists() else 0

    def pack(self) -> int:
        found = read(self._directory)
        waiting = found[self._packed() :]
        if waiting:
            with open(self._directory / "packed.jsonl", "a") as log:
                for order in waiting:
                    log.write(json.dumps({"id": order["id"], "by": os.getpid()}) + "\n")
            draft = self._directory / f".packed.{os.getpid()}"
            draft.write_text(json.dumps({"orders": len(found)}))
            draft.replace(self._mark)
        return len(waiting)

    def report(self) -> Report:
        found = read(self._directory)
        return Report(len(found), sum(int(o.get("items", 0)) for o in found), self._packed())

    def close(self) -> None:
        pass
