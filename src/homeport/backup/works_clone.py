"""What a child does for a clone. Each may be cut off anywhere and is then done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homeport.backup.clone import applying, catalog, plan, shop, uploads
from homeport.backup.clone.errors import BAD_MASK, NOT_PROVEN_YET, UNMASKED
from homeport.backup.clone.model import Catalog, Column
from homeport.backup.clone.shop import CloneShop
from homeport.backup.physical.errors import NO_SPACE
from homeport.backup.physical.model import OfBackup, PhysicalBackup
from homeport.backup.physical.service import PhysicalBackups
from homeport.backup.restores import fresh
from homeport.backup.restores.errors import NO_DATABASE
from homeport.backup.restores.model import Place
from homeport.backup.telling import telling
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.database.connect import Connection
from homeport.database.errors import UNKNOWN
from homeport.database.model import Cluster, Provisioned
from homeport.database.pool import Pooler
from homeport.journal.store import text_time
from homeport.kernel.units import format_size
from homeport.spec.model_backup import Mask
from homeport.system import files

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]
SPACE = 4
"""Times a database's size: its rows once more, their log, the dump, and the clone."""


def copy(box: Toolbox, request: Request, say: Say) -> Any:
    """The newest proven backup of the source's cluster, in files beside it."""
    source, cluster = _row(box, request["source"])
    physical = box.physical(cluster.name)
    physical.prepare()
    CloneShop(box, cluster.name, request["run"]).end()
    patiently(box.clock, lambda: physical.drop_restored(request["run"]))
    backup = _proven(box, physical, source, request["repository"], request["backup"])
    restored = patiently(
        box.clock,
        lambda: physical.restore(
            OfBackup(backup.label),
            request["run"],
            repositories=(backup.repository,),
            told=telling(box.clock, say),
        ),
    )
    return {
        "repository": restored.repository,
        "label": restored.label,
        "of": text_time(backup.stopped_at),
        "bytes": restored.bytes,
    }


def mask(box: Toolbox, request: Request, say: Say) -> Any:
    """The database in the copy tells of nobody any more, and is taken out of it."""
    source, cluster = _row(box, request["source"])
    target, _ = _row(box, request["target"])
    workshop = CloneShop(box, cluster.name, request["run"])
    wanted = [Mask(**m) for m in request["masks"]]
    with workshop.copy() as past:
        with past.connect("postgres") as connection:
            if not fresh.exists(connection, source.database):
                raise NO_DATABASE.error(
                    f"cannot clone {source.label}: it did not exist yet when that backup was made",
                    hint="homeport backup run",
                )
        with past.connect(source.database) as connection:
            _check_room(connection, workshop, source)
            found = catalog.read(connection)
            masks, problems = plan.planned(found, wanted, source.name)
            if problems:
                raise BAD_MASK.error(
                    f"cannot clone {source.label}: {problems[0]}",
                    hint=_hint(source),
                    details=problems[1:],
                )
            _refuse_unmasked(connection, found, wanted, source)
            with connection.transaction():
                rows = applying.apply(connection, masks, _columns(found))
                applying.give_roles(connection, source, target)
            extensions = catalog.extensions(connection)
        workshop.take_out(source.database, extensions)
    return {
        "columns": len(masks),
        "tables": len({(m.column.schema, m.column.table) for m in masks}),
        "rows": rows,
    }


def _check_room(connection: Connection, workshop: CloneShop, source: Provisioned) -> None:
    """Raises ``backup.no_space``."""
    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    wanted = SPACE * int(row[0]) if row else 0
    free = files.free_bytes(workshop.directory)
    if free < wanted:
        raise NO_SPACE.error(
            f"cannot clone {source.label}: it needs {format_size(wanted)}, and {format_size(free)} are free",
            hint=f"make room on the disk of {workshop.directory}",
        )


def _refuse_unmasked(connection: Connection, found: Catalog, wanted: list[Mask], source: Provisioned) -> None:
    suspects = catalog.suspects(connection, found, plan.named(found, wanted))
    if not suspects:
        return
    many = f"{len(suspects)} columns look" if len(suspects) > 1 else "a column looks"
    raise UNMASKED.error(
        f"cannot clone {source.label}: {many} as if they told of people, and no mask names them",
        hint=_hint(source) + '; "keep" where the values may be seen',
        details=[f"{s.line(source.name)}  # {s.why}" for s in suspects],
    )


def _hint(source: Provisioned) -> str:
    return f"[backup.mask] in homeport.toml, and a deploy to {source.environment}"


def _columns(found: Catalog) -> dict[tuple[str, str], list[str]]:
    by_table: dict[tuple[str, str], list[str]] = {}
    for column in found.columns:
        if not column.generated:
            by_table.setdefault(_table(column), []).append(column.name)
    return by_table


def _table(column: Column) -> tuple[str, str]:
    return column.schema, column.table


