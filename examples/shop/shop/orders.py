"""What the shop asks of wherever its orders are: PostgreSQL where ``DATABASE_URL`` says so, else a file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Order:
    key: str
    """Chosen by the client, which may send the order again with it."""
    items: int
    customer: str | None = None
    """An email address."""


@dataclass(frozen=True)
class Report:
    orders: int
    items: int
    packed: int


class Conflict(Exception):
    """There is another order with this key."""


class Unavailable(Exception):
    """The orders cannot be reached just now; the client may send its order again."""


class Orders(Protocol):
    """For the web process."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def add(self, order: Order) -> None:
        """Returns when it is stored. Raises ``Conflict`` and ``Unavailable``."""
        ...

    async def get(self, key: str) -> Order | None: ...

    async def keys(self) -> list[str]:
        """One for each time that an order was sent here, so that what was doubled on the way shows."""
        ...

    def ready(self) -> bool:
        """Whether orders could be taken once since the start. It stays so: a shop whose database is away
        for a moment still shows what it sells."""
        ...

    def trouble(self) -> str:
        """Why orders cannot be taken this moment; "" when they can."""
        ...


class Packing(Protocol):
    """For the worker and the report."""

    def pack(self) -> int:
        """Pack every order that waits, in the order they came in; returns how many."""
        ...

    def report(self) -> Report: ...

    def close(self) -> None: ...


def data_directory() -> Path:
    """``SHOP_DATA``, to lie outside of the release so that what is in it outlives it; else ``./data``."""
    return Path(os.environ.get("SHOP_DATA") or "data")


def for_web() -> Orders:
    url = os.environ.get("DATABASE_URL")
    if url:
        from shop.database import DatabaseOrders

        return DatabaseOrders(url)
    from shop.files import FileOrders

    return FileOrders(data_directory())


def for_packing() -> Packing:
    url = os.environ.get("DATABASE_URL")
    if url:
        from shop.packing import DatabasePacking

        return DatabasePacking(url)
    from shop.files import FilePacking

    return FilePacking(data_directory())
