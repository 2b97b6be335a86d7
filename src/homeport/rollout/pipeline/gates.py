"""What people say at the gates of runs."""

from collections.abc import Callable

from homeport.guard.identity import Identities, is_author
from homeport.kernel.ids import EnvironmentName, RunId
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline import approval, events, record, state, trial
from homeport.rollout.pipeline.errors import NO_REASON, NOT_ALLOWED, NOT_TICKED, NOT_WAITING
from homeport.rollout.pipeline.model import Approval, Placed, Run, RunState, StageRun, StageState
from homeport.rollout.pipeline.state import Runs


class Gates:
    """Every call may be made from any thread."""

    def __init__(
        self,
        parts: Parts,
        runs: Runs,
        stages: Callable[[Run], tuple[Placed, ...]],
        identities: Identities,
    ) -> None:
        """``stages`` gives the stages of a run, with the gates that hold for it now."""
        self._parts = parts
        self._runs = runs
        self._stages = stages
        self._identities = identities

    def approve(self, id: RunId, *, person: str, reason: str, ticked: tuple[str, ...] = ()) -> Approval:
        """Let a run that waits at a gate go on. ``person`` is the actor who says so.

        Raises ``pipeline.not_waiting``, ``not_allowed``, ``not_ticked``, ``no_reason``.
        """
        run, stage, placed = self._at_gate(id)
        who = self._identities.person(person)
        self._require_right(run, placed, person)
        unknown = [t for t in ticked if t not in placed.stage.items]
        if unknown:
            raise NOT_TICKED.error(
                f"cannot tick {unknown[0]!r}: the checklist has no such item",
                hint=_items(placed) or "it has none at all",
            )
        missing = [i for i in placed.stage.items if i not in ticked]
        if missing:
            raise NOT_TICKED.error(
                f"cannot approve {stage.name} of run {run.title}: not every item is ticked",
                hint="--tick each of them, or --tick-all",
                details=missing,
            )
        return self._decide(run, stage, who.name, True, reason, ticked)

    def reject(self, id: RunId, *, person: str, reason: str) -> Approval:
        """End a run that waits at a gate. Raises ``pipeline.not_waiting``, ``not_allowed``, ``no_reason``."""
        run, stage, placed = self._at_gate(id)
        who = self._identities.person(person)
        own = who.name == self._identities.person(run.actor).name or is_author(who, run.commit.author)
        if not own:
            # Whoever made it may always take it back.
            self._require_right(run, placed, person)
        return self._decide(run, stage, who.name, False, reason, ())

    def _decide(
        self, run: Run, stage: StageRun, person: str, approved: bool, reason: str, ticked: tuple[str, ...]
    ) -> Approval:
        if not reason.strip():
            word = "approve" if approved else "reject"
            raise NO_REASON.error(
                f"cannot {word} run {run.title}: a reason is kept with it", hint="-m REASON"
            )
        shown = stage.found.get("what", {}).get("migrations", [])
        what = approval.what(self._parts, run, stage.environment, shown) if stage.environment else {}
        mask = self._parts.masker().mask_text
        with self._parts.state.store.transaction(person) as tx:
            # Only what is looked up in here holds until it is written.
            if not state.is_open(tx, stage):
                raise NOT_WAITING.error(f"cannot decide on run {run.title}: it waits no more")
            said = Approval(
                run.id,
                stage.position,
                stage.attempt,
                person,
                approved,
                mask(reason.strip()),
                ticked,
                what,
                tx.now,
            )
            state.insert_approval(tx, said)
            tx.append(
                events.GateDecided(
                    person=person,
                    approved=approved,
                    reason=said.reason,
                    ticked=list(ticked),
                    approved_is=trial.brief(what),
                    **record.of_stage(run, stage),
                )
            )
        return said

    def _at_gate(self, id: RunId) -> tuple[Run, StageRun, Placed]:
        run = self._runs.run(id)
        stages = {p.position: p for p in self._stages(run)}
        for stage in self._runs.stages(id):
            if stage.state is StageState.WAITING and stage.position in stages:
                if run.cancel or self._runs.decision(stage) is not None:
                    break
                return run, stage, stages[stage.position]
        raise NOT_WAITING.error(
            f"cannot decide on run {run.title}: it {how(run)}",
            hint="homeport pipeline list shows which one waits",
        )

    def _require_right(self, run: Run, placed: Placed, actor: str) -> None:
        stage = placed.stage
        person = self._identities.person(actor)
        environment = stage.environment or EnvironmentName("")
        allowed = not stage.people or person.name in stage.people
        if not allowed or not self._identities.may(person, "approve", run.app, environment):
            raise NOT_ALLOWED.error(
                f"cannot decide on {stage.name} of run {run.title}: {person.name} is not among those who may",
                hint=f"{', '.join(stage.people)} may" if stage.people else "",
            )
        starter = self._identities.person(run.actor).name
        if not stage.own and (person.name == starter or is_author(person, run.commit.author)):
            what = "started the run" if person.name == starter else "wrote the commit"
            others = [name for name in stage.people if name.lower() != person.name.lower()]
            raise NOT_ALLOWED.error(
                f"cannot approve {stage.name} of run {run.title}: {person.name} {what}, and own = false",
                hint=f"one of {', '.join(others)} may" if others else "somebody else may",
            )


def how(run: Run) -> str:
    """How a run stands, after "it"."""
    match run.state:
        case RunState.QUEUED | RunState.WAITING:
            return "waits in the queue" if run.state is RunState.QUEUED else "waits at a gate"
        case RunState.RUNNING:
            return "is under way"
        case RunState.CANCELLED | RunState.SUPERSEDED:
            return f"was {run.state.value}"
        case RunState.PASSED | RunState.FAILED:
            return "passed" if run.state is RunState.PASSED else "failed"


def _items(placed: Placed) -> str:
    return ", ".join(repr(i) for i in placed.stage.items)
