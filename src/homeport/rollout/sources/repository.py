"""The bare repository of an app: what is pushed and fetched goes there."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName
from homeport.kernel.units import format_size
from homeport.rollout.sources import commands
from homeport.rollout.sources.model import BAD_FILES, FETCH_FAILED, NO_BRANCH
from homeport.system import files, process

LOOK_TIMEOUT = 60.0
FETCH_TIMEOUT = 600.0
LOCAL_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a commit says of itself."""

    subject: str
    author: str
    """Name and mail."""
    committed_at: datetime | None


class Repository:
    """Calls may come from any thread, but :meth:`fetch` from one at a time. Raises HomeportError throughout."""

    def __init__(self, data_dir: Path, app: AppName, variables: Mapping[str, str]) -> None:
        """``variables``: what git sees besides, such as PATH, HOME and proxies."""
        self._data_dir = data_dir
        self._variables = dict(variables) | {
            process.OWNER: str(data_dir),
            process.INSTANCE: f"git.{app}",
        }
        self._app = app
        self.path = data_dir / "repositories" / f"{app}.git"

    def ensure(self, hook: tuple[str, ...]) -> bool:
        """Make the repository unless it is there, and bring its settings and hook up to date; whether it is new.

        ``hook`` is what a push runs. A crash leaves all of it or nothing.
        """
        is_new = not self.path.exists()
        place = self.path
        if is_new:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            place = self.path.with_name(f".{self._app}.{secrets.token_hex(4)}")
            self._git(commands.init(place))
        try:
            (place / "hooks").mkdir(exist_ok=True)
            files.write_atomic(place / commands.INCLUDED, commands.settings(self.path / "hooks"))
            self._git(commands.configure(place, "include.path", commands.INCLUDED))
            files.write_atomic(place / "hooks" / "pre-receive", commands.hook(hook), mode=0o755)
            if is_new:
                place.rename(self.path)
        except BaseException:
            if is_new:
                files.remove_tree(place, within=self._data_dir)
            raise
        return is_new

    def directory(self) -> str:
        """The app's, within the repository; "" is the root."""
        return self._git(commands.setting(self.path, commands.DIRECTORY), check=False).stdout.strip()

    def set_directory(self, directory: str) -> None:
        self._git(commands.configure(self.path, commands.DIRECTORY, directory))

    def remove(self) -> None:
        files.remove_tree(self.path, within=self._data_dir)

    # From elsewhere

    def look(self, url: str, branch: str, credential: str = "") -> str:
        """The commit that a branch elsewhere holds. Raises ``sources.fetch_failed``, ``sources.no_branch``."""
        argv = commands.list_branch(url, branch)
        told = self._elsewhere(argv, url, credential, LOOK_TIMEOUT).stdout.split()
        if len(told) < 2 or told[1] != f"refs/heads/{branch}":
            raise NO_BRANCH.error(f"cannot find branch {branch} of {url}")
        return told[0]

    def fetch(self, url: str, branch: str, credential: str = "") -> str:
        """Fetch a branch from elsewhere; the commit that it holds. Raises ``sources.fetch_failed``."""
        process.kill_marked(str(self._data_dir), self._variables[process.INSTANCE])
        self._elsewhere(commands.fetch(self.path, url, branch), url, credential, FETCH_TIMEOUT)
        return self._git(commands.head(self.path, branch)).stdout.strip()

    def forget(self, branch: str) -> None:
        if self.path.exists():
            self._git(commands.forget(self.path, branch), check=False)

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether both are here, and the one is the other or lies in its history."""
        return self._git(commands.is_ancestor(self.path, ancestor, descendant), check=False).ok

    def _elsewhere(self, argv: tuple[str, ...], url: str, credential: str, timeout: float) -> process.Result:
        env = commands.environment(self._variables, url, credential)
        try:
            done = process.run(argv, timeout=timeout, env=env, check=False, cwd=self._data_dir)
        except HomeportError as e:
            if e.type is not process.TIMED_OUT:
                raise
            raise FETCH_FAILED.error(f"cannot fetch from {url}: it took longer than {timeout:g} s") from e
        if not done.ok:
            if "couldn't find remote ref" in done.stderr:
                raise NO_BRANCH.error(f"cannot fetch from {url}: it has no such branch any more")
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise FETCH_FAILED.error(
                f"cannot fetch from {url}: {said[0][:300] if said else f'git ended with {done.returncode}'}",
                hint="git ls-remote with that address, as the user that Homeport runs as, tells more",
                details=[line[:300] for line in said[1:6]],
            )
        return done

    # What is here

    def tell(self, commit: str) -> Told:
        subject, author, at = self._git(commands.about(self.path, commit)).stdout.strip("\n").split("\0")
        committed_at = None
        with contextlib.suppress(ValueError):
            committed_at = datetime.fromisoformat(at.strip())
        return Told(subject.rstrip()[:500], author[:300], committed_at)

    def archive(self, commit: str, directory: str) -> str:
        """Put the files of a commit among the archives; its digest."""
        archives = self._data_dir / "archives"
        archives.mkdir(mode=0o700, exist_ok=True)
        made = archives / f"upload.{secrets.token_hex(6)}"
        try:
            packed = self._git(commands.archive(self.path, commit, directory, made), check=False)
            if not packed.ok:
                why = packed.stderr.strip().splitlines()[-1:]
                if made.exists() and made.stat().st_size >= commands.MAX_FILES:
                    why = [f"they are larger than {format_size(commands.MAX_FILES)} together"]
                raise BAD_FILES.error(f"cannot read the files of {commit[:10]}", details=why)
            digest = hashlib.sha256()
            with open(made, "rb") as f:
                while chunk := f.read(1 << 20):
                    digest.update(chunk)
            os.replace(made, archives / f"{digest.hexdigest()}.tar")
        except BaseException:
            made.unlink(missing_ok=True)
            raise
        return digest.hexdigest()

    def _git(self, argv: tuple[str, ...], *, check: bool = True) -> process.Result:
        env = commands.environment(self._variables)
        return process.run(argv, timeout=LOCAL_TIMEOUT, env=env, check=check, cwd=self._data_dir)
