"""The clusters of a recovered Homeport: their files, from the repository that its own came from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from homeport.backup.physical.copy import UNFINISHED, remove
from homeport.backup.physical.errors import NOT_REACHED, WAL_GAP
from homeport.backup.physical.model import AtTime, Newest, OfBackup, Progress, Restored, Settings, Target
from homeport.backup.physical.place import Place
from homeport.backup.physical.service import PhysicalBackups
from homeport.backup.repositories import Repositories
from homeport.database import machine
from homeport.database.model import Cluster
from homeport.database.provision import Clusters
from homeport.database.state import DatabaseState
from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine, text_time
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.units import format_moment, format_size
from homeport.runtime.services import SupervisorServices
from homeport.system import files, net
from homeport.system.seal import KEY_FILE

if TYPE_CHECKING:
    from homeport.main.recovering import Recovery

TAKEN = declare(
    "main.port_taken", Kind.CONFLICT, "A port of a recovered database server is taken by another program."
)
NAME = "recovered"
STOPS_ALL = (Kind.MISSING_PART, Kind.NO_SPACE, Kind.UNAVAILABLE)
"""What a person can mend before the recovery is called again."""


def bring_back(r: Recovery) -> None:
    """Each cluster's files, whole and stopped, where its server looks for them."""
    engine = open_engine(r.data_dir / "state.db")
    try:
        store = Store(engine, r.clock)
        state = DatabaseState(store)
        wanted = [c for c in state.clusters() if c.state == "ready"]
        if not wanted or r.known.get("placed"):
            r.keep(placed=True)
            _tell(r)
            return
        services = SupervisorServices(r.data_dir, r.clock)
        clusters = Clusters(r.data_dir, state, services, r.clock, is_port_free=net.is_port_free)
        every = Repositories(store, Vault(store, r.data_dir / KEY_FILE)).for_clusters().repositories
        mine = Settings(tuple(x for x in every if x.name == r.known["repository"]))
        for cluster in wanted:
            _check(cluster)
        for cluster in wanted:
            r.begin(f"bring back cluster {cluster.name}")
            clusters.configure(cluster)
            physical = PhysicalBackups(r.data_dir, cluster, clusters, services, mine, r.clock)
            physical.prepare()
            _one(r, cluster, clusters, physical)
    finally:
        engine.dispose()
    r.keep(placed=True)
    _tell(r)


def _check(cluster: Cluster) -> None:
    machine.programs(cluster.version)
    machine.pooler()
    for port in (cluster.port, cluster.pooler_port):
        if not net.is_port_free(port):
            raise TAKEN.error(
                f"cannot recover cluster {cluster.name}: port {port} is taken by another program",
                hint="end what listens there, such as the former Homeport; then call homeport recover again",
            )


def _one(r: Recovery, cluster: Cluster, clusters: Clusters, physical: PhysicalBackups) -> None:
    layout = clusters.layout(cluster.name)
    place = Place(layout, NAME)
    if (layout.files / "PG_VERSION").is_file():
        r.end("it was brought back already")
        return
    if (place.restored / UNFINISHED).exists() or not (place.restored / "data" / "PG_VERSION").is_file():
        if place.restored.exists():
            remove(place.restored, layout.directory, r.clock)
        try:
            found, why = _restore(r, physical)
        except HomeportError as e:
            if e.kind in STOPS_ALL:
                raise
            _note(r, cluster, lost=[f"cluster {cluster.name} and its databases: {e.sentence}", *e.details])
            r.end(e.sentence, failed=True)
            return
        until = max(filter(None, (found.last_commit_at, found.heartbeat_at)), default=None)
        at = f"up to {format_moment(until)}" if until else f"as of backup {found.label}"
        notes = [f"passed over for cluster {cluster.name}: {text}" for text in found.passed_over]
        when = text_time(until) if until else None
        _note(r, cluster, at=at, until=when, bytes=found.bytes, lost=why, notes=notes)
    # Its server has not run since: this alone makes them the cluster's files.
    os.rename(place.restored / "data", layout.files)
    remove(place.restored, layout.directory, r.clock)
    known = r.known.get("clusters", {}).get(cluster.name)
    if known is None:
        # Cut off after it was whole and before that was noted.
        note = (
            f"a recovery before this one was cut off: how far cluster {cluster.name} came back is not known"
        )
        known = {"bytes": files.tree_bytes(layout.files), "notes": [note]}
        _note(r, cluster, **known)
    r.end(", ".join(filter(None, (format_size(known.get("bytes", 0)), known.get("at")))))


def _restore(r: Recovery, physical: PhysicalBackups) -> tuple[Restored, list[str]]:
    """The nearest to what is wanted, and what is lost where it is not that."""
    repository = r.known["repository"]
    problem: HomeportError | None = None
    for target in _targets(r, physical, repository):
        try:
            found = physical.restore(
                target, NAME, repositories=[repository], told=lambda _, p: _progress(r, p)
            )
        except HomeportError as e:
            if e.type not in (NOT_REACHED, WAL_GAP):
                raise
            problem = problem or e
        else:
            gap = problem is not None and problem.type is WAL_GAP
            return found, [
                f"what came after backup {found.label}: {problem.sentence}"
            ] if gap and problem else []
    assert problem is not None
    raise problem


def _targets(r: Recovery, physical: PhysicalBackups, repository: str) -> Iterator[Target]:
    if r.before is not None:
        yield AtTime(r.before)
    # Where the log ends before that moment, its end is the nearest to it.
    yield Newest()
    # And where the log has a gap, what the newest backup is of.
    for listed in physical.list():
        if listed.name == repository:
            for backup in reversed(listed.backups):
                if r.before is None or backup.stopped_at <= r.before:
                    yield OfBackup(backup.label)


def _progress(r: Recovery, p: Progress) -> None:
    r.told({**r.steps[-1], "progress": {"done": p.done, "total": p.total, "rate": round(p.rate)}})


def _note(r: Recovery, cluster: Cluster, **values: Any) -> None:
    r.keep(clusters={**r.known.get("clusters", {}), cluster.name: values})


def _tell(r: Recovery) -> None:
    for found in r.known.get("clusters", {}).values():
        with suppress(KeyError):
            r.lost += found["lost"]
        with suppress(KeyError):
            r.notes += found["notes"]
