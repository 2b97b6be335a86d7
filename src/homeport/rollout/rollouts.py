"""What people ask for: each call checks everything it can, records a change, and returns at once."""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from homeport.edge.modes import MAINTENANCE, READ_ONLY
from homeport.guard import sources
from homeport.journal.store import Transaction, text_time
from homeport.kernel.errors import HomeportError, Kind, declare
from homeport.kernel.ids import (
    AppName,
    ChangeId,
    EnvironmentName,
    ProcessName,
    ReleaseId,
    ServiceName,
    is_name,
)
from homeport.kernel.text import did_you_mean
from homeport.rollout import archive, desired, events, modes, rules, state
from homeport.rollout import build as building
from homeport.rollout import config as configuration
from homeport.rollout.model import (
    Change,
    ChangeKind,
    Config,
    Environment,
    Goal,
    Instance,
    Release,
    ReleaseState,
)
from homeport.rollout.parts import Parts
from homeport.spec.model import Spec
from homeport.system import files

INVALID_NAME = declare(
    "rollout.invalid_name", Kind.INVALID, "An app, environment or process name is not one."
)
WRONG_APP = declare("rollout.wrong_app", Kind.INVALID, "The commit's homeport.toml names another app.")
BUSY = declare("rollout.busy", Kind.CONFLICT, "Another change of this environment runs.", retry=True)
ROUTE_TAKEN = declare(
    "rollout.route_taken", Kind.CONFLICT, "Another app or environment has the route already."
)
NOTHING_SERVES = declare(
    "rollout.nothing_serves", Kind.CONFLICT, "The environment has no release that serves."
)
NO_TARGET = declare(
    "rollout.no_rollback_target", Kind.CONFLICT, "There is no earlier release that served well."
)
UNKNOWN_PROCESS = declare(
    "rollout.unknown_process", Kind.NOT_FOUND, "The release has no process of that name."
)
BAD_COUNT = declare("rollout.bad_count", Kind.INVALID, "A number of replicas is out of range.")
BAD_CONFIG = declare(
    "rollout.bad_config", Kind.INVALID, "A variable that the app declares is missing or does not fit."
)
UNDECLARED = declare(
    "rollout.undeclared_environment",
    Kind.NOT_FOUND,
    "The app's homeport.toml declares environments, and none of that name.",
)
NOTHING_NEW = declare(
    "rollout.nothing_new", Kind.CONFLICT, "What is asked for serves already, with the same configuration."
)
MOVED_ON = declare(
    "rollout.moved_on",
    Kind.CONFLICT,
    "Another release began to serve while a change was prepared.",
    retry=True,
)
NO_ARCHIVE = declare("rollout.no_archive", Kind.NOT_FOUND, "The named source archive was not uploaded.")
NOT_CONFIRMED = declare(
    "rollout.not_confirmed", Kind.INVALID, "A destructive call was not confirmed by the app's name."
)

KEY_REUSED = declare(
    "rollout.key_reused", Kind.INVALID, "An idempotency key was used before, for another call."
)

MAX_REPLICAS = 100
MAX_ARCHIVE = 2_000_000_000


