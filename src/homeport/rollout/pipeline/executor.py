"""Carries out one stage: hands it to its executor, or makes its change and waits for that."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ChangeId, EnvironmentName, ReleaseId
from homeport.rollout import config as configuration
from homeport.rollout import returning, status
from homeport.rollout.build import BuildLog
from homeport.rollout.desired import spec_of
from homeport.rollout.errors import BUSY
from homeport.rollout.model import Change
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline import events, record, state
from homeport.rollout.pipeline.errors import STOPPING
from homeport.rollout.pipeline.logs import RunFiles
from homeport.rollout.pipeline.model import Placed, Run, StageRun, StageState
from homeport.rollout.pipeline.stages import budget, check, smoke, verify
from homeport.rollout.pipeline.stages.work import CANCELLED, CLOSING, Found, Work
from homeport.rollout.pipeline.state import Runs
from homeport.rollout.rollouts import Rollouts, id_for
from homeport.spec.model import Stage
from homeport.spec.pipelines import stages_of

PAUSE = 0.02
"""Seconds between two looks at whether the state has changed."""
PATIENCE = 30.0
"""Seconds that one step waits: each is a record of its own."""
GIVE_UP_AFTER = 60.0
"""Seconds in which a deploy that is refused, and may succeed later, is tried again."""
TAIL = 20
"""Lines of a failed stage's output that are told."""
KEPT_VERDICTS = ("promoted", "built")

EXECUTORS: dict[str, Callable[[Work], Found]] = {
    "check": check.run,
    "smoke": smoke.run,
    "verify": verify.run,
}


@dataclass(frozen=True, slots=True)
class Approved:
    """What a person said at the gate before a deploy."""

    why: str
    over: str | None
    """The release that served when it was said: the approval is for the difference from that one."""


