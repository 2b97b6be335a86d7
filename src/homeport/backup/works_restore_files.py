"""An environment's files out of a backup, and in the place of those that are there; within a child."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from homeport.backup.files import restoring, tree
from homeport.backup.files.errors import NO_FILE
from homeport.backup.files.manifest import Manifest
from homeport.backup.files.model import Layout, Snapshot, storage_of
from homeport.backup.restores.errors import NO_FILES
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.system import files

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]
MOST_NAMED = 100
MOST_LISTED = 10_000
DEPTH = 3
"""Of a storage directory: ``storage/APP/ENVIRONMENT/NAME``."""
NEAR = 8
"""Names that are told where one is not found."""


def chosen(box: Toolbox, request: Request, say: Say) -> Any:
    """The newest snapshot of a series that a moment allows. Raises ``restore.no_files``, and ``backup.no_such_file``
    for a path that it does not have."""
    repository, snapshot = newest(box, request)
    parts_of = [path for path in request.get("paths", ()) if path.count("/") >= DEPTH]
    if parts_of:
        must_hold(box.files().restic(repository).manifest(snapshot)[0], parts_of)
    return {"repository": repository, "snapshot": snapshot.id, "at": text_time(snapshot.at)}


def contents(box: Toolbox, request: Request, say: Say) -> Any:
    """What the newest snapshot of a series that a moment allows holds of files, links and SQLite files whose path in the
    storage fits ``pattern``: a part of it, or with ``*`` and ``?`` all of it. At most ``MOST_LISTED`` are told; ``found``
    and ``bytes`` are of all. Raises as :func:`chosen`."""
    repository, snapshot = newest(box, request)
    manifest, _ = box.files().restic(repository).manifest(snapshot)
    copies = {d.copy for d in manifest.databases.values()}
    root = storage_of(request["series"]) + "/"
    rows: list[dict[str, Any]] = [
        {"path": p, "kind": "file", "bytes": f.bytes} for p, f in manifest.files.items() if p not in copies
    ]
    rows += [
        {
            "path": p,
            "kind": "sqlite",
            "bytes": manifest.files[d.copy].bytes if d.copy in manifest.files else 0,
        }
        for p, d in manifest.databases.items()
    ]
    rows += [{"path": p, "kind": "link", "bytes": 0} for p in manifest.links]
    inside = [r | {"path": r["path"][len(root) :]} for r in rows if r["path"].startswith(root)]
    fits = _fits(request.get("pattern") or "")
    found = sorted((r for r in inside if fits(r["path"])), key=lambda r: r["path"])
    return {
        "repository": repository,
        "snapshot": snapshot.id,
        "at": text_time(snapshot.at),
        "files": [r | {"path": _shown(r["path"])} for r in found[:MOST_LISTED]],
        "found": len(found),
        "bytes": sum(r["bytes"] for r in found),
        "of": len(inside),
    }


def _fits(pattern: str) -> Callable[[str], bool]:
    if "*" in pattern or "?" in pattern:
        return lambda path: fnmatch.fnmatchcase(path, pattern)
    return lambda path: pattern in path


def _shown(path: str) -> str:
    """A path that is no UTF-8, so that it can be told."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def must_hold(manifest: Manifest, paths: Iterable[str]) -> None:
    """Raises ``backup.no_such_file`` for a path that is not there, with those that are near it."""
    known = (*manifest.files, *manifest.links, *manifest.databases)
    for path in paths:
        if any(f"{k}/".startswith(f"{path}/") for k in known):
            continue
        near: list[str] = []
        parent = path
        while not near and parent.count("/") >= DEPTH:
            parent = parent.rpartition("/")[0]
            near = sorted(
                {k[len(parent) + 1 :].partition("/")[0] for k in known if k.startswith(f"{parent}/")}
            )
        names = f"{', '.join(near[:NEAR])}{', …' if near[NEAR:] else ''}" or "none"
        inside = "/".join(parent.split("/")[DEPTH:])
        where = f"in {inside} there are" if inside else "paths begin with the storage's name: there are"
        raise NO_FILE.error(
            f"cannot bring back {'/'.join(path.split('/')[DEPTH:])[:200]}: the backup has no such file or directory",
            hint=f"{where} {names}",
        )


def restore(box: Toolbox, request: Request, say: Say) -> Any:
    """Files beside, compared with their manifest, then each path in its place; the former ones are kept."""
    layout, name = Layout(box.data_dir), _name(request)
    found = box.files()
    note = _note(layout, name)
    if note.exists():  # it was done, and nobody heard of it
        return files.read_json(note)
    patiently(box.clock, lambda: found.take_back(name, request["paths"]), say)
    restored = patiently(
        box.clock,
        lambda: found.restore(request["repository"], request["snapshot"], request["paths"], name=name),
        say,
    )
    kept: list[str] = []
    try:
        for path in request["paths"]:
            if patiently(box.clock, partial(found.put_back, restored, path), say) is not None:
                kept.append(path)
    except HomeportError:
        patiently(box.clock, lambda: found.take_back(name, request["paths"]), say)
        raise
    done = {
        "kept_files": name if kept else None,
        "kept_in": [str(layout.replaced / name / path) for path in kept],
        "files": restored.files,
        "bytes": restored.bytes,
        "at": text_time(restored.at),
        "moving": restored.moving,
        "snapshot": restored.snapshot,
        "repository": restored.repository,
    }
    files.write_atomic(note, json.dumps(done), mode=0o600)
    found.discard(restored)
    return done


