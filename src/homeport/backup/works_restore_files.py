"""An environment's files out of a backup, and in the place of those that are there; within a child."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from homeport.backup.files.model import Layout, Snapshot
from homeport.backup.restores.errors import NO_FILES
from homeport.backup.toolbox import Toolbox
from homeport.backup.waiting import patiently
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.system import files

Say = Callable[[str, Mapping[str, Any]], None]
Request = Mapping[str, Any]
BESIDE_SQLITE = ("-wal", "-shm", "-journal")


def chosen(box: Toolbox, request: Request, say: Say) -> Any:
    """The newest snapshot of a series that a moment allows. Raises ``restore.no_files``."""
    repository, snapshot = _choose(box, request)
    return {"repository": repository, "snapshot": snapshot.id, "at": text_time(snapshot.at)}


def restore(box: Toolbox, request: Request, say: Say) -> Any:
    """Files beside, compared with their manifest, then each path in its place; the former ones are kept."""
    layout = Layout(box.data_dir)
    found = box.files()
    # Of a call that was cut off: nobody else restores files meanwhile.
    for tree in _below(layout.restored):
        files.remove_tree(tree, within=box.data_dir)
    restored = patiently(
        box.clock, lambda: found.restore(request["repository"], request["snapshot"], request["paths"]), say
    )
    kept: list[str] = []
    try:
        for path in request["paths"]:
            former = patiently(box.clock, partial(found.put_back, restored, path), say)
            if former is not None:
                kept.append(path)
                _take_along(box.data_dir / path, former)
    finally:
        found.discard(restored)
    return {
        "kept_files": restored.tree.name if kept else None,
        "files": restored.files,
        "bytes": restored.bytes,
        "at": text_time(restored.at),
        "moving": restored.moving,
        "snapshot": restored.snapshot,
        "repository": restored.repository,
    }


def _take_along(path: Path, former: Path) -> None:
    """What SQLite keeps beside a database belongs to the former one: on the other it would be damage."""
    for tail in BESIDE_SQLITE:
        beside = path.with_name(path.name + tail)
        with suppress(FileNotFoundError):
            beside.rename(former.with_name(former.name + tail))


def kept(box: Toolbox) -> list[dict[str, Any]]:
    """Files that restores have replaced, by the environment whose storage they were of."""
    found = []
    for tree in _below(Layout(box.data_dir).replaced):
        for app in _below(tree / "storage"):
            for environment in _below(app):
                found.append(
                    {"name": tree.name, "kind": "files", "cluster": "", "app": app.name,
                     "environment": environment.name, "database": "", "run": "", "bytes": files.tree_bytes(tree)}
                )  # fmt: skip
    return found


def drop(box: Toolbox, name: str) -> None:
    files.remove_tree(Layout(box.data_dir).replaced / name, within=box.data_dir)


def _below(directory: Path) -> list[Path]:
    try:
        return sorted(p for p in directory.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError:
        return []


def _choose(box: Toolbox, request: Request) -> tuple[str, Snapshot]:
    named = request.get("repository")
    names = [box.repositories.get(named).name] if named else [r.name for r in box.repositories.list()]
    before: datetime | None = parse_time(request["at"]) if request.get("at") else None
    unreadable: list[str] = []
    best: tuple[str, Snapshot] | None = None
    for name in names:
        try:
            snapshots, _ = box.files().restic(name).snapshots()
        except HomeportError as e:
            unreadable.append(e.sentence)
            continue
        for s in snapshots:
            fits = s.is_finished and s.series == request["series"] and (before is None or s.at <= before)
            wanted = request.get("label", "")
            if fits and s.id.startswith(wanted) and (best is None or s.at > best[1].at):
                best = name, s
    if best is None:
        raise NO_FILES.error(
            f"cannot bring back files of {request['series']}: no backup of them fits",
            hint="homeport backup list has those that are there",
            details=unreadable,
        )
    return best


WORKS = {"restore-files-choose": chosen, "restore-files": restore}
