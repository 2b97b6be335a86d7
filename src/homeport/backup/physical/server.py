"""What backups need of the server that serves: its settings, its log archived as far as now, a heartbeat."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from homeport.backup.physical import commands, heartbeat, looking
from homeport.backup.physical.errors import NOT_ARCHIVING, SERVER
from homeport.backup.physical.model import BackupLayout, Settings
from homeport.backup.physical.plan import ServerLook
from homeport.backup.physical.wal import Segment, archived_until, segment
from homeport.database import machine
from homeport.database.connect import Connection, first_line
from homeport.database.model import Cluster
from homeport.database.provision import Clusters, write_all
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError

RELOADING = 10.0
WATCHED = ("archive_command", "synchronous_standby_names")


class Server:
    def __init__(
        self, cluster: Cluster, clusters: Clusters, settings: Settings, layout: BackupLayout, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._clusters = clusters
        self._settings = settings
        self._layout = layout
        self._pg = clusters.layout(cluster.name)
        self._clock = clock

    @contextmanager
    def connect(self, database: str = "postgres") -> Iterator[Connection]:
        """As the superuser. Raises ``database.not_answering``, and ``backup.server`` for what is refused."""
        import psycopg

        with self._clusters.superuser(self._cluster, database) as connection:
            try:
                yield connection
            except psycopg.Error as e:
                raise SERVER.error(
                    f"cannot do what backups need in cluster {self._cluster.name}: {first_line(e)}"
                ) from e

    def write_settings(self) -> bool:
        """Whether they were otherwise before."""
        conf = {self._pg.backup_conf: commands.server_conf(self._settings, self._layout)}
        return write_all(conf, machine.user())

    def mute(self) -> None:
        """It archives nothing more, if it answers: one that is to stop would wait for a store that does not answer,
        three times. Until :meth:`write_settings`."""
        muted = commands.server_conf(self._settings, self._layout) + "archive_command = ''\n"
        write_all({self._pg.backup_conf: muted}, machine.user())
        with suppress(HomeportError), self.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")

    def reload(self, connection: Connection) -> None:
        """Returns when the server has the settings, or somebody's ALTER SYSTEM stands above them."""
        deadline = self._clock.monotonic() + RELOADING
        wanted = commands.server_settings(self._settings, self._layout)
        while True:
            found = connection.execute(
                "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)", (list(WATCHED),)
            ).fetchall()
            if all(wanted[name] == value for name, value in found) or self._clock.monotonic() > deadline:
                return
            connection.execute("SELECT pg_reload_conf()")
            self._clock.sleep(0.05)

    def look(self, connection: Connection) -> ServerLook:
        return looking.look(connection, self._pg.files)

    def beat(self) -> datetime:
        with self.connect() as connection:
            heartbeat.ensure(connection)
            return heartbeat.beat(connection)

    def flush(self, seconds: float) -> str:
        """All that is committed by now is archived; returns the name of its last segment.

        Raises ``backup.not_archiving``.
        """
        with self.connect() as connection:
            heartbeat.ensure(connection)
            heartbeat.beat(connection)
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            assert row is not None
            return str(self._archived(connection, segment(row[0]), seconds))

    def archived(self, wanted: Segment, seconds: float) -> None:
        """Returns when a segment that is complete is archived. Raises ``backup.not_archiving``."""
        with self.connect() as connection:
            self._archived(connection, wanted, seconds)

    def _archived(self, connection: Connection, wanted: Segment, seconds: float) -> Segment:
        deadline = self._clock.monotonic() + seconds
        while True:
            last = self.look(connection)
            done = archived_until(last.last_archived)
            if done is not None and done >= wanted:
                return wanted
            if self._clock.monotonic() > deadline:
                failed = f"; {last.last_failed} failed" if last.last_failed else ""
                raise NOT_ARCHIVING.error(
                    f"cannot archive {wanted} of cluster {self._cluster.name} within {seconds:g} s{failed}",
                    hint="the server's log says why",
                )
            self._clock.sleep(0.1)


def system_id(connection: Connection) -> int:
    """What initdb gave the cluster; a copy of it has the same."""
    row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    assert row is not None
    return int(row[0])