def tidy(box: Toolbox, request: Request, say: Say) -> Any:
    """What was restored is in its place, or what was there before; nothing else is left but what is kept."""
    layout, name = Layout(box.data_dir), _name(request)
    note = _note(layout, name)
    if not note.exists():
        patiently(box.clock, lambda: box.files().take_back(name, request["paths"]), say)
    restoring.discard(layout, name)
    note.unlink(missing_ok=True)
    return {}


def look(box: Toolbox, request: Request, say: Say) -> Any:
    """What a return would do to files: those that are only here go (they are kept beside), those that are only in the
    backup come, others get another content. Of SQLite's files only the names are told: the backup has copies of them.
    """
    restic = box.files().restic(request["repository"])
    snapshot = restic.snapshot(request["snapshot"])
    manifest = restoring.part(restic.manifest(snapshot)[0], request["paths"])
    copies = {d.copy for d in manifest.databases.values()}
    beside = {f"{path}{tail}" for path in manifest.databases for tail in ("", *restoring.BESIDE_SQLITE)}
    then = {p: f for p, f in manifest.files.items() if p not in copies}
    found = tree.walk(Path(box.data_dir), request["paths"], heads=False)
    now = {p: i for p, i in found.files.items() if p not in beside}
    alike = {p: i for p, i in now.items() if p in then and i.bytes == then[p].bytes}
    read = tree.digests(Path(box.data_dir), alike, {})
    same = {p for p, f in read.items() if f.sha256 == then[p].sha256}
    links = {p for p, to in manifest.links.items() if found.links.get(p) == to}
    here, there = {*now, *found.links}, {*then, *manifest.links}
    return {
        "looked_at": {
            "goes": _some(here - there),
            "comes": _some(there - here),
            "changes": _some((here & there) - same - links),
            "databases": sorted(manifest.databases)[:MOST_NAMED],
            "files": len(then),
            "at": text_time(snapshot.at),
            "from": snapshot.id,
            "repository": request["repository"],
        }
    }


def _some(paths: set[str]) -> dict[str, Any]:
    return {"files": len(paths), "names": sorted(paths)[:MOST_NAMED]}


def _name(request: Request) -> str:
    return str(request.get("run") or request["snapshot"][:12])


def _note(layout: Layout, name: str) -> Path:
    """What came of a restore that is done, until it is tidied up."""
    return layout.restored / f"{name}.json"


def kept(box: Toolbox) -> list[dict[str, Any]]:
    """Files that restores have replaced, by the environment whose storage they were of."""
    found = []
    for one in _below(Layout(box.data_dir).replaced):
        for app in _below(one / "storage"):
            for environment in _below(app):
                found.append(
                    {"name": one.name, "kind": "files", "cluster": "", "app": app.name,
                     "environment": environment.name, "database": "", "run": "", "bytes": files.tree_bytes(one)}
                )  # fmt: skip
    return found


def drop(box: Toolbox, name: str) -> None:
    files.remove_tree(Layout(box.data_dir).replaced / name, within=box.data_dir)


def _below(directory: Path) -> list[Path]:
    try:
        return sorted(p for p in directory.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError:
        return []


def newest(box: Toolbox, request: Request) -> tuple[str, Snapshot]:
    """(repository, snapshot) of a series that a moment allows. Raises ``restore.no_files``, or why the only repository
    cannot be read."""
    named = request.get("repository")
    names = [box.repositories.get(named).name] if named else [r.name for r in box.repositories.list()]
    before: datetime | None = parse_time(request["at"]) if request.get("at") else None
    unreadable: list[HomeportError] = []
    best: tuple[str, Snapshot] | None = None
    for name in names:
        try:
            snapshots, _ = box.files().restic(name).snapshots()
        except HomeportError as e:
            unreadable.append(e)
            continue
        for s in snapshots:
            fits = s.is_finished and s.series == request["series"] and (before is None or s.at <= before)
            wanted = request.get("label", "")
            if fits and s.id.startswith(wanted) and (best is None or s.at > best[1].at):
                best = name, s
    if best is None and unreadable and len(unreadable) == len(names):
        first = unreadable[0]
        others = [e.sentence for e in unreadable[1:]]
        raise first.type.error(first.sentence, hint=first.hint, details=[*first.details, *others])
    if best is None:
        raise NO_FILES.error(
            f"cannot bring back files of {request['series']}: no backup of them fits",
            hint="homeport backup list has those that are there",
            details=[e.sentence for e in unreadable],
        )
    return best


WORKS = {
    "restore-files-look": look,
    "restore-files-choose": chosen,
    "restore-files-contents": contents,
    "restore-files": restore,
    "restore-files-tidy": tidy,
}
