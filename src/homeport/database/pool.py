"""The pooler before a cluster: its configuration, and holding clients for a moment."""

import select
from collections.abc import Sequence
from contextlib import AbstractContextManager

import psycopg

from homeport.database import commands, machine
from homeport.database.commands import Pool
from homeport.database.connect import Connection, first_line, to_pooler
from homeport.database.errors import BUSY, NOT_ANSWERING
from homeport.database.model import Cluster, Layout
from homeport.database.port import Services
from homeport.database.provision import write_all
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system import process

START_TIMEOUT = 15.0
GRACE = 10.0


class Pooler:
    """PgBouncer of one cluster."""

    def __init__(self, layout: Layout, cluster: Cluster, services: Services, clock: Clock) -> None:
        self._layout = layout
        self._cluster = cluster
        self._services = services
        self._clock = clock
        self._admin = machine.ourselves()

    def ensure(self, pools: Sequence[Pool]) -> None:
        """It runs, and serves exactly these databases and logins. Clients that are there stay."""
        user = machine.user()
        version = commands.pooler_version(
            process.run((str(machine.pooler()), "--version"), timeout=10).stdout
        )
        texts = {
            self._layout.userlist: commands.userlist(pools, admin=self._admin),
            self._layout.pooler_hba: commands.pooler_hba(pools, admin=self._admin),
            self._layout.pooler: commands.pgbouncer_ini(
                self._layout, self._cluster, pools, admin=self._admin, version=version
            ),
        }
        changed = write_all(texts, user)
        ran = self._runs()
        self._services.start(
            self._cluster.pooler_service,
            commands.pooler(machine.pooler(), self._layout),
            directory=str(self._layout.directory),
            user=user,
            stop_signal="INT",
            grace=GRACE,
            rank=2,
            takes_over=True,
        )
        self._await()
        if changed or not ran:
            self.reload()

    def _runs(self) -> bool:
        status = self._services.status(self._cluster.pooler_service)
        return status is not None and status.running

    def _await(self) -> None:
        deadline = self._clock.monotonic() + START_TIMEOUT
        while True:
            try:
                with self._console() as console:
                    console.execute("SHOW VERSION")
                return
            except (HomeportError, psycopg.Error) as e:
                if self._clock.monotonic() > deadline:
                    why = e.sentence if isinstance(e, HomeportError) else first_line(e)
                    raise NOT_ANSWERING.error(
                        f"cannot start {self._cluster.pooler_service}: it does not answer after {START_TIMEOUT:g} s",
                        hint=why,
                        details=self._services.log_tail(self._cluster.pooler_service, 15),
                    ) from None
                self._clock.sleep(0.05)

    def _console(self) -> AbstractContextManager[Connection]:
        return to_pooler(self._layout, self._cluster, self._admin)

    def reload(self) -> None:
        with self._console() as console:
            console.execute("RELOAD")

    def replace(self) -> None:
        """A new process of the pooler takes over from the one that runs; clients notice nothing."""
        self._services.replace(self._cluster.pooler_service)
        self._await()

    def pause(self, database: str, *, timeout: float) -> None:
        """Wait until no transaction runs in it, and hold all clients from then on.

        Past ``timeout`` seconds clients go on as before. Raises ``database.busy``.
        """
        if database in self.paused():
            return
        held = False
        try:
            with self._console() as console:
                held = _finish(console, f"PAUSE {database}", timeout)
        finally:
            if not held:
                with self._console() as console:
                    console.execute(f"RESUME {database}")
        if held:
            return
        raise BUSY.error(
            f"cannot hold the clients of {database}: a transaction did not end within {timeout:g} s",
            hint="homeport db insight shows long transactions; try again, or give it longer",
        )

    def resume(self, database: str) -> None:
        """Nothing when its clients are not held."""
        if database in self.paused():
            with self._console() as console:
                console.execute(f"RESUME {database}")

    def disconnect(self, database: str) -> None:
        """Drop its clients and connections, for a database that goes away."""
        with self._console() as console:
            try:
                console.execute(f"KILL {database}")
                console.execute(f"RESUME {database}")
            except psycopg.Error:
                pass  # it is not in the configuration any more

    def paused(self) -> tuple[str, ...]:
        """Databases whose clients are held just now."""
        with self._console() as console:
            cursor = console.execute("SHOW DATABASES")
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return tuple(str(row["name"]) for row in rows if str(row["paused"]) == "1")


def _finish(console: Connection, statement: str, timeout: float) -> bool:
    """Whether the statement ended in time; raises what it ended with. The connection is of no use if not."""
    pgconn = console.pgconn
    pgconn.send_query(statement.encode())
    pgconn.flush()
    if not select.select([pgconn.socket], [], [], timeout)[0]:
        return False
    while True:
        pgconn.consume_input()
        if not pgconn.is_busy():
            break
        if not select.select([pgconn.socket], [], [], timeout)[0]:
            return False
    while (result := pgconn.get_result()) is not None:
        if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
            raise psycopg.OperationalError(result.get_error_message())
    return True
