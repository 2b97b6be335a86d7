"""What people say to a release on trial: pause it, let it go on, keep it, take it back."""

from homeport.journal.store import Transaction
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName
from homeport.rollout import events, promotion, trials
from homeport.rollout.model import Change, ChangeKind
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts, id_for
from homeport.rollout.trials import CANARY, RUNNING, WATCH, Trial

NO_TRIAL = declare(
    "rollout.no_trial", Kind.CONFLICT, "No release is on trial in the environment, or not in a way that fits."
)


class Steering:
    def __init__(self, parts: Parts, rollouts: Rollouts) -> None:
        self._parts = parts
        self._rollouts = rollouts

    def newest(self, app: AppName, environment: EnvironmentName) -> Trial:
        """The trial that is under way, else the last one. Raises ``rollout.no_trial``."""
        self._parts.state.environment(app, environment)
        trial = trials.newest(self._parts.state, app, environment)
        if trial is None:
            raise NO_TRIAL.error(
                f"cannot show a trial: no release of {app} was on trial in {environment}",
                hint='a release is judged with strategy = "canary", and after each deploy for watch_for',
            )
        return trial

    def _running(self, app: AppName, environment: EnvironmentName, what: str) -> Trial:
        trial = self.newest(app, environment)
        if trial.state != RUNNING:
            raise NO_TRIAL.error(
                f"cannot {what}: no release is on trial in {environment}; that of {trial.release} is over "
                f"({trial.state})",
                hint="homeport status tells what serves; homeport rollback goes back",
            )
        return trial

    def _steerable(self, app: AppName, environment: EnvironmentName, what: str) -> Trial:
        """One whose end is not decided yet."""
        trial = self._running(app, environment, what)
        change = self._parts.state.change(trial.change)
        if trial.phase == CANARY and (change.cancelled or change.failure is not None):
            raise NO_TRIAL.error(
                f"cannot {what}: the canary {trial.release} is being taken back",
                hint="homeport events -f tells when it is over; then deploy it again",
            )
        return trial

    def _canary(self, app: AppName, environment: EnvironmentName, what: str) -> Trial:
        trial = self._steerable(app, environment, what)
        if trial.phase != CANARY:
            raise NO_TRIAL.error(
                f"cannot {what}: {trial.release} has all of the requests of {environment} already",
                hint="homeport rollout abort takes it back; homeport rollout promote ends the watch",
            )
        return trial

    def pause(self, app: AppName, environment: EnvironmentName, *, actor: str) -> Trial:
        """A canary stays at its step, and is still taken back when it is worse."""
        trial = self._canary(app, environment, "pause")
        if trial.paused_by is None:
            with self._parts.state.store.transaction(actor) as tx:
                trials.update(tx, trial.change, paused_by=actor)
                self._tell(tx, trial, "pause")
        return self.newest(app, environment)

    def resume(self, app: AppName, environment: EnvironmentName, *, actor: str) -> Trial:
        """A paused canary goes on; one that asked takes its next step, whatever was missing."""
        trial = self._canary(app, environment, "resume")
        if trial.paused_by is None:
            raise NO_TRIAL.error(
                f"cannot resume: the canary {trial.release} is not paused",
                hint="homeport rollout promote gives it all of the requests at once",
            )
        with self._parts.state.store.transaction(actor) as tx:
            trials.update(tx, trial.change, paused_by=None)
            self._tell(tx, trial, "resume")
        return self.newest(app, environment)

    def promote(self, app: AppName, environment: EnvironmentName, *, actor: str) -> Trial:
        """A canary gets all of the requests now; what is watched is kept."""
        trial = self._steerable(app, environment, "promote")
        with self._parts.state.store.transaction(actor) as tx:
            trials.update(tx, trial.change, promoted_by=actor, paused_by=None)
            self._tell(tx, trial, "promote")
            if trial.phase == WATCH:
                standing = promotion.kept(trial.standing, actor)
                trials.update(tx, trial.change, state=standing.outcome, standing=standing.to_json())
                tx.append(promotion.verdict_told(trial, standing))
        return self.newest(app, environment)

    def abort(self, app: AppName, environment: EnvironmentName, *, actor: str, key: str | None) -> Change:
        """Take back: a canary's change is cancelled; from what is watched it is rolled back.

        Asked again with the same ``key`` it is the same rollback.
        """
        if key is not None:
            asked = self._rollouts.made_by(key, ChangeKind.ROLLBACK, app, environment, lambda _: True)
            if asked is not None:
                return asked
        trial = self._running(app, environment, "abort")
        if trial.phase == CANARY:
            change = self._rollouts.abort(trial.change)
        else:
            change = self._rollouts.rollback(
                app,
                environment,
                release=trial.before,
                replace_running=False,
                actor=actor,
                id=id_for(key) if key else None,
            )
        with self._parts.state.store.transaction(actor) as tx:
            self._tell(tx, trial, "abort")
        return change

    def _tell(self, tx: Transaction, trial: Trial, what: str) -> None:
        tx.append(
            events.CanarySteered(
                app=trial.app,
                environment=trial.environment,
                change=ChangeId(trial.change),
                release=trial.release,
                what=what,
            )
        )
