"""Operations on an environment: configuration, secrets, modes, one-off commands, scheduled commands."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import PlainTextResponse

from homeport.api import problems, wire
from homeport.api.parameters import BROKEN, ENVIRONMENT, REFUSED, Actor, App, Environment, Key, once
from homeport.api.services import Services
from homeport.guard.model import Secret
from homeport.kernel.errors import Kind
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId
from homeport.rollout.config import Setting
from homeport.rollout.model import ChangeKind
from homeport.rollout.modes import BAD_MODE, Switched
from homeport.runtime.jobs.model import Run

SecretName = Annotated[str, PathParameter(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$", examples=["STRIPE_KEY"])]
ModeName = Annotated[str, PathParameter(pattern=r"^(maintenance|read-only)$", examples=["maintenance"])]
JobName = Annotated[wire.Name, PathParameter(examples=["nightly-report"])]
RunParameter = Annotated[str, PathParameter(pattern=r"^[a-z0-9.-]{1,150}$", examples=["x-1f2e3d4c5b"])]
READ = problems.responses(Kind.NOT_FOUND, *BROKEN)


def router(s: Services) -> APIRouter:
    found = APIRouter()
    for part in (_rollouts(s), _config(s), _secrets(s), _modes(s), _commands(s), _cron(s)):
        found.include_router(part)
    return found


def _rollouts(s: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        ENVIRONMENT + "/configurations",
        status_code=202,
        responses=REFUSED,
        summary="Roll out what serves with the configuration as it is now, as a release of its own",
    )
    def post_configuration(
        app: App,
        environment: Environment,
        wanted: wire.ConfigureRequest,
        key: Key = None,
        actor: Actor = "api",
    ) -> wire.ChangeOut:
        return once(
            s,
            key,
            ChangeKind.CONFIGURE,
            app,
            environment,
            lambda _: True,
            lambda id: s.rollouts.configure(
                AppName(app),
                EnvironmentName(environment),
                replace_running=wanted.replace,
                actor=actor,
                id=id,
            ),
        )

    @router.post(
        ENVIRONMENT + "/promotions",
        status_code=202,
        responses=REFUSED,
        summary="Ship the release that another environment serves: no build, this one's configuration",
    )
    def post_promotion(
        app: App,
        environment: Environment,
        wanted: wire.PromoteRequest,
        key: Key = None,
        actor: Actor = "api",
    ) -> wire.ChangeOut:
        return once(
            s,
            key,
            ChangeKind.PROMOTE,
            app,
            environment,
            lambda _: True,
            lambda id: s.rollouts.promote(
                AppName(app),
                EnvironmentName(wanted.source),
                EnvironmentName(environment),
                replace_running=wanted.replace,
                past_gate=wanted.past_gate,
                actor=actor,
                id=id,
            ),
        )

    return router


def _config(s: Services) -> APIRouter:
    router = APIRouter()

    @router.get(ENVIRONMENT + "/config", responses=REFUSED, summary="What instances see, and from where")
    def get_config(
        app: App, environment: Environment, process: Annotated[wire.Name | None, Query()] = None
    ) -> wire.ConfigOut:
        shown = s.settings.show(AppName(app), EnvironmentName(environment), process)
        return wire.ConfigOut(
            release=shown.release,
            deployed=[_setting(x) for x in shown.deployed],
            next=[_setting(x) for x in shown.next],
        )

    @router.post(
        ENVIRONMENT + "/variables/import",
        responses=REFUSED,
        summary="Set what a .env file holds; what the app declares as a secret is sealed",
    )
    def post_import(
        app: App, environment: Environment, wanted: wire.ImportRequest, actor: Actor = "api"
    ) -> wire.ImportedOut:
        plain, sealed = s.settings.import_dotenv(
            AppName(app),
            EnvironmentName(environment),
            wanted.text,
            secrets=frozenset(wanted.secrets),
            declared=wanted.declared,
            actor=actor,
        )
        return wire.ImportedOut(variables=list(plain), secrets=list(sealed))

    @router.get(
        ENVIRONMENT + "/variables/export",
        response_class=PlainTextResponse,
        responses=READ,
        summary="The variables set by hand as a .env file, secrets named only",
    )
    def get_export(app: App, environment: Environment) -> PlainTextResponse:
        return PlainTextResponse(s.settings.export_dotenv(AppName(app), EnvironmentName(environment)))

    @router.get(
        ENVIRONMENT + "/releases/{release}/config",
        responses=REFUSED,
        summary="What instances saw when a release served last",
    )
    def get_release_config(
        app: App,
        environment: Environment,
        release: Annotated[wire.ReleaseName, PathParameter(examples=["r3"])],
    ) -> list[wire.SettingOut]:
        found = s.settings.of_release(AppName(app), EnvironmentName(environment), ReleaseId(release))
        return [_setting(x) for x in found]

    return router


def _secrets(s: Services) -> APIRouter:
    router = APIRouter()
    path = ENVIRONMENT + "/secrets"

    @router.get(path, responses=READ, summary="Secrets, without their values")
    def get_secrets(app: App, environment: Environment) -> list[wire.SecretOut]:
        s.parts.state.environment(AppName(app), EnvironmentName(environment))
        return [_secret(x) for x in s.parts.vault.list(AppName(app), EnvironmentName(environment))]

    @router.put(path + "/{name}", responses=REFUSED, summary="Seal a value; restarts nothing")
    def put_secret(
        app: App, environment: Environment, name: SecretName, wanted: wire.SecretRequest, actor: Actor = "api"
    ) -> wire.SecretOut:
        return _secret(
            s.settings.set_secret(
                AppName(app),
                EnvironmentName(environment),
                name,
                wanted.value,
                declared=wanted.declared,
                actor=actor,
            )
        )

    @router.delete(path + "/{name}", status_code=204, responses=REFUSED, summary="Remove a secret")
    def delete_secret(app: App, environment: Environment, name: SecretName, actor: Actor = "api") -> None:
        s.settings.unset_secret(AppName(app), EnvironmentName(environment), name, actor=actor)

    @router.post(
        path + "/{name}/reveal", responses=REFUSED, summary="A secret's value; that it was asked is recorded"
    )
    def post_reveal(
        app: App, environment: Environment, name: SecretName, actor: Actor = "api"
    ) -> wire.RevealedOut:
        value = s.settings.reveal(AppName(app), EnvironmentName(environment), name, actor=actor)
        return wire.RevealedOut(name=name, value=value)

    @router.post("/secrets/rotate-key", responses=REFUSED, summary="Seal every secret with a new key")
    def post_rotation(actor: Actor = "api") -> wire.RotatedOut:
        done = s.settings.rotate_key(actor=actor)
        return wire.RotatedOut(secrets=done.secrets, documents=done.documents)

    return router


def _modes(s: Services) -> APIRouter:
    router = APIRouter()
    path = ENVIRONMENT + "/modes"

    @router.get(path, responses=READ, summary="Modes that are on")
    def get_modes(app: App, environment: Environment) -> list[wire.ModeOut]:
        return [_mode(m) for m in s.settings.modes(AppName(app), EnvironmentName(environment))]

    @router.put(
        path + "/{mode}",
        responses=REFUSED,
        summary="Switch a mode on, or change it; every request after the answer obeys",
    )
    def put_mode(
        app: App, environment: Environment, mode: ModeName, wanted: wire.ModeRequest, actor: Actor = "api"
    ) -> wire.ModeOut:
        switched = _mode(
            s.settings.switch_on(
                AppName(app),
                EnvironmentName(environment),
                mode,
                message=wanted.message,
                allow=tuple(wanted.allow),
                until=_time(wanted.until),
                actor=actor,
            )
        )
        if mode == "maintenance":
            switched.note = s.settings.page_problem(AppName(app), EnvironmentName(environment))
        return switched

    @router.delete(path + "/{mode}", status_code=204, responses=REFUSED, summary="Switch a mode off")
    def delete_mode(app: App, environment: Environment, mode: ModeName, actor: Actor = "api") -> None:
        s.settings.switch_off(AppName(app), EnvironmentName(environment), mode, actor=actor)

    return router


def _commands(s: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        ENVIRONMENT + "/commands",
        status_code=201,
        responses=REFUSED,
        summary="Prepare a one-off command in the release that serves",
    )
    def post_command(
        app: App, environment: Environment, wanted: wire.CommandRequest, actor: Actor = "api"
    ) -> wire.CommandOut:
        prepared = s.oneoffs.prepare(
            AppName(app),
            EnvironmentName(environment),
            process=wanted.process,
            command=tuple(wanted.command),
            caller=wanted.caller,
            actor=actor,
        )
        return wire.CommandOut(
            run=prepared.run,
            release=prepared.release,
            runner=list(prepared.runner),
            document=prepared.document,
        )

    @router.post(
        ENVIRONMENT + "/commands/{run}/end",
        status_code=204,
        responses=REFUSED,
        summary="Tell how a one-off command ended",
    )
    def post_command_end(
        app: App, environment: Environment, run: RunParameter, wanted: wire.CommandEnd, actor: Actor = "api"
    ) -> None:
        s.oneoffs.ended(AppName(app), EnvironmentName(environment), run, wanted.status, actor=actor)

    return router


def _cron(s: Services) -> APIRouter:
    router = APIRouter()
    path = ENVIRONMENT + "/cron"

    @router.get(path, responses=READ, summary="Scheduled commands of the release that serves")
    def get_cron(app: App, environment: Environment) -> list[wire.CronOut]:
        s.parts.state.environment(AppName(app), EnvironmentName(environment))
        return [
            wire.CronOut(
                name=j.name,
                schedule=j.schedule,
                timezone=j.timezone,
                command=s.parts.masker().mask_text(j.command),
                paused_by=j.paused_by,
                next=j.next,
                last=_run(j.last) if j.last else None,
            )
            for j in s.jobs.list(AppName(app), EnvironmentName(environment))
        ]

    @router.get(path + "/runs", responses=REFUSED, summary="Runs, newest first")
    def get_runs(
        app: App,
        environment: Environment,
        name: Annotated[wire.Name | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    ) -> list[wire.RunOut]:
        s.parts.state.environment(AppName(app), EnvironmentName(environment))
        return [_run(r) for r in s.jobs.history(AppName(app), EnvironmentName(environment), name, limit)]

    @router.get(
        path + "/runs/{run}/output",
        response_class=PlainTextResponse,
        responses=REFUSED,
        summary="What a run printed, with times",
    )
    def get_output(
        app: App,
        environment: Environment,
        run: RunParameter,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> PlainTextResponse:
        s.parts.state.environment(AppName(app), EnvironmentName(environment))
        return PlainTextResponse("".join(f"{line}\n" for line in s.jobs.output(run, limit)))

    @router.post(path + "/{name}/runs", status_code=202, responses=REFUSED, summary="Run it now")
    def post_run(app: App, environment: Environment, name: JobName, actor: Actor = "api") -> wire.RunStarted:
        return wire.RunStarted(id=s.jobs.run_now(AppName(app), EnvironmentName(environment), name, actor))

    @router.post(
        path + "/runs/{run}/stop",
        status_code=204,
        responses=REFUSED,
        summary="End a run, or drop a waiting one",
    )
    def post_stop(app: App, environment: Environment, run: RunParameter, actor: Actor = "api") -> None:
        s.parts.state.environment(AppName(app), EnvironmentName(environment))
        s.jobs.stop(run, actor)

    @router.put(
        path + "/{name}/pause", status_code=204, responses=REFUSED, summary="No more runs by the clock"
    )
    def put_pause(app: App, environment: Environment, name: JobName, actor: Actor = "api") -> None:
        s.jobs.pause(AppName(app), EnvironmentName(environment), name, actor)

    @router.delete(
        path + "/{name}/pause", status_code=204, responses=REFUSED, summary="Runs by the clock again"
    )
    def delete_pause(app: App, environment: Environment, name: JobName, actor: Actor = "api") -> None:
        s.jobs.resume(AppName(app), EnvironmentName(environment), name, actor)

    return router


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        raise BAD_MODE.error(f"cannot read {text} as a time", hint="such as 2026-11-21T14:00:00Z") from None


def _setting(x: Setting) -> wire.SettingOut:
    return wire.SettingOut(
        name=x.name, value=x.value, origin=x.origin, version=x.version, description=x.description
    )


def _secret(x: Secret) -> wire.SecretOut:
    return wire.SecretOut(
        name=x.name, version=x.version, actor=x.actor, created_at=x.created_at, source=x.source
    )


def _mode(m: Switched) -> wire.ModeOut:
    return wire.ModeOut.model_validate(
        {
            "mode": m.mode,
            "message": m.message,
            "allow": list(m.allow),
            "until": m.until,
            "actor": m.actor,
            "since": m.since,
        }
    )


def _run(r: Run) -> wire.RunOut:
    return wire.RunOut(
        id=r.id,
        name=r.name,
        due_at=r.due_at,
        cause=r.cause,
        attempt=r.attempt,
        state=r.state.value,
        release=r.release,
        started_at=r.started_at,
        finished_at=r.finished_at,
        exit=r.exit,
        seconds=(r.finished_at - r.started_at).total_seconds() if r.finished_at and r.started_at else None,
    )
