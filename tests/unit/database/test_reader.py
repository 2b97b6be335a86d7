"""The login of people who only look."""

from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.database import roles
from homeport.database.service import Databases


def test_it_is_made_while_nobody_else_changes_roles_and_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = None
    databases: Any = Databases(Path("/h"), nothing, nothing, nothing, nothing)
    taken: list[bool] = []

    def another(*_: object) -> None:
        thread = Thread(target=lambda: taken.append(databases._lock.acquire(blocking=False)))
        thread.start()
        thread.join()

    @contextmanager
    def connection(*_: object) -> Any:
        yield None

    monkeypatch.setattr(roles, "make_reader", another)
    databases.get = lambda *_: SimpleNamespace(database="shop_production", reader="shop_production_reader")
    databases.cluster_of = lambda _: None
    databases.clusters = SimpleNamespace(superuser=connection)
    databases._owners = SimpleNamespace(url=connection)
    with databases.reader_url("shop", "production", "main"):
        another()
    assert taken == [False, True]
