"""What the end of a change does to releases on trial, written in the transaction of that end."""

from dataclasses import replace
from datetime import timedelta

from homeport.journal.store import Transaction, text_time
from homeport.kernel.ids import ChangeId
from homeport.rollout import events, trials, verdict
from homeport.rollout.model import Change, ChangeKind
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import id_for
from homeport.rollout.trials import CANARY, RUNNING, WATCH, Standing, Trial
from homeport.spec.model import Rollout

ROLLED_BACK = verdict.Outcome.ROLLED_BACK.value


def way_back(trial: Trial) -> ChangeId:
    """The rollback that a watch begins: always the same, so that it is begun once."""
    return id_for(f"watch:{trial.change}")


class Promotion:
    def __init__(self, change: Change, trial: Trial | None, watched: Trial | None, rollout: Rollout) -> None:
        self._change = change
        self._trial = trial
        self._watched = watched
        self._rollout = rollout

    @property
    def watches(self) -> bool:
        """Whether it may be gone back from by itself."""
        return bool(self._rollout.watch_for) and (self._trial or self._watched) is not None

    def write(self, tx: Transaction) -> None:
        """A canary is watched on, any other release from now; what was watched before is over."""
        change, trial = self._change, self._trial
        if trial is not None and trial.state == RUNNING:
            if self._rollout.watch_for and trial.promoted_by is None:
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
                if trial.promoted_by is not None:
                    standing = kept(standing, trial.promoted_by)
                trials.update(
                    tx, change.id, state=trials.outcome_state(standing), standing=standing.to_json()
                )
                tx.append(verdict_told(trial, standing))
        if self._watched is not None:
            trials.insert(tx, self._watched)
        if trial is not None or self._watched is not None or change.kind is ChangeKind.ROLLBACK:
            trials.end_others(tx, change.app, change.environment, change.id)


def kept(standing: Standing, actor: str) -> Standing:
    """A person kept it, whatever the figures."""
    return replace(standing, outcome=verdict.Outcome.PROMOTED.value, reasons=(f"kept by {actor}",))


def finish(tx: Transaction, parts: Parts, change: Change) -> None:
    """A change ends and was not promoted: a canary's, or the way back from what was watched."""
    trial = trials.find(parts.state, change.id)
    if trial is not None and trial.state == RUNNING and trial.phase == CANARY:
        trials.update(tx, change.id, state=ROLLED_BACK if trial.is_condemned else trials.ENDED)
    watched = trials.newest(parts.state, change.app, change.environment)
    if watched is not None and way_back(watched) == change.id:
        is_kept(tx, watched, change.failure.sentence if change.failure else "it was not promoted")


def is_kept(tx: Transaction, trial: Trial, why: str) -> None:
    """What is to be taken back cannot be: it serves on, and is judged no longer."""
    reasons = (f"{trial.release} serves on, going back to {trial.before} failed: {why}",)
    standing = replace(trial.standing, reasons=(*trial.standing.reasons, *reasons))
    trials.update(tx, trial.change, state=trials.ENDED, standing=standing.to_json())


def verdict_told(trial: Trial, standing: Standing) -> events.ReleaseJudged:
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
