"""What people ask of pipelines: each call checks everything it can, records it, and returns at once."""

import contextlib
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from homeport.guard.identity import Identities
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, RunId
from homeport.rollout import admission, archive, config, desired
from homeport.rollout.data.migrations import Migrations
from homeport.rollout.data.schemas import Schemas
from homeport.rollout.errors import NO_ARCHIVE, WRONG_APP
from homeport.rollout.model import Commit
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline import events, record, state
from homeport.rollout.pipeline.advance import AdvanceRuns
from homeport.rollout.pipeline.checklist import Facts, Item, checklist
from homeport.rollout.pipeline.errors import (
    ENDED,
    KEY_REUSED,
    NOT_ENDED,
    NOT_FAILED,
    OVERTAKEN,
    UNKNOWN_STAGE,
)
from homeport.rollout.pipeline.executor import Executor
from homeport.rollout.pipeline.gates import Gates, how
from homeport.rollout.pipeline.logs import RunFiles
from homeport.rollout.pipeline.model import Approval, Placed, Run, RunState, StageRun
from homeport.rollout.pipeline.state import Runs
from homeport.rollout.pipeline.trial import GateTrial
from homeport.rollout.rollouts import MAX_ARCHIVE, Rollouts
from homeport.rollout.state import ensure_environment
from homeport.spec.pipelines import stages_of

END_WITHIN = 60.0
"""Seconds that a run may take to end when it is cancelled."""


@dataclass(frozen=True, slots=True)
class View:
    """A run with all that is known of it."""

    run: Run
    stages: tuple[Placed, ...]
    attempts: tuple[StageRun, ...]
    approvals: tuple[Approval, ...]
    checklist: tuple[Item, ...]
    behind: int | None
    """The number of the run that it waits for in the queue."""


