"""What the API needs of the rooms below, handed in by ``main``; views put together from them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from homeport.api import wire
from homeport.journal.model import Record
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout import status, trials
from homeport.rollout.backups.drills import Drills
from homeport.rollout.backups.restores import Restores
from homeport.rollout.backups.services import BackupServices
from homeport.rollout.data import contracts, health
from homeport.rollout.data.migrations import Migrations
from homeport.rollout.data.rounds import DatabaseServices
from homeport.rollout.model import Change, ChangeKind, Environment, Release, ReleaseState
from homeport.rollout.oneoff import OneOffs
from homeport.rollout.parts import Parts
from homeport.rollout.pipeline.service import Pipelines
from homeport.rollout.previews.service import Previews
from homeport.rollout.previews.sleep import Sleep
from homeport.rollout.removal import Removal
from homeport.rollout.rollouts import Rollouts
from homeport.rollout.settings import Settings
from homeport.rollout.sources.service import Sources
from homeport.rollout.steering import Steering
from homeport.rollout.trials import Trial
from homeport.runtime.jobs.service import Jobs
from homeport.system.process import resident_bytes


@dataclass(frozen=True)
class Finding:
    """What ``homeport doctor`` looked at."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass
class Services:
    parts: Parts
    rollouts: Rollouts
    steering: Steering
    settings: Settings
    oneoffs: OneOffs
    jobs: Jobs
    pipelines: Pipelines
    previews: Previews
    sleep: Sleep
    removal: Removal
    sources: Sources
    migrations: Migrations
    databases: DatabaseServices
    backups: BackupServices
    restores: Restores
    drills: Drills
    version: str
    started_at: datetime
    doctor: Callable[[], list[Finding]]
    pid: int

    # Views

    def change(self, change: Change) -> wire.ChangeOut:
        failure = change.failure
        return wire.ChangeOut(
            id=change.id,
            kind=change.kind.value,
            app=change.app,
            environment=change.environment,
            release=change.goal.release,
            done=change.done,
            failure=wire.FailureOut.model_validate(failure.to_json()) if failure else None,
            result=wire.ChangeResult.model_validate(change.result) if change.result else None,
            actor=change.actor,
            started_at=change.started_at,
            finished_at=change.finished_at,
            trial=self.trial(found) if (found := trials.find(self.parts.state, change.id)) else None,
        )

    def trial(self, trial: Trial) -> wire.TrialOut:
        shares = self.parts.state.change(trial.change).goal.steps
        canary = trial.phase == trials.CANARY
        share = shares[min(trial.step, len(shares) - 1)] if canary and shares else 1.0
        return wire.TrialOut.model_validate(
            {
                "change": trial.change,
                "release": trial.release,
                "before": trial.before,
                "phase": trial.phase,
                "step": trial.step,
                "shares": [*shares, 1.0],
                "share": share if trial.state in (trials.RUNNING, "promoted", "inconclusive") else 0.0,
                "since": trial.since,
                "until": trial.until,
                "paused_by": trial.paused_by,
                "asks": canary and trial.standing.asked == trial.step and trial.paused_by is not None,
                "outcome": trial.standing.outcome,
                "reasons": list(trial.standing.reasons),
                "figures": trial.standing.figures,
                "state": trial.state,
            }
        )

    def release(self, release: Release) -> wire.ReleaseOut:
        environments = self.parts.state.environments(release.app)
        started = {i.environment for i in self.parts.state.instances(release.app) if i.release == release.id}
        serving = [e.name for e in environments if e.serving == release.id]
        well = self.parts.state.served_well(release.app, release.id)
        change = self.parts.state.last_change_to(release.app, release.id) if well is None else None
        verdict, reason = became(release, bool(serving), well, change)
        return wire.ReleaseOut(
            id=release.id,
            commit=release.commit.id,
            subject=release.commit.subject,
            dirty=release.commit.dirty,
            state=release.state.value,
            size=release.size,
            build_seconds=round(release.build_seconds, 3) if release.build_seconds is not None else None,
            created_at=release.created_at,
            serving=list(serving),
            warm=sorted(started - set(serving)),
            verdict=verdict,
            reason=reason,
        )

    def environments(self, app: AppName | None = None) -> list[wire.EnvironmentOut]:
        """Every environment as observed: the supervisor and the edge are each asked once."""
        parts = self.parts
        statuses = servers = None
        try:
            statuses = {s.name: s for s in parts.runtime.observe()}
        except HomeportError:
            pass
        try:
            servers = {s.name: s for s in parts.edge.observe()}
        except HomeportError:
            pass
        views = []
        for environment in parts.state.environments(app):
            serving = environment.serving
            try:
                view = status.view(
                    environment,
                    parts.spec(environment.app, environment.name, serving) if serving else None,
                    parts.state.instances(environment.app, environment.name),
                    statuses,
                    servers,
                    parts.looping,
                )
                views.append(self._environment(environment, view))
            except HomeportError:
                # One that was destroyed meanwhile is left out.
                if any(e.name == environment.name for e in parts.state.environments(environment.app)):
                    raise
        return views

    def environment(self, app: AppName, name: EnvironmentName) -> wire.EnvironmentOut:
        """Raises ``rollout.unknown_app`` or ``rollout.unknown_environment``."""
        while True:
            self.parts.state.environment(app, name)
            for environment in self.environments(app):
                if environment.name == name:
                    return environment

    def _environment(self, environment: Environment, view: status.EnvironmentView) -> wire.EnvironmentOut:
        state = self.parts.state
        release = state.release(environment.app, environment.serving) if environment.serving else None
        changes = [c for c in state.changes(environment.app) if c.environment == environment.name]
        changes.sort(key=lambda c: (not c.done, c.started_at))
        return wire.EnvironmentOut(
            app=environment.app,
            name=environment.name,
            health=view.health,
            serving=environment.serving,
            releases=list(view.releases),
            commit=release.commit.id if release else None,
            subject=release.commit.subject if release else None,
            processes=[
                wire.ProcessOut(name=p.name, routed=p.routed, wanted=p.wanted, serving=p.serving)
                for p in view.processes
            ],
            instances=[_instance(v) for v in view.instances],
            routes=list(view.routes),
            urls=[self._url(r) for r in view.routes],
            rollback_target=self._rollback_target(environment),
            change=self.change(changes[-1]) if changes else None,
            edge_answers=view.edge_answers,
            modes=[m.mode for m in self.settings.modes(environment.app, environment.name)],
        )

    def _url(self, route: str) -> str:
        host, _, path = route.partition("/")
        bind = self.parts.http
        if host == "*":
            host = "127.0.0.1" if bind.address in ("0.0.0.0", "::", "*") else bind.address
        return f"http://{host}{'' if bind.port == 80 else f':{bind.port}'}/{path}"

    def _rollback_target(self, environment: Environment) -> str | None:
        state = self.parts.state
        ready = {r.id for r in state.releases(environment.app) if r.state is ReleaseState.READY}
        history = state.deployments(environment.app, environment.name)
        carried_out = contracts.all_of(state.store, environment.app)
        return next(
            (
                d.release
                for d in history
                if d.well
                and d.release != environment.serving
                and d.release in ready
                and contracts.in_the_way(carried_out, environment.name, d.release) is None
            ),
            None,
        )

    def status(self) -> wire.StatusOut:
        parts = self.parts
        environments = self.environments()
        apps = [
            wire.AppOut(name=app, environments=[e for e in environments if e.app == app])
            for app in parts.state.apps()
        ]
        return wire.StatusOut(
            version=self.version,
            data_dir=str(parts.data_dir),
            http=f"{parts.http.address}:{parts.http.port}",
            https=f"{parts.https.address}:{parts.https.port}" if parts.https else None,
            uptime=round((parts.clock.now() - self.started_at).total_seconds(), 1),
            memory=resident_bytes(self.pid) or 0,
            edge="up" if _answers(parts.edge.observe) else "down",
            supervisor="up" if _answers(parts.runtime.observe) else "down",
            apps=apps,
            databases=[
                wire.ProblemWith(what=p.what, sentence=p.sentence, hint=p.hint, is_down=p.is_down)
                for p in health.problems(parts, self.databases.rotations)
            ],
        )


