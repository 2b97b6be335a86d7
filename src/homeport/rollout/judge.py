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
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, InstanceName, ReleaseId
from homeport.rollout import events, promotion, trials, verdict
from homeport.rollout.crowd import Crowd
from homeport.rollout.model import Change, ChangeKind, Instance
from homeport.rollout.parts import Parts
from homeport.rollout.promotion import ROLLED_BACK, Promotion, is_kept, verdict_told, way_back
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.signals import Signals
from homeport.rollout.trials import CANARY, RUNNING, WATCH, Decision, Position, Trial
from homeport.runtime.model import InstanceStatus
from homeport.system import load, process

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
        self._crowd = Crowd(process.cores())
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

    def bake(self, change: Change, closing: threading.Event) -> None:
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
                    raise _worse(trial)
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
        rollout = parts.spec(change.app, change.environment, change.goal.release).rollout
        # A signal that was never measured is missing, however soon the step might be passed.
        signals = tuple(sorted((s.name, 0, False) for s in rollout.signals))
        trial = self._new(change, before, CANARY, verdict.Evidence(signals=signals), position)
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
        instances = self._instances(change.app, change.environment, change.goal.release, before)
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

    def _instances(
        self, app: AppName, environment: EnvironmentName, *releases: ReleaseId | None
    ) -> tuple[Instance, ...]:
        """The routed ones of some releases that get requests."""
        found = self._parts.state.instances(app, environment)
        return tuple(i for i in found if i.release in releases and i.port is not None and i.weight)

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

    def promoted(self, change: Change, before: ReleaseId | None) -> Promotion:
        """What a promotion does to trials: found out before its transaction, written in it.

        Raises ``rollout.worse`` for a canary that was condemned after its last step.
        """
        parts = self._parts
        trial = trials.find(parts.state, change.id)
        if trial is not None and trials.decide_now(trial) is Decision.TAKE_BACK:
            raise _worse(trial)
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
        self._signals.forget(frozenset(t.change for t in found))
        if not found:
            return
        counts = self._parts.edge.counts()
        statuses = {s.name: s for s in self._parts.runtime.observe()}
        pids = [pid for trial in found for _, pid in trial.position.pids]
        own = {pid: load.process_seconds(pid) for pid in pids}
        self._crowd.look(self._parts.clock.monotonic(), load.busy_seconds(), own)
        for trial in found:
            try:
                self._look(trial, counts, statuses)
            except HomeportError as e:
                # Such as an app that was destroyed meanwhile: the others are looked at all the same.
                if not e.type.retry:
                    log.error("judge of %s: %s", trial.app, e.sentence)
            except Exception:
                log.exception("judge of %s", trial.app)

    def _look(self, trial: Trial, counts: Counts, statuses: Mapping[InstanceName, InstanceStatus]) -> None:
        parts = self._parts
        change = parts.state.change(trial.change)
        if trial.phase == CANARY and (change.done or change.failure is not None):
            return
        rollout = parts.spec(trial.app, trial.environment, trial.release).rollout
        now = parts.clock.now()
        entries, position = self._tail.read(trial.position.log)
        crowded = self._crowd.is_crowded([pid for _, pid in trial.position.pids])
        if trial.phase == WATCH and crowded:
            # Beside nothing, what others do to the machine would look like the release's doing.
            entries = ()
        window, counted = trials.window(trial, counts, entries, now)
        if window.canary.requests == 0:
            waiting = self._waiting(trial, counts)
            window, counted = trials.window(trial, counts, entries, now, waiting)
        signals = self._signals.of(trial, rollout.signals)
        died = self._died(trial, statuses)
        pids = self._known_pids(trial, statuses)
        kept = trial.phase == WATCH and trial.promoted_by is not None
        over = kept or (trial.phase == WATCH and trial.until is not None and now >= trial.until)
        is_quiet = trials.is_quiet(trial, window) and pids == trial.position.pids
        if is_quiet and not (signals or died or over):
            # A canary may wait for traffic for days.
            return
        evidence = verdict.look(
            trial.evidence, [replace(window, crowded=crowded)], trials.settings(rollout), signals
        )
        if died and not evidence.condemned:
            evidence = replace(evidence, condemned=(died,))
        condemned = bool(evidence.condemned) and not kept
        standing = trials.standing(evidence, rollout, over=over)
        if kept:
            standing = promotion.kept(standing, trial.promoted_by or "")
        state = trials.outcome_state(standing) if over else RUNNING
        with parts.state.store.transaction("homeport") as tx:
            # It may have asked while this look was taken.
            latest = trials.find(parts.state, trial.change) or trial
            if latest.state != RUNNING:
                return
            standing = replace(standing, asked=latest.standing.asked)
            trials.update(
                tx,
                trial.change,
                evidence=evidence.to_json(),
                position=Position(now, counts.worker, counted, position, pids).to_json(),
                standing=standing.to_json(),
                **({"state": state} if over and not condemned else {}),
            )
            if (condemned and not trial.is_condemned) or (over and not condemned):
                tx.append(verdict_told(trial, standing))
        if condemned and trial.phase == WATCH:
            self._take_back(replace(trial, evidence=evidence, standing=standing))

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
        if trials.all_began_anew(trial, {n: s.pid for n, s in statuses.items()}):
            return None
        for known, pid in trial.position.pids:
            status = statuses.get(InstanceName(known))
            if trials.side_of(known, trial) == "new" and (status is None or status.pid != pid):
                how = f" ({status.exit})" if status is not None and status.exit else ""
                return f"{known} died{how}"
        return None

    def _known_pids(
        self, trial: Trial, statuses: Mapping[InstanceName, InstanceStatus]
    ) -> tuple[tuple[str, int], ...]:
        """Those that the next look compares with: as before, but where they were not known, or all are new."""
        known = trial.position.pids
        if known and not trials.all_began_anew(trial, {n: s.pid for n, s in statuses.items()}):
            return known
        instances = self._instances(trial.app, trial.environment, trial.release, trial.before)
        found = _pids(instances, statuses)
        is_whole = {str(i.name) for i in instances if i.release == trial.release} <= {n for n, _ in found}
        return found if is_whole else known

    def _take_back(self, trial: Trial) -> None:
        """Go back from a release that was promoted. Tried again at the next look where something else moves."""
        parts = self._parts
        assert self._rollouts is not None
        now = parts.state.environment(trial.app, trial.environment)
        id = way_back(trial)
        state: str | None = None
        if (begun := self._begun(id)) is not None:
            # This was cut off once it had recorded the way back.
            state = ROLLED_BACK if not begun.done or parts.state.is_promoted(id) else trials.ENDED
        elif now.serving != trial.release or trial.before is None:
            state = trials.ENDED
        elif not parts.state.running(trial.app, trial.environment):
            try:
                self._rollouts.rollback(
                    trial.app,
                    trial.environment,
                    release=trial.before,
                    replace_running=False,
                    actor="homeport",
                    id=id,
                )
                state = ROLLED_BACK
            except HomeportError as e:
                if not e.type.retry:
                    log.error("cannot take back %s of %s: %s", trial.release, trial.app, e.sentence)
                    with parts.state.store.transaction("homeport") as tx:
                        is_kept(tx, trial, e.sentence)
        if state is not None:
            with parts.state.store.transaction("homeport") as tx:
                trials.update(tx, trial.change, state=state)

    def _begun(self, id: ChangeId) -> Change | None:
        try:
            return self._parts.state.change(id)
        except HomeportError:
            return None


def _worse(trial: Trial) -> HomeportError:
    return WORSE.error(
        f"cannot keep {trial.release}: {'; '.join(trial.evidence.condemned)}",
        hint="homeport rollout show tells the figures; homeport logs what it printed",
    )


def _pids(
    instances: tuple[Instance, ...], statuses: Mapping[InstanceName, InstanceStatus]
) -> tuple[tuple[str, int], ...]:
    found = ((str(i.name), s.pid) for i in instances if (s := statuses.get(i.name)) is not None)
    return tuple((name, pid) for name, pid in found if pid is not None)
