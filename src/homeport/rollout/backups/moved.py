"""Releases of a Homeport whose data directory was elsewhere: what in them names the former one.

Builds leave absolute paths behind, virtual environments first of all: their scripts begin with ``#!`` and the path
of an interpreter. Text and symbolic links are told the new path. What is not text is left: a release that needs it
has to be built anew, which :func:`homeport.rollout.rules.built_elsewhere` sees to.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from homeport.system import files

LARGEST = 8 << 20
"""Bytes of a file that is looked into. Larger ones are data."""
LONGEST_FIRST_LINE = 255
"""Bytes, with its line feed, that Linux reads of a script's first line (``BINPRM_BUF_SIZE``)."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one release."""

    app: str
    release: str
    changed: int
    """Files and links that named the former path and name the new one."""
    left: tuple[str, ...]
    """Those that name the former one still, relative to the release."""


def tell(data_dir: Path, former: str) -> tuple[Moved, ...]:
    """Have all releases name ``data_dir``; those in which anything named ``former``. Nothing of them may run.

    Can be made again. A release's directory for an environment with storage counts as the release's.
    """
    found: dict[tuple[str, str], Moved] = {}
    for app in _directories(data_dir / "releases"):
        pattern = _pattern(former, app.name)
        for directory in _directories(app):
            release = directory.name.partition(".")[0]
            before = found.get((app.name, release), Moved(app.name, release, 0, ()))
            changed, left = _tell_tree(directory, pattern, former, str(data_dir))
            now = Moved(app.name, release, before.changed + changed, (*before.left, *left))
            if now.changed or now.left:
                found[app.name, release] = now
    return tuple(found.values())


def _directories(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink())


def _pattern(former: str, app: str) -> re.Pattern[bytes]:
    """The former path where it leads to releases or files of the app. Other text may hold a short one by chance."""
    name = re.escape(app)
    text = rf"(?<![\w./-]){re.escape(former)}(?=/(?:releases/{name}/r\d|storage/{name}/))"
    also = rf"(?<=://){re.escape(former)}(?=/(?:releases/{name}/r\d|storage/{name}/))"
    return re.compile(f"{text}|{also}".encode())


def _tell_tree(root: Path, pattern: re.Pattern[bytes], former: str, now: str) -> tuple[int, list[str]]:
    changed, left = 0, []
    for parent, directories, names in os.walk(root):
        for name in sorted((*directories, *names)):
            path = Path(parent, name)
            try:
                changed += _tell_one(path, pattern, former, now)
            except (OSError, _TooLong):
                left.append(str(path.relative_to(root)))
    return changed, left


class _TooLong(Exception):
    """Linux would cut off the script's first line."""


def _tell_one(path: Path, pattern: re.Pattern[bytes], former: str, now: str) -> bool:
    seen = path.lstat()
    if stat.S_ISLNK(seen.st_mode):
        return _relink(path, former, now)
    if not stat.S_ISREG(seen.st_mode) or not 0 < seen.st_size <= LARGEST:
        return False
    content = path.read_bytes()
    if b"\0" in content:
        return False
    fresh = pattern.sub(lambda _: os.fsencode(now), content)
    if fresh == content:
        return False
    if fresh.startswith(b"#!") and len(fresh.partition(b"\n")[0]) >= LONGEST_FIRST_LINE:
        raise _TooLong
    # A new file: a link of another name for it is looked at by itself.
    files.write_atomic(path, fresh, mode=stat.S_IMODE(seen.st_mode))
    with suppress(PermissionError):
        os.chown(path, seen.st_uid, seen.st_gid)
        path.chmod(stat.S_IMODE(seen.st_mode))
    return True


def _relink(path: Path, former: str, now: str) -> bool:
    target = os.readlink(path)
    if target != former and not target.startswith(f"{former}/"):
        return False
    fresh = path.with_name(f".{path.name}.moved")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(now + target.removeprefix(former))
    os.replace(fresh, path)
    return True
