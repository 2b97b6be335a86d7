"""Runs, stages and specs as values, for the tests of decisions about them."""

from dataclasses import replace
from datetime import UTC, datetime

from homeport.kernel.ids import AppName, EnvironmentName, RunId
from homeport.rollout.model import Commit
from homeport.rollout.pipeline.model import Approval, Run, RunState, StageRun, StageState
from homeport.spec.model import Stage
from homeport.spec.parse import parse

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ID = RunId("p-0123456789")
PRODUCTION, STAGING = EnvironmentName("production"), EnvironmentName("staging")
CHECK, BUILD = Stage("check", "check"), Stage("build", "build")
TO_STAGING, TO_PRODUCTION = (
    Stage("deploy", "deploy staging", STAGING),
    Stage("deploy", "deploy production", PRODUCTION),
)
APPROVE = Stage("approve", "approve production", PRODUCTION, people=("anna", "bob"), timeout=3600)
VERIFY = Stage("verify", "verify production", PRODUCTION)

SPEC = """
[app]
name = "shop"
[processes.web]
command = "true"
[routes]
"shop.localhost" = "web"
[environments.staging]
domains = ["staging.shop.localhost"]
[environments.production]
"""


def spec(more: str = "", *, gate: bool = False):
    return parse(SPEC + ('gate = "approval"\n' if gate else "") + more)


def run(state: RunState = RunState.RUNNING, *, attempt: int = 1, cancel: str = "", **changes) -> Run:
    made = Run(
        id=ID,
        app=AppName("shop"),
        number=7,
        commit=Commit("1f2e3d4c5b6a", "Sell hats too", False, "Anna <anna@example.com>", NOW),
        branch="main",
        archive="0" * 64,
        spec=SPEC,
        cause="cli",
        actor="bob",
        state=state,
        attempt=attempt,
        reason="",
        cancel=cancel,
        created_at=NOW,
        started_at=NOW,
        finished_at=None,
    )
    return replace(made, **changes)


def stage(placed, state: StageState, *, attempt: int = 1, reason: str = "", **found) -> StageRun:
    return StageRun(
        run=ID,
        position=placed.position,
        attempt=attempt,
        kind=placed.stage.kind,
        name=placed.stage.name,
        environment=placed.stage.environment,
        state=state,
        reason=reason,
        change=None,
        found=found,
        started_at=NOW,
        finished_at=None,
    )


def said(placed, *, approved: bool = True, person: str = "anna", ticked=(), attempt: int = 1) -> Approval:
    return Approval(ID, placed.position, attempt, person, approved, "looked at it", tuple(ticked), {}, NOW)
