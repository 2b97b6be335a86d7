"""pg_receivewal beside the server: it has on disk, within a moment, what archiving has only with the next segment."""

from homeport.backup.physical import commands
from homeport.backup.physical.copy import received_files
from homeport.backup.physical.errors import NOT_ARCHIVING
from homeport.backup.physical.model import SLOT, BackupLayout, Settings
from homeport.backup.physical.wal import Archive, removable
from homeport.database import machine
from homeport.database.connect import Connection
from homeport.database.model import Cluster, Layout
from homeport.database.port import Services
from homeport.kernel.clock import Clock

CONNECTING = 30.0
"""Seconds for it to come; it tries again each five by itself."""


class Receiver:
    def __init__(
        self,
        layout: BackupLayout,
        pg: Layout,
        cluster: Cluster,
        services: Services,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._layout = layout
        self._pg = pg
        self._cluster = cluster
        self._services = services
        self._settings = settings
        self._clock = clock
        self.service = commands.receiver_service(cluster)

    def ensure(self, connection: Connection) -> None:
        """It runs, has a place of its own in the log, and has come. Raises ``backup.not_archiving``."""
        status = _slot(connection)
        if status == "lost":
            self.begin_anew(connection)
            return
        if status is None:
            self._make_place(connection)
        self._start()
        self._await(connection)

    def begin_anew(self, connection: Connection) -> None:
        """From where the log is now: what it has received so far is removed.

        For one that lost its place, and for a cluster that went back to an earlier moment.
        """
        self._services.stop(self.service)
        self._drop(connection)
        for name in received_files(self._layout.received):
            (self._layout.received / name).unlink(missing_ok=True)
        self._make_place(connection)
        self._start()
        self._await(connection)

    def restart(self, connection: Connection) -> None:
        """With the words that it is started with now."""
        self._start()
        self._services.restart(self.service)
        self._await(connection)

    def remove(self, connection: Connection) -> None:
        """What it has received stays."""
        self._services.stop(self.service)
        self._drop(connection)

    def runs(self) -> bool:
        status = self._services.status(self.service)
        return status is not None and status.running

    def tidy(self, archives: tuple[Archive, ...]) -> tuple[str, ...]:
        """Remove what every repository has; returns the names."""
        gone = removable(received_files(self._layout.received), archives)
        for name in gone:
            (self._layout.received / name).unlink(missing_ok=True)
        return gone

    def _start(self) -> None:
        _, programs = machine.programs(self._cluster.version)
        self._services.start(
            self.service,
            commands.receiver(
                programs, self._layout, self._pg, self._cluster, synchronous=self._settings.synchronous
            ),
            directory=str(self._layout.directory),
            user=machine.user(),
            stop_signal="INT",
            grace=10.0,
            rank=1,
        )

    def _make_place(self, connection: Connection) -> None:
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (SLOT,))

    def _drop(self, connection: Connection) -> None:
        deadline = self._clock.monotonic() + CONNECTING
        while True:
            row = connection.execute(
                "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", (SLOT,)
            ).fetchone()
            if row is None:
                return
            if row[0] is None:
                connection.execute("SELECT pg_drop_replication_slot(%s)", (SLOT,))
                return
            connection.execute("SELECT pg_terminate_backend(%s)", (row[0],))
            if self._clock.monotonic() > deadline:
                raise NOT_ARCHIVING.error(
                    f"cannot take the receiver of {self._cluster.service} from its place"
                )
            self._clock.sleep(0.05)

    def _await(self, connection: Connection) -> None:
        deadline = self._clock.monotonic() + CONNECTING
        while True:
            row = connection.execute(
                "SELECT FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'", (SLOT,)
            ).fetchone()
            if row is not None:
                return
            if self._clock.monotonic() > deadline:
                raise NOT_ARCHIVING.error(
                    f"cannot receive the log of {self._cluster.service}: the receiver does not come",
                    hint="its log says why",
                    details=self._services.log_tail(self.service, 10),
                )
            self._clock.sleep(0.05)


def _slot(connection: Connection) -> str | None:
    row = connection.execute(
        "SELECT coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = %s", (SLOT,)
    ).fetchone()
    return row[0] if row is not None else None
