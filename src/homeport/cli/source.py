"""The app's source: which commit, and its files as a tar."""

import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from homeport.kernel.errors import Kind, declare
from homeport.system import process

NO_REPOSITORY = declare("cli.no_repository", Kind.INVALID, "The app's directory is in no git repository.")
NO_COMMIT = declare("cli.no_commit", Kind.NOT_FOUND, "The repository has no such commit, or none at all.")
NOT_COMMITTED = declare(
    "cli.spec_not_committed", Kind.INVALID, "The commit to deploy holds no homeport.toml."
)

GIT_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Source:
    commit: str
    subject: str
    author: str
    """Name and mail."""
    committed_at: str
    """ISO 8601."""
    dirty: bool
    changed: int
    """Files of the working tree that differ from the commit."""
    tar: IO[bytes]


def _git(directory: Path, *arguments: str, check: bool = True) -> process.Result:
    return process.run(("git", *arguments), timeout=GIT_TIMEOUT, cwd=directory, check=check)


def read(directory: Path, commit: str | None, *, dirty: bool) -> Source:
    """The files of ``directory`` at a commit (HEAD by default), or as they lie there when ``dirty``.

    Raises ``cli.no_repository``, ``cli.no_commit`` or ``cli.spec_not_committed``.
    """
    inside = _git(directory, "rev-parse", "--show-prefix", check=False)
    if not inside.ok:
        raise NO_REPOSITORY.error(
            f"cannot deploy {directory}: it is in no git repository",
            hint='git init && git add -A && git commit -m "First"',
            details=() if "not a git repository" in inside.stderr else inside.stderr.splitlines()[:3],
        )
    prefix = inside.stdout.strip()
    wanted = commit or "HEAD"
    found = _git(
        directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}", check=False
    )
    if not found.ok:
        hint = "git log --oneline lists them" if commit else 'git add -A && git commit -m "First"'
        raise NO_COMMIT.error(
            f"cannot find commit {wanted}" if commit else "cannot deploy: the repository has no commit yet",
            hint=hint,
        )
    id = found.stdout.strip()
    told = _git(directory, "log", "-1", "--format=%s%x00%an <%ae>%x00%cI", id).stdout.strip()
    subject, author, committed_at = told.split("\0")
    about = (id, subject[:500], author[:300], committed_at)
    status = _git(directory, "status", "--porcelain", "--", ".").stdout.splitlines()
    if dirty:
        return Source(*about, bool(status), len(status), _working_tree(directory))
    if not _git(directory, "cat-file", "-e", f"{id}:{prefix}homeport.toml", check=False).ok:
        raise NOT_COMMITTED.error(
            f"cannot deploy {id[:10]}: it holds no {prefix}homeport.toml",
            hint="git add homeport.toml && git commit, then deploy again",
        )
    fd, name = tempfile.mkstemp(prefix="homeport-", suffix=".tar")
    os.close(fd)
    try:
        _git(directory, "archive", "--format=tar", f"--output={name}", f"{id}:{prefix}" if prefix else id)
        file = open(name, "rb")  # noqa: SIM115 - the caller reads it; gone with the process
    finally:
        Path(name).unlink(missing_ok=True)
    return Source(*about, False, len(status), file)


def head(directory: Path) -> str:
    """The commit that is checked out."""
    return _git(directory, "rev-parse", "HEAD").stdout.strip()


def _working_tree(directory: Path) -> IO[bytes]:
    """A tar of the files that git tracks or would track, as they lie there."""
    listed = _git(directory, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller reads it; gone with the process
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(set(listed.split("\0")) - {""}):
            path = directory / name
            if path.is_symlink() or path.is_file():
                tar.add(path, arcname=name, recursive=False)
    return file
