"""What a child does for a restore. Each may be cut off anywhere and is then done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import psycopg

from homeport.backup import works_restore_dumps, works_restore_files, works_restore_look
from homeport.backup.physical.copy import Copy
from homeport.backup.physical.model import Restored
from homeport.backup.physical.pgbackrest import PgBackRest
from homeport.backup.physical.restore import choose
from homeport.backup.restores import commands, contents, fresh, migrated, side
from homeport.backup.restores.errors import DIFFERS, NO_DATABASE, NOT_CONFIRMED, UNKNOWN_KEPT
from homeport.backup.restores.model import Place, target_of
from homeport.backup.restores.workshop import Workshop
from homeport.backup.telling import telling
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.database.errors import UNKNOWN
from homeport.database.model import Cluster, Provisioned
from homeport.database.pool import Pooler
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_moment
from homeport.system import files

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]


def chosen(box: Toolbox, request: Request, say: Say) -> Any:
    """From which backups a moment can be reached, the best first. Raises what speaks against the moment."""
    physical = box.physical(request["cluster"])
    physical.prepare()
    settings = box.repositories.for_clusters()
    program = PgBackRest(box.data_dir, request["cluster"], settings, box.clock)
    names = _repositories(box, request)
    found, unreadable = choose(program, target_of(request["target"]), box.clock, names)
    return {
        "backups": [
            {"repository": b.repository, "label": b.label, "at": text_time(b.stopped_at), "bytes": b.bytes}
            for b in found
        ],
        "unreadable": unreadable,
    }


def copy(box: Toolbox, request: Request, say: Say) -> Any:
    """A copy of the cluster as it was at the target, in files."""
    physical = box.physical(request["cluster"])
    physical.prepare()
    workshop = Workshop(box, request["cluster"], request["run"])
    workshop.end()
    patiently(box.clock, lambda: physical.drop_restored(request["run"]), say)
    restored = patiently(
        box.clock,
        lambda: physical.restore(
            target_of(request["target"]),
            request["run"],
            repositories=_repositories(box, request),
            told=telling(box.clock, say),
        ),
        say,
    )
    return restored_document(restored)


def restored_document(r: Restored) -> dict[str, Any]:
    return {
        "repository": r.repository,
        "label": r.label,
        "bytes": r.bytes,
        "seconds": round(r.seconds, 3),
        "last_commit_at": text_time(r.last_commit_at) if r.last_commit_at else None,
        "heartbeat_at": text_time(r.heartbeat_at) if r.heartbeat_at else None,
        "passed_over": list(r.passed_over),
    }


def compare(box: Toolbox, request: Request, say: Say) -> Any:
    """What a return to the copy would change in the database, table by table."""
    place, row, cluster = _place(box, request)
    workshop = Workshop(box, place.cluster, place.run)
    with workshop.copy() as past:
        _must_be_in(past, row)
        now, then = contents.both(box.clusters.superuser(cluster, row.database), past.connect(row.database))
        with (
            box.clusters.superuser(cluster, row.database) as present,
            past.connect(row.database) as before,
        ):
            found = contents.lost(now, then, present, before)
            missing = migrated.versions(present) - migrated.versions(before)
    return {
        "losses": [asdict(loss) for loss in found],
        "tables": len(now),
        "migrations": sorted(missing),
    }


def take(box: Toolbox, request: Request, say: Say) -> Any:
    """The database out of the copy into one beside that which serves, and compared with what it was taken from."""
    place, row, cluster = _place(box, request)
    workshop = Workshop(box, place.cluster, place.run)
    began = box.clock.monotonic()
    with workshop.copy() as past, box.clusters.superuser(cluster) as admin:
        _must_be_in(past, row)
        with past.connect(row.database) as inside:
            roles, extensions = fresh.roles_of(inside), fresh.extensions(inside)
        fresh.make(admin, row, place.fresh, roles)
        fresh.give_same_rights(admin, row.database, place.fresh)
        if extensions:
            with box.clusters.superuser(cluster, place.fresh) as filling:
                fresh.make_extensions(filling, extensions)
        dump = workshop.dump(row.database)
        workshop.load(dump, place.fresh)
        there, here = contents.both(past.connect(row.database), box.clusters.superuser(cluster, place.fresh))
        wrong = contents.different(there, here)
        if wrong:
            raise DIFFERS.error(
                f"cannot bring back {row.label}: what was taken out of the copy is not what is in it",
                details=wrong,
            )
        with (
            box.clusters.superuser(cluster, place.fresh) as filling,
            box.clusters.superuser(cluster, row.database) as present,
        ):
            filling.execute("ANALYZE")
            missing = migrated.versions(present) - migrated.versions(filling)
    return {
        "tables": len(here),
        "rows": sum(t.rows for t in here.values()),
        "seconds": round(box.clock.monotonic() - began, 3),
        "migrations": sorted(missing),
    }


def switch(box: Toolbox, request: Request, say: Say) -> Any:
    """The database that was brought back serves."""
    place, row, cluster = _place(box, request)
    with box.clusters.superuser(cluster) as admin:
        return fresh.switch(admin, _pooler(box, row, cluster), row, place, request["why"], box.clock)


def tidy(box: Toolbox, request: Request, say: Say) -> Any:
    """Nothing of the run is left but what is kept on purpose."""
    place, row, cluster = _place(box, request)
    physical = box.physical(place.cluster)
    physical.prepare()
    Workshop(box, place.cluster, place.run).end()
    patiently(box.clock, lambda: physical.drop_restored(place.run), say)
    if request["switches"]:
        with box.clusters.superuser(cluster) as admin:
            fresh.put_back(admin, _pooler(box, row, cluster), row, place)
    else:
        with box.clusters.superuser(cluster, row.database) as inside:
            side.drop_unfinished(inside, place.side)
    return {}


def tables(box: Toolbox, request: Request, say: Say) -> Any:
    """Tables out of the copy into a schema beside those that serve, and how they differ."""
    place, row, cluster = _place(box, request)
    workshop = Workshop(box, place.cluster, place.run)
    with workshop.copy() as past, box.clusters.superuser(cluster, row.database) as inside:
        _must_be_in(past, row)
        with past.connect(row.database) as before:
            wanted = side.resolve(before, request["tables"], place.side)
            definitions = side.move(before, row.owner, wanted, place.side)
        dump = workshop.dump(row.database, place.side)
        side.drop(inside, place.side)
        workshop.load(dump, row.database, chosen=commands.beside(workshop.contents(dump)))
        there, here = contents.both(
            past.connect(row.database),
            box.clusters.superuser(cluster, row.database),
            schema=place.side,
        )
        wrong = contents.different(there, here)
        if wrong:
            raise DIFFERS.error(
                f"cannot bring back tables of {row.label}: what was taken out of the copy is not what is in it",
                details=wrong,
            )
        inside.execute("SET statement_timeout = 0")
        side.note(inside, place.side, side.note_of(place, wanted, definitions))
        return {"schema": place.side, "differences": side.compare(inside, place.side)}


def merge(box: Toolbox, request: Request, say: Say) -> Any:
    """Rows of tables that were brought back beside, over to those that serve."""
    row = box.state.database(request["app"], request["environment"], request["database"])
    if row is None:
        raise UNKNOWN.error(f"cannot find database {request['database']}")
    with box.clusters.superuser(box.cluster(row.cluster), row.database) as inside:
        if not any(k["name"] == request["schema"] for k in side.kept(inside)):
            raise UNKNOWN_KEPT.error(
                f"cannot merge {request['schema'][:100]}: no tables were brought back there",
                hint="homeport restore list",
            )
        done = side.merge(inside, request["schema"], missing=request["missing"], changed=request["changed"])
    return {"merged": done}


def place_cluster(box: Toolbox, request: Request, say: Say) -> Any:
    """The copy takes the place of the cluster's files. Clients of the pooler wait meanwhile."""
    name, run = request["cluster"], request["run"]
    cluster = box.cluster(name)
    physical = box.physical(name, synchronous=request["synchronous"])
    physical.prepare()
    began = box.clock.monotonic()
    with suppress(HomeportError, psycopg.Error):
        # One that does not answer, or a server that is gone, holds nobody.
        for row in _pooled(box, name):
            with suppress(HomeportError):
                Pooler(box.clusters.layout(name), cluster, box.services, box.clock).pause(
                    row.database, timeout=fresh.PAUSE
                )
    before = patiently(box.clock, lambda: physical.take_place(run), say)
    return {
        "kept": before.name if before.exists() else None,
        "held": round(box.clock.monotonic() - began, 3),
    }


