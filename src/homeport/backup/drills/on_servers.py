"""Drills in which servers are gone: a cluster, or the whole machine."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from homeport.backup.drills import ground as grounds
from homeport.backup.drills import on_files
from homeport.backup.drills.errors import NOT_BROUGHT_BACK, NOT_DETECTED, WRONG_PASSPHRASE
from homeport.backup.drills.ground import BACK, TWIN, Ground
from homeport.backup.drills.model import BREAK, CONTAIN, DETECT, PREPARE, RESTORE, SMOKE, VERIFY
from homeport.backup.drills.phases import Found, Phase, Request, found, smoke
from homeport.backup.physical import heartbeat
from homeport.backup.physical.copy import Copy, remove
from homeport.backup.physical.model import SLOT, Newest, Restored
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_duration, format_size
from homeport.system import process

LATER = 2.0
"""Seconds between the last write that is known and the accident."""


def twin(ground: Ground, _: Request) -> Found:
    ground.begin()
    ground.must_have_room(2)
    restored = ground.bring(TWIN, Newest())
    with ground.serving(TWIN) as copy:
        counted = _count(copy)
    ground.note(tables=counted)
    return found(f"a twin of {format_size(restored.bytes)}, {len(counted)} tables", bytes=restored.bytes)


def kill(ground: Ground, _: Request) -> Found:
    """What the receiver has at that moment is what there is."""
    _last_write(ground, received=True)
    if not ground.notes.get("received"):
        ground.note(segments=ground.keep_received(), received=True)
    if (ground.directory / TWIN).is_dir():
        with suppress(HomeportError):
            with ground.serving(TWIN):
                memory = grounds.segment(ground.directory / TWIN)
                process.kill_group(grounds.server_pid(ground.directory / TWIN))
                ground.box.clock.sleep(0.2)
                if memory is not None:
                    grounds.release(memory)
        remove(ground.directory / TWIN, ground.directory, ground.box.clock)
    ground.happened()
    return found("the twin's server is killed by SIGKILL and its directory deleted")


def _last_write(ground: Ground, *, received: bool) -> None:
    """A heartbeat in production, which each minute has anyway: what comes back is measured by it.

    Production goes on, and so does its archive: what was safe at that moment is noted.
    """
    if ground.notes.get("beat"):
        return
    beat = ground.box.physical(ground.cluster).beat()
    ground.box.clock.sleep(LATER)
    then = _received(ground) if received else ground.box.physical(ground.cluster).lost_if_now()[0]
    ground.note(
        beat=text_time(beat),
        then=text_time(then) if then is not None else None,
        accident=text_time(ground.box.clock.now()),
    )


def _received(ground: Ground) -> datetime | None:
    """The newest heartbeat that the log's receiver has: it tells so once a second."""
    with ground.box.clusters.superuser(ground.box.cluster(ground.cluster)) as c:
        row = c.execute(
            "SELECT write_lsn::text FROM pg_stat_replication WHERE application_name = %s AND write_lsn IS NOT NULL",
            (SLOT,),
        ).fetchone()
        return heartbeat.newest_until(c, row[0]) if row is not None else None


def gone(ground: Ground, _: Request) -> Found:
    try:
        with ground.serving(TWIN):
            pass
    except (HomeportError, OSError) as e:
        why = e.sentence if isinstance(e, HomeportError) else "its directory is gone"
        return found(f"it does not answer: {why}")
    raise NOT_DETECTED.error("cannot see that the cluster is gone: it answers")


def nobody_writes(_: Ground, __: Request) -> Found:
    return found("nobody can write to it; in production: homeport maintenance on, so that people are told")


def newest(ground: Ground, _: Request) -> Found:
    restored = ground.bring(BACK, Newest())
    ground.note(newest=_newest(restored))
    received = f", {restored.from_receiver} segments from the receiver" if restored.from_receiver else ""
    return found(
        f"restored {restored.label} from {restored.repository}{received}",
        *(f"passed over: {p}" for p in restored.passed_over),
        restore_seconds=round(restored.seconds, 3),
    )


def _newest(restored: Restored) -> str | None:
    moments = [m for m in (restored.last_commit_at, restored.heartbeat_at) if m is not None]
    return text_time(max(moments)) if moments else None


def lost(ground: Ground, _: Request) -> Found:
    """Of writes before the accident. Raises ``drill.not_brought_back`` where a table is missing."""
    with ground.serving(BACK) as copy:
        there = _count(copy)
    missing = [name for name in ground.notes["tables"] if name not in there]
    if missing:
        raise NOT_BROUGHT_BACK.error(
            f"cannot call it brought back: {missing[0]} is missing", details=missing[1:]
        )
    return _loss(ground, f"{len(there)} tables, {sum(there.values()):,} rows")


