"""A cache under supervisord, as Homeport runs it."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime"))

from direct_services import DirectSecrets
from resp import Resp

from homeport.database.redis.service import Caches
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.runtime import service_files
from homeport.runtime.services import SupervisorServices
from homeport.spec.model_database import Cache
from homeport.system.clock import RealClock
from homeport.system.process import marked
from homeport.system.seal import new_key


@pytest.fixture
def supervised() -> Iterator[Any]:
    from supervised_home import Home

    home = Home()
    home.root.chmod(0o755)
    try:
        home.supervise()
        yield home
        for name in service_files.names(home.layout):
            service_files.end(home.layout, name, RealClock())
    finally:
        home.end()


def test_a_cache_with_the_longest_names_is_found_comes_back_when_killed_and_ends(supervised: Any) -> None:
    services, keys = SupervisorServices(supervised.data, RealClock()), [new_key()]
    caches = Caches(supervised.data / "redis", services, DirectSecrets(), lambda: keys, RealClock())
    app, environment, cache = AppName("a" * 40), EnvironmentName("b" * 40), Cache("c" * 40, persistent=True)
    ready = caches.ensure(app, environment, cache)
    with Resp(ready.url.reveal()) as client:
        client.ask("SET", "a", "1")
    [status] = caches.list()
    assert status.running and status.keys == 1
    [service] = service_files.names(supervised.layout)
    first = services.status(service)
    assert first is not None and first.pid in {m.pid for m in marked(str(supervised.data))}
    os.kill(first.pid, signal.SIGKILL)
    assert caches.ensure(app, environment, cache) == ready
    Resp(ready.url.reveal()).close()
    caches.remove(app, environment, cache.name)
    assert not service_files.names(supervised.layout)
    assert "redis" not in {
        Path(f"/proc/{m.pid}/comm").read_text().strip() for m in marked(str(supervised.data))
    }