def tidy_cluster(box: Toolbox, request: Request, say: Say) -> Any:
    """Clients go on, and no copy is left but the former files; these serve where the copy does not."""
    name = request["cluster"]
    physical = box.physical(name, synchronous=request.get("synchronous", False))
    physical.prepare()
    try:
        patiently(box.clock, lambda: physical.give_back(request["run"]), say)
    finally:
        patiently(box.clock, lambda: physical.drop_restored(request["run"]), say)
        pooler = Pooler(box.clusters.layout(name), box.cluster(name), box.services, box.clock)
        for row in _pooled(box, name):
            pooler.resume(row.database)
    return {}


def _pooled(box: Toolbox, cluster: str) -> list[Provisioned]:
    return [r for r in box.state.databases(cluster=cluster) if r.state == "ready" and r.pool != "none"]


def kept(box: Toolbox, request: Request, say: Say) -> Any:
    """What restores have kept or brought back beside, in every cluster that answers."""
    found: list[dict[str, Any]] = []
    problems: list[str] = []
    for cluster in box.state.clusters():
        if cluster.state != "ready":
            continue
        for path in sorted(box.clusters.layout(cluster.name).directory.glob("before-*")):
            found.append(
                {"name": path.name, "kind": "cluster", "cluster": cluster.name, "app": "", "environment": "",
                 "database": "all", "run": path.name.removeprefix("before-"), "bytes": files.tree_bytes(path)}
            )  # fmt: skip
        try:
            with box.clusters.superuser(cluster) as admin:
                found += [{**k, "kind": "database", "cluster": cluster.name} for k in fresh.kept(admin)]
            for row in box.state.databases(cluster=cluster.name):
                if row.state == "ready":
                    with box.clusters.superuser(cluster, row.database) as inside:
                        found += [{**k, "kind": "schema", "cluster": cluster.name} for k in side.kept(inside)]
        except HomeportError as e:
            problems.append(e.sentence)
    theirs, silent = works_restore_dumps.kept(box, request.get("attached", []))
    return {"kept": [*found, *theirs, *works_restore_files.kept(box)], "problems": [*problems, *silent]}