def _loss(ground: Ground, what: str) -> Found:
    noted = ground.notes
    last = parse_time(noted["beat"])
    if not noted.get("newest") or not noted.get("then"):
        return found(what, "nobody knows how far its writes reach: no heartbeat came after the backup")
    until = min(parse_time(noted["newest"]), parse_time(noted["then"]))
    seconds = 0.0 if until >= last else round((ground.happened() - until).total_seconds(), 3)
    if not seconds:
        return found(what, "the last write before the accident is there", rpo=0.0)
    return found(what, f"the last {format_duration(seconds)} of writes are lost", rpo=seconds)


def _count(copy: Copy) -> dict[str, int]:
    """Rows by table, of every database."""
    from homeport.backup.physical.manifest import databases
    from homeport.backup.restores.contents import read

    with copy.connect("postgres") as c:
        names = databases(c)
    return {f"{name}: {t}": x.rows for name in names for t, x in read(copy.connect(name)).items()}


# The whole machine


def empty_place(ground: Ground, _: Request) -> Found:
    ground.begin()
    if not ground.cluster:
        return found("an empty directory")
    ground.must_have_room(1)
    with ground.box.clusters.superuser(ground.box.cluster(ground.cluster)) as c:
        rows = c.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()
    ground.note(databases=[name for (name,) in rows])
    return found("an empty directory; nothing of this machine is read but repositories and what opens them")


def lose_machine(ground: Ground, _: Request) -> Found:
    if ground.cluster:
        _last_write(ground, received=False)
    ground.happened()
    return found("the machine counts as gone, with its log's receiver")


def find_backups(ground: Ground, _: Request) -> Found:
    """Which repository has what it takes."""
    repository, ages = on_files.newest(ground)
    ground.note(repository=repository, files=ages)
    told = [f"repository {repository} has files of {len(ages)} series"]
    if ground.cluster:
        program = ground.program()
        looks = [(r.name, len(program.backups(r.name))) for r in program.settings.repositories]
        told.append("; ".join(f"{name}: {count} backups of the cluster" for name, count in looks))
    return found(*told)


def fenced(_: Ground, __: Request) -> Found:
    return found("its address is pointed elsewhere: two machines must never write into one repository")


def recover(ground: Ground, request: Request) -> Found:
    said = on_files.fetch_all(ground)
    told = [f"{said['files']:,} files of {said['series']} series are as they were backed up"]
    figures = {"files": said["files"], "file_bytes": said["bytes"], "files_age_seconds": said["age"]}
    if ground.cluster:
        restored = ground.bring(BACK, Newest())
        ground.note(newest=_newest(restored))
        told.append(f"restored cluster {ground.cluster}: {restored.label} from {restored.repository}")
        figures["restore_seconds"] = round(restored.seconds, 3)
    return found(*told, **figures)


def recovered(ground: Ground, request: Request) -> Found:
    told = [on_files.state(ground)]
    figures: dict[str, object] = {}
    if ground.cluster:
        with ground.serving(BACK) as copy:
            there = _count(copy)
            with copy.connect("postgres") as c:
                names = {name for (name,) in c.execute("SELECT datname FROM pg_database").fetchall()}
        missing = [name for name in ground.notes["databases"] if name not in names]
        if missing:
            raise NOT_BROUGHT_BACK.error(f"cannot call it brought back: database {missing[0]} is missing")
        said = _loss(ground, f"{len(names) - 2} databases, {sum(there.values()):,} rows")
        told += said["told"]
        figures |= said["figures"]
    todo = [
        "Rehearse homeport recover on another machine: routing, DNS and certificates cannot be rehearsed on this one"
    ]
    passphrase(request, told, todo)
    return found(*told, todo=todo, **figures)


def passphrase(request: Request, told: list[str], todo: list[str]) -> None:
    """What a person who was asked had. Raises ``drill.wrong_passphrase``."""
    if request["passphrase"] == "wrong":
        raise WRONG_PASSPHRASE.error(
            "cannot open the backups with the passphrase that was given: without it all of them are lost",
            hint="homeport backup passphrase sets another one, while this machine is there",
        )
    if request["passphrase"] == "right":
        told.append("the passphrase that a person gave opens every repository")
    else:
        todo.append("Show that you have the passphrase: give it to this drill with --passphrase")


def smoke_if_cluster(ground: Ground, request: Request) -> Found:
    return smoke(ground, request) if ground.cluster else found("there is no cluster to ask")


CLUSTER_LOST: dict[str, Phase] = {
    PREPARE: twin,
    BREAK: kill,
    DETECT: gone,
    CONTAIN: nobody_writes,
    RESTORE: newest,
    VERIFY: lost,
    SMOKE: smoke,
}
MACHINE_LOST: dict[str, Phase] = {
    PREPARE: empty_place,
    BREAK: lose_machine,
    DETECT: find_backups,
    CONTAIN: fenced,
    RESTORE: recover,
    VERIFY: recovered,
    SMOKE: smoke_if_cluster,
}
