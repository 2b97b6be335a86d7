"""A data directory with a supervisord, and the databases of apps in it, ended when the test ends."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import psycopg

from homeport.database.fake import FakeSecrets
from homeport.database.service import Databases
from homeport.journal.store import Store, open_engine
from homeport.runtime import service_files
from homeport.runtime.services import SupervisorServices
from homeport.spec.model_database import Database
from homeport.system.clock import RealClock

_FILE = Path(__file__).resolve().parents[1] / "integration" / "runtime" / "supervised_home.py"


def _supervised_home() -> Any:
    if "supervised_home" not in sys.modules:
        spec = importlib.util.spec_from_file_location("supervised_home", _FILE)
        assert spec is not None and spec.loader is not None
        sys.modules["supervised_home"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["supervised_home"])
    return sys.modules["supervised_home"]


MAIN = Database("main")


class DatabaseHome:
    def __init__(self) -> None:
        self.home = _supervised_home().Home()
        self.data: Path = self.home.data
        self.data.chmod(0o755)
        self.home.supervise()
        self.clock = RealClock()
        self.engine = open_engine(self.data / "state.db")
        self.store = Store(self.engine, self.clock)
        self.secrets = FakeSecrets()
        self.services = SupervisorServices(self.data, self.clock)
        self.databases = self.again()

    def again(self) -> Databases:
        """As a control plane that was started anew has them."""
        self.databases = Databases(self.data, self.store, self.services, self.secrets, self.clock)
        return self.databases

    def ensure(self, app: str = "shop", *databases: Database, replicas: int = 2) -> str:
        """The URL of the first of them."""
        ready = self.databases.ensure(app, "production", databases or (MAIN,), replicas)
        return ready[0].url.reveal()

    def as_owner(self, *statements: str, app: str = "shop") -> None:
        with self.databases.connect_as_owner(app, "production", "main") as connection:
            for statement in statements:
                connection.execute(statement)

    def pid(self, service: str) -> int:
        status = self.services.status(service)
        assert status is not None and status.pid is not None
        return status.pid

    def end(self) -> None:
        if self.home.child is not None:
            self.home.child.kill()
            self.home.child.wait()
        layout = self.home.layout
        for group in service_files.in_order_of_stop(layout, service_files.names(layout)):
            for name in group:
                service_files.end(layout, name, self.clock)
        self.engine.dispose()
        self.home.end()


def connect(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    """As an app does that knows of poolers: no prepared statements."""
    return psycopg.connect(url, autocommit=True, prepare_threshold=None, connect_timeout=5)