def drop(box: Toolbox, request: Request, say: Say) -> Any:
    """Remove what was kept. Raises ``restore.unknown``, ``restore.not_confirmed``."""
    found = next((k for k in kept(box, request, say)["kept"] if k["name"] == request["name"]), None)
    mine = (request["app"], request["environment"])
    clusters = {r.cluster for r in box.state.databases(app=mine[0]) if r.environment == mine[1]}
    if found is None or not (
        (found["app"], found["environment"]) == mine
        or (found["kind"] == "cluster" and found["cluster"] in clusters)
    ):
        raise UNKNOWN_KEPT.error(
            f"cannot drop {request['name'][:100]}: no restore has kept it", hint="homeport restore list"
        )
    if request["confirm"] != request["name"]:
        raise NOT_CONFIRMED.error(
            f"cannot drop {request['name']}: its name was not repeated", hint=f"--confirm {request['name']}"
        )
    if found["kind"] == "files":
        works_restore_files.drop(box, found["name"])
        return found
    if "attached" in found:
        works_restore_dumps.drop(box, found)
        return found
    cluster = box.cluster(found["cluster"])
    if found["kind"] == "cluster":
        patiently(box.clock, lambda: box.physical(cluster.name).drop_before(found["run"]), say)
        return found
    if found["kind"] == "schema":
        row = box.state.database(found["app"], found["environment"], found["database"])
        assert row is not None
        with box.clusters.superuser(cluster, row.database) as inside:
            side.drop(inside, found["name"])
        return found
    with box.clusters.superuser(cluster) as admin:
        fresh.drop(admin, found["name"])
    return found


WORKS = {
    "restore-choose": chosen,
    "restore-copy": copy,
    "restore-compare": compare,
    "restore-take": take,
    "restore-switch": switch,
    "restore-tidy": tidy,
    "restore-tables": tables,
    "restore-merge": merge,
    "restore-place": place_cluster,
    "restore-tidy-cluster": tidy_cluster,
    "restore-kept": kept,
    "restore-drop": drop,
    **works_restore_files.WORKS,
    **works_restore_dumps.WORKS,
    **works_restore_look.WORKS,
}


def _repositories(box: Toolbox, request: Request) -> tuple[str, ...]:
    """The named one, or all."""
    named = request.get("repository")
    if named:
        return (box.repositories.get(named).name,)
    return tuple(r.name for r in box.repositories.for_clusters().repositories)


def _place(box: Toolbox, request: Request) -> tuple[Place, Provisioned, Cluster]:
    place = Place.of(request["place"])
    row = box.state.database(place.app, place.environment, place.name)
    if row is None:
        raise UNKNOWN.error(f"cannot find database {place.name} of {place.app} {place.environment}")
    return place, row, box.cluster(place.cluster)


def _pooler(box: Toolbox, row: Provisioned, cluster: Cluster) -> Pooler | None:
    if row.pool == "none":
        return None
    return Pooler(box.clusters.layout(cluster.name), cluster, box.services, box.clock)


def _must_be_in(past: Copy, row: Provisioned) -> None:
    with past.connect("postgres") as connection:
        if not fresh.exists(connection, row.database):
            raise NO_DATABASE.error(
                f"cannot bring back {row.label}: it did not exist at that moment",
                hint=f"it was made at {format_moment(row.created_at)}",
            )
