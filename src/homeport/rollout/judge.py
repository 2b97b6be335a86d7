"""Looks at every release on trial, twice a second: what it did since the last look, and what follows."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from homeport.edge.access import Tail
from homeport.edge.model import Counts
from homeport.journal.store import Transaction, text_time
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import ChangeId, InstanceName, ReleaseId
from homeport.rollout import errors, events, trials, verdict
from homeport.rollout.model import Change, ChangeKind, Instance
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts, id_for
from homeport.rollout.signals import Signals
from homeport.rollout.trials import CANARY, RUNNING, WATCH, Decision, Position, Standing, Trial
from homeport.runtime.model import InstanceStatus
from homeport.spec.model import Rollout

log = logging.getLogger(__name__)

WORSE = declare(
    "rollout.worse",
    Kind.ROLLED_BACK,
    "The new release fails more often, is slower, died, or does not answer.",
)

EVERY = 0.5
"""Seconds between two looks."""
BASELINE = 300.0
"""Seconds of the access log from which it is known how the release before did, where it is gone from traffic."""
POLL = 0.1
PATIENCE = 30.0
"""Seconds that one call of :meth:`Judge.bake` takes at most."""
MANY = 3
"""Requests in hand from which on a silent canary is looked at more closely."""


class Judge:
    """Takes the looks, and takes back what is worse once it has all of the traffic.

    While a release is a canary, :meth:`bake` is a step of its rollout, which ends it.
    """

    def __init__(self, parts: Parts, tail: Tail) -> None:
        self._parts = parts
        self._tail = tail
        self._signals = Signals(parts)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)
        self._rollouts: Rollouts | None = None

    def start(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._thread.start()

    def close(self) -> None:
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.wait(EVERY):
            try:
                self.look()
            except HomeportError as e:
                if not e.type.retry:
                    log.error("judge: %s", e.sentence)
            except Exception:
                log.exception("judge")

    # Steps of a rollout

    def bake(self, change: Change, step: int, closing: threading.Event) -> None:
        """Judge a canary at its step for a while; called again until the step is passed.

        Raises ``rollout.worse`` when it is condemned.
        """
        parts = self._parts
        trial = trials.find(parts.state, change.id)
        if trial is None:
            self._begin(change)
            return
        rollout = parts.spec(change.app, change.environment, change.goal.release).rollout
        until = parts.clock.monotonic() + PATIENCE
        while parts.clock.monotonic() < until and not closing.is_set():
            if parts.state.change(change.id).cancelled:
                return
            trial = trials.find(parts.state, change.id) or trial
            match trials.decide(trial, rollout, parts.clock.now()):
                case Decision.TAKE_BACK:
                    raise WORSE.error(
                        f"cannot keep {trial.release}: {'; '.join(trial.evidence.condemned)}",
                        hint="homeport rollout show tells the figures; homeport logs what it printed",
                    )
                case Decision.GO_ON:
                    self._pass(change, trial)
                    return
                case Decision.ASK:
                    self._ask(trial)
                case Decision.STAY:
                    pass
            parts.clock.sleep(POLL)

    def _begin(self, change: Change) -> None:
        parts = self._parts
        before = parts.state.environment(change.app, change.environment).serving
        now = parts.clock.now()
        _, position = self._tail.read(None)
        trial = self._new(change, before, CANARY, verdict.Evidence(), position)
        with parts.state.store.transaction(change.actor) as tx:
            trials.insert(tx, replace(trial, since=now))
            self._tell_step(tx, change, 0)

    def _new(
        self,
        change: Change,
        before: ReleaseId | None,
        phase: str,
        evidence: verdict.Evidence,
        log_position: object,
    ) -> Trial:
        parts = self._parts
        now = parts.clock.now()
        rollout = parts.spec(change.app, change.environment, change.goal.release).rollout
        instances = self._instances(change)
        mine = {str(i.name) for i in instances if i.change == change.id}
        counts = parts.edge.counts()
        # What this change started has done nothing before; of the others, what they did does not count.
        counted = tuple((str(s.name), s.requests, s.errors) for s in counts.servers if s.name not in mine)
        statuses = {s.name: s for s in parts.runtime.observe()}
        return Trial(
            change=change.id,
            app=change.app,
            environment=change.environment,
            release=change.goal.release,
            before=before,
            phase=phase,
            step=0,
            since=now,
            until=now + timedelta(seconds=rollout.watch_for) if phase == WATCH else None,
            paused_by=None,
            promoted_by=None,
            evidence=evidence,
            position=Position(now, counts.worker, counted, log_position, _pids(instances, statuses)),
            standing=trials.standing(evidence, rollout),
            state=RUNNING,
        )

    def _instances(self, change: Change | Trial) -> tuple[Instance, ...]:
        """The routed ones of the new release that get requests."""
        release = change.goal.release if isinstance(change, Change) else change.release
        found = self._parts.state.instances(change.app, change.environment)
        return tuple(i for i in found if i.release == release and i.port is not None and i.weight)

    def _pass(self, change: Change, trial: Trial) -> None:
        steps = change.goal.steps
        step = len(steps) if trial.promoted_by is not None else trial.step + 1
        with self._parts.state.store.transaction(change.actor) as tx:
            trials.update(tx, change.id, step=step, since=text_time(tx.now))
            if step < len(steps):
                self._tell_step(tx, change, step)

    def _tell_step(self, tx: Transaction, change: Change, step: int) -> None:
        tx.append(
            events.CanaryStep(
                app=change.app,
                environment=change.environment,
                change=change.id,
                release=change.goal.release,
                step=step + 1,
                of=len(change.goal.steps) + 1,
                share=change.goal.steps[step],
            )
        )

    def _ask(self, trial: Trial) -> None:
        standing = replace(trial.standing, asked=trial.step)
        with self._parts.state.store.transaction("homeport") as tx:
            trials.update(tx, trial.change, paused_by="homeport", standing=standing.to_json())
            tx.append(
                events.CanaryAsks(
                    app=trial.app,
                    environment=trial.environment,
                    change=trial.change,
                    release=trial.release,
                    missing=list(standing.reasons),
                )
            )

    def promoted(self, change: Change, before: ReleaseId | None) -> "Promotion":
        """What a promotion does to trials: found out before its transaction, written in it."""
        parts = self._parts
        trial = trials.find(parts.state, change.id)
        rollout = parts.spec(change.app, change.environment, change.goal.release).rollout
        ships = change.kind in (ChangeKind.DEPLOY, ChangeKind.CONFIGURE, ChangeKind.PROMOTE)
        watched = None
        if trial is None and ships and rollout.watch_for and before not in (None, change.goal.release):
            now = parts.clock.now().timestamp()
            entries = self._tail.recent(BASELINE, now)
            evidence = trials.baseline(entries, change.app, change.environment, before)
            _, position = self._tail.read(None)
            watched = self._new(change, before, WATCH, evidence, position)
        return Promotion(change, trial, watched, rollout)

    # Looking

    def look(self) -> None:
        """One look at each trial."""
        found = trials.running(self._parts.state)
        if not found:
            return
        counts = self._parts.edge.counts()
        statuses = {s.name: s for s in self._parts.runtime.observe()}
        for trial in found:
            self._look(trial, counts, statuses)

    def _look(self, trial: Trial, counts: Counts, statuses: Mapping[InstanceName, InstanceStatus]) -> None:
        parts = self._parts
        change = parts.state.change(trial.change)
        if trial.phase == CANARY and (change.done or change.failure is not None):
            return
        rollout = parts.spec(trial.app, trial.environment, trial.release).rollout
        now = parts.clock.now()
        entries, position = self._tail.read(trial.position.log)
        window, counted = trials.window(trial, counts, entries, now)
        if window.canary.requests == 0:
            waiting = self._waiting(trial, counts)
            window, counted = trials.window(trial, counts, entries, now, waiting)
        signals = self._signals.of(trial, rollout.signals)
        evidence = verdict.look(trial.evidence, [window], trials.settings(rollout), signals)
        died = self._died(trial, statuses)
        if died and not evidence.condemned:
            evidence = replace(evidence, condemned=(died,))
        kept = trial.phase == WATCH and trial.promoted_by is not None
        condemned = bool(evidence.condemned) and not kept
        over = kept or (trial.phase == WATCH and trial.until is not None and now >= trial.until)
        standing = trials.standing(evidence, rollout, over=over)
        standing = replace(standing, asked=trial.standing.asked)
        if kept:
            reasons = (f"kept by {trial.promoted_by}", *standing.reasons)
            standing = replace(standing, outcome=verdict.Outcome.PROMOTED.value, reasons=reasons)
        state = trials.outcome_state(standing) if over else RUNNING
        pids = trial.position.pids or _pids(self._instances(trial), statuses)
        with parts.state.store.transaction("homeport") as tx:
            trials.update(
                tx,
                trial.change,
                evidence=evidence.to_json(),
                position=Position(now, counts.worker, counted, position, pids).to_json(),
                standing=standing.to_json(),
                **({"state": state} if over and not condemned else {}),
            )
            if (condemned and not trial.is_condemned) or (over and not condemned):
                tx.append(_event(trial, standing))
        if condemned and trial.phase == WATCH:
            self._take_back(replace(trial, evidence=evidence, standing=standing), change)

    def _waiting(self, trial: Trial, counts: Counts) -> dict[str, int]:
        """Requests that wait for an answer, by side. Only asked for where the new release is silent."""
        mine = [s for s in counts.servers if trials.side_of(s.name, trial) == "new"]
        if sum(s.sessions for s in mine) < MANY:
            return {}
        found = {"new": 0, "before": 0}
        for server in counts.servers:
            side = trials.side_of(server.name, trial)
            if side is not None and server.sessions:
                found[side] += self._parts.edge.waiting(server.service, server.name)
        return found

    def _died(self, trial: Trial, statuses: Mapping[InstanceName, InstanceStatus]) -> str | None:
        for name, times in self._parts.looping.items():
            if trials.side_of(name, trial) == "new":
                return f"{name} crashed {times} times"
        if trial.phase != CANARY:
            return None
        for known, pid in trial.position.pids:
            status = statuses.get(InstanceName(known))
            if status is None or status.pid != pid:
                how = f" ({status.exit})" if status is not None and status.exit else ""
                return f"{known} died{how}"
        return None

    def _take_back(self, trial: Trial, change: Change) -> None:
        """Go back from a release that was promoted. Tried again at the next look where something else moves."""
        parts = self._parts
        assert self._rollouts is not None
        now = parts.state.environment(trial.app, trial.environment)
        state: str | None = None
        if now.serving != trial.release or trial.before is None:
            state = trials.ENDED
        elif not parts.state.running(trial.app, trial.environment):
            try:
                self._rollouts.rollback(
                    trial.app,
                    trial.environment,
                    release=trial.before,
                    replace_running=False,
                    actor="homeport",
                    id=id_for(f"watch:{trial.change}"),
                )
                state = Standing("rolled back", (), {}).outcome
            except HomeportError as e:
                if e.type is not errors.BUSY:
                    log.error("cannot take back %s of %s: %s", trial.release, trial.app, e.sentence)
                    state = trials.ENDED
        if state is not None:
            with parts.state.store.transaction("homeport") as tx:
                trials.update(tx, trial.change, state=state)


class Promotion:
    def __init__(self, change: Change, trial: Trial | None, watched: Trial | None, rollout: Rollout) -> None:
        self._change = change
        self._trial = trial
        self._watched = watched
        self._rollout = rollout

    def write(self, tx: Transaction) -> None:
        """A canary is watched on, any other release from now; what was watched before is over."""
        change, trial = self._change, self._trial
        if trial is not None and trial.state == RUNNING:
            if self._rollout.watch_for:
                until = tx.now + timedelta(seconds=self._rollout.watch_for)
                trials.update(
                    tx,
                    change.id,
                    phase=WATCH,
                    since=text_time(tx.now),
                    until=text_time(until),
                    paused_by=None,
                )
            else:
                standing = trials.standing(trial.evidence, self._rollout, over=True)
                trials.update(
                    tx, change.id, state=trials.outcome_state(standing), standing=standing.to_json()
                )
                tx.append(_event(trial, standing))
        if self._watched is not None:
            trials.insert(tx, self._watched)
        if trial is not None or self._watched is not None or change.kind is ChangeKind.ROLLBACK:
            trials.end_others(tx, change.app, change.environment, change.id)


def finish(tx: Transaction, parts: Parts, change: ChangeId) -> None:
    """The change of a canary ends and it was not promoted."""
    trial = trials.find(parts.state, change)
    if trial is not None and trial.state == RUNNING and trial.phase == CANARY:
        state = verdict.Outcome.ROLLED_BACK.value if trial.is_condemned else trials.ENDED
        trials.update(tx, change, state=state)


def _pids(
    instances: tuple[Instance, ...], statuses: Mapping[InstanceName, InstanceStatus]
) -> tuple[tuple[str, int], ...]:
    found = ((str(i.name), s.pid) for i in instances if (s := statuses.get(i.name)) is not None)
    return tuple((name, pid) for name, pid in found if pid is not None)


def _event(trial: Trial, standing: Standing) -> events.ReleaseJudged:
    return events.ReleaseJudged(
        app=trial.app,
        environment=trial.environment,
        change=trial.change,
        release=trial.release,
        before=trial.before,
        phase=trial.phase,
        outcome=standing.outcome,
        reasons=list(standing.reasons),
        figures=standing.figures,
    )
