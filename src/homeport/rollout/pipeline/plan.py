"""What a run does next. Pure: the service looks, takes the first step, records it, and looks again."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeport.rollout.pipeline.model import (
    SUPERSEDED,
    Observed,
    Placed,
    RunState,
    StageRun,
    StageState,
)


@dataclass(frozen=True, slots=True)
class AwaitTurn:
    """Earlier runs of the app have to end first."""


@dataclass(frozen=True, slots=True)
class Start:
    """The run's turn has come."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Record that a stage begins; at a gate, what is to be approved."""

    placed: Placed


@dataclass(frozen=True, slots=True)
class Carry:
    """Carry out the stage that has begun, from its beginning, or go on waiting for its change."""

    placed: Placed


@dataclass(frozen=True, slots=True)
class AwaitPerson:
    """Nobody has decided yet."""

    placed: Placed


@dataclass(frozen=True, slots=True)
class Close:
    """Record how a gate ended."""

    position: int
    state: StageState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """Record how the run ended."""

    state: RunState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The run has ended."""


Step = AwaitTurn | Start | Begin | Carry | AwaitPerson | Close | End | Nothing


def plan(stages: Sequence[Placed], observed: Observed) -> tuple[Step, ...]:
    """All steps that are left when everything goes well; never empty. The first one is to be taken.

    Holds: one stage at a time, in order, each only after all before it have passed; a deploy that needs an
    approval only after one; a run that waits (in the queue or at a gate) ends at once when it is cancelled
    or superseded, a run that carries out a stage is never superseded.
    """
    run = observed.run
    if run.state.ended:
        return (Nothing(),)
    seen = {s.position: s for s in observed.stages}
    if run.state is RunState.QUEUED:
        if run.cancel:
            return (End(RunState.CANCELLED, f"cancelled by {run.cancel}"),)
        if observed.newer is not None:
            return (End(RunState.SUPERSEDED, f"{SUPERSEDED}#{observed.newer}"),)
        if observed.ahead:
            return (AwaitTurn(), Start(), *_rest(stages, observed, seen))
        return (Start(), *_rest(stages, observed, seen))
    return _rest(stages, observed, seen)


def _rest(stages: Sequence[Placed], observed: Observed, seen: dict[int, StageRun]) -> tuple[Step, ...]:
    run = observed.run
    steps: list[Step] = []
    for placed in stages:
        stage = seen.get(placed.position)
        guarded = seen.get(placed.guards) if placed.guards is not None else None
        if _is_late(placed, guarded, run.attempt):
            continue
        if (
            stage is not None
            and stage.state is StageState.PASSED
            and not _is_stale(stage, placed, guarded, observed)
        ):
            continue
        if stage is None or (stage.state.ended and stage.attempt < run.attempt):
            if run.cancel and not steps:
                return (End(RunState.CANCELLED, f"cancelled by {run.cancel}"),)
            steps += [Begin(placed), *_work(placed)]
            continue
        if stage.state is StageState.RUNNING:
            steps += [Carry(placed)]
        elif stage.state is StageState.WAITING:
            steps += _gate(placed, stage, observed)
        elif stage.state is StageState.CANCELLED:
            superseded = stage.reason.startswith(SUPERSEDED)
            steps += [End(RunState.SUPERSEDED if superseded else RunState.CANCELLED, stage.reason)]
        elif stage.state is StageState.FAILED:
            steps += [End(RunState.FAILED, f"{stage.name}: {stage.reason}")]
        if isinstance(steps[-1], End):
            return tuple(steps)
    return (*steps, End(RunState.PASSED))


def _work(placed: Placed) -> tuple[Step, ...]:
    if placed.stage.kind == "approve":
        return (AwaitPerson(placed), Close(placed.position, StageState.PASSED))
    return (Carry(placed),)


def _gate(placed: Placed, stage: StageRun, observed: Observed) -> list[Step]:
    run, said = observed.run, observed.decision
    if run.cancel:
        why = f"cancelled by {run.cancel}"
        return [Close(placed.position, StageState.CANCELLED, why), End(RunState.CANCELLED, why)]
    if said is not None:
        if said.approved:
            return [Close(placed.position, StageState.PASSED)]
        why = f"rejected by {said.person}: {said.reason}"
        return [Close(placed.position, StageState.FAILED, why), End(RunState.FAILED, f"{stage.name}: {why}")]
    if observed.newer is not None:
        why = f"{SUPERSEDED}#{observed.newer}"
        return [Close(placed.position, StageState.CANCELLED, why), End(RunState.SUPERSEDED, why)]
    if observed.overdue:
        why = "nobody approved it in time"
        return [Close(placed.position, StageState.FAILED, why), End(RunState.FAILED, f"{stage.name}: {why}")]
    return [AwaitPerson(placed), Close(placed.position, StageState.PASSED)]


def _is_late(placed: Placed, guarded: StageRun | None, attempt: int) -> bool:
    """Whether a gate that what serves asks for came up when the deploy that it guards had begun already."""
    if placed.position % 2 or guarded is None:
        return False
    return not guarded.state.ended or guarded.state is StageState.PASSED or guarded.attempt == attempt


def _is_stale(stage: StageRun, placed: Placed, guarded: StageRun | None, observed: Observed) -> bool:
    """Whether an approval was given in an earlier attempt for another state of things."""
    if placed.guards is None or stage.environment is None or stage.attempt >= observed.run.attempt:
        return False
    if guarded is not None and (guarded.state is StageState.PASSED or not guarded.state.ended):
        return False
    return stage.found.get("serving") != observed.serving.get(stage.environment)
