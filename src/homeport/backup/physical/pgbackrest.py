"""Runs pgBackRest as the server's user, and says what its failures mean."""

import os
import pwd
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from homeport.backup.physical import commands, parse
from homeport.backup.physical.errors import (
    BAD_PASSPHRASE,
    BUSY,
    MISSING,
    NO_MEMORY,
    NO_PROGRAM,
    WRONG_PASSPHRASE,
)
from homeport.backup.physical.model import (
    BackupLayout,
    LocalStore,
    PhysicalBackup,
    Progress,
    RepositoryLook,
    S3Store,
    Settings,
)
from homeport.backup.physical.wal import Archive, archives, fork
from homeport.backup.stores import MOUNT
from homeport.database import machine
from homeport.database.commands import as_user
from homeport.database.model import Layout
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system import files, process
from homeport.system.pace import Seen, paced

SHORT = 120.0
"""Seconds for what only looks."""
JOINING = 30.0
LONG = 7 * 24 * 3600.0
"""For what works. Under a rate a large cluster takes days."""
KEPT = 64 * 1024
"""Bytes of a run's output that are kept."""
OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """For who does not want to know."""


class PgBackRest:
    """Of one cluster. Needs :meth:`prepare` before anything else, each time the machine was started."""

    def __init__(self, data: Path, cluster: str, settings: Settings, clock: Clock) -> None:
        self.layout = BackupLayout(data, cluster)
        self.settings = settings
        self._clock = clock
        self._owner = str(data)

    # Its files

    def prepare(self, pg: Layout, port: int) -> None:
        """Directories, and the configuration with its secrets, in memory. Idempotent."""
        if process.program("pgbackrest") is None:
            raise NO_PROGRAM.error(
                "cannot back up a cluster: pgBackRest is not on this machine",
                hint="apt-get install --no-install-recommends pgbackrest",
            )
        user = machine.user()
        layout = self.layout
        try:
            text = commands.pgbackrest_conf(self.settings, layout, pg, port)
        except ValueError as e:
            raise BAD_PASSPHRASE.error(
                f"cannot write the {e}: it is empty, begins or ends with a blank, or has characters that do not print",
                hint="choose another; 20 letters and digits or more are safe",
            ) from None
        make_directory(layout.backups, 0o755, None)
        make_directory(layout.directory, 0o750, None, group=user)
        make_directory(layout.records, 0o700, None)
        make_directory(layout.scratch.parent, 0o755, None)
        make_directory(layout.scratch, 0o755, None)
        for path in (layout.work, layout.received):
            make_directory(path, 0o700, user)
        for repository in self.settings.repositories:
            if isinstance(repository.store, LocalStore):
                _make_store(repository.store, user)
        for name in ("lock", "spool", "log"):
            make_directory(layout.work / name, 0o700, user)
        self._keep_in_memory(layout, text.reveal(), user)

    def _keep_in_memory(self, layout: BackupLayout, text: str, user: str | None) -> None:
        where = layout.secrets
        with suppress(FileExistsError, FileNotFoundError):
            where.mkdir(mode=0o700)
            hand_over(where, user)
        owner = pwd.getpwnam(user).pw_uid if user else os.geteuid()
        try:
            found = where.lstat()
        except OSError as e:
            raise NO_MEMORY.error(f"cannot keep what pgBackRest must know in {where}: {e.strerror}") from e
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
            raise NO_MEMORY.error(
                f"cannot keep what pgBackRest must know in {where}: somebody else made it",
                hint=f"remove {where}",
            )
        where.chmod(0o700)
        hand_over(where, user)
        with suppress(FileNotFoundError):
            found = layout.conf.lstat()
            same = stat.S_ISREG(found.st_mode) and found.st_uid == owner and found.st_mode & 0o777 == 0o600
            if same and layout.conf.read_text() == text:
                return
        fresh = where / "fresh"
        files.write_atomic(fresh, text, mode=0o600)
        hand_over(fresh, user)
        fresh.replace(layout.conf)

    def forget(self) -> None:
        """Remove what is kept in memory: from then on nothing is archived."""
        files.remove_tree(self.layout.secrets, within=self.layout.secrets.parent)

    # Running it

    def environment(self, what: str) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            process.OWNER: self._owner,
            process.INSTANCE: f"backup.{self.layout.cluster}.{what}",
        }

    def end_left_over(self, what: str) -> None:
        """End what a caller that was killed left running. Only under the lock of ``what``."""
        process.kill_marked(self._owner, f"backup.{self.layout.cluster}.{what}")

    def paced(self, what: str, rate: int | None) -> AbstractContextManager[Seen]:
        """What is started for ``what`` meanwhile reads, and writes, at most ``rate`` bytes a second."""
        return paced(rate, owner=self._owner, instance=self.environment(what)[process.INSTANCE])

    def ask(self, argv: Sequence[str], doing: str, timeout: float = SHORT) -> str:
        """Its output. Raises what :func:`parse.verdict` says."""
        ran = process.run(
            as_user(argv, machine.user()),
            timeout=timeout,
            cwd=Path("/"),
            env=self.environment("look"),
            check=False,
        )
        if not ran.ok:
            self._fail(argv, doing, ran.returncode, ran.stderr + ran.stdout)
        return ran.stdout

    def work(self, argv: Sequence[str], what: str, doing: str, on_progress: OnProgress) -> str:
        """The end of its output, of a repository that was looked into before.

        ``on_progress`` is told at most a few times a second.
        """
        kept = bytearray()
        counter = parse.Counter()
        began = self._clock.monotonic()
        told = began

        def output(chunk: bytes) -> None:
            nonlocal told
            kept.extend(chunk)
            del kept[:-KEPT]
            if counter.feed(chunk) and (now := self._clock.monotonic()) - told >= 0.25:
                told = now
                on_progress(counter.progress(now - began))

        status, _ = process.stream(
            as_user(argv, machine.user()),
            timeout=LONG,
            cwd=Path("/"),
            env=self.environment(what),
            on_output=output,
        )
        text = kept.decode("utf-8", "replace")
        if status != 0:
            self._fail(argv, doing, status, text, opened=True)
        on_progress(counter.progress(self._clock.monotonic() - began))
        return text

    def _fail(
        self, argv: Sequence[str], doing: str, status: int, output: str, *, opened: bool = False
    ) -> None:
        found = parse.verdict(status, output, opened=opened, where=self._where(commands.repository_of(argv)))
        raise found.type.error(f"cannot {doing}: {found.why}", hint=found.hint, details=found.details)

    def _where(self, number: int | None) -> str:
        """The host of a repository's store; "" for a directory, and where it is not known which one."""
        if number is None and len(self.settings.repositories) == 1:
            number = 1
        store = self.settings.repositories[number - 1].store if number is not None else None
        if not isinstance(store, S3Store):
            return ""
        return store.endpoint if store.port == 443 else f"{store.endpoint}:{store.port}"

    # Looking

    def look(self, name: str) -> RepositoryLook:
        """What a repository holds; a problem is told in it and not raised."""
        return parse.look(self._info(name), name, self._where(self.settings.number(name)))

    def read(self, name: str) -> RepositoryLook:
        """As :meth:`look`. Raises what is wrong with the repository."""
        text = self._info(name)
        found = parse.look(text, name)
        if found.problem:
            told = parse.problem(parse.message(text), self._where(self.settings.number(name)))
            raise told.type.error(
                f"cannot read repository {name}: {told.why}",
                hint=_hint(name) if told.type is WRONG_PASSPHRASE else told.hint,
                details=told.details,
            )
        return found

    def _info(self, name: str) -> str:
        doing = f"read repository {name}"
        self.must_be_there(name, doing)
        return self.ask(commands.info(self.layout, self.settings.number(name)), doing)

    def must_be_there(self, name: str, doing: str) -> None:
        """pgBackRest takes a directory that is gone for one that holds nothing yet. Raises ``backup.missing_files``."""
        store = self.settings.repositories[self.settings.number(name) - 1].store
        if isinstance(store, LocalStore) and _is_gone(store.path):
            raise MISSING.error(f"cannot {doing}: files are gone: {store.path}", hint=MOUNT)

    def backups(self, name: str) -> tuple[PhysicalBackup, ...]:
        """Oldest first. Raises what is wrong with the repository."""
        return self.read(name).backups

    def join(self, system_id: int) -> None:
        """Every repository takes the cluster's backups and log; one that is empty becomes its own.

        Raises ``backup.other_cluster``, and what is wrong with one.
        """
        found = [self.read(r.name) for r in self.settings.repositories]
        if all(look.system_id == system_id for look in found):
            return
        doing = f"use the repositories of cluster {self.layout.cluster}"
        deadline = self._clock.monotonic() + JOINING
        while True:
            try:
                self.ask(commands.pgbackrest(self.layout, "stanza-create"), doing)
                return
            except HomeportError as e:
                # Archiving holds the same lock while it works.
                if e.code != BUSY.code or self._clock.monotonic() > deadline:
                    raise
            self._clock.sleep(0.2)

    def archive(self, name: str, id: str | None = None) -> Archive:
        """What a repository holds of the log; of the newest cluster version where ``id`` is not given."""
        number = self.settings.number(name)
        doing = f"list the log in repository {name}"
        self.must_be_there(name, doing)
        paths = parse.listing(self.ask(commands.list_archive(self.layout, number), doing))
        found = archives(paths)
        if not found:
            return Archive(id or "", frozenset())
        chosen = found.get(id or max(found, key=lambda i: int(i.rpartition("-")[2])))
        if chosen is None:
            return Archive(id or "", frozenset())
        forks, parents = {}, {}
        for timeline in chosen.histories:
            path = f"archive/{self.layout.cluster}/{chosen.id}/{timeline:08X}.history"
            left = fork(self.ask(commands.get_file(self.layout, number, path), doing), timeline)
            if left is not None:
                parents[timeline], forks[timeline] = left
        return Archive(chosen.id, chosen.segments, chosen.histories, forks, parents)


def _hint(name: str) -> str:
    return f"see that the passphrase of {name} is the one that it was made with"


def _make_store(store: LocalStore, user: str | None) -> None:
    """Nowhere where a disk is not mounted, or the repository's directory is gone."""
    if _is_gone(store.path) and not _is_gone(store.beside or store.path.parent):
        make_directory(store.path, 0o700, user)


def _is_gone(path: Path) -> bool:
    """False where that cannot be seen: pgBackRest tells what is in the way."""
    try:
        return not path.exists()
    except OSError:
        return False


def make_directory(path: Path, mode: int, user: str | None, *, group: str | None = None) -> None:
    """``user``: whom it belongs to; ``group``: whose group may pass it."""
    path.mkdir(mode=mode, exist_ok=True)
    path.chmod(mode)
    hand_over(path, user)
    if group is not None:
        shutil.chown(path, group=pwd.getpwnam(group).pw_gid)


def hand_over(path: Path, user: str | None) -> None:
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)
