"""A cluster restored beside the one that serves, and a server on it that nobody else reaches."""

import os
import pwd
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from homeport.backup.physical import commands, parse
from homeport.backup.physical.errors import NOT_REACHED, NOT_STARTED
from homeport.backup.physical.pgbackrest import PgBackRest, hand_over, make_directory
from homeport.backup.physical.wal import Segment
from homeport.database import machine, refused
from homeport.database.commands import as_user, ident
from homeport.database.connect import Connection
from homeport.database.model import SUPERUSER
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.units import format_moment
from homeport.system import files, process

UNFINISHED = "unfinished"
"""A file in the directory of a copy that is being made: what has it may be removed."""
SHARED_MEMORY = Path("/proc/sysvipc/shm")
MB = 1024 * 1024
ASKING = 5
CONNECTING = 60
"""Seconds for an answer: while it starts it is asked again, and later it may stand still now and then, idle and paced."""
RECOVERY = 6 * 3600.0
"""Seconds that the log may be replayed for."""
STOPPING = 600.0
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (\S+ \S+)")
_BAD = ("ERROR", "FATAL", "PANIC")
_NOT_YET = ("the database system is starting up", "the database system is not accepting connections")
"""What it answers while we ask whether it is up."""
_ENDED_EARLY = "recovery ended before configured recovery target was reached"
_OF_SERVER = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} |\t")
"""How lines of the log begin that are not of what fetches segments."""
_REDO_DONE = re.compile(r"redo done at ([0-9A-F]+/[0-9A-F]+)")


