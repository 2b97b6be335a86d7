"""A release on trial: how it stands, and what people say to it."""

from collections.abc import Callable

from fastapi import APIRouter

from homeport.api import problems, wire
from homeport.api.parameters import BROKEN, ENVIRONMENT, REFUSED, Actor, App, Environment, Key
from homeport.api.services import Services
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.steering import Steering
from homeport.rollout.trials import Trial


def router(s: Services) -> APIRouter:
    found = APIRouter()

    @found.get(
        ENVIRONMENT + "/rollout",
        responses=problems.responses(Kind.NOT_FOUND, Kind.CONFLICT, *BROKEN),
        summary="The release on trial, or the last one: shares, both sides' figures, the verdict forming",
    )
    def get_rollout(app: App, environment: Environment) -> wire.TrialOut:
        return s.trial(s.steering.newest(AppName(app), EnvironmentName(environment)))

    def steer(name: str, summary: str, act: Callable[[Steering], Callable[..., Trial]]) -> None:
        @found.post(
            f"{ENVIRONMENT}/rollout/{name}",
            responses=REFUSED,
            summary=summary,
            operation_id=f"rollout_{name}",
        )
        def post(app: App, environment: Environment, actor: Actor = "api") -> wire.TrialOut:
            return s.trial(act(s.steering)(AppName(app), EnvironmentName(environment), actor=actor))

    steer("pause", "A canary stays at its step; it is still taken back when it is worse", lambda x: x.pause)
    steer("resume", "A paused canary goes on; one that asked takes its next step", lambda x: x.resume)
    steer("promote", "Give a canary all of the requests now; keep what is watched", lambda x: x.promote)

    @found.post(
        ENVIRONMENT + "/rollout/abort",
        status_code=202,
        responses=REFUSED,
        summary="Take the release on trial back",
    )
    def post_abort(
        app: App, environment: Environment, key: Key = None, actor: Actor = "api"
    ) -> wire.ChangeOut:
        change = s.steering.abort(AppName(app), EnvironmentName(environment), actor=actor, key=key)
        return s.change(change)

    return found
