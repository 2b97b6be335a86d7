"""Source archives: the tar of a commit, looked at before it is trusted, unpacked without surprises."""

import hashlib
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.units import format_size

INVALID = declare(
    "rollout.archive_invalid", Kind.INVALID, "The uploaded archive is not a plain tar of an app's files."
)
TOO_LARGE = declare(
    "rollout.archive_too_large", Kind.NO_SPACE, "The app's files are larger than its build's disk budget."
)
NO_SPEC = declare("rollout.no_spec", Kind.INVALID, "The commit holds no homeport.toml.")

SPEC_NAME = "homeport.toml"
MAX_MEMBERS = 200_000
MAX_SPEC = 256 * 1024


@contextmanager
def _open(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as e:
        raise INVALID.error(
            f"cannot read the archive: {e}", hint="send what git archive --format=tar gives"
        ) from e


def _refuse(member: tarfile.TarInfo, why: str) -> HomeportError:
    return INVALID.error(f"cannot take {member.name!r} from the archive: {why}")


def _checked(member: tarfile.TarInfo) -> str:
    """The member's path, relative and without surprises; raises ``rollout.archive_invalid``."""
    name = member.name.rstrip("/")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name or "" in parts[1:]:
        raise _refuse(member, "its path leads out of the app")
    name = posixpath.normpath(name)
    if member.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        if member.linkname.startswith("/") or target.split("/")[0] == "..":
            raise _refuse(member, f"it links out of the app, to {member.linkname!r}")
    elif not (member.isdir() or (member.isreg() and not member.issparse())):
        raise _refuse(member, "it is neither a file, a directory nor a symbolic link")
    return name


def inspect(path: Path, *, limit: int) -> tuple[str, str]:
    """Look through an archive: (its ``homeport.toml``, the SHA-256 over its files).

    The digest takes names, executable bits, link targets and contents; not times, owners or order.
    Raises ``rollout.archive_invalid``, ``rollout.archive_too_large`` (more than ``limit`` bytes) and
    ``rollout.no_spec``.
    """
    spec: bytes | None = None
    entries: list[tuple[str, str, str]] = []
    total = 0
    with _open(path) as tar:
        for count, member in enumerate(tar):
            name = _checked(member)
            total += member.size
            if count >= MAX_MEMBERS or total > limit:
                raise TOO_LARGE.error(
                    f"cannot take the archive: it holds more than {format_size(limit)} or {MAX_MEMBERS} files",
                    hint="add what does not belong to .gitignore, or raise build.disk",
                )
            if member.issym():
                entries.append((name, "link", member.linkname))
            elif member.isreg():
                file = tar.extractfile(member)
                assert file is not None
                digest = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    if name == SPEC_NAME and member.size <= MAX_SPEC:
                        spec = (spec or b"") + chunk
                if name == SPEC_NAME and member.size > MAX_SPEC:
                    raise _refuse(member, f"it is larger than {format_size(MAX_SPEC)}")
                if name == SPEC_NAME and member.size == 0:
                    spec = b""
                entries.append((name, "run" if member.mode & 0o100 else "file", digest.hexdigest()))
    if spec is None:
        raise NO_SPEC.error(
            "cannot deploy: the commit holds no homeport.toml",
            hint="homeport init writes one; commit it, then deploy again",
        )
    whole = hashlib.sha256()
    for entry in sorted(entries):
        whole.update("\0".join(entry).encode("utf-8", "surrogateescape") + b"\n")
    try:
        return spec.decode(), whole.hexdigest()
    except UnicodeDecodeError as e:
        raise INVALID.error(f"cannot read homeport.toml: it is not UTF-8 ({e.reason})") from e


def unpack(path: Path, target: Path) -> None:
    """Unpack an inspected archive into the new directory ``target``. Nothing is written outside it."""
    target.mkdir(parents=True, mode=0o755)
    links: set[str] = set()
    with _open(path) as tar:
        for member in tar:
            name = _checked(member)
            if name == ".":
                continue
            parents = name.split("/")[:-1]
            if any("/".join(parents[: i + 1]) in links for i in range(len(parents))):
                raise _refuse(member, "its path goes through a symbolic link")
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            if member.isdir():
                place.mkdir(exist_ok=True, mode=0o755)
            elif os.path.lexists(place):
                raise _refuse(member, "it is there twice")
            elif member.issym():
                os.symlink(member.linkname, place)
                links.add(name)
            else:
                source = tar.extractfile(member)
                assert source is not None
                mode = 0o755 if member.mode & stat.S_IXUSR else 0o644
                fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
                with os.fdopen(fd, "wb") as out:
                    while chunk := source.read(1 << 20):
                        out.write(chunk)
                os.chmod(place, mode)
                os.utime(place, (member.mtime, member.mtime))
