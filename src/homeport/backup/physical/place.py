"""What was restored takes the place of what serves; the files before it stay beside."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from homeport.backup.physical.copy import UNFINISHED
from homeport.backup.physical.errors import IN_THE_WAY, OTHER_TIMELINE, UNKNOWN
from homeport.backup.physical.plan import Served
from homeport.backup.physical.receiver import Receiver
from homeport.backup.physical.records import Records
from homeport.backup.physical.server import Server
from homeport.backup.physical.wal import segment
from homeport.database.connect import Connection
from homeport.database.model import Cluster, Layout
from homeport.database.port import Services
from homeport.database.provision import Clusters
from homeport.system import files

_HISTORY = re.compile(r"([0-9A-F]{8})\.history")


class Place:
    """Where a cluster's own files, restored ones and former ones are. Paths only."""

    def __init__(self, pg: Layout, name: str) -> None:
        self.name = name
        self.current = pg.files
        self.restored = pg.directory / f"restored-{name}"
        self.before = pg.directory / f"before-{name}"

    def must_be_free(self) -> None:
        """Raises ``backup.in_the_way``."""
        for path in (self.restored, self.before):
            if path.exists():
                raise IN_THE_WAY.error(
                    f"cannot restore as {self.name}: {path} is there from before",
                    hint="drop that first, or use another name",
                )


def newest_timeline(files_: Path) -> int:
    """Of a cluster's files, by the histories in them."""
    with suppress(OSError):
        found = [_HISTORY.fullmatch(p.name) for p in (files_ / "pg_wal").iterdir()]
        return max((int(m[1], 16) for m in found if m is not None), default=1)
    return 1


def take(
    place: Place,
    cluster: Cluster,
    clusters: Clusters,
    server: Server,
    services: Services,
    receiver: Receiver,
    records: Records,
    archived: Iterable[int],
) -> None:
    """May be cut off anywhere and called again; what is done already stays as it is.

    ``archived``: timelines whose history is in a repository. Raises ``backup.unknown_backup``,
    ``backup.other_timeline``.
    """
    served = records.served()
    if not place.restored.exists():
        if any(s.name == place.name for s in served):
            return
        raise UNKNOWN.error(f"cannot return to {place.name}: nothing was restored under that name")
    data = place.restored / "data"
    if data.exists():
        if (place.restored / UNFINISHED).exists():
            raise UNKNOWN.error(f"cannot return to {place.name}: its restore did not come to its end")
        timeline = newest_timeline(data)
        if timeline in set(archived):
            raise OTHER_TIMELINE.error(
                f"cannot return to {place.name}: the cluster has returned to another moment since it was restored",
                hint="restore it anew",
            )
        server.mute()
        services.stop(receiver.service)
        services.stop(cluster.service)
        if place.current.exists():
            place.current.rename(place.before)
        data.rename(place.current)
    # It archives nothing before it is settled that it stays: its timeline would be the newest there is.
    server.mute()
    clusters.ensure(cluster.name, dedicated=cluster.dedicated)
    with clusters.superuser(cluster) as connection:
        # What it received is of the log that was left.
        receiver.begin_anew(connection)
        records.keep_served(_served(connection, place, served))
        server.write_settings()
        server.reload(connection)
    files.remove_tree(place.restored, within=place.restored.parent)


def give_back(
    place: Place,
    cluster: Cluster,
    clusters: Clusters,
    server: Server,
    services: Services,
    receiver: Receiver,
    records: Records,
) -> None:
    """Of a :func:`take` that did not come to its end: the cluster serves its own files again, if it had any.

    May be cut off anywhere and called again. Nothing where there was none, or where it came to its end.
    """
    if not place.restored.exists() or any(s.name == place.name for s in records.served()):
        return
    if not place.before.exists() and not (place.restored / "data").exists():
        # Its own files were gone before: what was restored is in their place already.
        take(place, cluster, clusters, server, services, receiver, records, ())
        return
    began = place.before.exists()
    if began:
        services.stop(receiver.service)
        services.stop(cluster.service)
        if place.current.exists():
            place.current.rename(place.restored / "data")
        place.before.rename(place.current)
    if (server.write_settings() or began) and place.current.exists():
        clusters.ensure(cluster.name, dedicated=cluster.dedicated)
        with clusters.superuser(cluster) as connection:
            server.reload(connection)
            receiver.begin_anew(connection)


def _served(connection: Connection, place: Place, served: tuple[Served, ...]) -> tuple[Served, ...]:
    row = connection.execute(
        "SELECT clock_timestamp(), pg_walfile_name(pg_current_wal_insert_lsn())"
    ).fetchone()
    assert row is not None
    since, timeline = row[0], segment(row[1]).timeline
    others = tuple(s for s in served if s.timeline != timeline)
    before = others[-1].timeline if others else newest_timeline(place.before)
    return (*others, Served(timeline, since, before, place.name))