class Rollouts:
    """Releases, rollouts and environments. Every call may be made from any thread."""

    def __init__(self, parts: Parts, start: Callable[[ChangeId], None]) -> None:
        self._parts = parts
        self._start = start

    # Changes

    def made_by(
        self,
        key: str,
        kind: ChangeKind,
        app: AppName,
        environment: EnvironmentName,
        asked: Callable[[Change], bool],
    ) -> Change | None:
        """The change that an earlier call with this idempotency key made, or None.

        ``asked`` says whether it is what is asked for now. Raises ``rollout.key_reused`` when that call asked for something else.
        """
        id = id_for(key)
        try:
            change = self._parts.state.change(id)
        except HomeportError:
            return None
        same = (change.kind, change.app, change.environment) == (kind, app, environment)
        if not same or not asked(change):
            raise KEY_REUSED.error(
                f"cannot use this Idempotency-Key again: it made {change.kind.value} {change.id} of {change.app}",
                hint="use a new key for each call",
            )
        return change

    def deploy(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        archive_digest: str,
        commit: str,
        subject: str,
        dirty: bool,
        replace_running: bool,
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Ship what an uploaded archive holds. All of its spec's errors are raised before anything changes."""
        parts = self._parts
        require_names(app=app, environment=environment)
        source = parts.archive(archive_digest)
        if not source.is_file():
            raise NO_ARCHIVE.error(f"cannot find archive {archive_digest[:12]}", hint="upload it again")
        text, tree = archive.inspect(source, limit=MAX_ARCHIVE)
        whole = desired.spec_of(text)
        if whole.app != app:
            raise WRONG_APP.error(f"cannot deploy {app}: its homeport.toml names the app {whole.app!r}")
        spec = self._spec_for(whole, environment)
        digest = rules.digest(tree, spec.build)
        self._check(app, environment, spec)
        before = self._environment_or_none(app, environment)
        outside = self._checked_config(app, environment, spec, whole.default_environment)
        reusable = parts.state.reusable(app, digest) if parts.state.has_app(app) else None
        if reusable is None:
            building.check_room(parts.data_dir, _expected_size(source, parts.state.releases(app)))
        if replace_running:
            self._take_over(app, environment, actor)
        with self._recording(app, environment, actor) as tx:
            state.ensure_environment(tx, app, environment)
            id = id or new_id()
            # Reading from outside takes its time: what was set or scaled meanwhile counts.
            before = self._environment_or_none(app, environment)
            config = self._config(tx, app, environment, before, outside)
            if reusable is not None:
                release = self._with_config(tx, reusable, environment, config, id)
            else:
                release = state.next_release(tx, app)
                state.insert_release(
                    tx,
                    Release(
                        app=app,
                        id=release,
                        commit=commit,
                        subject=subject,
                        dirty=dirty,
                        digest=digest,
                        state=ReleaseState.BUILDING,
                        spec=text,
                        size=None,
                        build_seconds=None,
                        created_at=tx.now,
                        change=id,
                    ),
                )
            change = self._record(
                tx,
                id,
                ChangeKind.DEPLOY,
                before or Environment(app, environment, None, None, (), ()),
                _goal(release, spec, dict(before.scale) if before else {}, config),
                config,
                archive_digest=archive_digest,
            )
            if reusable is not None:
                tx.append(
                    events.BuildReused(
                        app=app, environment=environment, change=id, release=release, commit=commit
                    )
                )
        self._start(change.id)
        return change

    def configure(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        replace_running: bool,
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Roll out the release that serves with the configuration as it is now, as a release of its own."""
        now, _, config_before = self._serving(app, environment, "configure")
        serving = self._parts.state.release(app, now.serving or ReleaseId(""))
        return self._ship(
            ChangeKind.CONFIGURE, serving, environment, now, config_before, replace_running, actor, id
        )

    def promote(
        self,
        app: AppName,
        source: EnvironmentName,
        environment: EnvironmentName,
        *,
        replace_running: bool,
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Ship the release that ``source`` serves: the same build, with this environment's configuration."""
        if source == environment:
            raise NOTHING_NEW.error(f"cannot promote {source} to itself", hint="name two environments")
        require_names(app=app, environment=environment)
        served, _, _ = self._serving(app, source, "promote")
        release = self._parts.state.release(app, served.serving or ReleaseId(""))
        before = self._environment_or_none(app, environment)
        serves = before is not None and before.serving == release.id
        config = self._serving(app, environment, "promote")[2] if serves else None
        return self._ship(
            ChangeKind.PROMOTE,
            release,
            environment,
            before or Environment(app, environment, None, None, (), ()),
            config,
            replace_running,
            actor,
            id,
        )

    def _ship(
        self,
        kind: ChangeKind,
        release: Release,
        environment: EnvironmentName,
        now: Environment,
        serving_with: Config | None,
        replace_running: bool,
        actor: str,
        id: ChangeId | None,
    ) -> Change:
        """Roll out what is built already with the environment's configuration as it is now.

        ``serving_with`` is the configuration of the same release where it serves already.
        """
        app = release.app
        whole = desired.spec_of(release.spec)
        spec = self._spec_for(whole, environment)
        self._check(app, environment, spec)
        outside = self._checked_config(app, environment, spec, whole.default_environment)
        if replace_running:
            self._take_over(app, environment, actor)
        with self._recording(app, environment, actor) as tx:
            state.ensure_environment(tx, app, environment)
            id = id or new_id()
            # Reading from outside takes its time: what was set or scaled meanwhile counts.
            set_now = self._environment_or_none(app, environment) or now
            config = self._config(tx, app, environment, set_now, outside)
            if config == serving_with:
                raise NOTHING_NEW.error(
                    f"cannot {kind.value}: {release.id} serves {environment} with this configuration already",
                    hint="homeport config show prints what its instances see",
                )
            goal = _goal(
                self._with_config(tx, release, environment, config, id), spec, dict(set_now.scale), config
            )
            change = self._record(tx, id, kind, now, goal, config)
        self._start(change.id)
        return change

    def rollback(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        release: ReleaseId | None,
        replace_running: bool,
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Go back to a release; without a name to the one that last served well."""
        parts = self._parts
        now = parts.state.environment(app, environment)
        if now.serving is None:
            raise NOTHING_SERVES.error(
                f"cannot roll back {app}: nothing serves in {environment}", hint="homeport deploy"
            )
        self._rollback_target(now, release)
        if replace_running:
            self._take_over(app, environment, actor)
            # What ran may have been promoted just before: then that is what is gone back from.
            now = parts.state.environment(app, environment)
        target, config = self._rollback_target(now, release)
        spec = parts.spec(app, environment, target)
        self._check(app, environment, spec)
        goal = Goal(
            target,
            desired.wants(spec, dict(now.scale)),
            "blue-green",
            1,
            config=None,
            traffic_first=True,
            after=_hooks(spec, "after-rollback"),
        )
        with self._recording(app, environment, actor) as tx:
            change = self._record(tx, id or new_id(), ChangeKind.ROLLBACK, now, goal, config)
        self._start(change.id)
        return change

    def scale(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        processes: Mapping[str, int],
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Run another number of instances of some processes; the number outlives later deploys."""
        now, spec, config = self._serving(app, environment, "scale")
        for name, count in processes.items():
            require_process(spec, name)
            if not 0 <= count <= MAX_REPLICAS:
                raise BAD_COUNT.error(
                    f"cannot scale {name} to {count}", hint=f"a number from 0 to {MAX_REPLICAS} is wanted"
                )
            if count == 0 and spec.is_routed(name):
                raise BAD_COUNT.error(
                    f"cannot scale {name} to 0: it is routed, and would answer nobody",
                    hint=f"homeport destroy {app} takes an app away for good",
                )
        goal = Goal(
            now.serving or ReleaseId(""),
            desired.wants(spec, dict(now.scale) | dict(processes)),
            "blue-green",
            1,
            config=None,
            scaled=tuple(sorted(processes)),
        )
        with self._recording(app, environment, actor) as tx:
            change = self._record(tx, id or new_id(), ChangeKind.SCALE, now, goal, config)
        self._start(change.id)
        return change

    def restart(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        actor: str,
        kind: ChangeKind = ChangeKind.RESTART,
        id: ChangeId | None = None,
    ) -> Change:
        """Replace every instance by a new one of the same release and configuration."""
        now, spec, config = self._serving(app, environment, "restart")
        heal = kind is ChangeKind.HEAL
        goal = Goal(
            now.serving or ReleaseId(""),
            desired.wants(spec, dict(now.scale)),
            spec.rollout.strategy,
            spec.rollout.batch,
            config=None,
            fresh=not heal,
        )
        with self._recording(app, environment, actor) as tx:
            change = self._record(tx, id or new_id(), kind, now, goal, config)
        self._start(change.id)
        return change

    def abort(self, id: ChangeId) -> Change:
        """Ask a running change to be taken back; nothing when it is done or promoted already."""
        change = self._parts.state.change(id)
        if not change.done:
            with self._parts.state.store.transaction("homeport") as tx:
                state.update_change(tx, id, cancelled=True)
        return self._parts.state.change(id)

    # The end

    def destroy(self, app: AppName, *, confirm: str, actor: str) -> tuple[int, int]:
        """Take an app away: instances, releases, routes, settings. (instances, releases) that are gone.

        Its events stay in the journal. ``confirm`` must be the app's name.
        """
        parts = self._parts
        parts.state.require_app(app)
        if confirm != app:
            raise NOT_CONFIRMED.error(
                f"cannot destroy {app}: the name was not confirmed", hint="give the app's name as it is"
            )
        for environment in parts.state.environments(app):
            self._take_over(app, environment.name, actor)
        instances = parts.state.instances(app)
        releases = parts.state.releases(app)
        with parts.traffic:
            with parts.state.store.transaction(actor) as tx:
                for e in parts.state.environments(app):
                    state.update_environment(tx, app, e.name, routing=None, serving=None)
                for i in instances:
                    state.update_instance(
                        tx, i.name, weight=0, retire_at=text_time(tx.now), drain_until=text_time(tx.now)
                    )
            parts.publish()
        parts.runtime.stop(tuple(i.name for i in instances))
        for name in parts.logs.names(f"{app}."):
            parts.runtime.forget_logs(name)
        with parts.state.store.transaction(actor) as tx:
            parts.vault.forget_app(tx, app)
            state.delete_app(tx, app)
            tx.append(events.AppDestroyed(app=app, releases=len(releases), instances=len(instances)))
        parts.publish()
        files.remove_tree(parts.data_dir / "releases" / app, within=parts.data_dir)
        return len(instances), len(releases)

    # Within

    def _check(self, app: AppName, environment: EnvironmentName, spec: Spec) -> None:
        """Raise what would make this spec fail on this machine, beside the apps that are here."""
        parts = self._parts
        environments = parts.state.environments()
        specs = {(e.app, e.routing): parts.whole_spec(e.app, e.routing) for e in environments if e.routing}
        conflict = desired.route_conflict(app, environment, spec, environments, specs)
        if conflict is not None:
            route, other = conflict
            raise ROUTE_TAKEN.error(
                f"cannot route {route} to {app}: {other.app} ({other.name}) has it",
                hint=f'in homeport.toml write [environments.{environment}] domains = ["{environment}.{app}.localhost"]'
                if other.app == app
                else f'under [routes] in homeport.toml write "{app}.localhost" = "{route_process(spec, route)}", '
                f'or a domain of your own, instead of "{route}"',
            )
        for kind in (MAINTENANCE, READ_ONLY):
            modes.check(modes.of_process(spec, ServiceName("any"), kind))
        for process in spec.processes:
            sample = Instance(
                app,
                environment,
                ReleaseId("r0"),
                process.name,
                1,
                None,
                "",
                ChangeId(""),
                0,
                False,
                parts.clock.now(),
            )
            parts.runtime.check(
                desired.instance_spec(sample, process, spec, Config(), "/", tokens={}, storage={})
            )

    def _spec_for(self, whole: Spec, environment: EnvironmentName) -> Spec:
        """The spec as it holds in an environment. Raises ``rollout.undeclared_environment``."""
        names = [name for name, _ in whole.environments]
        if names and environment not in (*names, whole.default_environment):
            raise UNDECLARED.error(
                f"cannot deploy to {environment!r}: the homeport.toml of {whole.app} declares no such environment",
                hint=did_you_mean(environment, [*names, whole.default_environment]),
            )
        return whole.for_environment(environment)

    def _checked_config(
        self, app: AppName, environment: EnvironmentName, spec: Spec, default: EnvironmentName
    ) -> dict[str, tuple[str, str]]:
        """Read what comes from outside, and refuse a configuration that does not fit, all faults at once.

        Returns (value, source) by name, of the values from outside. Raises ``rollout.bad_config``.
        """
        vault = self._parts.vault
        named = {v.name: v.source for v in spec.variables if v.source}
        values, problems = sources.read_all(named)
        before = self._environment_or_none(app, environment)
        variables = dict(before.variables) if before else {}
        versions = {k: v for k, v in vault.versions(app, environment).items() if k not in named}
        secrets = vault.values(app, environment, versions) | values
        flag = "" if environment == default else f" --env {environment}"
        problems += configuration.problems(spec, variables, secrets, flag)
        if problems:
            raise BAD_CONFIG.error(
                f"cannot deploy to {environment}: its configuration does not fit what {app} declares",
                hint="set what is missing, then deploy again; nothing was changed",
                details=problems,
            )
        return {name: (value, named[name]) for name, value in values.items()}

    def _config(
        self,
        tx: Transaction,
        app: AppName,
        environment: EnvironmentName,
        now: Environment | None,
        outside: Mapping[str, tuple[str, str]],
    ) -> Config:
        """The environment's configuration as it is now; what comes from outside is sealed as a version."""
        vault = self._parts.vault
        versions = vault.versions(app, environment)
        for name, (value, source) in outside.items():
            versions[name] = vault.set(tx, app, environment, name, value, source=source)
        return Config.of(dict(now.variables) if now else {}, versions)

    def _with_config(
        self, tx: Transaction, release: Release, environment: EnvironmentName, config: Config, id: ChangeId
    ) -> ReleaseId:
        """A release of the same files that serves this environment with no other configuration.

        The release itself, when it never did; else one that did with this one; else a new one.
        """
        parts = self._parts
        history = parts.state.deployments(release.app, environment)
        served = {d.release: d.config for d in reversed(history)}
        if served.get(release.id, config) == config:
            return release.id
        base = release.base or release.id
        for other in reversed(parts.state.releases(release.app)):
            same = base in (other.base, other.id) and other.state is ReleaseState.READY
            if same and served.get(other.id) == config:
                return other.id
        new = replace(
            release,
            id=state.next_release(tx, release.app),
            created_at=tx.now,
            change=id,
            base=base,
            size=0,
            build_seconds=None,
        )
        state.insert_release(tx, new)
        return new.id

    def _environment_or_none(self, app: AppName, environment: EnvironmentName) -> Environment | None:
        return next((e for e in self._parts.state.environments(app) if e.name == environment), None)

    def _serving(
        self, app: AppName, environment: EnvironmentName, what: str
    ) -> tuple[Environment, Spec, Config]:
        """The environment, its spec, and the configuration that it serves with."""
        now = self._parts.state.environment(app, environment)
        if now.serving is None:
            raise NOTHING_SERVES.error(
                f"cannot {what} {app}: nothing serves in {environment}", hint="homeport deploy"
            )
        config = self._parts.state.serving_config(now)
        return now, self._parts.spec(app, environment, now.serving), config

    def _rollback_target(self, now: Environment, release: ReleaseId | None) -> tuple[ReleaseId, Config]:
        """The release to go back to and the configuration it last served with."""
        app = now.app
        history = self._parts.state.deployments(app, now.name)
        if release is not None:
            found = self._parts.state.release(app, release)
            if found.state is not ReleaseState.READY:
                why = {"failed": "its build failed", "pruned": "its files were removed"}.get(
                    found.state.value, "it is still being built"
                )
                raise state.UNKNOWN_RELEASE.error(
                    f"cannot roll back to {release}: {why}", hint="homeport releases lists what is there"
                )
            if release == now.serving:
                raise NO_TARGET.error(f"cannot roll back to {release}: it serves already")
            config = next((d.config for d in history if d.release == release), None)
            return release, config or self._parts.config_now(now)
        ready = {r.id for r in self._parts.state.releases(app) if r.state is ReleaseState.READY}
        for past in history:
            if past.well and past.release != now.serving and past.release in ready:
                return past.release, past.config
        raise NO_TARGET.error(
            f"cannot roll back {app}: no earlier release served well in {now.name}",
            hint="homeport releases; homeport rollback rN names one",
        )

    def _take_over(self, app: AppName, environment: EnvironmentName, actor: str) -> None:
        """Have a running change of the environment taken back, and wait for its end."""
        clock = self._parts.clock
        until = clock.monotonic() + 60
        for running in self._parts.state.running(app, environment):
            self.abort(running.id)
            while not self._parts.state.change(running.id).done:
                if clock.monotonic() > until:
                    raise _busy(running)
                clock.sleep(0.05)

    @contextmanager
    def _recording(self, app: AppName, environment: EnvironmentName, actor: str) -> Iterator[Transaction]:
        """A write transaction in which a second running change shows as ``rollout.busy``, naming the first."""
        try:
            with self._parts.state.store.transaction(actor) as tx:
                yield tx
        except sa.exc.IntegrityError as e:
            running = self._parts.state.running(app, environment)
            if not running:
                raise
            raise _busy(running[0]) from e

    def _record(
        self,
        tx: Transaction,
        id: ChangeId,
        kind: ChangeKind,
        now: Environment,
        goal: Goal,
        config: Config,
        archive_digest: str | None = None,
    ) -> Change:
        """Record a change that was decided on by the sight of ``now``. Raises ``rollout.moved_on``."""
        fresh = self._environment_or_none(now.app, now.name)
        if fresh is not None and fresh.serving != now.serving:
            raise MOVED_ON.error(
                f"cannot {kind.value}: {fresh.serving} began to serve {now.name} meanwhile",
                hint="look at what serves (homeport status), then run it again",
            )
        change = Change(
            id=id,
            kind=kind,
            app=now.app,
            environment=now.name,
            goal=goal,
            config=config,
            archive=archive_digest,
            done=False,
            failure=None,
            cancelled=False,
            result=None,
            actor=tx.actor,
            started_at=tx.now,
            finished_at=None,
        )
        state.insert_change(tx, change)
        tx.append(
            events.ChangeStarted(
                app=now.app,
                environment=now.name,
                change=id,
                what=kind.value,
                release=goal.release,
                before=now.serving,
            )
        )
        return change


def _busy(running: Change) -> HomeportError:
    return BUSY.error(
        f"cannot start: {running.kind.value} {running.id} of {running.app} to {running.goal.release} runs "
        f"in {running.environment}",
        hint=f"wait for it (homeport events -f), or take over with --replace; started by {running.actor}",
    )


def _goal(release: ReleaseId, spec: Spec, scale: Mapping[str, int], config: Config) -> Goal:
    """What a deploy of any kind aims at."""
    return Goal(
        release,
        desired.wants(spec, scale),
        spec.rollout.strategy,
        spec.rollout.batch,
        config.digest,
        first=_hooks(spec, "before-start"),
        before=_hooks(spec, "before-traffic"),
        after=_hooks(spec, "after-traffic"),
        back=_hooks(spec, "after-rollback"),
    )


def _hooks(spec: Spec, name: str) -> tuple[str, ...]:
    return (name,) if spec.hook(name) is not None else ()


def new_id() -> ChangeId:
    return ChangeId(f"c-{secrets.token_hex(5)}")


def id_for(key: str) -> ChangeId:
    """The id of the change that a call with this idempotency key makes."""
    return ChangeId(f"c-{hashlib.sha256(key.encode()).hexdigest()[:10]}")


def require_names(*, app: str, environment: str) -> None:
    for what, name in (("app", app), ("environment", environment)):
        if not is_name(name):
            raise INVALID_NAME.error(
                f"cannot use {name!r} as the name of an {what}",
                hint="1 to 40 of a-z, 0-9 and inner hyphens, beginning with a letter",
            )


def route_process(spec: Spec, route: str) -> str:
    """The process that a route of the spec leads to."""
    found = next((r.process for r in spec.routes if f"{r.host}{r.prefix}" == route), None)
    return found or "web"


def require_process(spec: Spec, name: str) -> ProcessName:
    """Raises ``rollout.unknown_process``."""
    process = spec.process(name)
    if process is None:
        raise UNKNOWN_PROCESS.error(
            f"cannot find process {name!r} of {spec.app}",
            hint=did_you_mean(name, [p.name for p in spec.processes]),
        )
    return process.name


def _expected_size(source: Path, releases: tuple[Release, ...]) -> int:
    """Bytes a new release will about take: as much as the last one, at least twice its sources."""
    last = next((r.size for r in reversed(releases) if r.size), 0)
    return max(last, 2 * source.stat().st_size)
