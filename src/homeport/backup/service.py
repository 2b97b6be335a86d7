"""Backups of a machine: begun, carried on after a kill, looked at. Every call may come from any thread."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError

from homeport.backup import events, plan, runs
from homeport.backup.errors import (
    BAD_REPOSITORY,
    HELD,
    KEY_REUSED,
    MADE_WAY,
    NO_REPOSITORIES,
    NOT_HELD,
    NOT_RUNNING,
    UNDER_WAY,
    WEAK_PASSPHRASE,
)
from homeport.backup.files.model import HOMEPORT
from homeport.backup.locks.model import Lock
from homeport.backup.locks.records import Locks
from homeport.backup.locks.service import Locking
from homeport.backup.model import (
    CANCELLED,
    FAILED,
    MAKING,
    PASSED,
    PROOFS,
    RETURNING,
    RUNNING,
    SKIPPED,
    STATE,
    Run,
    Step,
    judged,
    next_step,
    outcome,
)
from homeport.backup.nearness import is_inside
from homeport.backup.port import Owners, Wanted
from homeport.backup.repositories import Place, Recorded, Repositories
from homeport.backup.runs import Runs
from homeport.database.errors import WORK_FAILED
from homeport.database.migrations.errors import CANCELLED as STOPPED
from homeport.database.worker import Worker
from homeport.journal.store import Store, text_time
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ChangeId

log = logging.getLogger(__name__)

HERE = "here:"
SHORTEST = 12
"""Characters of a passphrase. Whoever has a repository may try as many as they like."""
LONG = 8 * 24 * 3600.0
"""Seconds for a step: what it runs has limits of its own."""
TRIES = 3
"""Of a step that puts things back, and whose child was killed: what it leaves would stay for good."""
SHORT = 300.0
KEPT_RUNS = 1000
KEPT_STATES = 100

Told = Callable[[Mapping[str, Any]], None]
Here = Callable[[Run, Step, Told], Any]
"""(run, step, progress) to a result: what the control plane does itself."""


class Backups:
    def __init__(
        self,
        store: Store,
        repositories: Repositories,
        worker: Worker,
        owners: Owners,
        clock: Clock,
        data_dir: str,
        closing: threading.Event,
    ) -> None:
        self._store = store
        self.repositories = repositories
        self._worker = worker
        self._owners = owners
        self._clock = clock
        self._data_dir = data_dir
        self._closing = closing
        self._start: Callable[[ChangeId], None] = lambda _: None
        self.here: dict[str, Here] = {}
        self.runs = Runs(store)
        self.locks = Locks(store)
        self.locking = Locking(repositories, self.locks, self.ask, self.must_be_idle)
        self._asking: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def starting(self, start: Callable[[ChangeId], None]) -> None:
        """``start`` gives durable work its workflow."""
        self._start = start

    # Repositories

    def add_repository(
        self,
        name: str,
        place: Place,
        keys: Mapping[str, str],
        passphrase: str,
        *,
        lock: Lock | None = None,
        actor: str,
    ) -> Recorded:
        """Have it there, opened by the passphrase too, clusters archived into it; with ``lock``, locked before.

        Raises ``backup.bad_repository``, ``.repository_exists``, ``.other_passphrase``, ``.weak_passphrase``,
        ``.no_object_lock``, ``.not_locked``, and what its place raises; then it is as if it had not been asked for.
        """
        if len(passphrase) < SHORTEST:
            raise WEAK_PASSPHRASE.error(
                f"cannot use this passphrase: it has fewer than {SHORTEST} characters",
                hint="whoever has the repository may try as often as they like; six random words are good",
            )
        if is_inside(place.path, Path(self._data_dir)):
            raise BAD_REPOSITORY.error(
                f"cannot add {name}: {place.path} is inside the data directory, and is lost with it",
                hint=f"a directory outside of {self._data_dir}, best on another disk, or an S3-compatible store",
            )
        self.must_be_idle(f"add {name}")
        alone = self._has_no_other(name)
        is_new = self.repositories.add(name, place, keys, actor=actor)
        try:
            with self.locking.locked(name, lock, actor=actor):
                self._prepare(passphrase, same=not alone, new=name)
        except HomeportError:
            if is_new:
                self.repositories.withdraw(name)
                if self._owners.wanted().clusters:
                    with suppress(HomeportError):
                        self._go_on_without()
            raise
        if is_new:
            self.repositories.made(name, actor=actor)
        return self.repositories.get(name)

    def set_passphrase(self, passphrase: str, *, actor: str) -> None:
        """Another passphrase for all repositories; that before opens what was backed up under it."""
        self._must_have_repositories()
        if len(passphrase) < SHORTEST:
            raise WEAK_PASSPHRASE.error(
                f"cannot use this passphrase: it has fewer than {SHORTEST} characters"
            )
        self._prepare(passphrase, same=False)
        with self._store.transaction(actor) as tx:
            tx.append(events.PassphraseChanged(repositories=[r.name for r in self.repositories.list()]))

    def remove_repository(self, name: str, *, actor: str) -> Recorded:
        """It gets no more backups; what it holds stays."""
        self.repositories.get(name)
        # A look that is under way has clusters archived into the repositories that it knows, and may end in a backup.
        with self._asking["look"]:
            self.must_be_idle(f"remove {name}")
            removed = self.repositories.remove(name, actor=actor)
            self._go_on_without()
        return removed

    def _has_no_other(self, name: str) -> bool:
        """Whether nothing is backed up anywhere else: then any passphrase will do."""
        others = [r for r in self.repositories.list() if r.name != name or r.ready]
        return not others and self.repositories.held_since() is None

    def _go_on_without(self) -> None:
        """Clusters are archived into the repositories that are left."""
        clusters = self._clusters(self._owners.wanted())
        if not self.repositories.list():
            self._do("disable", {"clusters": list(clusters)})
        else:
            # One that does not answer may keep a backup of files for minutes.
            self._do("prepare", {"clusters": clusters, "files": False})

    def must_be_idle(self, doing: str) -> None:
        busy = self.runs.under_way(MAKING)
        if busy is not None:
            raise UNDER_WAY.error(
                f"cannot {doing}: {busy.kind} {busy.id} is under way",
                hint=f"wait for its end: homeport backup show {busy.id}; or homeport backup cancel {busy.id}",
            )

    def resume(self, *, actor: str) -> None:
        """The machine that this one was recovered from is gone for good: back up into its repositories.

        Raises ``backup.not_held``, and what is wrong with a repository: then it goes on waiting.
        """
        if self.repositories.held_since() is None:
            raise NOT_HELD.error("cannot resume backups: they do not wait", hint="homeport backup status")
        self._do("prepare", {"clusters": self._clusters(self._owners.wanted())})
        self.repositories.resume(actor=actor)
        # What was written meanwhile is in no log of theirs: it begins anew.
        with suppress(HomeportError):
            self.back_up(full=True, actor=actor)

    def _prepare(self, passphrase: str, *, same: bool, new: str = "") -> None:
        clusters = self._clusters(self._owners.wanted())
        self._do("prepare", {"passphrase": passphrase, "same": same, "new": new, "clusters": clusters})

    def _must_have_repositories(self, doing: str = "back up") -> tuple[str, ...]:
        names = tuple(r.name for r in self.repositories.ready())
        if not names:
            if self.repositories.held_since() is not None:
                raise HELD.error(
                    f"cannot {doing}: the machine that this one was recovered from may still back up there",
                    hint="homeport backup resume, once it is gone for good",
                )
            coming = [r.name for r in self.repositories.list() if not r.ready]
            if coming:
                raise NO_REPOSITORIES.error(
                    f"cannot {doing}: repository {coming[0]} was not made yet",
                    hint=f"homeport backup repository add {coming[0]} again, or remove it",
                )
            raise NO_REPOSITORIES.error(
                f"cannot {doing}: there is no repository to back up into",
                hint="homeport backup repository add NAME /a/directory/on/another/disk, or an S3-compatible store",
            )
        return names

    @staticmethod
    def _clusters(wanted: Wanted) -> dict[str, bool]:
        return {c.name: c.synchronous for c in wanted.clusters}

    def _do(self, work: str, request: Mapping[str, Any], *, timeout: float = SHORT) -> Any:
        # A second child of that name would end the first, as one that was left over.
        with self._asking[work]:
            return self._child(work, request, timeout)

    def _child(self, work: str, request: Mapping[str, Any], timeout: float = SHORT) -> Any:
        return self._worker.run(
            work, {"data_dir": self._data_dir, **request}, name=f"backup.{work}", timeout=timeout
        )

    def ask(self, work: str, request: Mapping[str, Any], *, timeout: float = SHORT) -> Any:
        """A short piece of work that is no step of a run. Raises what it raises."""
        return self._do(work, request, timeout=timeout)

    # Beginning

    def back_up(self, *, full: bool = False, prove: bool = True, actor: str, id: str | None = None) -> Run:
        """Begin a backup of all that there is, into every repository, with its proofs."""
        names = self._must_have_repositories()
        steps = plan.backup_steps(self._owners.wanted(), names, full=full, prove=prove)
        if self.locks.list():
            steps = (*steps, plan.locks_step())
        return self.begin("backup", "all", MAKING, {"full": full, "prove": prove}, steps, actor=actor, id=id)

    def back_up_state(self, *, actor: str) -> Run:
        """Begin a backup of Homeport's own state alone, beside whatever else is under way."""
        self._must_have_repositories()
        steps = plan.state_steps(self._owners.wanted())
        return self.begin("state", HOMEPORT, STATE, {}, steps, actor=actor)

    def prove(self, repository: str | None = None, *, actor: str, id: str | None = None) -> Run:
        """Begin proofs of the newest backup of everything, in one repository or in all.

        Raises ``backup.unknown_repository``.
        """
        names = self._must_have_repositories()
        if repository is not None:
            names = (self.repositories.get(repository).name,)
        steps = (*plan.proof_steps(self._owners.wanted(), names), plan.records_step())
        return self.begin("prove", repository or "all", MAKING, {}, steps, actor=actor, id=id)

    def begin(
        self,
        kind: str,
        subject: str,
        lane: str,
        request: Mapping[str, Any],
        steps: Sequence[Step],
        *,
        actor: str,
        id: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Run:
        """With an ``id`` that a run has already, that run. Raises ``backup.run_under_way``.

        ``check`` raises what is in its way; nothing else is recorded between it and the run.
        """
        if id is not None and (known := self.runs.find(id)) is not None:
            if (known.kind, known.subject) != (kind, subject):
                raise KEY_REUSED.error(f"cannot begin it: the key began {known.kind} of {known.subject}")
            return known
        now = self._clock.now()
        run = Run(id or new_id(), kind, subject, lane, request, actor, RUNNING, tuple(steps), "", now, None)
        try:
            with self._store.transaction(actor) as tx:
                check()
                runs.insert(tx, run)
                tx.append(
                    events.RunStarted(
                        run=run.id, what=kind, subject=subject, steps=[s.name for s in run.steps]
                    )
                )
                runs.forget(tx, KEPT_RUNS, states=KEPT_STATES)
        except IntegrityError:
            busy = self.runs.under_way(lane)
            which = f"run {busy.id} ({busy.kind} of {busy.subject})" if busy else "another"
            raise UNDER_WAY.error(
                f"cannot begin {kind} of {subject}: {which} is under way",
                hint=f"homeport backup show {busy.id}" if busy else "try again",
            ) from None
        self._start(ChangeId(run.id))
        return run

    def cancel(self, id: str, *, actor: str) -> Run:
        """Ask for a run's end. Raises ``backup.not_running``."""
        run = self.runs.get(id)
        if run.is_over:
            raise NOT_RUNNING.error(f"cannot cancel run {id}: it {run.state} already")
        with self._store.transaction(actor) as tx:
            runs.cancel(tx, id, actor)
        return self.runs.get(id)

    # Carrying on

    def advance(self, id: str) -> bool:
        """Do one step; whether the run is over. Made again after it was cut off anywhere."""
        while self._closing.is_set():
            # The process is about to end; the next control plane goes on.
            self._clock.sleep(1.0)
        run = self.runs.find(id)
        if run is None or run.is_over:
            return True
        found = next_step(run)
        if found is None:
            self._end(run)
            return True
        step, how = found
        if how != "do":
            state = SKIPPED if how == "skip" else CANCELLED
            self._ended(run, replace(step, state=state))
            return False
        if way := self._way(step):
            self._ended(run, replace(step, state=CANCELLED, error=_told(way)))
            return False
        began = self._clock.now()
        step = replace(step, state=RUNNING, started_at=text_time(began), error=None, progress={})
        self._keep(run.with_step(step))
        try:
            result = self._carry_out(run, step)
        except HomeportError as e:
            if self._closing.is_set():
                # Cut off with the control plane: the next one does it again.
                return False
            cancelled = e.type in (STOPPED, MADE_WAY)
            step = replace(step, state=CANCELLED if cancelled else FAILED, error=_told(e))
        except Exception:
            log.exception("%s of run %s", step.name, id)
            told = {
                "code": "",
                "sentence": "nobody foresaw what went wrong",
                "hint": "see logs/serve.log",
                "details": [],
            }
            step = replace(step, state=FAILED, error=told)
        else:
            step = judged(replace(step, state=PASSED, result=result))
        seconds = (self._clock.now() - began).total_seconds()
        self._ended(
            self.runs.get(id),
            replace(step, finished_at=text_time(self._clock.now()), seconds=round(seconds, 3)),
        )
        return False

    def _carry_out(self, run: Run, step: Step) -> Any:
        def progress(values: Mapping[str, Any]) -> None:
            self._keep(run.with_step(replace(step, progress=values)))

        if step.work.startswith(HERE):
            return self.here[step.work.removeprefix(HERE)](run, step, progress)
        tries = TRIES if step.always else 1
        way: HomeportError | None = None

        def stop() -> str | None:
            nonlocal way
            way = self._way(step)
            return self._stop(run.id, step) or (way.sentence if way else None)

        while True:
            tries -= 1
            try:
                return self._worker.run(
                    step.work,
                    {"data_dir": self._data_dir, **step.request},
                    name=f"backup.{run.id}",
                    told=lambda kind, values: progress(values),
                    stop=stop,
                    timeout=LONG,
                )
            except HomeportError as e:
                if e.type in (WORK_FAILED, STOPPED) and not self._closing.is_set():
                    self._clean()
                    if e.type is WORK_FAILED and tries:
                        log.warning("%s of run %s is done again: %s", step.name, run.id, e.sentence)
                        continue
                if e.type is STOPPED and way:
                    raise way from e
                raise

    def _clean(self) -> None:
        """A child that was ended in the middle has left what it started and made: it goes now, not with the next."""
        try:
            self._do("clean", {"clusters": list(self._clusters(self._owners.wanted()))})
        except HomeportError as e:
            log.warning("what a child left stays until the next one of its kind: %s", e.sentence)

    def _stop(self, id: str, step: Step) -> str | None:
        if self._closing.is_set():
            return "closing"
        return self.runs.get(id).cancel or None if not step.always else None

    def _way(self, step: Step) -> HomeportError | None:
        """What a proof makes way for: it has the same copy of a cluster, the same disks, and no hurry."""
        if step.work not in PROOFS:
            return None
        restore = self.runs.under_way(RETURNING)
        if restore is None or restore.kind != "restore":
            return None
        return MADE_WAY.error(
            f"cannot go on with this proof: restore {restore.id} of {restore.subject} comes first",
            hint="the next backup is proven; homeport backup prove, once the restore is done",
        )

    def _keep(self, run: Run) -> None:
        with self._store.transaction("homeport") as tx:
            runs.update(tx, run)

    def _ended(self, run: Run, step: Step) -> None:
        with self._store.transaction("homeport") as tx:
            runs.update(tx, run.with_step(step))
            tx.append(
                events.StepEnded(
                    run=run.id,
                    step=step.name,
                    outcome=step.state,
                    seconds=step.seconds,
                    detail=str((step.error or {}).get("sentence", "")),
                )
            )

    def _end(self, run: Run) -> None:
        now = run.finished_at or self._clock.now()  # known already of one that a recovered state tells of
        ended = replace(run, state=outcome(run), finished_at=now)
        with self._store.transaction("homeport") as tx:
            runs.update(tx, ended)
            tx.append(
                events.RunEnded(
                    run=run.id,
                    what=run.kind,
                    subject=run.subject,
                    outcome=ended.state,
                    seconds=round((now - run.started_at).total_seconds(), 3),
                    reason=ended.reason,
                )
            )

    # Looking

    def wanted(self) -> Wanted:
        return self._owners.wanted()

    def listed(self) -> Any:
        """All backups in all repositories (``works.list_``), also while this machine may not write there. Those of
        what is not there any more are marked."""
        if self.repositories.held_since() is None:
            self._must_have_repositories("list backups")
        wanted = self._owners.wanted()
        found = self._do("list", {"clusters": list(self._clusters(wanted))})
        for b in found["files"]:
            b["removed"] = b["series"] not in wanted.series
        return found

    def look(self) -> Mapping[str, Any]:
        """What endangers recoveries just now (``works.look``)."""
        wanted = self._owners.wanted()
        clusters = self._clusters(wanted)
        if not clusters:
            return {}
        with self._asking["look"]:
            if not self.repositories.ready():
                return {}
            found: Mapping[str, Any] = self._child("look", {"clusters": clusters, "window": wanted.window})
            return found


def _told(e: HomeportError) -> dict[str, Any]:
    return {"code": e.code, "sentence": e.sentence, "hint": e.hint or "", "details": list(e.details)}


def new_id() -> str:
    return f"b-{secrets.token_hex(5)}"


def id_of(key: str) -> str:
    """The run that an idempotency key begins."""
    return f"b-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
