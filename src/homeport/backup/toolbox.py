"""What works on backups is made of, within a child."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from homeport.backup.files.model import MAIN, Layout, Limits
from homeport.backup.files.service import FileBackups
from homeport.backup.physical import commands
from homeport.backup.physical.service import PhysicalBackups
from homeport.backup.repositories import Repositories
from homeport.database.errors import UNKNOWN
from homeport.database.model import Cluster
from homeport.database.port import Services
from homeport.database.provision import Clusters
from homeport.database.state import DatabaseState
from homeport.guard.vault import Vault
from homeport.kernel.clock import Clock
from homeport.system import net
from homeport.system.pace import Seen, paced


@dataclass(frozen=True, slots=True)
class Toolbox:
    data_dir: Path
    state: DatabaseState
    vault: Vault
    services: Services
    clock: Clock

    @property
    def repositories(self) -> Repositories:
        return Repositories(self.state.store, self.vault)

    @property
    def clusters(self) -> Clusters:
        return Clusters(self.data_dir, self.state, self.services, self.clock, is_port_free=net.is_port_free)

    def cluster(self, name: str) -> Cluster:
        found = self.state.cluster(name)
        if found is None:
            raise UNKNOWN.error(f"cannot find cluster {name}")
        return found

    def physical(self, cluster: str, *, synchronous: bool = False) -> PhysicalBackups:
        return PhysicalBackups(
            self.data_dir,
            self.cluster(cluster),
            self.clusters,
            self.services,
            self.repositories.for_clusters(synchronous=synchronous),
            self.clock,
        )

    def is_ensured(self, cluster: str, *, synchronous: bool) -> bool:
        """Whether the server and pgBackRest have what backups need, as it is wanted now."""
        physical = self.physical(cluster, synchronous=synchronous)
        settings = self.repositories.for_clusters(synchronous=synchronous)
        pg = self.clusters.layout(cluster)
        wanted = commands.server_conf(settings, physical.layout)
        conf = commands.pgbackrest_conf(settings, physical.layout, pg, self.cluster(cluster).port)
        return _reads(pg.backup_conf, wanted) and _reads(physical.layout.conf, conf.reveal())

    def files(self, rate: int | None = None, lane: str = MAIN) -> FileBackups:
        """``rate``: bytes a second, up or down; None: as fast as it goes."""
        limits = Limits(rate=max(1, rate // 1024)) if rate is not None else None
        return FileBackups(self.data_dir, self.repositories.for_files(), self.clock, limits, lane=lane)

    def paced(self, rate: int | None, lane: str = MAIN) -> AbstractContextManager[Seen]:
        """What :meth:`files` starts meanwhile reads from disks, and writes, at most ``rate`` bytes a second."""
        return paced(rate, owner=str(self.data_dir), instance=Layout(self.data_dir, lane).mark)


def _reads(path: Path, text: str) -> bool:
    try:
        return path.read_text("utf-8") == text
    except OSError:
        return False
