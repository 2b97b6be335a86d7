"""restic on one repository: what it is asked to do, how long it may take, what its failures mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from homeport.backup.files import commands, parse
from homeport.backup.files.errors import (
    LOCKED,
    NO_REPOSITORY,
    NO_RESTIC,
    NO_SNAPSHOT,
    NOT_ANSWERING,
    RESTIC_FAILED,
    STORE_FAILED,
    UNREADABLE,
)
from homeport.backup.files.manifest import Manifest
from homeport.backup.files.model import (
    Layout,
    Limits,
    LocalPlace,
    Lock,
    Progress,
    Repository,
    Run,
    Snapshot,
    Summary,
    checksum,
)
from homeport.backup.files.plan import judge_locks
from homeport.backup.files.records import Records
from homeport.backup.stores import MOUNT
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.kernel.units import format_duration
from homeport.system import files, process

LOOK = "filebackup.look"
KEPT = 16_384
INCOMPLETE = 3
"""restic's status when it backed up and could not read everything."""
OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    return None


class Restic:
    def __init__(
        self, repository: Repository, layout: Layout, clock: Clock, limits: Limits, *, yielding: bool = True
    ) -> None:
        self.repository = repository
        self._layout = layout
        self._records = Records(layout)
        self._clock = clock
        self.limits = limits
        self._nice = commands.YIELDING if yielding else ()

    # Making and opening

    def init(self) -> bool:
        """Make the repository where there is none; whether it was made. Raises as :meth:`check_opened`."""
        try:
            self.check_opened()
            if not self._key():
                self._note_key()
            return False
        except HomeportError as e:
            if e.code != "backup.no_repository":
                raise
        if isinstance(self.repository.place, LocalPlace):
            self._make_directory(self.repository.place.path)
        self._work(("init",), "make repository")
        self._note_key()
        return True

    def _note_key(self) -> None:
        """Each key that restic tries costs a third of a second of a core: from now on it begins with the right one."""
        try:
            text = self._look((*commands.keys(), "--no-lock"), "open repository")
        except HomeportError:
            return  # such as a lock that somebody left, which this restic minds
        files.write_atomic(self._layout.keys / self.repository.name, parse.current_key(text), mode=0o600)

    def _make_directory(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise RESTIC_FAILED.error(
                f"cannot make repository {self.repository.name} in {path}: {e.strerror}"
            ) from e

    def check_opened(self) -> None:
        """Raises ``backup.no_repository``, ``.repository_not_opened``, ``.store_refused``,
        ``.store_not_answering``, ``.store_failed``."""
        self._look(("cat", "config", "--no-lock"), "open repository")

    def add_passphrase(self, passphrase: Secret) -> None:
        """From now on this opens the repository too."""
        self._work(commands.add_key(), "add a passphrase to repository", stdin=passphrase.reveal().encode())

    # Snapshots

    def snapshots(self) -> tuple[tuple[Snapshot, ...], tuple[str, ...]]:
        """(ours, oldest first; what nothing needs any more: :func:`parse.snapshots`)"""
        text = self._look((*commands.snapshots(), "--no-lock"), "list repository")
        try:
            return parse.snapshots(text)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise RESTIC_FAILED.error(
                f"cannot list repository {self.repository.name}: restic's answer is no list"
            ) from e

    def snapshot(self, id: str) -> Snapshot:
        """By its id, which may be clipped. Raises ``backup.no_snapshot``."""
        found, _ = self.snapshots()
        full = parse.full_id(id, found)
        if not full:
            raise NO_SNAPSHOT.error(
                f"cannot find {id[:64]} in repository {self.repository.name}: it has no such backup of files"
            )
        return next(s for s in found if s.id == full)

    def manifest(self, snapshot: Snapshot) -> tuple[Manifest, str]:
        """(what it holds, SHA-256 of the text)."""
        if not snapshot.is_finished:
            raise NO_SNAPSHOT.error(f"cannot use backup {snapshot.id[:8]}: it was never finished")
        doing = f"read the manifest of {snapshot.id[:8]} in repository"
        text = self._look((*commands.manifest(snapshot.manifest), "--no-lock"), doing)
        try:
            return Manifest.of(text), checksum(text)
        except ValueError as e:
            raise STORE_FAILED.error(
                f"cannot {doing} {self.repository.name}: it is not whole, or of a newer Homeport"
            ) from e

    def backup(
        self,
        series: str,
        paths: Sequence[str],
        *,
        root: Path,
        exclude: Path | None,
        on_progress: OnProgress,
        is_gone: Callable[[str], bool],
    ) -> Summary:
        """Raises ``backup.unreadable_source`` for what is there and could not be read; what vanished meanwhile
        (``is_gone``) may be missing."""
        counter = parse.Counter()
        began = moved = told = self._clock.monotonic()

        def output(chunk: bytes) -> None:
            nonlocal moved, told
            now = self._clock.monotonic()
            if counter.feed(chunk):
                moved = now
            if now - told >= 0.25:
                told = now
                on_progress(self._progress(counter, now - began))

        def stalled() -> str | None:
            if parse.is_lasting("\n".join(counter.words).encode()):
                return "lasting"
            return "stalled" if self._clock.monotonic() - moved > self.limits.stalled else None

        def once() -> int:
            return self._stream(
                commands.backup(series, paths, exclude),
                f"back up {series} to repository",
                root=root,
                timeout=float("inf"),
                output=output,
                stopped=stalled,
                said=lambda: "\n".join(counter.words),
                accepted=(0, INCOMPLETE),
            )

        try:
            status = once()
        except HomeportError as e:
            if e.type is not LOCKED or self.unlock_own() is not None:
                raise
            # A prune of ours that was killed had left it.
            counter, moved = parse.Counter(), self._clock.monotonic()
            status = once()
        on_progress(self._progress(counter, self._clock.monotonic() - began))
        unread = [line for line in counter.unread if not is_gone(line.partition(": ")[0])]
        if status == INCOMPLETE and unread:
            raise UNREADABLE.error(
                f"cannot back up {series} to repository {self.repository.name}: {len(unread)} files cannot be read",
                details=unread[:20],
            )
        if counter.summary is None:
            raise RESTIC_FAILED.error(
                f"cannot back up {series} to repository {self.repository.name}: restic made nothing",
                details=counter.words[-6:],
            )
        return counter.summary

    def _progress(self, counter: parse.Counter, seconds: float) -> Progress:
        return Progress(
            self.repository.name, counter.files, counter.total_files, counter.bytes, counter.total_bytes, seconds
        )  # fmt: skip

    def keep_manifest(self, series: str, snapshot: str, text: str) -> None:
        """The last thing of a backup: with it, it counts."""
        self.put(
            commands.keep_manifest(series, snapshot), text, f"keep the manifest of {series} in repository"
        )

    def put(self, words: Sequence[str], text: str, doing: str) -> None:
        """``words`` take the text by stdin."""
        data = text.encode("utf-8", "surrogateescape")
        self._work(words, doing, stdin=data, timeout=self.limits.long(len(data)))

    def records(self) -> tuple[str, ...]:
        """Ids of what is kept about backups: oldest first."""
        return parse.records(self._look((*commands.snapshots(), "--no-lock"), "list repository"))

    def read(self, words: Sequence[str], doing: str) -> str:
        """What ``words`` print."""
        return self._look((*words, "--no-lock"), doing)

    def restore(self, snapshot: str, target: Path, size: int, only: Sequence[str] = ()) -> None:
        """``size``: bytes that it has, for how long it may take. What could not be restored raises."""
        self._work(
            commands.restore(snapshot, target, only),
            f"restore {snapshot[:8]} from repository",
            timeout=self.limits.long(size),
        )

    def check(self, share: str = "", size: int = 0) -> None:
        """Look at the repository's structure, and read a share of what it holds: "10%", "1/7" or "all".

        Raises ``backup.repository_broken`` with what is wrong.
        """
        self._work(commands.check(share), "check repository", timeout=self.limits.long(size) * 5)

    def forget(self, ids: Sequence[str]) -> None:
        """Snapshots go; what they took is freed by :meth:`prune`."""
        for n in range(0, len(ids), 100):
            self._work(commands.forget(ids[n : n + 100]), "remove backups from repository")

    def prune(self, size: int = 0) -> None:
        self._work(
            commands.prune(),
            "free what removed backups took in repository",
            timeout=self.limits.long(size) * 5,
        )

    # Locks

    def locks(self) -> tuple[Lock, ...]:
        """Who works with the repository now, or left its lock."""
        doing = "look at the locks of repository"
        found = []
        for id in parse.ids(self._look(commands.locks(), doing)):
            # One may be taken away just now.
            with suppress(HomeportError, ValueError, KeyError):
                found.append(parse.lock(id, self._look(commands.lock(id), doing)))
        return tuple(found)

    def unlock_own(self) -> Lock | None:
        """Remove locks that a restic of ours left which was killed, where that removes no other. Who holds the
        repository then; None for nobody."""
        host = os.uname().nodename
        locks = self.locks()
        alive = frozenset(k.pid for k in locks if k.host == host and process.is_alive(k.pid))
        verdict = judge_locks(locks, host, alive, self._records.runs(), self._clock.now())
        if verdict.may_unlock:
            self._stream_quietly(
                commands.unlock(), "remove our own locks from repository", b"", self.limits.short
            )
        return verdict.holder

    # Running it

    def environment(self, what: str) -> dict[str, str]:
        cache = self._layout.cache if self._is_cached else None
        return commands.environment(self.repository, cache, self._key()) | {
            process.OWNER: str(self._layout.data),
            process.INSTANCE: what,
        }

    def _key(self) -> str:
        """Where it is of another password, restic goes on to the other keys."""
        try:
            return (self._layout.keys / self.repository.name).read_text("ascii").strip()
        except (OSError, ValueError):
            return ""

    @property
    def _is_cached(self) -> bool:
        return not isinstance(self.repository.place, LocalPlace)

    def _argv(self, words: Sequence[str]) -> tuple[str, ...]:
        if process.program("restic") is None:
            raise NO_RESTIC.error(
                "cannot back up files: restic is not on this machine",
                hint="apt-get install --no-install-recommends restic",
            )
        # What proves reads all from the store itself.
        cached = self._is_cached and words[0] in ("backup", "forget", "prune")
        return (*self._nice, *commands.restic(self.repository, *words, limits=self.limits, cached=cached))

    def _look(self, words: Sequence[str], doing: str) -> str:
        try:
            ran = process.run(
                self._argv(words),
                timeout=self.limits.short,
                cwd=Path("/"),
                env=self.environment(LOOK),
                check=False,
            )
        except HomeportError as e:
            if e.type is not process.TIMED_OUT:
                raise
            raise self._slow(doing, self.limits.short) from None
        if not ran.ok:
            raise self._error(doing, ran.stderr + ran.stdout)
        return ran.stdout

    def _work(
        self, words: Sequence[str], doing: str, *, stdin: bytes = b"", timeout: float | None = None
    ) -> str:
        """Its output. A lock that we left ourselves is in nobody's way."""
        limit = self.limits.short if timeout is None else timeout
        try:
            return self._stream_quietly(words, doing, stdin, limit)
        except HomeportError as e:
            if e.type is not LOCKED or self.unlock_own() is not None:
                raise
        return self._stream_quietly(words, doing, stdin, limit)

    def _stream_quietly(self, words: Sequence[str], doing: str, stdin: bytes, timeout: float) -> str:
        kept = bytearray()

        def output(chunk: bytes) -> None:
            kept.extend(chunk)
            del kept[:-KEPT]

        def said() -> str:
            return kept.decode("utf-8", "replace")

        self._stream(
            words, doing, root=Path("/"), timeout=timeout, output=output, said=said, stdin=stdin,
            stopped=lambda: "lasting" if parse.is_lasting(kept) else None,
        )  # fmt: skip
        return said()

    def _stream(
        self,
        words: Sequence[str],
        doing: str,
        *,
        root: Path,
        timeout: float,
        output: Callable[[bytes], None],
        stopped: Callable[[], str | None],
        said: Callable[[], str],
        accepted: tuple[int, ...] = (0,),
        stdin: bytes = b"",
    ) -> int:
        noted = False

        def poll() -> str | None:
            nonlocal noted
            if not noted:
                noted = self._note()
            return stopped()

        started = self._clock.monotonic()
        status, reason = process.stream(
            self._argv(words),
            timeout=timeout,
            cwd=root,
            env=self.environment(self._layout.mark),
            on_output=output,
            poll=poll,
            stdin=stdin,
        )
        if reason == "lasting":
            raise self._error(doing, said())
        if reason is not None:
            seconds = self.limits.stalled if reason == "stalled" else self._clock.monotonic() - started
            raise self._slow(doing, seconds, said())
        if status not in accepted:
            raise self._error(doing, said())
        return status

    def _note(self) -> bool:
        """Write down which process takes a lock now; whether it was found."""
        owner = str(self._layout.data)
        pids = [m.pid for m in process.marked(owner) if m.instance == self._layout.mark]
        now = self._clock.now()
        for pid in pids:
            self._records.keep_run(Run(pid, now))
        self._records.forget_runs(now - timedelta(days=14))
        return bool(pids)

    def _slow(self, doing: str, seconds: float, said: str = "") -> HomeportError:
        telling = [line.strip() for line in said.splitlines() if "returned error" in line][-3:]
        name = self.repository.name
        if telling:
            why = parse.verdict("\n".join(telling), self.repository.host).why
            return STORE_FAILED.error(
                f"cannot {doing} {name}: {why}, again and again for {format_duration(seconds)}",
                hint="see that the store is well; backups in other repositories are not affected",
                details=telling,
            )
        return NOT_ANSWERING.error(
            f"cannot {doing} {name}: nothing moved for {format_duration(seconds)}",
            hint="see that the store answers; backups in other repositories are not affected",
        )

    def _error(self, doing: str, output: str) -> HomeportError:
        found = parse.verdict(output, self.repository.host)
        why, hint, place = found.why, found.hint, self.repository.place
        if found.type is LOCKED:
            hint = commands.unlock_by_hand(self.repository)
        elif found.type is NO_REPOSITORY and isinstance(place, LocalPlace):
            why, hint = f"files are gone: there is no repository in {place.path}", MOUNT
        return found.type.error(
            f"cannot {doing} {self.repository.name}: {why}", hint=hint, details=found.details
        )
