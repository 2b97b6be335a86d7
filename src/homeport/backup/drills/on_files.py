"""Files of a machine that is gone, from a repository, in a drill: with Homeport's own password, nothing unsealed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.backup.drills.errors import NOT_BROUGHT_BACK
from homeport.backup.drills.ground import Ground
from homeport.backup.files.model import HOMEPORT, Layout, Limits, Repository, Snapshot
from homeport.backup.files.plan import candidates
from homeport.backup.files.records import Records
from homeport.backup.files.restic import Restic
from homeport.backup.files.restoring import fetch
from homeport.journal import schema
from homeport.journal.store import Store, open_engine
from homeport.kernel.errors import HomeportError
from homeport.system import files


def restic(ground: Ground, repository: Repository) -> Restic:
    """With a cache of the drill's own: another machine has none."""
    layout = Layout(ground.directory)
    layout.directory.parent.mkdir(mode=0o755, exist_ok=True)
    Records(layout).prepare()
    return Restic(repository, layout, ground.box.clock, Limits())


def newest(ground: Ground) -> tuple[str, dict[str, float]]:
    """(the first repository that has a backup of Homeport's own, seconds since the newest of each series).

    Raises ``drill.not_brought_back``, or why the only repository cannot be read.
    """
    last: HomeportError | None = None
    for repository in ground.box.repositories.for_files():
        try:
            found = _series(ground, repository)
        except HomeportError as e:
            last = e
            continue
        if HOMEPORT in found:
            now = ground.box.clock.now()
            return repository.name, {
                name: round((now - s.at).total_seconds(), 1) for name, s in found.items()
            }
    if last is not None:
        raise last
    raise NOT_BROUGHT_BACK.error(
        "cannot bring back the machine: no repository has a backup of its own files",
        hint="homeport backup run",
    )


def _series(ground: Ground, repository: Repository) -> dict[str, Snapshot]:
    """The newest of each, but for dumps of databases."""
    snapshots, _ = restic(ground, repository).snapshots()
    return {name: all_[0] for name, all_ in candidates(snapshots).items() if name.count(".") < 2}


def fetch_all(ground: Ground) -> dict[str, Any]:
    """Every series into the drill's directory, compared with its manifest."""
    name = ground.notes["repository"]
    repository = next(r for r in ground.box.repositories.for_files() if r.name == name)
    top = _top(ground)
    files.remove_tree(top, within=ground.directory)
    top.mkdir(mode=0o700)
    found = _series(ground, repository)
    fetched = [fetch(restic(ground, repository), s, top / series) for series, s in sorted(found.items())]
    return {
        "series": len(fetched),
        "files": sum(f.files for f in fetched),
        "bytes": sum(f.bytes for f in fetched),
        "age": ground.notes["files"][HOMEPORT],
    }


def state(ground: Ground) -> str:
    """What Homeport's own state says, in words. Raises ``drill.not_brought_back``."""
    path = _top(ground) / HOMEPORT / "state.db"
    if not path.is_file():
        raise NOT_BROUGHT_BACK.error("cannot bring back the machine: state.db is not in its backup")
    store = Store(open_engine(path), ground.box.clock)
    with store.read() as c:
        apps = c.execute(sa.select(sa.func.count()).select_from(schema.apps)).scalar_one()
        releases = c.execute(sa.select(sa.func.count()).select_from(schema.releases)).scalar_one()
    return f"its state opens: {apps} apps, {releases} releases"


def _top(ground: Ground) -> Path:
    return ground.directory / "files"
