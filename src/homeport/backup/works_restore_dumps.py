"""What a child does for a restore of a database that somebody else runs: out of one of its dumps. Each may be cut off
anywhere and is then done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from typing import Any

import psycopg

from homeport.backup import works_restore_files
from homeport.backup.files.dumps import Dumps
from homeport.backup.files.errors import NO_SCRATCH
from homeport.backup.files.model import dump_series
from homeport.backup.files.scratch_database import Scratch, connect, sweep
from homeport.backup.restores import commands, contents, fresh, migrated, side, theirs
from homeport.backup.restores.errors import DIFFERS, NO_DUMP, NO_FILES, UNKNOWN_KEPT
from homeport.backup.restores.model import Place, losses
from homeport.backup.restores.rights import cannot_beside, cannot_in_place, too_new
from homeport.backup.restores.theirs import Theirs
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.database import attached, machine, urls
from homeport.database.connect import first_line
from homeport.journal.store import text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]
COUNTED = "rows were counted and not compared: there is no server of Homeport's own to unpack the dump in"


def choose(box: Toolbox, request: Request, say: Say) -> Any:
    """The newest dump that a moment allows, and whether the server allows what is asked for.

    ``way``: "in place", "beside" or "look". Raises ``restore.no_dump``, ``.attached_database``, ``.server_newer``.
    """
    of = _theirs(box, request)
    series = dump_series(of.app, of.environment, of.name)
    try:
        repository, snapshot = works_restore_files.newest(box, {**request, "series": series})
    except HomeportError as e:
        if e.type is not NO_FILES:
            raise
        raise NO_DUMP.error(
            f"cannot bring back {of.label}: no dump of it fits",
            hint=f"homeport backup list has those that are there, as {series}",
            details=e.details,
        ) from e
    found, way = theirs.rights(of), request["way"]
    wrong = too_new(found, _version(), of.label) if way != "look" else None
    in_place = cannot_in_place(found, of.label)
    if way == "in place":
        wrong = wrong or in_place
    elif way == "beside":
        wrong = wrong or cannot_beside(found, of.label)
    if wrong is not None:
        raise wrong
    if way == "beside":
        _ours(box, of)
    return {
        "repository": repository,
        "snapshot": snapshot.id,
        "at": text_time(snapshot.at),
        "database": found.database,
        "in_place": [in_place.sentence, *in_place.details] if in_place is not None else [],
    }


def take(box: Toolbox, request: Request, say: Say) -> Any:
    """The dump into a database beside the one that serves, compared with what was counted as it was made."""
    place, of = _place(box, request)
    began = box.clock.monotonic()
    with of.outside() as admin:
        theirs.make(admin, of, place.fresh)
    dumps = _dumps(box)
    _, programs = machine.programs()
    filled = patiently(
        box.clock,
        lambda: dumps.restore(
            request["repository"], request["snapshot"], attached.at(of.url, place.fresh), programs
        ),
        say,
    )
    with of.inside(place.fresh) as filling, of.inside() as present:
        filling.execute("ANALYZE")
        missing = migrated.versions(present) - migrated.versions(filling)
    with of.outside() as admin:
        refused = fresh.give_what_may_be(admin, of.database, place.fresh)
    return {
        "tables": len(filled.manifest.tables),
        "rows": filled.manifest.rows,
        "seconds": round(box.clock.monotonic() - began, 3),
        "migrations": sorted(missing),
        "dump": _dump(request),
        "left_out": [*filled.left_out, *refused],
    }


def switch(box: Toolbox, request: Request, say: Say) -> Any:
    """The database that was brought back serves."""
    place, of = _place(box, request)
    with of.outside() as admin:
        return fresh.switch(admin, None, of, place, request["why"], box.clock)


def tidy(box: Toolbox, request: Request, say: Say) -> Any:
    """Nothing of the run is left but what is kept on purpose."""
    place, of = _place(box, request)
    patiently(box.clock, lambda: _sweep(box), say)
    if request["switches"]:
        with of.outside() as admin:
            fresh.put_back(admin, None, of, place)
    else:
        with of.inside() as connection:
            side.drop_unfinished(connection, place.side)
    return {}


def compare(box: Toolbox, request: Request, say: Say) -> Any:
    """What a return to the dump would change in the database, table by table."""
    of = _theirs(box, request)
    found: dict[str, Any]
    if _cluster(box) is None:
        found = _counted(box, request, of)
    else:
        with _unpacked(box, request, of, say) as scratch:
            now, then = contents.both(of.inside(), connect(scratch.admin))
            with of.inside() as present, connect(scratch.admin) as before:
                lost = contents.lost(now, then, present, before)
                missing = migrated.versions(present) - migrated.versions(before)
        found = {"losses": [asdict(k) for k in lost], "tables": len(now), "migrations": sorted(missing)}
    return {**found, "dump": _dump(request), "in_the_way": request["problems"]}


def _counted(box: Toolbox, request: Request, of: Theirs) -> dict[str, Any]:
    dumps = _dumps(box)
    then = dumps.rows_of(request["repository"], request["snapshot"])
    now = dumps.rows(of.url)
    differ = frozenset(t for t in now.keys() & then.keys() if now[t] != then[t])
    found = [asdict(k) for k in losses(now, then, differ)]
    return {"losses": found, "tables": len(now), "migrations": [], "unsure": COUNTED}


def tables(box: Toolbox, request: Request, say: Say) -> Any:
    """Tables out of the dump into a schema beside those that serve, and how they differ."""
    place, of = _place(box, request)
    _, programs = machine.programs()
    with _unpacked(box, request, of, say) as scratch:
        with connect(scratch.admin) as before:
            wanted = side.resolve(before, request["tables"], place.side)
            definitions = side.move(before, scratch.name, wanted, place.side)
        with of.inside() as inside:
            side.drop(inside, place.side)
        _dumps(box).take_schema(scratch, place.side, of.url, programs, commands.beside)
        there, here = contents.both(connect(scratch.admin), of.inside(), schema=place.side)
        wrong = contents.different(there, here)
        if wrong:
            raise DIFFERS.error(
                f"cannot bring back tables of {of.label}: what was taken out of the dump is not what is in it",
                details=wrong,
            )
    with of.inside() as inside:
        side.note(inside, place.side, side.note_of(place, wanted, definitions))
        return {
            "schema": place.side,
            "differences": side.compare(inside, place.side),
            "dump": _dump(request),
        }


def merge(box: Toolbox, request: Request, say: Say) -> Any:
    """Rows of tables that were brought back beside, over to those that serve."""
    with _theirs(box, request).inside() as inside:
        if not any(k["name"] == request["schema"] for k in side.kept(inside)):
            raise UNKNOWN_KEPT.error(
                f"cannot merge {request['schema'][:100]}: no tables were brought back there",
                hint="homeport restore list",
            )
        done = side.merge(inside, request["schema"], missing=request["missing"], changed=request["changed"])
    return {"merged": done}


# What was kept


def kept(box: Toolbox, those: list[dict[str, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """(what restores have kept or brought back beside at servers of others, servers that do not answer)"""
    found: list[dict[str, Any]] = []
    problems: list[str] = []
    for one in those:
        try:
            of = _theirs(box, one)
            with of.inside() as inside:
                here = [{**k, "kind": "database"} for k in fresh.kept(inside)]
                here += [{**k, "kind": "schema"} for k in side.kept(inside)]
        except HomeportError as e:
            problems.append(e.sentence)
            continue
        mine = (of.app, of.environment, of.name)
        found += [
            {**k, "cluster": "", "attached": one}
            for k in here
            if (k["app"], k["environment"], k["database"]) == mine
        ]
    return found, problems


def drop(box: Toolbox, found: Mapping[str, Any]) -> None:
    """Remove one of :func:`kept`."""
    with _theirs(box, found["attached"]).inside() as inside:
        if found["kind"] == "schema":
            side.drop(inside, found["name"])
        else:
            fresh.drop(inside, found["name"])


WORKS = {
    "restore-dump-choose": choose,
    "restore-dump-take": take,
    "restore-dump-switch": switch,
    "restore-dump-tidy": tidy,
    "restore-dump-compare": compare,
    "restore-dump-tables": tables,
    "restore-dump-merge": merge,
}


def _theirs(box: Toolbox, request: Request) -> Theirs:
    """Raises ``guard.unknown_secret``."""
    app, environment = request["app"], request["environment"]
    url = Secret(box.vault.reveal(app, environment, request["secret"]))
    return Theirs(app, environment, request["database"], url)


def _place(box: Toolbox, request: Request) -> tuple[Place, Theirs]:
    place = Place.of(request["place"])
    of = _theirs(box, {"app": place.app, "environment": place.environment, "database": place.name, **request})
    return place, Theirs(of.app, of.environment, of.name, of.url, request["served"])


def _dumps(box: Toolbox) -> Dumps:
    return Dumps(box.files(), box.clock)


def _dump(request: Request) -> dict[str, Any]:
    return {key: request[key] for key in ("repository", "snapshot", "at")}


def _version() -> int:
    return machine.programs()[0]


def _cluster(box: Toolbox) -> str | None:
    """How the superuser reaches a server of ours; None where there is none."""
    ready = [c for c in box.state.clusters() if c.state == "ready"]
    if not ready:
        return None
    newest = max(ready, key=lambda c: c.version)
    return urls.admin(box.clusters.layout(newest.name), newest)


def _ours(box: Toolbox, of: Theirs) -> str:
    found = _cluster(box)
    if found is None:
        raise NO_SCRATCH.error(
            f"cannot bring tables of {of.label} back: no server of Homeport's own is there to unpack the dump in",
            hint="a [database] without url makes one; homeport restore without --table needs none",
        )
    return found


@contextmanager
def _unpacked(box: Toolbox, request: Request, of: Theirs, say: Say) -> Iterator[Scratch]:
    """Waits until nobody else works on files of backups. What our own server says within is told as ours."""
    _, programs = machine.programs()
    dumps, admin = _dumps(box), _ours(box, of)
    with ExitStack() as stack:
        scratch = patiently(
            box.clock,
            lambda: stack.enter_context(
                dumps.unpacked(request["repository"], request["snapshot"], admin, programs)
            ),
            say,
        )
        try:
            yield scratch
        except psycopg.Error as e:
            raise NO_SCRATCH.error(
                f"cannot look at the dump of {of.label}: {first_line(e)}", hint="try again"
            ) from e


def _sweep(box: Toolbox) -> None:
    """What a child left that was killed."""
    admin = _cluster(box)
    with box.files().alone("tidy up"), suppress(HomeportError):
        # A server of ours that does not answer is swept before the next proof.
        if admin is not None:
            sweep(admin)