def load(box: Toolbox, request: Request, say: Say) -> Any:
    """The dump into a new database beside the target's."""
    _, source_cluster = _row(box, request["source"])
    target, cluster = _row(box, request["target"])
    place = Place.of(request["place"])
    workshop = CloneShop(box, source_cluster.name, request["run"])
    workshop.end()
    with box.clusters.superuser(cluster) as admin:
        fresh.make(admin, target, place.fresh, ())
        with box.clusters.superuser(cluster, place.fresh) as inside:
            schemas = shop.prepare(inside, target, place.fresh, workshop.extensions())
        fresh.set_limit(admin, place.fresh, shop.SOME_CONNECTIONS)
        workshop.put_in(admin, cluster, target, place.fresh, schemas)
        fresh.give_same_rights(admin, target.database, place.fresh)
        with (
            box.clusters.superuser(cluster, place.fresh) as inside,
            box.clusters.superuser(cluster, target.database) as present,
        ):
            inside.execute("ANALYZE")
            missing = catalog.migrations(present) - catalog.migrations(inside)
    return {"migrations": sorted(missing)}


def switch(box: Toolbox, request: Request, say: Say) -> Any:
    """The clone serves; what served before stays beside it."""
    target, cluster = _row(box, request["target"])
    place = Place.of(request["place"])
    why = {"clone": request["source"]["environment"]}
    with box.clusters.superuser(cluster) as admin:
        return fresh.switch(admin, _pooler(box, target, cluster), target, place, why, box.clock)


def drop_former(box: Toolbox, request: Request, say: Say) -> Any:
    """What served before is gone. A step of its own: by it the switch, done again, knows that it was done."""
    _, cluster = _row(box, request["target"])
    with box.clusters.superuser(cluster) as admin:
        fresh.drop(admin, Place.of(request["place"]).before)
    return {}


def bring_files(box: Toolbox, request: Request, say: Say) -> Any:
    """The source's files, not masked, in the place of the target's."""
    target, source = request["target"], request["source"]
    return patiently(
        box.clock,
        lambda: uploads.bring(
            box.files(),
            [r.name for r in box.repositories.for_files()],
            target["app"],
            source["environment"],
            target["environment"],
            run=request["run"],
            replace=request["replace"],
        ),
    )


def tidy(box: Toolbox, request: Request, say: Say) -> Any:
    """Nothing of the run is left but what is kept on purpose."""
    place = Place.of(request["place"])
    physical = box.physical(request["cluster"])
    physical.prepare()
    workshop = CloneShop(box, request["cluster"], request["run"])
    workshop.end()
    patiently(box.clock, lambda: physical.drop_restored(request["run"]))
    of = place.app, request["source"]["environment"], place.environment
    patiently(box.clock, lambda: uploads.tidy(box.files(), request["run"], *of))
    if box.state.database(place.app, place.environment, place.name) is None:
        return {}  # it went with its environment
    target, cluster = _row(box, request["target"])
    with box.clusters.superuser(cluster) as admin:
        shop.drop_login(admin, workshop.login)
        fresh.put_back(admin, _pooler(box, target, cluster), target, place)
    return {}


WORKS = {
    "clone-copy": copy,
    "clone-mask": mask,
    "clone-load": load,
    "clone-switch": switch,
    "clone-drop-former": drop_former,
    "clone-files": bring_files,
    "clone-tidy": tidy,
}


def _proven(
    box: Toolbox, physical: PhysicalBackups, source: Provisioned, repository: str, label: str
) -> PhysicalBackup:
    """The newest one, or the named one. Raises ``backup.not_proven_yet``."""
    proven, problems = [], []
    wanted = {box.repositories.get(repository).name} if repository else None
    for listed in physical.list():
        if wanted is not None and listed.name not in wanted:
            continue
        if listed.problem:
            problems.append(listed.problem)
        for backup in listed.backups:
            proof = physical.records.proof(listed.name, backup.label)
            if proof is not None and proof.passed and label in ("", backup.label):
                proven.append(backup)
    if not proven:
        which = f"backup {label}" if label else "no backup"
        raise NOT_PROVEN_YET.error(
            f"cannot clone {source.label}: {which} was {'not ' if label else ''}proven by a restore",
            hint="homeport backup run makes one and proves it; homeport backup list",
            details=problems,
        )
    return max(proven, key=lambda b: b.stopped_at)


def _row(box: Toolbox, of: Mapping[str, str]) -> tuple[Provisioned, Cluster]:
    row = box.state.database(of["app"], of["environment"], of["name"])
    if row is None:
        raise UNKNOWN.error(f"cannot find database {of['name']} of {of['app']} {of['environment']}")
    return row, box.cluster(row.cluster)


def _pooler(box: Toolbox, row: Provisioned, cluster: Cluster) -> Pooler | None:
    if row.pool == "none":
        return None
    return Pooler(box.clusters.layout(cluster.name), cluster, box.services, box.clock)
