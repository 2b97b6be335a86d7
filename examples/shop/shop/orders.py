"""Orders, one line each in one file that all instances of all releases append to.

A line is written with a single ``write`` to a file opened with ``O_APPEND``, so instances need no lock.
An order that is posted twice is stored twice: what the shop was sent can be counted afterwards.
"""

import json
import os
from pathlib import Path


def data_directory() -> Path:
    """``SHOP_DATA``, to lie outside of the release so that orders outlive it; else ``./data``."""
    return Path(os.environ.get("SHOP_DATA") or "data")


class Orders:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "orders.jsonl"
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def add(self, order: dict[str, object]) -> None:
        line = json.dumps(order, separators=(",", ":")).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError("the disk is full: the order was not stored whole")

    def all(self) -> list[dict[str, object]]:
        """Every order in the order of arrival; a line cut short by a full disk is left out."""
        found = []
        for line in self._path.read_bytes().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def ids(self) -> list[str]:
        return [str(order["id"]) for order in self.all()]

    def close(self) -> None:
        os.close(self._file)
