"""Clusters: their files made once and never again, their configuration, their server as a service.

A cluster's row says "making" before the first file is made, and "ready" when all are. So what lies in its
directory while the row says "making" is ours and may be removed; what is "ready" and has no files was lost,
and is told, not made anew.
"""

import os
import pwd
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from zlib import crc32

from homeport.database import commands, machine
from homeport.database.connect import Connection, as_superuser, has_files
from homeport.database.errors import (
    FILES_GONE,
    INITDB_FAILED,
    NO_PORT,
    NOT_ANSWERING,
    NOT_OURS,
)
from homeport.database.events import ClusterMade
from homeport.database.model import Cluster, Layout
from homeport.database.port import Services
from homeport.database.sizing import Sizes, sizes
from homeport.database.state import DatabaseState, add_cluster, remove_cluster, set_cluster
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system import files, process

PORTS = range(16400, 17000)
"""Below what Homeport gives to instances (20000), and what Linux gives to outgoing connections (32768)."""
INITDB_TIMEOUT = 120.0
START_TIMEOUT = 60.0
"""Seconds for a server to take connections; a crash recovery is within."""
GRACE = 60.0
ACTOR = "homeport"


class Clusters:
    def __init__(
        self,
        data_dir: Path,
        state: DatabaseState,
        services: Services,
        clock: Clock,
        *,
        is_port_free: Callable[[int], bool],
    ) -> None:
        self._data = data_dir
        self._state = state
        self._services = services
        self._clock = clock
        self._is_port_free = is_port_free

    def layout(self, name: str) -> Layout:
        return Layout(self._data, name)

    def ensure(self, name: str, *, dedicated: bool) -> Cluster:
        """A server that answers. Raises what this module's errors name, and the services' own."""
        cluster = self._state.cluster(name) or self._record(name, dedicated)
        if cluster.state == "making":
            cluster = self._make(cluster)
        elif not has_files(self.layout(name)):
            where = self.layout(name).files
            raise FILES_GONE.error(
                f"cannot start cluster {name}: its files in {where} are gone",
                hint=f"where it is backed up: homeport restore --cluster {name} --plan; else put them back. Homeport "
                "makes no empty one in their place",
            )
        changed = self.configure(cluster)
        self._start(cluster)
        self._await(cluster)
        if changed:
            with self.superuser(cluster) as connection:
                connection.execute("SELECT pg_reload_conf()")
        return cluster

    def superuser(self, cluster: Cluster, database: str = "postgres") -> AbstractContextManager[Connection]:
        return as_superuser(self.layout(cluster.name), cluster, database)

    def sizes(self) -> Sizes:
        return sizes(machine.memory(), process.cores(), max(1, len(self._state.clusters())))

    # Making one

    def _record(self, name: str, dedicated: bool) -> Cluster:
        layout = self.layout(name)
        if layout.directory.exists() and any(layout.directory.iterdir()):
            raise NOT_OURS.error(
                f"cannot make cluster {name}: there are files in {layout.directory} that state.db does not know",
                hint="if they are of this Homeport, put back its state.db; else move them away",
            )
        version, _ = machine.programs()
        machine.pooler()
        taken = {port for c in self._state.clusters() for port in (c.port, c.pooler_port)}
        port = self._port(taken)
        cluster = Cluster(name, version, "making", port, self._port(taken | {port}), dedicated)
        with self._state.store.transaction(ACTOR) as tx:
            add_cluster(tx, cluster)
        return cluster

    def _port(self, taken: set[int]) -> int:
        start = crc32(str(self._data).encode())
        for n in range(len(PORTS)):
            port = PORTS[(start + n) % len(PORTS)]
            if port not in taken and self._is_port_free(port):
                return port
        raise NO_PORT.error(f"cannot find a free port: all of {PORTS.start} to {PORTS[-1]} are taken")

    def _make(self, cluster: Cluster) -> Cluster:
        layout = self.layout(cluster.name)
        user = machine.user()
        self._directories(layout, user)
        machine.must_reach(layout.directory, user, "PostgreSQL")
        if not (layout.files / "PG_VERSION").is_file():
            self._initdb(cluster, layout, user)
        with self._state.store.transaction(ACTOR) as tx:
            set_cluster(tx, cluster.name, state="ready")
            tx.append(ClusterMade(cluster=cluster.name, version=cluster.version))
        made = self._state.cluster(cluster.name)
        assert made is not None
        return made

    def _initdb(self, cluster: Cluster, layout: Layout, user: str | None) -> None:
        owner, instance = str(self._data), f"{cluster.service}.initdb"
        process.kill_marked(owner, instance)
        files.remove_tree(layout.unfinished, within=layout.directory)
        _, programs = machine.programs(cluster.version)
        layout.unfinished.mkdir(mode=0o700)
        _hand_over(layout.unfinished, user)
        marks = {process.OWNER: owner, process.INSTANCE: instance}
        try:
            process.run(
                commands.as_user(commands.initdb(programs, layout.unfinished), user),
                timeout=INITDB_TIMEOUT,
                cwd=layout.directory,
                env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", **marks},
            )
        except HomeportError as e:
            with suppress(OSError):
                files.remove_tree(layout.unfinished, within=layout.directory)
            raise INITDB_FAILED.error(
                f"cannot make the files of cluster {cluster.name}: {e.sentence}",
                hint=f"see that {layout.directory} has room and its disk takes writes",
                details=e.details,
            ) from e
        os.rename(layout.unfinished, layout.files)
        directory = os.open(layout.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _directories(self, layout: Layout, user: str | None) -> None:
        layout.clusters.mkdir(mode=0o755, exist_ok=True)
        layout.directory.mkdir(mode=0o750, exist_ok=True)
        layout.directory.chmod(0o750)
        if user is not None:
            os.chown(layout.directory, -1, pwd.getpwnam(user).pw_gid)
        layout.sockets.mkdir(mode=0o700, exist_ok=True)
        _hand_over(layout.sockets, user)

    # Running one

    def configure(self, cluster: Cluster) -> bool:
        """Write its configuration; returns whether something changed. It takes a reload, or a restart."""
        layout = self.layout(cluster.name)
        user = machine.user()
        self._directories(layout, user)
        system_users = [machine.ourselves(), *([user] if user else [])]
        texts = {
            layout.conf: commands.postgresql_conf(layout, cluster, self.sizes()),
            layout.hba: commands.hba(),
            layout.ident: commands.ident(system_users),
        }
        return write_all(texts, user)

    def _start(self, cluster: Cluster) -> None:
        _, programs = machine.programs(cluster.version)
        layout = self.layout(cluster.name)
        self._services.start(
            cluster.service,
            commands.server(programs, layout),
            directory=str(layout.directory),
            user=machine.user(),
            stop_signal="INT",
            grace=GRACE,
            rank=0,
        )

    def _await(self, cluster: Cluster) -> None:
        deadline = self._clock.monotonic() + START_TIMEOUT
        while True:
            try:
                with self.superuser(cluster) as connection:
                    _close_what_is_shared(connection)
                return
            except HomeportError as e:
                if e.code != NOT_ANSWERING.code:
                    raise
                if self._clock.monotonic() > deadline:
                    raise NOT_ANSWERING.error(
                        f"cannot start {cluster.service}: it takes no connections after {START_TIMEOUT:g} s",
                        hint=e.sentence,
                        details=self._services.log_tail(cluster.service, 15),
                    ) from None
                self._clock.sleep(0.05)

    def restart(self, cluster: Cluster) -> None:
        """End the server (fast shutdown) and start it; returns when it answers."""
        self._services.restart(cluster.service)
        self._await(cluster)

    def needs_restart(self, cluster: Cluster) -> tuple[str, ...]:
        """Settings whose new value waits for a restart."""
        with self.superuser(cluster) as connection:
            rows = connection.execute("SELECT name FROM pg_settings WHERE pending_restart ORDER BY name")
            return tuple(name for (name,) in rows)

    def remove(self, cluster: Cluster) -> None:
        """Stop a cluster and remove its files: all that is in it is lost."""
        self._services.stop(cluster.pooler_service)
        self._services.stop(cluster.service)
        layout = self.layout(cluster.name)
        files.remove_tree(layout.directory, within=layout.clusters)
        with self._state.store.transaction(ACTOR) as tx:
            remove_cluster(tx, cluster.name)


def _close_what_is_shared(connection: Connection) -> None:
    """Databases that belong to nobody are for nobody but the superuser."""
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE datname IN ('postgres', 'template1') AND EXISTS "
        "(SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0)"
    ).fetchall()
    for (name,) in rows:
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def _hand_over(directory: Path, user: str | None) -> None:
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(directory, entry.pw_uid, entry.pw_gid)


def write_all(texts: Mapping[Path, str], group: str | None) -> bool:
    """Write files that the server's user may read and not change; returns whether any was otherwise before."""
    return bool([path for path, text in texts.items() if _write(path, text, group)])


def _write(path: Path, text: str, group: str | None) -> bool:
    with suppress(FileNotFoundError):
        if path.read_text() == text and path.stat().st_mode & 0o777 == 0o640:
            return False
    fresh = path.with_name(f"{path.name}.new")
    files.write_atomic(fresh, text, mode=0o640)
    if group is not None:
        shutil.chown(fresh, group=pwd.getpwnam(group).pw_gid)
    os.replace(fresh, path)
    return True
