"""A cluster that is backed up, its services started by the test itself, all ended with it."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import ports
from direct_services import DirectServices

from homeport.backup.physical.model import LocalStore, Repository, Settings
from homeport.backup.physical.service import PhysicalBackups
from homeport.database.provision import Clusters
from homeport.database.state import DatabaseState
from homeport.journal.store import Store, open_engine
from homeport.kernel.secret import Secret
from homeport.system import net, process
from homeport.system.clock import RealClock

PASSPHRASE = "correct horse battery staple"


def directory() -> Path:
    """In memory where there is room: pgBackRest flushes each of a thousand small files."""
    shm = Path("/dev/shm")
    roomy = shm.is_dir() and shutil.disk_usage(shm).free > 4 << 30
    return ports.directory("hp-bk-", shm if roomy else "/tmp")


class PhysicalHome:
    def __init__(
        self,
        *,
        synchronous: bool = False,
        repositories: int = 1,
        repository_of: "PhysicalHome | None" = None,
    ) -> None:
        self._repositories = repository_of
        self.data = directory()
        self.data.chmod(0o755)
        logs = self.data / "logs"
        logs.mkdir()
        self.clock = RealClock()
        self.engine = open_engine(self.data / "state.db")
        self.services = DirectServices(logs)
        self.clusters = Clusters(
            self.data,
            DatabaseState(Store(self.engine, self.clock)),
            self.services,
            self.clock,
            is_port_free=net.is_port_free,
        )
        try:
            self.cluster = self.clusters.ensure("main", dedicated=False)
            self.backups = self.with_passphrase(PASSPHRASE, synchronous, repositories)
            self.backups.ensure()
        except BaseException:
            self.end()
            raise

    def with_passphrase(self, text: str, synchronous: bool = False, repositories: int = 1) -> PhysicalBackups:
        stores = tuple(
            Repository(f"r{n}", LocalStore(self.repository(n)), Secret(text))
            for n in range(1, repositories + 1)
        )
        return PhysicalBackups(
            self.data, self.cluster, self.clusters, self.services, Settings(stores, synchronous), self.clock
        )

    def repository(self, number: int = 1) -> Path:
        home = self._repositories or self
        return home.data / f"repository{number}"

    def sql(self, statement: str, database: str = "postgres") -> Any:
        with self.clusters.superuser(self.cluster, database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else None

    def segments(self, number: int = 1) -> list[Path]:
        """Files of archived segments, oldest first."""
        return sorted(p for p in (self.repository(number) / "archive").rglob("*-*.zst"))

    def left(self) -> list[str]:
        """What proofs and restores have left: processes and directories."""
        owner = str(self.data)
        running = [m.instance for m in process.marked(owner)]
        scratch = self.data / "scratch" / "main"
        lying = [p.name for p in scratch.iterdir()] if scratch.exists() else []
        return running + lying

    def end(self) -> None:
        try:
            self.services.close()
        finally:
            self._remove()

    def _remove(self) -> None:
        process.kill_family(str(self.data), "backup")
        self.engine.dispose()
        if hasattr(self, "backups"):
            shutil.rmtree(self.backups.layout.secrets, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)


def until(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found
