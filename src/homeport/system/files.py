"""Files written whole or not at all, sizes, locks, and removal that stays inside its root."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from homeport.kernel.errors import Kind, declare

UNREADABLE = declare(
    "system.file_unreadable", Kind.FAILED, "A file that Homeport needs cannot be read or parsed."
)
LOCKED = declare(
    "system.locked", Kind.CONFLICT, "Another Homeport process holds this data directory.", retry=True
)
OUTSIDE = declare(
    "system.outside_data_directory",
    Kind.FAILED,
    "Homeport was about to touch a path that is not its own, and did not.",
)


def write_atomic(path: Path, data: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    raw = data.encode() if isinstance(data, str) else data
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(raw)
            f.flush()
            os.fchmod(f.fileno(), mode)
            os.fsync(f.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_json(path: Path) -> Any:
    """A JSON file. Raises ``system.file_unreadable`` when it is missing, truncated or foreign."""
    try:
        return json.loads(path.read_text())
    except OSError as e:
        raise UNREADABLE.error(f"cannot read {path}: {e.strerror}") from e
    except ValueError as e:
        raise UNREADABLE.error(
            f"cannot read {path}: it is not valid JSON ({e})",
            hint="the file is truncated or was changed by hand; restore it from a backup",
        ) from e


def modified_at(path: Path) -> float | None:
    """When a file was last written or touched, in seconds since the epoch; None when it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def free_bytes(path: Path) -> int:
    """Bytes an unprivileged user may still write on the file system of ``path``."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def tree_bytes(path: Path) -> int:
    """Bytes on disk of all files below ``path``; links are not followed, vanished files are 0."""
    total = 0
    stack = [str(path)]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(entry.path)
                        else:
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
                    except OSError:
                        continue
        except OSError:
            continue
    return total


def remove_tree(path: Path, *, within: Path) -> None:
    """Remove a directory tree that lies strictly below ``within``; silent when it is gone.

    Raises ``system.outside_data_directory`` for any other path. Links are removed, not followed.
    """
    parent = path.parent.resolve()
    root = within.resolve()
    if not parent.is_relative_to(root) or path.name in ("", ".", ".."):
        raise OUTSIDE.error(f"cannot remove {path}: it is not below {within}")
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return

    def make_writable_and_retry(function: Any, name: str, _: BaseException) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700, follow_symlinks=True) if not os.path.islink(name) else None
            function(name)

    with contextlib.suppress(FileNotFoundError):
        if not os.path.lexists(path):
            return
        _rmtree(path, make_writable_and_retry)


def _rmtree(path: Path, on_error: Any) -> None:
    import sys

    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=on_error)
    else:
        shutil.rmtree(path, onerror=lambda f, n, e: on_error(f, n, e[1]))


@contextlib.contextmanager
def lock(path: Path, *, what: str) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` for the block; raises ``system.locked`` when it is taken."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for attempt in range(5):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as e:
                if attempt == 4:
                    raise LOCKED.error(
                        f"cannot {what}: another process holds {path}",
                        hint="homeport status shows what runs",
                    ) from e
                # Someone may only be looking; see is_locked.
                time.sleep(0.05)
        yield
    finally:
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Whether someone holds :func:`lock` on ``path``."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def tail_lines(path: Path, count: int, *, limit: int = 256 * 1024) -> tuple[str, ...]:
    """The last ``count`` lines of a text file, reading at most ``limit`` bytes; () when it is missing."""
    try:
        with open(path, "rb") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - limit))
            data = f.read()
    except OSError:
        return ()
    lines = data.decode("utf-8", "replace").splitlines()
    if size > limit and lines:
        lines = lines[1:]
    return tuple(lines[-count:])
