"""Physical backups of one cluster. Every call looks at what is there: one before it may have been cut off anywhere.

What a call starts carries its mark, and what it makes lies where the next one finds it: before a backup, a proof
or a restore begins, whatever a former one left running or lying is ended and removed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from homeport.backup.physical import commands, heartbeat, manifest, plan, proof, restore, room
from homeport.backup.physical import place as place_
from homeport.backup.physical.copy import everything, left_over, remove
from homeport.backup.physical.errors import BUSY, CLOCK, FAILED, UNKNOWN
from homeport.backup.physical.model import (
    Made,
    PhysicalBackup,
    Progress,
    RepositoryLook,
    Restored,
    S3Store,
    Settings,
    Target,
)
from homeport.backup.physical.parse import label as new_label
from homeport.backup.physical.parse import latest_label
from homeport.backup.physical.pgbackrest import PgBackRest
from homeport.backup.physical.place import Place
from homeport.backup.physical.plan import Finding
from homeport.backup.physical.proof import Proof, Question
from homeport.backup.physical.receiver import Receiver
from homeport.backup.physical.records import Records
from homeport.backup.physical.server import Server, system_id
from homeport.backup.physical.wal import SEGMENT, Archive, Gap, archived_until, segment_at
from homeport.database.model import Cluster
from homeport.database.port import Services
from homeport.database.provision import Clusters
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.system import files

ARCHIVING = 120.0
"""Seconds for a segment to reach every repository."""
AT_ONCE = 1.0
"""Where it is known that one of them takes nothing."""
FLUSHING = 15.0
"""Where somebody waits for a restore."""
Told = Callable[[str, Progress], None]
"""(repository, how far it is)"""
OnMade = Callable[[Made], None]


def _silent(_: str, __: Progress) -> None:
    return None


def _unheard(_: Made) -> None:
    return None


class PhysicalBackups:
    def __init__(
        self,
        data_dir: Path,
        cluster: Cluster,
        clusters: Clusters,
        services: Services,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._clusters = clusters
        self._services = services
        self._settings = settings
        self._clock = clock
        self._pg = clusters.layout(cluster.name)
        self._program = PgBackRest(data_dir, cluster.name, settings, clock)
        self.layout = self._program.layout
        self.records = Records(self.layout.records)
        self._server = Server(cluster, clusters, settings, self.layout, clock)
        self._receiver = Receiver(self.layout, self._pg, cluster, services, settings, clock)

    # Beginning and ending

    def prepare(self) -> None:
        """What restoring needs: directories, and the configuration in memory. Idempotent; needs no server."""
        self._program.prepare(self._pg, self._cluster.port)

    def ensure(self) -> None:
        """The cluster is archived into every repository, its log received. Idempotent; for each start.

        A cluster that was backed up before goes on with the repositories that answer, and the error is raised then.
        Raises ``backup.other_cluster``, ``.wrong_passphrase``, ``.repository_unreachable``, ``.not_archiving``.
        """
        self.prepare()
        problem: HomeportError | None = None
        with self._server.connect() as connection:
            try:
                self._program.join(system_id(connection))
            except HomeportError as e:
                if not self._pg.backup_conf.exists():
                    raise
                problem = e
            self._receiver.ensure(connection)
            # A receiver that commits will wait for is there first.
            if self._server.write_settings():
                self._receiver.restart(connection)
            self._server.reload(connection)
            heartbeat.ensure(connection)
            if heartbeat.newest(connection) is None:
                heartbeat.beat(connection)
        if problem is not None:
            raise problem

    def disable(self) -> None:
        """Nothing is archived any more. What was backed up stays."""
        self._pg.backup_conf.unlink(missing_ok=True)
        with self._server.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
            self._receiver.remove(connection)
        self._program.forget()

    def clean(self, what: str) -> None:
        """End and remove what calls of a lane ("backup" or "copy") left that were killed. ``backup.busy`` where one
        is under way."""
        with self._alone(what, "tidy up"):
            return

    # Making

    def backup(
        self,
        *,
        full: bool = False,
        rate: int | None = None,
        told: Told = _silent,
        on_made: OnMade = _unheard,
    ) -> tuple[Made, ...]:
        """One in each repository, and a manifest that holds at one moment after all of them.

        ``rate``: bytes a second that it may read, and write; None: as fast as it goes. An incremental one becomes a
        full one where there is none to stand on. All repositories are tried; raises what went wrong in one of them,
        with the names of those that have theirs in its details; ``on_made`` was told of theirs by then, but of none
        that lacks its manifest.
        """
        made: list[tuple[PhysicalBackup, float]] = []
        failed: list[HomeportError] = []
        with self._alone("backup", "back up"), self._program.paced("backup", rate):
            for name in self._names:
                try:
                    made.append(self._into(name, full, told))
                except HomeportError as e:
                    failed.append(e)
            if made:
                try:
                    self._manifest(made, others=bool(failed))
                except HomeportError as e:
                    failed.append(e)
        done = tuple(self._made(b, seconds) for b, seconds in made)
        for each in done:
            if each.manifest:
                on_made(each)
        if failed:
            first = failed[0]
            others = [e.sentence for e in failed[1:]]
            there = [f"repository {b.repository} has {b.label}" for b, _ in made]
            raise first.type.error(first.sentence, hint=first.hint, details=[*first.details, *others, *there])
        return done

    def _into(self, name: str, full: bool, told: Told) -> tuple[PhysicalBackup, float]:
        began = self._clock.monotonic()
        argv = commands.backup(self.layout, self._settings.number(name), full=full)
        doing = f"back up cluster {self._cluster.name} into repository {name}"
        repository = next(r for r in self._settings.repositories if r.name == name)
        self._program.must_be_there(name, doing)
        room.must_take(repository, doing)
        if isinstance(repository.store, S3Store):
            # One that is silent is found sooner by one who only looks.
            self._program.read(name)
        try:
            output = self._program.work(argv, "backup", doing, lambda p: told(name, p))
        except HomeportError as e:
            # What is left of a full one that a store cut off comes after any that stands on those before it.
            latest = latest_label(e.details) if e.type is CLOCK and not full else None
            if latest is None or latest in {b.label for b in self._program.backups(name)}:
                raise
            argv = commands.backup(self.layout, self._settings.number(name), full=True)
            output = self._program.work(argv, "backup", doing, lambda p: told(name, p))
        label = new_label(output)
        backup = next((b for b in self._program.backups(name) if b.label == label), None)
        if backup is None:
            raise FAILED.error(f"cannot {doing}: it ended well, and the repository does not list it")
        return backup, self._clock.monotonic() - began

    def _made(self, backup: PhysicalBackup, seconds: float) -> Made:
        found = self.records.manifest(backup.repository, backup.label)
        return Made(backup, round(seconds, 3), found.point if found else "")

    def _manifest(self, made: Sequence[tuple[PhysicalBackup, float]], *, others: bool) -> None:
        """Of each whose repository has the log up to it.

        ``others``: there are repositories that take nothing, so the server may count nothing as archived.
        """
        point = f"homeport_backup_{self._clock.now():%Y%m%dT%H%M%S}"
        taken = manifest.take(self._server.connect, point, self._clock)
        until = self._clock.monotonic() + ARCHIVING
        problem: HomeportError | None = None
        try:
            self._server.archived(segment_at(taken.timeline, taken.lsn), AT_ONCE if others else ARCHIVING)
        except HomeportError as e:
            problem = e
        waiting = [b for b, _ in made]
        while waiting and problem is not None:
            for backup in tuple(waiting):
                with suppress(HomeportError):
                    archive = self._program.archive(backup.repository, backup.archive)
                    if segment_at(taken.timeline, taken.lsn) in archive.segments:
                        self.records.keep_manifest(backup.repository, backup.label, taken)
                        waiting.remove(backup)
            if not waiting or self._clock.monotonic() > until:
                raise problem
            self._clock.sleep(1.0)
        for backup in waiting:
            self.records.keep_manifest(backup.repository, backup.label, taken)

    def flush(self, seconds: float = ARCHIVING) -> str:
        """All that is committed by now reaches every repository; returns the name of its last segment.

        Raises ``backup.not_archiving``.
        """
        return self._server.flush(seconds)

    def beat(self) -> datetime:
        """Write the heartbeat; once a minute."""
        return self._server.beat()

    # Looking

    def list(self) -> tuple[RepositoryLook, ...]:
        """What each repository holds; one that cannot be read tells why in its ``problem``."""
        return tuple(self._look(name) for name in self._names)

    def _look(self, name: str) -> RepositoryLook:
        try:
            return self._program.look(name)
        except HomeportError as e:
            return RepositoryLook(name, problem=e.sentence)

    def get(self, repository: str, label: str | None = None) -> PhysicalBackup:
        """The named one, or the newest. Raises ``backup.unknown_backup``, and why a repository cannot be read."""
        found = self._program.backups(repository)
        chosen = next((b for b in reversed(found) if label is None or b.label == label), None)
        if chosen is None:
            which = f"backup {label}" if label else "a backup"
            raise UNKNOWN.error(
                f"cannot find {which} in repository {repository}", hint="homeport backup list"
            )
        return chosen

    def continuity(self, repository: str, base: str | None = None) -> tuple[Gap, ...]:
        """What is missing of the log, from the start of ``base`` on; of its oldest backup for None."""
        return self._log_of(repository, base)[1]

    def _log_of(self, repository: str, base: str | None) -> tuple[Archive, tuple[Gap, ...]]:
        # A backup that ends in between is left out: what it needs of the log came after the log was listed.
        known = {b.label for b in self._program.backups(repository)}
        archive = self._program.archive(repository)
        both = [b for b in self._program.backups(repository) if b.label in known]
        return archive, plan.promised(both, archive, base)

    def findings(self, bases: dict[str, str] | None = None) -> tuple[Finding, ...]:
        """All that endangers a recovery. ``bases``: by repository, the backup from which the log was promised.

        Raises ``database.not_answering``.
        """
        archives: dict[str, Archive] = {}
        missing: dict[str, tuple[Gap, ...]] = {}
        problems: dict[str, str] = {}
        with self._server.connect() as connection:
            look = self._server.look(connection)
        for name in self._names:
            try:
                archives[name], missing[name] = self._log_of(name, (bases or {}).get(name))
            except HomeportError as e:
                problems[name] = e.sentence
        return plan.findings(
            look,
            commands.archive_command(self.layout),
            archives,
            missing,
            problems,
            receiver_runs=self._receiver.runs(),
            free=room.left(self._settings),
        )

    def lost_if_now(self) -> tuple[datetime | None, datetime]:
        """(the newest heartbeat that every repository has, now), by the server's clock: how much would be lost
        with the machine."""
        with self._server.connect() as connection:
            look = self._server.look(connection)
            done = archived_until(look.last_archived)
            if done is None:
                return None, look.now
            end = (done.number + 1) * SEGMENT
            return heartbeat.newest_until(connection, f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"), look.now

    def tidy_received(self) -> tuple[str, ...]:
        """Remove received segments that every repository has; returns their names."""
        return self._receiver.tidy(tuple(self._program.archive(name) for name in self._names))

    # Removing

    def expire(self, repository: str, drop: Sequence[str], base: str | None) -> None:
        """Remove the backups ``drop`` and those that stand on them, then the log that nothing needs any more.

        ``base``: all of the log since its start stays (``retention.Selection.base``). Already gone is fine. The
        last full backup of a repository is refused.
        """
        number = self._settings.number(repository)
        with self._alone("backup", "remove backups of"):
            for label in drop:
                if any(b.label == label for b in self._program.backups(repository)):
                    doing = f"remove {label} from repository {repository}"
                    self._program.ask(commands.expire(self.layout, number, label), doing)
            left = self._program.backups(repository)
            if left:
                count = plan.since(left, base) if base is not None else len(left)
                self._program.ask(
                    commands.expire_archive(self.layout, number, count), f"remove the log from {repository}"
                )
            self.records.forget_all_but(repository, [b.label for b in left])

    # Proving

    def prove(
        self,
        repository: str,
        label: str | None = None,
        *,
        questions: Sequence[Question] = (),
        rate: int | None = None,
        told: Told = _silent,
    ) -> Proof:
        """Restore a backup (the newest for None), look at it, remove the copy. Its proof is kept, passed or not.

        ``rate``: bytes a second that it may read from disks, and write; None: as fast as it goes. Needs no server.
        Raises what says that it could not be tried: ``backup.no_space``, ``.busy``,
        ``.repository_unreachable``.
        """
        with self._alone("copy", "prove a backup of"):
            backup = self.get(repository, label)
            with self._program.paced("copy", rate) as seen:
                found = proof.prove(
                    self._program,
                    backup,
                    self.records.manifest(repository, backup.label),
                    self.layout.scratch / "proof",
                    self._cluster.version,
                    self._clock,
                    questions=questions,
                    rate=rate,
                    on_progress=lambda p: told(repository, p),
                    jobs=self._settings.processes,
                )
            found = replace(found, read=seen.read, written=seen.written, paused=seen.paused)
            damaged = self.records.damaged_manifest(repository, backup.label)
            if damaged is not None:
                why = f"{damaged} is damaged: its rows cannot be compared with those that were backed up"
                found = replace(found, undecided=(*found.undecided, why))
            self.records.keep_proof(found)
            return found

    # Restoring

    def restore(
        self,
        target: Target,
        name: str,
        *,
        repositories: Sequence[str] | None = None,
        timeline: int | None = None,
        told: Told = _silent,
    ) -> Restored:
        """The cluster's files at the target, in ``restored-NAME`` beside its own, stopped and whole.

        What serves is not touched; where it answers, all that is committed by now is archived first. Where the
        target was restored under this name before, that is ``backup.in_the_way``. ``timeline`` None: the one that
        the cluster was on at the target's time.
        """
        place = Place(self._pg, name)
        with self._alone("copy", "restore"):
            place.must_be_free()
            # Where it cannot be archived, what was received is in the receiver's files.
            with suppress(HomeportError):
                self.flush(seconds=FLUSHING)
            return restore.restore(
                self._program,
                target,
                place.restored,
                self._cluster.version,
                self._clock,
                on_progress=lambda p: told("", p),
                repositories=repositories or self._names,
                timeline=timeline,
                served=self.records.served(),
            )

    def drop_restored(self, name: str) -> None:
        with self._alone("copy", "drop a copy of"):
            remove(Place(self._pg, name).restored, self._pg.directory, self._clock)

    def drop_before(self, name: str) -> None:
        """The files that served until :meth:`take_place`."""
        with self._alone("copy", "drop former files of"):
            remove(Place(self._pg, name).before, self._pg.directory, self._clock)

    def take_place(self, name: str) -> Path:
        """The cluster serves what was restored under ``name``; returns where its files before that are now, if it
        had any.

        The server is down meanwhile: hold its clients first. May be cut off anywhere and called again. That its log
        is archived from then on is not waited for long: :meth:`findings` tells.
        """
        place = Place(self._pg, name)
        with self._alone("backup", "return"), self._alone("copy", "return"):
            archived: set[int] = set()
            for repository in self._names:
                with suppress(HomeportError):
                    archived |= self._program.archive(repository).histories
            place_.take(place, *self._own, archived)
        with suppress(HomeportError):
            self.flush(seconds=FLUSHING)
        return place.before

    def give_back(self, name: str) -> None:
        """The cluster serves what it did before a :meth:`take_place` that did not come to its end."""
        with self._alone("backup", "return"), self._alone("copy", "return"):
            place_.give_back(Place(self._pg, name), *self._own)

    # Inside

    @property
    def _own(self) -> tuple[Cluster, Clusters, Server, Services, Receiver, Records]:
        return self._cluster, self._clusters, self._server, self._services, self._receiver, self.records

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(r.name for r in self._settings.repositories)

    @contextmanager
    def _alone(self, what: str, doing: str) -> Iterator[None]:
        """Nobody else does ``what`` ("backup" or "copy") to this cluster; what a killed one left is gone."""
        lock = self.layout.lock.with_suffix(f".{what}")
        with ExitStack() as stack:
            try:
                stack.enter_context(files.lock(lock, what=f"{doing} cluster {self._cluster.name}"))
            except HomeportError as e:
                raise BUSY.error(
                    f"cannot {doing} cluster {self._cluster.name}: the same is under way",
                    hint="try again when it is done",
                ) from e
            self._program.end_left_over(what)
            if what == "copy":
                for directory in everything(self.layout.scratch):
                    remove(directory, self.layout.scratch, self._clock)
                for directory in left_over(self._pg.directory):
                    remove(directory, self._pg.directory, self._clock)
            yield
