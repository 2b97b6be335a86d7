"""Runs of pipelines as they go over the wire."""

from homeport.api import wire_pipelines
from homeport.rollout.pipeline.model import Placed, StageRun
from homeport.rollout.pipeline.service import View


def view(found: View) -> wire_pipelines.PipelineRunOut:
    """A run as it goes over the wire."""
    run = found.run
    newest: dict[int, StageRun] = {a.position: a for a in found.attempts}
    return wire_pipelines.PipelineRunOut(
        id=run.id,
        app=run.app,
        number=run.number,
        commit=run.commit.id,
        subject=run.commit.subject,
        author=run.commit.author,
        committed_at=run.commit.at,
        branch=run.branch,
        cause=run.cause,
        actor=run.actor,
        state=run.state.value,
        attempt=run.attempt,
        reason=run.reason,
        cancelled_by=run.cancel,
        behind=found.behind,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        stages=[_stage(placed, newest.get(placed.position)) for placed in found.stages],
        approvals=[
            wire_pipelines.ApprovalOut(
                position=a.position,
                attempt=a.attempt,
                person=a.person,
                approved=a.approved,
                reason=a.reason,
                ticked=list(a.ticked),
                what=a.what,
                at=a.at,
            )
            for a in found.approvals
        ],
        checklist=[
            wire_pipelines.ChecklistItem(name=i.name, state=i.state, detail=i.detail, moment=i.moment)
            for i in found.checklist
        ],
    )


def _stage(placed: Placed, stage: StageRun | None) -> wire_pipelines.StageOut:
    wanted = placed.stage
    at_gate = wanted.kind == "approve"
    return wire_pipelines.StageOut(
        position=placed.position,
        attempt=stage.attempt if stage else None,
        kind=wanted.kind,
        name=wanted.name,
        environment=wanted.environment,
        state=stage.state.value if stage else "coming",
        reason=stage.reason if stage else "",
        change=stage.change if stage else None,
        found=stage.found if stage else {},
        started_at=stage.started_at if stage else None,
        finished_at=stage.finished_at if stage else None,
        people=list(wanted.people) if at_gate else [],
        own=wanted.own if at_gate else True,
        items=list(wanted.items) if at_gate else [],
        timeout=wanted.timeout if at_gate else None,
    )
