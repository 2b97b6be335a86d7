"""Where the runtime's files are below the data directory. Paths only; nothing is touched."""

from dataclasses import dataclass
from pathlib import Path

from homeport.kernel.ids import InstanceName
from homeport.system.seal import KEY_FILE

LOG_KEPT = 3
"""Rotated log files kept beside the current one: ``<name>.log.1`` is the newest of them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``data`` is absolute, and spelled exactly as in ``HOMEPORT_OWNER``."""

    data: Path

    @property
    def key_file(self) -> Path:
        """What opens secrets; missing until there are any."""
        return self.data / KEY_FILE

    @property
    def supervisor(self) -> Path:
        """Owner only: sockets and environments are in it."""
        return self.data / "supervisor"

    @property
    def conf(self) -> Path:
        return self.supervisor / "supervisord.conf"

    @property
    def socket(self) -> Path:
        return self.supervisor / "supervisor.sock"

    @property
    def pid_file(self) -> Path:
        return self.supervisor / "supervisord.pid"

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisord.log"

    @property
    def programs(self) -> Path:
        """An instance with a file here is started by every new supervisord."""
        return self.supervisor / "programs"

    @property
    def orphaned(self) -> Path:
        """Program files put aside while a process of a former supervisord lives."""
        return self.supervisor / "orphaned"

    @property
    def services(self) -> Path:
        """Programs, documents and processes of services: databases, poolers, caches."""
        return self.supervisor / "services"

    @property
    def instances(self) -> Path:
        return self.supervisor / "instances"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def fifos(self) -> Path:
        return self.logs / "fifo"

    def directories(self) -> tuple[Path, ...]:
        return (
            self.supervisor,
            self.programs,
            self.orphaned,
            self.services,
            self.instances,
            self.logs,
            self.fifos,
        )

    def program(self, name: str) -> Path:
        return self.programs / f"{name}.conf"

    def orphaned_program(self, name: str) -> Path:
        return self.orphaned / f"{name}.conf"

    def instance(self, name: str) -> Path:
        """All that the launcher needs (0600)."""
        return self.instances / f"{name}.json"

    def launched(self, name: str) -> Path:
        """Written by the launcher: which process it became, and the cgroups that it made."""
        return self.instances / f"{name}.launched"

    def fifo(self, name: str) -> Path:
        return self.fifos / name

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def log_files(self, name: InstanceName) -> tuple[Path, ...]:
        """Newest first."""
        log = self.log(name)
        return (log, *(log.with_name(f"{log.name}.{n}") for n in range(1, LOG_KEPT + 1)))