class Executor:
    def __init__(
        self, parts: Parts, rollouts: Rollouts, runs: Runs, files: RunFiles, closing: threading.Event
    ) -> None:
        self._parts = parts
        self._rollouts = rollouts
        self._runs = runs
        self._files = files
        self._closing = closing

    def wait(self, until: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
        """Wait until it is so; False after ``seconds``. Looks again whenever the state has changed."""
        store, clock = self._parts.state.store, self._parts.clock
        deadline = clock.monotonic() + seconds
        seen = -1
        while True:
            self.park_when_closing()
            if store.version != seen:
                seen = store.version
                if until():
                    return True
            if clock.monotonic() > deadline:
                return False
            clock.sleep(PAUSE)

    def park_when_closing(self) -> None:
        """The process is about to end: leave the run as it is, the next one resumes it."""
        while self._closing.is_set():
            self._parts.clock.sleep(1.0)

    def carry(self, run: Run, stage: StageRun, placed: Placed, approved: Approved | None = None) -> None:
        """Carry a stage out, from its beginning where it was cut off, and record how it ended.

        ``approved`` says who let it past a gate. May return before it has ended, to be called again. Raises what a
        part in trouble raises.
        """
        if placed.stage.kind in ("build", "deploy"):
            change = self._change(run, stage, placed.stage, approved)
            if change is None or not change.done:
                return
            self._close(run, stage, self._after_change(run, stage, placed.stage, change))
        elif placed.stage.kind == "smoke" and (why := self._moved_on(run, placed.stage)):
            self._close(run, stage, Found(False, why, (), {}))
        else:
            self._close(run, stage, self._execute(run, stage, placed.stage, EXECUTORS[placed.stage.kind]))

    def _moved_on(self, run: Run, wanted: Stage) -> str | None:
        """Why what an environment answers says nothing of this run: another release serves there by now."""
        environment = wanted.environment or self.build_environment(run)
        deployed = self._deployed(run, environment)
        known = next((e for e in self._parts.state.environments(run.app) if e.name == environment), None)
        if deployed is None or known is None or known.serving == deployed:
            return None
        return f"{environment} serves {known.serving} by now, not {deployed} of this run: begin a new run"

    # Stages with processes or requests of their own

    def _execute(
        self,
        run: Run,
        stage: StageRun,
        wanted: Stage,
        executor: Callable[[Work], Found],
        release: ReleaseId | None = None,
    ) -> Found:
        parts = self._parts
        path = self._files.log(run, stage.position, stage.attempt)
        again = path.exists()
        log = BuildLog(path, parts.masker(), append=True)
        try:
            if again:
                log.write(b"\n[the control plane was restarted: this stage begins anew]\n")
            return executor(self._work(run, stage, wanted, log, release))
        finally:
            log.close()

    def _work(
        self, run: Run, stage: StageRun, wanted: Stage, log: BuildLog, release: ReleaseId | None
    ) -> Work:
        parts = self._parts
        whole = spec_of(run.spec)
        environment = wanted.environment or self.build_environment(run)
        spec = whole.for_environment(environment)
        known = next((e for e in parts.state.environments(run.app) if e.name == environment), None)
        release = release or self.release(run, environment)
        deployed = self._deployed(run, environment)
        bind = parts.http
        return Work(
            app=run.app,
            environment=environment,
            run=run.id,
            stage=wanted,
            data_dir=parts.data_dir,
            scratch=self._files.scratch(run, stage.position, stage.attempt),
            archive=self._files.source(run),
            log=log,
            masker=parts.masker(),
            clock=parts.clock,
            stop=lambda: self.why_to_stop(run),
            name=f"{run.app}.pipeline.{run.id}.{stage.position}",
            disk=spec.build.disk,
            variables={
                **parts.build_environment,
                **configuration.from_spec(spec),
                **(dict(known.variables) if known else {}),
                "HOMEPORT_APP": run.app,
                "HOMEPORT_ENVIRONMENT": environment,
                "HOMEPORT_COMMIT": run.commit.id,
                "HOMEPORT_RUN": run.id,
                "HOMEPORT_RELEASE": release or "",
            },
            edge=("127.0.0.1" if bind.address in ("0.0.0.0", "::", "*", "") else bind.address, bind.port),
            hosts=tuple(dict.fromkeys(r.host for r in spec.routes)),
            release=release,
            release_directory=parts.release_directory(run.app, release) if release else None,
            observe=lambda: self._is_well(run, environment, deployed),
            figures=lambda: self._figures(run, environment),
        )

    def build_environment(self, run: Run) -> EnvironmentName:
        """The environment whose variables a build sees: the first that the run deploys to."""
        spec = spec_of(run.spec)
        found = (s.environment for s in stages_of(spec) if s.kind == "deploy")
        return next((e for e in found if e is not None), spec.default_environment)

    def release(self, run: Run, environment: EnvironmentName) -> ReleaseId | None:
        """The release that the run has deployed to an environment, else the last one it made."""
        made = [s for s in self._runs.stages(run.id) if s.state is StageState.PASSED and s.change]
        there = [s for s in made if s.kind == "deploy" and s.environment == environment]
        last = (there or made)[-1:]
        return ReleaseId(last[0].found["details"]["release"]) if last else None

    def _deployed(self, run: Run, environment: EnvironmentName) -> ReleaseId | None:
        for stage in self._runs.stages(run.id):
            if stage.kind == "deploy" and stage.environment == environment and stage.change:
                return self._parts.state.change(stage.change).goal.release
        return None

    def _is_well(self, run: Run, name: EnvironmentName, release: ReleaseId | None) -> tuple[bool, str]:
        """Whether an environment is up and still serves what the run brought."""
        parts = self._parts
        environment = parts.state.environment(run.app, name)
        if environment.serving is None:
            return False, f"nothing serves {name}"
        if release is not None and environment.serving != release:
            return False, f"{environment.serving} serves {name}, not {release}"
        view = status.view(
            environment,
            parts.spec(run.app, name, environment.serving),
            parts.state.instances(run.app, name),
            {s.name: s for s in parts.runtime.observe()},
            {s.name: s for s in parts.edge.observe()},
            parts.looping,
        )
        return view.health == "up", "" if view.health == "up" else f"{name} is {view.health}"

    def _figures(self, run: Run, environment: EnvironmentName) -> dict[str, Any] | None:
        changes = [
            s.change
            for s in self._runs.stages(run.id)
            if s.kind == "deploy" and s.environment == environment and s.change
        ]
        return self._runs.standing(changes[-1]) if changes else None

    def why_to_stop(self, run: Run) -> str | None:
        if self._closing.is_set():
            return CLOSING
        return CANCELLED if self._runs.run(run.id).cancel else None

    # Stages that make a change

    def _change(self, run: Run, stage: StageRun, wanted: Stage, approved: Approved | None) -> Change | None:
        """The stage's change, made where there is none, after a while of waiting for its end.

        None while it cannot be made, and when the stage has ended for that.
        """
        id = change_of(stage)
        change = self._known(id)
        if change is None:
            if run.cancel:
                self._close(run, stage, Found(False, stopped=CANCELLED))
                return None
            if approved is not None and not self._still_holds(run, stage, wanted, approved):
                return None
            change = self._make(run, stage, wanted, id, approved.why if approved is not None else "")
            if change is None:
                return None
        if stage.change is None:
            with self._parts.state.store.transaction(run.actor) as tx:
                state.update_stage(tx, stage, change=id)
        aborted = False

        def over() -> bool:
            nonlocal aborted
            if not aborted and self._runs.run(run.id).cancel:
                self._rollouts.abort(id)
                aborted = True
            return self._parts.state.change(id).done

        self.wait(over)
        return self._parts.state.change(id)

    def _still_holds(self, run: Run, stage: StageRun, wanted: Stage, approved: Approved) -> bool:
        """Whether that serves which the approved difference was from; else the stage has failed for it."""
        name = wanted.environment
        now = next((e.serving for e in self._parts.state.environments(run.app) if e.name == name), None)
        if now == approved.over:
            return True
        was, serves = approved.over or "nothing", now or "nothing"
        why = (
            f"it was approved when {was} served {name}, and {serves} does now; a retry asks for approval anew"
        )
        self._close(run, stage, Found(False, why))
        return False

    def _known(self, id: ChangeId) -> Change | None:
        try:
            return self._parts.state.change(id)
        except HomeportError:
            return None

    def _make(self, run: Run, stage: StageRun, wanted: Stage, id: ChangeId, past_gate: str) -> Change | None:
        environment = wanted.environment or self.build_environment(run)
        self._files.source(run)
        try:
            if wanted.kind == "build":
                return self._rollouts.build(
                    run.app,
                    environment,
                    archive_digest=run.archive,
                    commit=run.commit,
                    actor=run.actor,
                    id=id,
                )
            return self._rollouts.deploy(
                run.app,
                environment,
                archive_digest=run.archive,
                commit=run.commit,
                replace_running=False,
                past_gate=past_gate,
                actor=run.actor,
                id=id,
            )
        except HomeportError as e:
            if e.type is BUSY:
                self._wait_for_others(run, stage, environment)
                return None
            waited = (self._parts.clock.now() - stage.started_at).total_seconds()
            if e.type.retry and waited < GIVE_UP_AFTER:
                self._parts.clock.sleep(0.25)
                return None
            why = (e.hint and f"{e.sentence} ({e.hint})") or e.sentence
            self._close(run, stage, Found(False, why, e.details[-TAIL:]))
            return None

    def _wait_for_others(self, run: Run, stage: StageRun, environment: EnvironmentName) -> None:
        """Another change runs in the environment: say so once, and wait for it."""

        def others() -> tuple[str, str] | None:
            if running := self._parts.state.running(run.app, environment):
                other = running[0]
                return other.id, f"{other.kind.value} {other.id} by {other.actor} runs in {environment}"
            returns = returning.under_way(self._parts.state.store, run.app, environment)
            if returns is not None:
                return (
                    returns.id,
                    f"{returns.kind} {returns.id} by {returns.actor} replaces data of {environment}",
                )
            return None

        if other := others():
            id, why = other
            if stage.found.get("waits") != id:
                with self._parts.state.store.transaction(run.actor) as tx:
                    state.update_stage(tx, stage, found=stage.found | {"waits": id})
                    tx.append(events.StageWaits(why=why, **record.of_stage(run, stage)))
        self.wait(lambda: bool(self._runs.run(run.id).cancel) or others() is None)

    def _after_change(self, run: Run, stage: StageRun, wanted: Stage, change: Change) -> Found:
        result = change.result or {}
        details = {
            "release": change.goal.release,
            "verdict": result.get("verdict"),
            "serving": result.get("serving"),
            "seconds": result.get("seconds"),
        }
        if result.get("verdict") not in KEPT_VERDICTS:
            failure = change.failure
            if self._runs.run(run.id).cancel:
                return Found(False, stopped=CANCELLED, details=details)
            sentence = failure.sentence if failure else f"it ended {result.get('verdict')}"
            return Found(False, sentence, failure.lines[-TAIL:] if failure else (), details)
        if not wanted.budgets:
            return Found(True, details=details)
        found = self._execute(run, stage, wanted, budget.run, release=change.goal.release)
        return Found(found.ok, found.reason, found.lines, details | found.details, found.stopped)

    # The end

    def _close(self, run: Run, stage: StageRun, found: Found) -> None:
        if found.stopped == CLOSING or (self._closing.is_set() and not found.ok):
            raise STOPPING.error("cannot go on: the control plane is stopping")
        if found.stopped == CANCELLED:
            outcome = StageState.CANCELLED
            reason = f"cancelled by {self._runs.run(run.id).cancel}"
        else:
            outcome = StageState.PASSED if found.ok else StageState.FAILED
            reason = found.reason
        record.close_stage(self._parts, run, stage, outcome, reason, found.lines[-TAIL:], found.details)


def change_of(stage: StageRun) -> ChangeId:
    """The id of the change that a stage makes: the same, however often it is begun."""
    return stage.change or id_for(f"{stage.run}/{stage.position}/{stage.attempt}")
