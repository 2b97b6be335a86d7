"""Carries runs on: look, plan, take one step, record it; called again until it says "done"."""

import logging
from datetime import timedelta
from typing import Any

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import ChangeId, EnvironmentName, RunId
from homeport.rollout import admission
from homeport.rollout.desired import spec_of
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline import approval, events, gate, plan, record, trial
from homeport.rollout.pipeline import state as tables
from homeport.rollout.pipeline.errors import INTERNAL, STOPPING, UNKNOWN_RUN
from homeport.rollout.pipeline.executor import Approved, Executor
from homeport.rollout.pipeline.logs import RunFiles
from homeport.rollout.pipeline.model import Observed, Placed, Run, RunState, StageRun, StageState
from homeport.rollout.pipeline.state import Runs
from homeport.rollout.pipeline.trial import GateTrial
from homeport.spec.model import Spec
from homeport.spec.pipelines import stages_of

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 60.0
"""Seconds that a run waits for a part that does not answer before its stage fails."""
COMMITS_AFTER = 0.5
"""Seconds after which the repository is asked again for commits that it did not know."""


class AdvanceRuns:
    """``advance(run)`` of :class:`homeport.journal.durable.DurableChanges`."""

    def __init__(
        self, parts: Parts, runs: Runs, files: RunFiles, executor: Executor, gate_trial: GateTrial
    ) -> None:
        self._parts = parts
        self._runs = runs
        self._files = files
        self._executor = executor
        self._gate_trial = gate_trial
        self._trouble_since: dict[RunId, float] = {}

    def __call__(self, id: ChangeId) -> bool:
        """Take one step; True when the run has ended. Never raises. ``id`` is a run's, or "run.attempt"."""
        self._executor.park_when_closing()
        run, _, attempt = id.partition(".")
        try:
            done = self._advance(RunId(run), int(attempt or 1))
            self._trouble_since.pop(RunId(run), None)
            return done
        except HomeportError as e:
            if e.type is UNKNOWN_RUN:
                # It went with its app; only its workflow was left.
                return True
            error = e
        except Exception as e:
            log.exception("run %s", id)
            error = INTERNAL.error(
                f"cannot go on with the run: {type(e).__name__}: {e}",
                hint="homeport doctor; see logs/serve.log",
            )
        return self._trouble(RunId(run), error)

    def _trouble(self, id: RunId, error: HomeportError) -> bool:
        """A step failed: try again for a while, then fail the stage, or else the run."""
        self._executor.park_when_closing()
        clock = self._parts.clock
        now = clock.monotonic()
        since = self._trouble_since.setdefault(id, now)
        may_help = error.type.retry or error.type in (INTERNAL, STOPPING)
        if may_help and now - since < GIVE_UP_AFTER:
            clock.sleep(0.25 if error.type.retry else 1.0)
            return False
        try:
            run = self._runs.run(id)
            if run.state.ended:
                return True
            log.error("run %s: %s", id, error.sentence)
            under_way = next((s for s in self._runs.stages(id) if not s.state.ended), None)
            if under_way is not None:
                record.close_stage(
                    self._parts, run, under_way, StageState.FAILED, error.sentence, error.details[-20:]
                )
                return False
            record.end_run(self._parts, run, RunState.FAILED, error.sentence)
            return True
        except Exception:
            log.exception("run %s", id)
            clock.sleep(1.0)
            return False

    def _advance(self, id: RunId, attempt: int) -> bool:
        run = self._runs.run(id)
        if run.attempt != attempt:
            # A workflow of an attempt that was over before this one began.
            return True
        stages = self.stages(run)
        observed = self._observe(run, stages)
        step = plan.plan(stages, observed)[0]
        log.info("run %s: %s", id, _words(step))
        match step:
            case plan.AwaitTurn():
                self._executor.wait(lambda: self._moves_on(id, plan.AwaitTurn))
            case plan.Start():
                record.start_run(self._parts, run)
            case plan.Begin(placed):
                self._begin(run, placed)
            case plan.Carry(placed):
                approved = self._approved(run, stages, placed)
                self._executor.carry(run, _at(observed, placed.position), placed, approved)
            case plan.AwaitPerson(placed):
                self._await_person(run, _at(observed, placed.position))
            case plan.Close(position, outcome, reason):
                record.close_stage(self._parts, run, _at(observed, position), outcome, reason)
            case plan.End(outcome, reason):
                record.end_run(self._parts, run, outcome, reason)
                self._files.prune(run.app)
                return True
            case plan.Nothing():
                return True
        return False

    # Looking

    def stages(self, run: Run) -> tuple[Placed, ...]:
        """The stages of a run, with the gates that what serves now asks for."""
        spec = spec_of(run.spec)
        waiting = [s.position for s in self._runs.stages(run.id) if s.state is StageState.WAITING]
        return gate.placed(stages_of(spec), spec, self._serving(run), waiting)

    def _serving(self, run: Run) -> dict[EnvironmentName, Spec]:
        """The specs whose gates hold besides the run's own, by environment."""
        found = (
            (e.name, admission.gatekeeper(self._parts, e)) for e in self._parts.state.environments(run.app)
        )
        return {name: spec for name, spec in found if spec is not None}

    def _observe(self, run: Run, stages: tuple[Placed, ...]) -> Observed:
        parts = self._parts
        others = [r for r in self._runs.unfinished(run.app) if r.id != run.id]
        newer = [
            r.number
            for r in others
            if r.number > run.number and not r.cancel and spec_of(r.spec).pipeline.on_newer == "supersede"
        ]
        begun = self._runs.stages(run.id)
        waiting = next((s for s in begun if s.state is StageState.WAITING), None)
        overdue = False
        if waiting is not None:
            most = next((p.stage.timeout for p in stages if p.position == waiting.position), 0.0)
            overdue = parts.clock.now() >= waiting.started_at + timedelta(seconds=most)
        return Observed(
            run,
            ahead=any(r.state is not RunState.QUEUED or r.number < run.number for r in others),
            newer=max(newer, default=None),
            stages=begun,
            decision=self._runs.decision(waiting) if waiting is not None else None,
            overdue=overdue,
            serving={e.name: e.serving for e in parts.state.environments(run.app) if e.serving is not None},
        )

    def _moves_on(self, id: RunId, waits: type[plan.Step]) -> bool:
        run = self._runs.run(id)
        stages = self.stages(run)
        return not isinstance(plan.plan(stages, self._observe(run, stages))[0], waits)

    def _approved(self, run: Run, stages: tuple[Placed, ...], placed: Placed) -> Approved | None:
        """Who approved a deploy in this run, and why; None when nobody did."""
        gates = {p.position for p in stages if p.guards == placed.position}
        for stage in self._runs.stages(run.id):
            said = self._runs.decision(stage) if stage.position in gates else None
            if said is not None and said.approved and stage.state is StageState.PASSED:
                why = f"run #{run.number}, approved by {said.person}: {said.reason}"
                return Approved(why, stage.found.get("serving"))
        return None

    # Stages

    def _begin(self, run: Run, placed: Placed) -> None:
        stage = placed.stage
        at_gate = stage.kind == "approve"
        found: dict[str, object] = {}
        environment = stage.environment
        if environment is not None:
            found["before"] = self._serves(run, environment)
        if at_gate and environment is not None:
            found["serving"] = found["before"]
            # Before the gate opens, so that whoever approves has seen it. Cut off, it begins anew.
            found["what"] = approval.what(self._parts, run, environment, self._tried(run, environment))
        begun = StageRun(
            run=run.id,
            position=placed.position,
            attempt=run.attempt,
            kind=stage.kind,
            name=stage.name,
            environment=environment,
            state=StageState.WAITING if at_gate else StageState.RUNNING,
            reason="",
            change=None,
            found=found,
            started_at=self._parts.clock.now(),
            finished_at=None,
        )
        opened = None
        if at_gate:
            what = found.get("what")
            opened = events.GateOpened(
                people=list(stage.people),
                own=stage.own,
                items=list(stage.items),
                timeout=stage.timeout,
                approved_is=trial.brief(what) if isinstance(what, dict) else {},
                **record.of_stage(run, begun),
            )
        record.begin_stage(self._parts, run, begun, opened)

    def _tried(self, run: Run, environment: EnvironmentName) -> list[dict[str, Any]]:
        """What the trial says of each database; ends early when the run is told to end."""
        release = self._executor.release(run, environment)
        found = self._gate_trial.reports(run, environment, release, lambda: self._executor.why_to_stop(run))
        self._executor.park_when_closing()
        return found

    def _serves(self, run: Run, environment: EnvironmentName) -> str | None:
        found = (e for e in self._parts.state.environments(run.app) if e.name == environment)
        return next((e.serving for e in found), None)

    def _await_person(self, run: Run, stage: StageRun) -> None:
        """Wait at a gate; what serves may change meanwhile, and with it what is to be approved."""
        environment = stage.environment
        if environment is not None:
            serving = self._serves(run, environment)
            if serving != stage.found.get("serving"):
                what = approval.what(self._parts, run, environment, self._tried(run, environment))
                with self._parts.state.store.transaction("homeport") as tx:
                    tables.update_stage(tx, stage, found=stage.found | {"serving": serving, "what": what})
                    tx.append(
                        events.GateChanged(
                            serving=serving, approved_is=trial.brief(what), **record.of_stage(run, stage)
                        )
                    )
                return

        def moves_on() -> bool:
            changed = environment is not None and self._serves(run, environment) != stage.found.get("serving")
            return changed or self._moves_on(run.id, plan.AwaitPerson)

        told = stage.found.get("what")
        if environment is not None and isinstance(told, dict) and not told.get("commits_known", True):
            # git keeps what is pushed apart until the push is over, which ends at the gate.
            if self._executor.wait(moves_on, seconds=COMMITS_AFTER):
                return
            anew = approval.what(self._parts, run, environment, told.get("migrations", ()))
            if anew["commits_known"]:
                with self._parts.state.store.transaction("homeport") as tx:
                    tables.update_stage(tx, stage, found=stage.found | {"what": anew})
                return
        due = stage.started_at - self._parts.clock.now()
        most = next((p.stage.timeout for p in self.stages(run) if p.position == stage.position), 0.0)
        self._executor.wait(moves_on, seconds=max(0.0, min(30.0, due.total_seconds() + most)))


def _at(observed: Observed, position: int) -> StageRun:
    return next(s for s in observed.stages if s.position == position)


def _words(step: plan.Step) -> str:
    match step:
        case plan.Begin(placed) | plan.Carry(placed) | plan.AwaitPerson(placed):
            return f"{type(step).__name__} {placed.stage.name}"
        case _:
            return str(step)
