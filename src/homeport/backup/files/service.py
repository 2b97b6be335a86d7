"""Backups of files: made into every repository, proven, removed. One at a time for a data directory, and beside it
one of Homeport's own state.

Every call looks at what is there: one before it may have been cut off anywhere. What a call starts carries its
mark, and what it makes lies where the next one finds it and removes it. A backup counts once its manifest is in
the repository beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from homeport.backup.files import proving, restoring, stage
from homeport.backup.files.errors import (
    BROKEN,
    NO_REPOSITORY,
    NO_SNAPSHOT,
    NOT_OPENED,
    RESTIC_FAILED,
    RUN_FAILED,
    WORKING,
)
from homeport.backup.files.manifest import Manifest, few
from homeport.backup.files.model import LANES, MAIN, Layout, Limits, Made, Repository, Snapshot, checksum
from homeport.backup.files.plan import Sources, retained, unfinished
from homeport.backup.files.records import Proof, Records
from homeport.backup.files.restic import OnProgress, Restic, silent
from homeport.backup.files.restoring import Restored, fetch
from homeport.backup.files.sealing import is_for, recipient
from homeport.backup.files.sqlite_queries import Question, ask
from homeport.backup.files.stage import Stage
from homeport.backup.retention import Selection
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.spec.model_backup import Keep
from homeport.system import files, process

SPEAKS_AGAINST = {t.code for t in (BROKEN, NO_SNAPSHOT, NO_REPOSITORY, NOT_OPENED, RESTIC_FAILED)}
"""What is wrong with a backup; any other error says that it could not be tried."""
OnMade = Callable[[Made], None]


class FileBackups:
    def __init__(
        self,
        data_dir: Path,
        repositories: Sequence[Repository],
        clock: Clock,
        limits: Limits | None = None,
        *,
        yielding: bool = True,
        lane: str = MAIN,
    ) -> None:
        """``data_dir`` is absolute, and spelled as in ``HOMEPORT_OWNER``. ``yielding``: apps go first, which is
        wrong only while they wait for what is restored. ``lane``: :data:`LANES`."""
        self.layout = Layout(data_dir, lane)
        self.records = Records(self.layout)
        self._clock = clock
        given = limits or Limits()
        self._restics = {
            r.name: Restic(r, self.layout, clock, given, yielding=yielding) for r in repositories
        }

    def restic(self, repository: str) -> Restic:
        """Raises ``backup.no_repository``."""
        if repository not in self._restics:
            names = ", ".join(self._restics) or "none"
            raise NO_REPOSITORY.error(f"cannot use repository {repository[:60]!r}: there are {names}")
        return self._restics[repository]

    # Beginning

    def prepare(self) -> tuple[str, ...]:
        """Have every repository; which were made. Raises the first error, when all were tried."""
        made, failed = [], []
        with self.alone("make repositories"):
            for name, restic in self._restics.items():
                try:
                    made += [name] if restic.init() else []
                except HomeportError as e:
                    failed.append(e)
        if failed:
            raise failed[0]
        return tuple(made)

    def set_passphrase(self, passphrase: Secret) -> None:
        """What opens every repository besides Homeport's own password, and the secrets' key in backups from now on.

        It is not kept. One that was set before goes on opening the repositories, and the backups made under it.
        """
        with self.alone("set the passphrase"):
            for restic in self._restics.values():
                if not self._opens(restic, passphrase):
                    restic.add_passphrase(passphrase)
            try:
                same = is_for(passphrase, stage.recipient(self.layout))
            except HomeportError:
                same = False
            if not same:
                files.write_atomic(self.layout.recipient, recipient(passphrase).text(), mode=0o600)

    def _opens(self, restic: Restic, passphrase: Secret) -> bool:
        other = Repository(restic.repository.name, restic.repository.place, passphrase)
        try:
            Restic(other, self.layout, self._clock, restic.limits).check_opened()
        except HomeportError as e:
            if e.type is not NOT_OPENED:
                raise
            return False
        return True

    # Making

    def backup(
        self, sources: Sources, *, on_progress: OnProgress = silent, on_made: OnMade = lambda _: None
    ) -> tuple[Made, ...]:
        """Back up into every repository; each is told as it is made.

        Raises ``backup.run_failed`` when one of several failed, after the others were tried; the one's own error
        where there is but one; ``backup.files_busy`` while another works.
        """
        with self.alone(f"back up {sources.series}"):
            try:
                ready = stage.prepare(self.layout, sources, self.records, self._clock)
                return self.keep(ready, on_progress, on_made)
            finally:
                stage.clear(self.layout)

    def keep(self, ready: Stage, on_progress: OnProgress, on_made: OnMade) -> tuple[Made, ...]:
        """As :meth:`backup`, for what is staged, within :meth:`alone`."""
        made: list[Made] = []
        failed: dict[str, HomeportError] = {}
        for name, restic in self._restics.items():
            try:
                made.append(self._keep_in(restic, ready, on_progress))
            except HomeportError as e:
                failed[name] = e
            else:
                on_made(made[-1])
        if failed and len(self._restics) == 1:
            raise next(iter(failed.values()))
        if failed:
            raise RUN_FAILED.error(
                f"cannot finish the backup of {ready.manifest.series}: it is not in {', '.join(failed)}",
                hint="; ".join(dict.fromkeys(e.hint for e in failed.values() if e.hint)),
                details=[proving.told(e) for e in failed.values()],
            )
        return tuple(made)

    def _keep_in(self, restic: Restic, ready: Stage, on_progress: OnProgress) -> Made:
        began = self._clock.monotonic()
        series, root = ready.manifest.series, self.layout.data
        proving.check_disk(restic.repository, f"back up {series} to repository {restic.repository.name}")
        summary = restic.backup(
            series,
            ready.paths,
            root=root,
            exclude=ready.exclude,
            on_progress=on_progress,
            is_gone=lambda path: not (root / path.lstrip("/")).exists() and not Path(path).exists(),
        )
        manifest = ready.settled(root)
        text = manifest.text()
        snapshot = restic.snapshot(summary.id)
        restic.keep_manifest(series, snapshot.id, text)
        return Made(
            restic.repository.name,
            series,
            snapshot.id,
            summary.files,
            summary.bytes,
            summary.added,
            round(self._clock.monotonic() - began, 3),
            checksum(text),
            sum(f.moving for f in manifest.files.values()),
            ready.notes,
        )

    # Proving

    def prove(self, repository: str, snapshot: str, questions: Sequence[Question] = ()) -> Proof:
        """Restore a backup of files to scratch, look at all of it, remove it, and keep what was found.

        ``questions`` are of SQLite files in it.

        Raises only what says that it could not be tried: no room, a store that does not answer.
        """
        with self.alone(f"prove {snapshot[:8]}"):
            restic = self.restic(repository)

            def look(manifest: Manifest, root: Path, steps: dict[str, float]) -> list[str]:
                wrong = self._look(manifest, root, steps)
                with proving.step(steps, "ask", self._clock):
                    return [*wrong, *ask(questions, manifest.databases, root, self._clock)]

            return self.judge(restic, restic.snapshot(snapshot), look)

    def judge(
        self,
        restic: Restic,
        snapshot: Snapshot,
        look: Callable[[Manifest, Path, dict[str, float]], Sequence[str]],
    ) -> Proof:
        """Restore, compare digests, then ``look`` for what else is wrong; within :meth:`alone`."""
        began = self._clock.monotonic()
        steps: dict[str, float] = {}
        failures: list[str] = []
        manifest = Manifest(snapshot.series, snapshot.at, "", {})
        target = self.layout.scratch / snapshot.id[:12]
        try:
            manifest, _ = restic.manifest(snapshot)
            target.mkdir(mode=0o700, parents=True)
            proving.check_room(target, manifest.bytes, f"prove {snapshot.id[:8]}")
            with proving.step(steps, "restore", self._clock):
                restic.restore(snapshot.id, target, manifest.bytes)
            with proving.step(steps, "compare", self._clock):
                failures += proving.differences(manifest, target)
            failures += look(manifest, target, steps)
        except HomeportError as e:
            if e.code not in SPEAKS_AGAINST:
                raise
            failures.append(proving.told(e))
        finally:
            files.remove_tree(target, within=self.layout.data)
        proof = Proof(
            restic.repository.name,
            snapshot.id,
            snapshot.series,
            self._clock.now(),
            round(self._clock.monotonic() - began, 3),
            few(failures),
            len(manifest.files),
            manifest.bytes,
            len(manifest.tables) + sum(len(d.tables) for d in manifest.databases.values()),
            manifest.rows,
            sum(f.moving for f in manifest.files.values()),
            steps,
        )
        self.records.keep_proof(proof)
        return proof

    def _look(self, manifest: Manifest, root: Path, steps: dict[str, float]) -> list[str]:
        with proving.step(steps, "databases", self._clock):
            wrong = list(proving.database_problems(manifest, root))
        with proving.step(steps, "journal", self._clock):
            wrong += proving.chain_problems(manifest, root, self._clock)
        return wrong

    # Restoring

    def restore(
        self, repository: str, snapshot: str, only: Sequence[str] = (), *, name: str = ""
    ) -> Restored:
        """Bring a backup of files back beside what is there now; :meth:`put_back` or :meth:`discard` follows.

        ``only``: paths relative to the data directory; none is all but what is sealed. ``name``: by which one that
        was cut off is found, of letters, digits and "-"; :meth:`take_back` comes before it is used again. Raises as
        :func:`restoring.fetch`.
        """
        with self.alone(f"restore {snapshot[:8]}"):
            restic = self.restic(repository)
            found = restic.snapshot(snapshot)
            name = name or f"{found.id[:12]}-{self._clock.now():%Y%m%dT%H%M%S%f}"
            tree = self.layout.restored / f"{name}{restoring.UNFINISHED}"
            try:
                made = fetch(restic, found, tree, only=only)
                return replace(made, tree=tree.rename(self.layout.restored / name))
            except BaseException:
                files.remove_tree(tree, within=self.layout.data)
                raise

    def put_back(self, restored: Restored, path: str) -> Path | None:
        """Rename what was restored to ``path`` of the data directory; where what stood there is now, if anything.

        Done again after it was cut off, it goes on. Whatever uses the path must not run meanwhile. Raises
        ``backup.no_such_file``.
        """
        with self.alone(f"put back {path}"):
            return restoring.put_back(self.layout, restored.tree.name, path)

    def take_back(self, name: str, paths: Iterable[str]) -> None:
        """Nothing of a restore of that name that was cut off is left; at ``paths`` is what stood there."""
        with self.alone(f"take back {name}"):
            restoring.take_back(self.layout, name, paths)

    def discard(self, restored: Restored) -> None:
        restoring.discard(self.layout, restored.tree.name)

    # Removing

    def prune(self, repository: str, keep: Mapping[str, Keep], others: Keep) -> dict[str, Selection]:
        """Remove what need not be kept, by series, and what was never finished; what of them stays and goes.

        ``keep`` by series; ``others`` holds for those that are not named in it.
        """
        # restic wants the repository to itself for this; and what the other lane has not finished would go.
        with self.alone(f"remove backups from {repository}", lanes=LANES):
            restic = self.restic(repository)
            found, orphans = restic.snapshots()
            proofs = self.records.proofs(repository)
            proven = {id: proof.passed for id, proof in proofs.items()}
            chosen = retained(found, proven, lambda s: keep.get(s, others), self._clock.now())
            gone = {b.id for selection in chosen.values() for b, _ in selection.drop}
            # A manifest goes first: what is left by a kill in between is unfinished, and goes the next time.
            ids = [s.manifest for s in found if s.id in gone]
            ids += [*(s.id for s in found if s.id in gone), *unfinished(found), *orphans]
            if ids:
                restic.forget(ids)
                restic.prune(sum(p.bytes for p in proofs.values()))
            for id in gone:
                self.records.forget_proof(repository, id)
            # Of restics that were killed. They are in nobody's way before, and nobody else would take them away.
            restic.unlock_own()
            return chosen

    # Alone

    @contextmanager
    def alone(self, doing: str, *, lanes: Sequence[str] = ()) -> Iterator[None]:
        """Nobody else works in this lane of the data directory, or in ``lanes``; what a killed one left is gone.
        Raises ``backup.files_busy``."""
        self.records.prepare()
        layouts = [Layout(self.layout.data, lane) for lane in lanes] or [self.layout]
        stack = ExitStack()
        try:
            for layout in layouts:
                stack.enter_context(files.lock(layout.lock, what=doing))
        except HomeportError as e:
            stack.close()
            raise WORKING.error(
                f"cannot {doing}: another backup or proof is under way", hint="try again when it is done"
            ) from e
        with stack:
            for layout in layouts:
                process.kill_family(str(layout.data), layout.mark)
                stage.clear(layout)
                files.remove_tree(layout.scratch, within=layout.data)
            yield
