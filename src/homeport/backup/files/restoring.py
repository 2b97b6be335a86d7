"""A backup of files brought back into a directory: compared with its manifest, everything where it belongs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from homeport.backup.files import proving
from homeport.backup.files.errors import FULL, NO_FILE, NOT_PROVEN
from homeport.backup.files.manifest import Manifest
from homeport.backup.files.model import Layout, Snapshot, storage_of
from homeport.backup.files.restic import Restic
from homeport.backup.files.sealing import unseal
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.system import files

BESIDE = "backups"
"""Where copies and seals lie in a snapshot; nothing else in it does."""
BESIDE_SQLITE = ("-wal", "-shm", "-journal")
UNFINISHED = ".new"
"""Ends the name of a tree that is not whole yet."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that lies in a directory, ready to be put into place."""

    repository: str
    snapshot: str
    series: str
    at: datetime
    """When it was made."""
    tree: Path
    files: int
    bytes: int
    moving: int
    """Files that changed while they were backed up: nobody knows whether they are whole."""
    data_dir: str
    """Where the data directory was then."""


def part(manifest: Manifest, only: Sequence[str]) -> Manifest:
    """Of a manifest what lies at or below ``only``. Raises ``backup.no_such_file`` for one that names nothing, but for
    the whole storage of an environment: that may have been empty."""
    tops = tuple(path.strip("/") for path in only)

    def below(path: str) -> bool:
        return any(f"{path}/".startswith(f"{top}/") for top in tops)

    databases = {p: d for p, d in manifest.databases.items() if below(p)}
    copies = {d.copy for d in databases.values()}
    known = (*manifest.files, *manifest.links, *manifest.databases)
    whole = storage_of(manifest.series)
    missing = [t for t in tops if t != whole and not any(f"{path}/".startswith(f"{t}/") for path in known)]
    if missing:
        raise NO_FILE.error(f"cannot restore {missing[0][:200]}: the backup has no such file or directory")
    return replace(
        manifest,
        files={p: f for p, f in manifest.files.items() if below(p) or p in copies},
        links={p: to for p, to in manifest.links.items() if below(p)},
        databases=databases,
        sealed={},
    )


def fetch(
    restic: Restic,
    snapshot: Snapshot,
    tree: Path,
    *,
    only: Sequence[str] = (),
    passphrase: Secret | None = None,
) -> Restored:
    """Restore into ``tree``, which must not be there yet. Without a passphrase, what is sealed is left out.

    Raises ``backup.not_as_backed_up`` with what differs, ``.not_unsealed``, ``.disk_full``, ``.no_such_file``,
    and what restic may.
    """
    whole, _ = restic.manifest(snapshot)
    manifest = part(whole, only) if only else whole
    doing = f"restore {snapshot.id[:8]}"
    try:
        tree.mkdir(mode=0o700, parents=True)
        proving.check_room(tree, manifest.bytes, doing)
        wanted = (*only, *(d.copy for d in manifest.databases.values())) if only else ()
        restic.restore(snapshot.id, tree, manifest.bytes, wanted)
        wrong = (*proving.differences(manifest, tree), *proving.database_problems(manifest, tree))
        if wrong:
            raise NOT_PROVEN.error(
                f"cannot {doing} from repository {restic.repository.name}: it is not what was backed up",
                hint="restore an older one, or from another repository",
                details=wrong,
            )
        _place(manifest, tree, passphrase)
    except OSError as e:
        raise _failed(doing, e) from e
    return Restored(
        restic.repository.name,
        snapshot.id,
        snapshot.series,
        snapshot.at,
        tree,
        len(manifest.files),
        manifest.bytes,
        sum(f.moving for f in manifest.files.values()),
        manifest.data_dir,
    )


def _failed(doing: str, error: OSError) -> HomeportError:
    return FULL.error(f"cannot {doing}: {error.strerror} ({error.filename})", hint="look at that disk")


def _place(manifest: Manifest, tree: Path, passphrase: Secret | None) -> None:
    """Copies of databases and what was sealed come where they belong, with whom they belonged to."""
    for path, database in manifest.databases.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(tree / database.copy, target)
        if os.geteuid() == 0:
            os.chown(target, database.uid, database.gid)
        target.chmod(database.mode)
    if passphrase is not None:
        for path, copied in manifest.sealed.items():
            data = unseal((tree / copied).read_text("utf-8"), passphrase)
            files.write_atomic(tree / path, data, mode=0o600)
    files.remove_tree(tree / BESIDE, within=tree)


def put_back(layout: Layout, name: str, path: str) -> Path | None:
    """See :meth:`FileBackups.put_back`; ``name`` is that of the tree that it was restored into."""
    new, place, former = _places(layout, name, path)
    if not os.path.lexists(new):
        if os.path.lexists(former):
            return former
        raise NO_FILE.error(f"cannot put back {path}: it was not restored")
    if os.path.lexists(place) and not os.path.lexists(former):
        former.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _move_tails(place, former)
        os.rename(place, former)
    place.parent.mkdir(parents=True, exist_ok=True)
    os.rename(new, place)
    return former if os.path.lexists(former) else None


def take_back(layout: Layout, name: str, paths: Iterable[str]) -> None:
    """Of a restore that was cut off: what stood at the paths stands there again, and nothing else is left.

    May be cut off itself. Nothing where :func:`discard` came, or where it was not yet restored as a whole.
    """
    tree = layout.restored / name
    if tree.is_dir():
        for path in paths:
            _return(*_places(layout, name, path))
        files.remove_tree(layout.replaced / name, within=layout.data)
    discard(layout, name)


def _return(new: Path, place: Path, former: Path) -> None:
    if not os.path.lexists(new) and os.path.lexists(place):
        # What is at the place was restored, and what SQLite has beside it belongs to that.
        for tail in BESIDE_SQLITE:
            _beside(place, tail).unlink(missing_ok=True)
        os.rename(place, new)
    if os.path.lexists(former):
        os.rename(former, place)
    _move_tails(former, place)


def discard(layout: Layout, name: str) -> None:
    for tree in (layout.restored / name, layout.restored / f"{name}{UNFINISHED}"):
        files.remove_tree(tree, within=layout.data)


def _places(layout: Layout, name: str, path: str) -> tuple[Path, Path, Path]:
    return layout.restored / name / path, layout.data / path, layout.replaced / name / path


def _move_tails(database: Path, to: Path) -> None:
    """What SQLite keeps beside a database goes with it: beside another one it would be damage."""
    for tail in BESIDE_SQLITE:
        with suppress(FileNotFoundError):
            _beside(database, tail).rename(_beside(to, tail))


def _beside(path: Path, tail: str) -> Path:
    return path.with_name(path.name + tail)
