"""What is backed up beside the files themselves: copies of databases, and secrets, sealed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from homeport.backup.files import commands, sqlite_copy, tree
from homeport.backup.files.errors import FULL, NO_PASSPHRASE, UNREADABLE
from homeport.backup.files.manifest import Database, File, Manifest
from homeport.backup.files.model import Layout
from homeport.backup.files.plan import Sources, room
from homeport.backup.files.records import Identity, Records
from homeport.backup.files.sealing import Recipient, seal
from homeport.kernel.clock import Clock
from homeport.kernel.units import format_size
from homeport.system import files

_COPIES = "copies"


@dataclass(slots=True)
class Stage:
    """Ready to be backed up: ``paths`` below the data directory, but for what ``exclude`` names."""

    manifest: Manifest
    paths: tuple[str, ...]
    exclude: Path
    identities: dict[str, Identity] = field(default_factory=dict)
    """Of files that may change meanwhile."""
    notes: tuple[str, ...] = ()

    def settled(self, root: Path) -> Manifest:
        """The manifest of what was just read: what changed meanwhile is not promised."""
        moved = {path for path, was in self.identities.items() if not _is_same(tree.look(root, path), was)}
        listed = {p: replace(f, moving=p in moved) for p, f in self.manifest.files.items()}
        links = {p: to for p, to in self.manifest.links.items() if tree.target(root, p) == to}
        return replace(self.manifest, files=listed, links=links)


def _is_same(now: Identity | None, was: Identity) -> bool:
    """Another name for a file (a hard link) changes nothing in it."""
    return now is not None and replace(now, changed=0) == replace(was, changed=0)


def prepare(layout: Layout, sources: Sources, records: Records, clock: Clock) -> Stage:
    """Copies, seals and digests in ``layout.stage``, which must not be there.

    Raises ``backup.disk_full``, ``.no_passphrase``, ``.unreadable_source``, ``.files_busy``.
    """
    root = layout.data
    copies = layout.stage / _COPIES
    copies.mkdir(mode=0o700, parents=True)
    at = clock.now()
    found = tree.walk(root, sources.trees)
    loose = tree.walk(root, sources.databases)
    sizes = {**found.files, **loose.files}
    to_copy = [*loose.databases, *found.databases]
    keys = _keys(root, sources.sealed)
    databases, notes = _copy_all(root, copies, to_copy, sizes)
    while (now := _keys(root, sources.sealed)) != keys:
        # Rotated meanwhile: what the copies hold is sealed by one, and the file has the other.
        files.remove_tree(copies, within=layout.directory)
        copies.mkdir(mode=0o700)
        keys = now
        databases, notes = _copy_all(root, copies, to_copy, sizes)
    sealed = _seal_all(layout, copies, keys)
    left_out = {f"{path}{suffix}" for path in databases for suffix in ("", *sqlite_copy.BESIDE)}
    # A loose database that is none any more is copied as it is, or it would be lost without a word.
    plain = {p: i for p, i in {**found.files, **loose.files}.items() if p not in left_out}
    known = records.known(sources.series)
    listed = tree.digests(root, plain, known)
    records.keep_known(sources.series, {p: (plain[p], listed[p].sha256) for p in listed})
    staged = tree.walk(root, [str(copies.relative_to(root))], heads=False)
    listed |= tree.digests(root, staged.files, {})
    exclude = layout.stage / "exclude"
    exclude.write_text(commands.excludes(root, sorted(left_out)), "utf-8", "surrogateescape")
    tops = [*sources.trees, *(p for p in loose.files if p not in databases), str(copies.relative_to(root))]
    return Stage(
        Manifest(sources.series, at, str(root), listed, found.links, databases, sealed=sealed),
        tuple(top for top in tops if (root / top).exists()),
        exclude,
        plain,
        notes,
    )


def prepare_tree(layout: Layout, series: str, tables: dict[str, int], clock: Clock) -> Stage:
    """For what was written into the stage already, such as a dump."""
    top = str((layout.stage / _COPIES).relative_to(layout.data))
    found = tree.walk(layout.data, [top], heads=False)
    listed: dict[str, File] = tree.digests(layout.data, found.files, {})
    exclude = layout.stage / "exclude"
    exclude.write_text("")
    manifest = Manifest(series, clock.now(), str(layout.data), listed, tables=tables)
    return Stage(manifest, (top,), exclude)


def directory(layout: Layout) -> Path:
    """Where what is written into the stage goes."""
    return layout.stage / _COPIES


def clear(layout: Layout) -> None:
    """What this or a former run left."""
    files.remove_tree(layout.stage, within=layout.directory)


def _copy_all(
    root: Path, copies: Path, paths: list[str], sizes: dict[str, Identity]
) -> tuple[dict[str, Database], tuple[str, ...]]:
    needed = sum(sizes[p].bytes for p in paths)
    free = files.free_bytes(copies)
    if paths and free < room(needed):
        raise FULL.error(
            f"cannot copy {len(paths)} databases: that needs {format_size(room(needed))}, and "
            f"{format_size(free)} are free",
            hint="free space on the disk of the data directory",
        )
    result: dict[str, Database] = {}
    notes = []
    for n, path in enumerate(paths):
        target = copies / f"{n}.sqlite"
        try:
            status = (root / path).lstat()
            sqlite_copy.copy(root / path, target)
            tables = sqlite_copy.tables(target)
        except FileNotFoundError:
            target.unlink(missing_ok=True)
            continue
        except OSError as e:
            raise UNREADABLE.error(f"cannot back up {path}: {e.strerror}") from e
        except sqlite_copy.UNREADABLE as e:
            target.unlink(missing_ok=True)
            notes.append(f"{path} begins as a SQLite database does and is none ({e}): it is kept as it is")
            continue
        copied = str(target.relative_to(root))
        result[path] = Database(copied, status.st_mode & 0o7777, status.st_uid, status.st_gid, tables)
    return result, tuple(notes)


def _keys(root: Path, paths: tuple[str, ...]) -> dict[str, bytes]:
    result = {}
    for path in paths:
        try:
            result[path] = (root / path).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as e:
            raise UNREADABLE.error(f"cannot back up {path}: {e.strerror}") from e
    return result


def _seal_all(layout: Layout, copies: Path, keys: dict[str, bytes]) -> dict[str, str]:
    result = {}
    for n, (path, data) in enumerate(keys.items()):
        target = copies / f"{n}.sealed"
        files.write_atomic(target, seal(data, recipient(layout)), mode=0o600)
        result[path] = str(target.relative_to(layout.data))
    return result


def recipient(layout: Layout) -> Recipient:
    """Raises ``backup.no_passphrase``."""
    try:
        return Recipient.of(layout.recipient.read_text())
    except (OSError, ValueError) as e:
        raise NO_PASSPHRASE.error(
            "cannot back up the secrets' key: no passphrase was set that it could be sealed for",
            hint="set the passphrase of the backups; it is needed again only to recover",
        ) from e