class Pipelines:
    """Runs of pipelines and their gates. Every call may be made from any thread."""

    def __init__(
        self,
        parts: Parts,
        rollouts: Rollouts,
        start: Callable[[ChangeId], None],
        identities: Identities,
        closing: threading.Event,
        migrations: Migrations,
    ) -> None:
        """``start`` gives durable work a workflow; ``closing`` is set when the process is about to end."""
        self._parts = parts
        self._start = start
        self.runs = Runs(parts.state.store)
        self.files = RunFiles(parts, self.runs)
        executor = Executor(parts, rollouts, self.runs, self.files, closing)
        gate_trial = GateTrial(parts, self.files, Schemas(parts, migrations))
        self.advance = AdvanceRuns(parts, self.runs, self.files, executor, gate_trial)
        self.gates = Gates(parts, self.runs, self.advance.stages, identities)

    # Runs

    def begin(
        self,
        app: AppName,
        *,
        archive: str,
        commit: str,
        subject: str,
        author: str,
        committed_at: datetime | None,
        branch: str,
        cause: str,
        actor: str,
        id: RunId | None = None,
    ) -> Run:
        """Queue a run for a commit. All of its spec's errors are raised before anything changes.

        ``archive`` is the SHA-256 of an uploaded source archive, ``cause`` one of ``model.CAUSES``. The app
        may be new. With an ``id`` that a run has already, that run.
        """
        text, environments = self._inspect(app, archive)
        run_id = id or new_id()
        self.files.keep_source(app, run_id, archive)
        store = self._parts.state.store
        try:
            with store.transaction(actor) as tx:
                for environment in environments[:1]:
                    ensure_environment(tx, app, environment)
                before = [n for _, n, _ in state.unfinished(tx, app)]
                run = Run(
                    id=run_id,
                    app=app,
                    number=state.next_number(tx, app),
                    commit=Commit(commit, subject, False, author, committed_at),
                    branch=branch,
                    archive=archive,
                    spec=text,
                    cause=cause,
                    actor=actor,
                    state=RunState.QUEUED,
                    attempt=1,
                    reason="",
                    cancel="",
                    created_at=tx.now,
                    started_at=None,
                    finished_at=None,
                )
                state.insert_run(tx, run)
                tx.append(_queued(run, before[-1] if before else None))
        except IntegrityError:
            if id is None:
                raise
            return self.runs.run(id)
        # Pruning may have come between, and taken it for a left-over.
        self.files.keep_source(app, run_id, archive)
        self._start(_workflow(run))
        return run

    def _inspect(self, app: AppName, digest: str) -> tuple[str, list[EnvironmentName]]:
        """(homeport.toml, environments that it deploys to), checked as a deploy checks it."""
        parts = self._parts
        admission.require_names(app=app, environment="production")
        path = parts.archive(digest)
        if not path.is_file():
            raise NO_ARCHIVE.error(f"cannot find archive {digest[:12]}", hint="upload it again")
        text, _ = archive.inspect(path, limit=MAX_ARCHIVE)
        whole = desired.spec_of(text)
        if whole.app != app:
            raise WRONG_APP.error(
                f"cannot run a pipeline of {app}: its homeport.toml names the app {whole.app!r}"
            )
        found: list[EnvironmentName] = []
        for stage in stages_of(whole):
            name = stage.environment
            if name is not None and name not in found:
                spec = admission.spec_for(whole, name)
                if stage.kind == "deploy":
                    admission.check(parts, app, name, spec)
                found.append(name)
        return text, found or [whole.default_environment]

    def made_by(self, key: str, app: AppName, archive: str) -> Run | None:
        """The run that an earlier call with this idempotency key made. Raises ``pipeline.key_reused``."""
        try:
            run = self.runs.run(id_for(key))
        except HomeportError:
            return None
        if (run.app, run.archive) != (app, archive):
            raise KEY_REUSED.error(
                f"cannot use this Idempotency-Key again: it made run {run.title}",
                hint="use a new key for each call",
            )
        return run

    def unfinished(self) -> tuple[ChangeId, ...]:
        """The workflows of all runs that have not ended."""
        return tuple(_workflow(run) for run in self.runs.unfinished())

    def cancel(self, id: RunId, *, actor: str) -> Run:
        """Ask a run to end; what it deploys just now is taken back. Raises ``pipeline.ended``."""
        run = self.runs.run(id)
        if run.state.ended:
            raise ENDED.error(
                f"cannot cancel run {run.title}: it {how(run)}",
                hint="homeport rollback goes back to the release before"
                if run.state is RunState.PASSED
                else "",
            )
        if not run.cancel:
            with self._parts.state.store.transaction(actor) as tx:
                if state.cancel_run(tx, id, actor):
                    tx.append(events.RunCancelled(**record.of_run(run)))
        return self.runs.run(id)

    def retry(self, id: RunId, *, actor: str) -> Run:
        """Queue a run again, from the stage on that did not pass.

        Raises ``pipeline.not_failed``, and ``pipeline.overtaken`` where it would take newer work back.
        """
        run = self.runs.run(id)
        if run.state not in (RunState.FAILED, RunState.CANCELLED, RunState.SUPERSEDED):
            raise NOT_FAILED.error(
                f"cannot try run {run.title} again: it {how(run)}",
                hint="homeport pipeline run begins a new one" if run.state is RunState.PASSED else "",
            )
        newest = self.runs.newest_passed(run.app)
        if newest > run.number:
            raise OVERTAKEN.error(
                f"cannot try run {run.title} again: the newer #{newest} has passed since",
                hint=f"homeport pipeline run {run.commit.id[:10]} brings this commit all the same",
            )
        self.files.source(run)
        with self._parts.state.store.transaction(actor) as tx:
            if not state.is_as_was(tx, run):
                raise NOT_FAILED.error(f"cannot try run {run.title} again: somebody else does just now")
            before = [n for other, n, _ in state.unfinished(tx, run.app) if other != run.id]
            state.update_run(
                tx,
                id,
                state=RunState.QUEUED.value,
                attempt=run.attempt + 1,
                cancel="",
                reason=None,
                finished_at=None,
            )
            tx.append(_queued(run, before[-1] if before else None, attempt=run.attempt + 1))
        again = self.runs.run(id)
        self._start(_workflow(again))
        return again

    def forget_app(self, app: AppName, *, actor: str) -> None:
        """End an app's runs, and take all of them away."""
        clock = self._parts.clock
        until = clock.monotonic() + END_WITHIN
        for run in self.runs.unfinished(app):
            with contextlib.suppress(HomeportError):
                self.cancel(run.id, actor=actor)
        while (left := self.runs.unfinished(app)) and clock.monotonic() < until:
            clock.sleep(0.05)
        if left:
            raise NOT_ENDED.error(
                f"cannot take away the runs of {app}: {left[0].title} does not end", hint="try it again"
            )
        with self._parts.state.store.transaction(actor) as tx:
            state.forget_app(tx, app)
        self.files.forget_app(app)

    # Looking

    def view(self, run: Run, *, with_checklist: bool = True) -> View:
        id = run.id
        stages = self.advance.stages(run)
        newest, said = self.runs.stages(id), self.runs.approvals(id)
        behind = None
        if run.state is RunState.QUEUED:
            others = [r for r in self.runs.unfinished(run.app) if r.id != id]
            ahead = [r.number for r in others if r.state is not RunState.QUEUED or r.number < run.number]
            behind = ahead[-1] if ahead else None
        return View(
            run,
            stages,
            self.runs.attempts(id),
            said,
            checklist(stages, newest, said, self._facts(run, stages, newest)) if with_checklist else (),
            behind,
        )

    def stage(self, id: RunId, name: str | None) -> StageRun:
        """The newest attempt at a stage by its name or kind, or the one that began last.

        Raises ``pipeline.unknown_stage``.
        """
        run = self.runs.run(id)
        begun = self.runs.stages(id)
        found = [
            *(s for s in begun if name in (None, s.name)),
            *(s for s in begun if s.kind == name),
        ]
        if not found:
            known = ", ".join(s.name for s in begun)
            what = f"stage {name!r}" if name is not None else "any stage"
            raise UNKNOWN_STAGE.error(
                f"cannot find {what} of run {run.title}", hint=f"begun so far: {known}" if known else ""
            )
        return max(found, key=lambda s: s.started_at) if name is None else found[0]

    def _facts(self, run: Run, stages: tuple[Placed, ...], newest: tuple[StageRun, ...]) -> Facts:
        parts = self._parts
        target = next((p for p in reversed(stages) if p.stage.kind == "deploy"), None)
        if target is None or target.stage.environment is None:
            return Facts()
        name = target.stage.environment
        environment = next((e for e in parts.state.environments(run.app) if e.name == name), None)
        deployed = next((s for s in newest if s.position == target.position), None)
        serving = environment.serving if environment else None
        if deployed is not None and "before" in deployed.found:
            serving = deployed.found["before"]
        whole = desired.spec_of(run.spec)
        spec = whole.for_environment(name)
        flag = "" if name == whole.default_environment else f" --env {name}"
        # What comes from outside is read when it is deployed: here it counts as there.
        given = {v.name: v.value or "" for v in spec.variables if v.source}
        versions: Mapping[str, int] = parts.vault.versions(run.app, name) if environment else {}
        known = {k: v for k, v in versions.items() if k not in given}
        values = parts.vault.values(run.app, name, known) if known else {}
        problems = [
            p
            for p in config.problems(spec, dict(environment.variables) if environment else {}, values, flag)
            if p.partition(":")[0] not in given
        ]
        figures = self.runs.standing(deployed.change) if deployed and deployed.change else None
        return Facts(tuple(problems), serving, figures)


def new_id() -> RunId:
    return RunId(f"p-{secrets.token_hex(5)}")


def id_for(key: str) -> RunId:
    """The id of the run that a call with this idempotency key makes."""
    return RunId(f"p-{hashlib.sha256(key.encode()).hexdigest()[:10]}")


def _workflow(run: Run) -> ChangeId:
    """What a run's durable work is called: each retry is a work of its own."""
    return ChangeId(run.id if run.attempt == 1 else f"{run.id}.{run.attempt}")


def _queued(run: Run, behind: int | None, *, attempt: int | None = None) -> events.RunQueued:
    return events.RunQueued(
        commit=run.commit.id,
        subject=run.commit.subject,
        author=run.commit.author,
        branch=run.branch,
        cause=run.cause,
        attempt=attempt or run.attempt,
        behind=behind,
        **record.of_run(run),
    )