ReleaseVerdict = Literal["serves", "served", "in progress", "built", "never served", "build failed"]


def became(
    release: Release, serves: bool, well: bool | None, change: Change | None
) -> tuple[ReleaseVerdict, str | None]:
    """What became of a release, and why.

    ``well``: whether it served well when it was promoted last, None when it never was; ``change``: then the
    last one that aimed at it.
    """
    if serves:
        return "serves", None
    if well is not None:
        return "served", None if well else "a rollback left it"
    if change is not None and not change.done:
        return "in progress", None
    if change is not None and change.kind is ChangeKind.BUILD and change.failure is None:
        return "built", None
    reason = change.failure.sentence if change is not None and change.failure is not None else None
    return "build failed" if release.state is ReleaseState.FAILED else "never served", reason


def _answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except HomeportError:
        return False
    return True


def _instance(view: status.InstanceView) -> wire.InstanceOut:
    i = view.instance
    return wire.InstanceOut(
        name=i.name,
        process=i.process,
        release=i.release,
        port=i.port,
        state=view.state,
        pid=view.pid,
        since=round(view.since, 1),
        exit=view.exit,
        healthy=view.healthy,
        weight=view.weight,
        share=round(view.share, 3),
        sessions=view.sessions,
        retire_at=i.retire_at,
        memory=resident_bytes(view.pid) if view.pid else None,
    )


def record(r: Record) -> wire.EventOut:
    return wire.EventOut(
        seq=r.seq,
        at=r.at,
        kind=r.kind,
        app=r.app,
        environment=r.environment,
        change=r.change,
        actor=r.actor,
        data=r.data,
        hash=r.hash,
    )