class Copy:
    """In ``directory``, whose ``data`` are its files."""

    def __init__(
        self, program: PgBackRest, directory: Path, version: int, clock: Clock, *, throwaway: bool
    ) -> None:
        self.directory = directory
        self.files = directory / "data"
        self._program = program
        self._clock = clock
        self._throwaway = throwaway
        self._user = machine.user()
        _, self.programs = machine.programs(version)
        self._pid: int | None = None

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def make(self) -> None:
        """Its directory, marked as unfinished."""
        fresh = self.directory.with_name(f"{self.directory.name}.new")
        make_directory(fresh, 0o750, None)
        (fresh / UNFINISHED).touch()
        fresh.rename(self.directory)
        make_directory(self.files, 0o700, self._user)
        hand_over(self.directory, self._user)
        users = [machine.ourselves(), *([self._user] if self._user else [])]
        texts = {
            "postgresql.conf": commands.copy_conf(self.directory, shared_buffers=self._buffers()),
            "pg_hba.conf": commands.copy_hba(),
            "pg_ident.conf": ident(users),
        }
        for name, text in texts.items():
            files.write_atomic(self.directory / name, text, mode=0o640)
            hand_over(self.directory / name, self._user)
        self.log.touch()

    def _buffers(self) -> int:
        return max(32 * MB, min(256 * MB, machine.memory() // 16))

    def add_log(self, segments: Mapping[Segment, Path]) -> None:
        """Segments that are in no repository; recovery looks for them after it has asked the archive."""
        for segment, path in sorted(segments.items()):
            target = self.files / "pg_wal" / str(segment)
            if copy_received(path, target):
                target.chmod(0o600)
                hand_over(target, self._user)

    def start(self, seconds: float = RECOVERY) -> None:
        """Returns when the log is replayed and it takes connections.

        Raises ``backup.target_not_reached``, ``backup.copy_not_started``, ``backup.repository_unreachable``.
        """
        argv = commands.copy_server(self.programs, self.directory, throwaway=self._throwaway)
        self._pid = process.spawn_detached(
            as_user(argv, self._user),
            env=self._program.environment("copy"),
            cwd=self.directory,
            output=self.log,
        )
        deadline = self._clock.monotonic() + seconds
        while True:
            with suppress(HomeportError):
                with self.connect("postgres", ASKING):
                    return
            if not process.is_alive(self._pid) or self._clock.monotonic() > deadline:
                raise self._not_started()
            self._clock.sleep(0.05)

    def _not_started(self) -> HomeportError:
        tail = self.tail()
        text = "\n".join(tail)
        bad = [line for line in tail if any(word in line for word in _BAD) and not line.endswith(_NOT_YET)]
        said = tuple(bad[-8:])
        if _ENDED_EARLY in text:
            until = self.last_commit()
            reached = _REDO_DONE.findall(text)
            where = f" at {reached[-1]}" if reached else ""
            what = f"; its last transaction is of {format_moment(until)}" if until else ""
            return NOT_REACHED.error(
                f"cannot return to that moment: the log ends before it{where}{what}",
                hint="restore the newest there is, or a moment before that",
                details=said,
            )
        fetching = [line.strip() for line in tail if not _OF_SERVER.match(line)]
        if (failing := parse.failing_store("\n".join(fetching))) is not None:
            type_, why = failing
            told = [line for line in fetching if parse.failing_store(line) is not None]
            return type_.error(f"cannot read the log that follows on the backup: {why}", details=told[-8:])
        return NOT_STARTED.error("cannot start a server on the restored copy", details=said or tail[-8:])

    def tail(self) -> tuple[str, ...]:
        return files.tail_lines(self.log, 200)

    def last_commit(self) -> datetime | None:
        """Of the last transaction that was replayed."""
        found = _LAST_COMMIT.findall("\n".join(self.tail()))
        if not found:
            return None
        with suppress(ValueError):
            return datetime.fromisoformat(found[-1])
        return None

    @contextmanager
    def connect(self, database: str, seconds: int = CONNECTING) -> Iterator[Connection]:
        """Raises ``backup.copy_not_started``, after ``seconds`` without an answer."""
        import psycopg

        try:
            connection = psycopg.connect(
                host=str(self.directory),
                port=5432,
                user=SUPERUSER,
                dbname=database,
                autocommit=True,
                connect_timeout=seconds,
                application_name="homeport proof",
            )
        except psycopg.OperationalError as e:
            raise NOT_STARTED.error(f"cannot reach the server on the copy: {refused.why(e)}") from None
        with connection:
            yield connection

    def stop(self) -> None:
        """Cleanly, so that its files can be looked at; by force after a time."""
        if self._pid is None:
            return
        process.kill_group(self._pid, signal.SIGINT)
        deadline = self._clock.monotonic() + STOPPING
        while process.is_alive(self._pid) and self._clock.monotonic() < deadline:
            self._clock.sleep(0.02)
        self.end()

    def end(self) -> None:
        """Nothing of it runs any more."""
        if self._pid is not None:
            process.kill_group(self._pid, signal.SIGQUIT)
            deadline = self._clock.monotonic() + 5
            while process.is_alive(self._pid) and self._clock.monotonic() < deadline:
                self._clock.sleep(0.02)
            process.kill_group(self._pid)
            while process.is_alive(self._pid):
                self._clock.sleep(0.01)
            process.reap()
        self._pid = None

    def run(self, argv: tuple[str, ...], timeout: float) -> process.Result:
        return process.run(
            as_user(argv, self._user),
            timeout=timeout,
            cwd=self.directory,
            env=self._program.environment("copy"),
            check=False,
        )

    def finish(self) -> None:
        """It is whole: from now on nobody removes it as left over."""
        (self.directory / UNFINISHED).unlink()

    def timeline(self) -> int:
        with self.connect("postgres") as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
        assert row is not None
        return int(row[0][:8], 16)

    def left_at(self, timeline: int) -> str:
        """Where the log was left for the copy's own ``timeline``."""
        lines = (self.files / "pg_wal" / f"{timeline:08X}.history").read_text().splitlines()
        return next(line.split()[1] for line in reversed(lines) if line.strip())


def remove(directory: Path, within: Path, clock: Clock) -> None:
    """A copy's directory. Backends of a server that was killed may still be on their way out of it.

    Its mark goes last, so that one who is killed meanwhile is followed by another.
    """
    if directory.is_dir():
        release_memory(directory)
        # On a full disk it may not get its mark: it goes all the same.
        with suppress(OSError):
            (directory / UNFINISHED).touch()
    for attempt in range(20):
        try:
            files.remove_tree(directory / "data", within=within)
            files.remove_tree(directory, within=within)
            return
        except OSError:
            if attempt == 19:
                raise
            clock.sleep(0.1)


def release_memory(directory: Path) -> None:
    """The shared memory of a server on the copy that was killed: with its files, nobody else would find it."""
    try:
        lines = (directory / "data" / "postmaster.pid").read_text().splitlines()
        pid, (key, segment) = lines[0].strip(), lines[6].split()
        known = [line.split() for line in SHARED_MEMORY.read_text().splitlines()[1:]]
    except (OSError, IndexError, ValueError):
        return
    # Key, id, rights, bytes, who made it, …: after a reboot the number may be somebody else's.
    if any((f[0], f[1], f[4]) == (key, segment, pid) for f in known):
        process.run(("ipcrm", "--shmem-id", segment), timeout=10, cwd=Path("/"), check=False)


def everything(parent: Path) -> tuple[Path, ...]:
    """All directories below ``parent``."""
    try:
        return tuple(sorted(Path(e.path) for e in os.scandir(parent) if e.is_dir(follow_symlinks=False)))
    except OSError:
        return ()


def left_over(parent: Path) -> tuple[Path, ...]:
    """Copies below ``parent`` that were never finished."""
    return tuple(path for path in everything(parent) if (path / UNFINISHED).exists())


def received_files(directory: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(e.name for e in os.scandir(directory) if e.is_file()))
    except OSError:
        return ()


def copy_received(path: Path, target: Path) -> bool:
    """Whether it is still there: as it was listed, or whole, when it has been renamed since."""
    for source in (path, path.with_suffix("")):
        with suppress(FileNotFoundError):
            shutil.copyfile(source, target)
            return True
    return False


def prefer_archive(user: str | None, files_: Path, timeline: int) -> None:
    """Let the history of the copy's timeline be the first that it archives, when it archives again."""
    name = f"{timeline:08X}.history"
    ready = files_ / "pg_wal" / "archive_status" / f"{name}.ready"
    if (files_ / "pg_wal" / name).exists() and not ready.with_suffix(".done").exists():
        ready.touch(mode=0o600)
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(ready, entry.pw_uid, entry.pw_gid)
