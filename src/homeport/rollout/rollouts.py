"""What people ask for: each call checks everything it can, records a change, and returns at once."""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from homeport.journal.store import Transaction
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import (
    AppName,
    ChangeId,
    EnvironmentName,
    ReleaseId,
)
from homeport.rollout import admission, archive, desired, events, returning, rules, state
from homeport.rollout import build as building
from homeport.rollout.data import contracts, wanted
from homeport.rollout.errors import (
    BAD_COUNT,
    BUSY,
    KEY_REUSED,
    MOVED_ON,
    NO_ARCHIVE,
    NO_TARGET,
    NOTHING_NEW,
    NOTHING_SERVES,
    WRONG_APP,
)
from homeport.rollout.model import (
    BUILD_ONLY,
    MIGRATE_ONLY,
    Change,
    ChangeKind,
    Commit,
    Config,
    Environment,
    Goal,
    Release,
    ReleaseState,
)
from homeport.rollout.parts import Parts
from homeport.spec.model import Spec

MAX_REPLICAS = 100
END_WITHIN = 60.0
"""Seconds that a change may take to be taken back."""
ACTOR = "homeport"
"""The actor of what Homeport does by itself."""
MAX_ARCHIVE = 2_000_000_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where something is asked for, by whom, and how."""

    app: AppName
    environment: EnvironmentName
    actor: str
    id: ChangeId | None
    """That the change is to have; None: a new one."""
    replace_running: bool = False
    past_gate: str = ""
    """Why it may pass the environment's gate; "" does not."""
    rebuild: bool = False


class Rollouts:
    """Releases, rollouts and environments. Every call may be made from any thread."""

    def __init__(
        self,
        parts: Parts,
        start: Callable[[ChangeId], None],
        check_archive: Callable[[Spec, Path], None] = lambda spec, archive: None,
    ) -> None:
        """``check_archive`` raises what makes an archive useless that its spec alone does not show."""
        self._parts = parts
        self._start = start
        self._check_archive = check_archive

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
        commit: Commit,
        replace_running: bool,
        past_gate: str = "",
        rebuild: bool = False,
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Ship what an uploaded archive holds. All of its spec's errors are raised before anything changes.

        ``past_gate``: why it may pass the environment's gate, where that has one. ``rebuild``: also where a release
        holds the same files. Raises ``rollout.gated``.
        """
        asked = _Asked(app, environment, actor, id, replace_running, past_gate, rebuild)
        return self._from_archive(ChangeKind.DEPLOY, asked, archive_digest, commit)

    def build(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        archive_digest: str,
        commit: Commit,
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Make a release of an uploaded archive, with the environment's variables, and start nothing.

        Deploys of the same archive find it. Raises as :meth:`deploy`.
        """
        return self._from_archive(
            ChangeKind.BUILD, _Asked(app, environment, actor, id), archive_digest, commit
        )

    def _from_archive(self, kind: ChangeKind, asked: "_Asked", archive_digest: str, commit: Commit) -> Change:
        parts = self._parts
        app, environment = asked.app, asked.environment
        admission.require_names(app=app, environment=environment)
        source = parts.archive(archive_digest)
        if not source.is_file():
            raise NO_ARCHIVE.error(f"cannot find archive {archive_digest[:12]}", hint="upload it again")
        text, tree = archive.inspect(source, limit=MAX_ARCHIVE)
        whole = desired.spec_of(text)
        if whole.app != app:
            raise WRONG_APP.error(f"cannot deploy {app}: its homeport.toml names the app {whole.app!r}")
        spec = admission.spec_for(whole, environment)
        ships = kind is not ChangeKind.BUILD
        gated = ships and admission.check_gate(parts, app, environment, whole, asked.past_gate)
        digest = rules.digest(tree, spec.build)
        admission.check(self._parts, app, environment, spec)
        self._check_archive(spec, source)
        before = admission.environment_or_none(self._parts, app, environment)
        outside = admission.checked_config(self._parts, app, environment, spec, whole.default_environment)
        scale = dict(before.scale) if before else {}
        known = parts.state.has_app(app) and not asked.rebuild
        reusable = parts.state.reusable(app, digest) if known else None
        if reusable is None:
            building.check_room(parts.data_dir, _expected_size(source, parts.state.releases(app)))
        self._make_way(asked)
        parts.stores.ensure(app, environment, spec, _instances(spec, scale))
        with self._recording(app, environment, asked.actor) as tx:
            state.ensure_environment(tx, app, environment)
            id = asked.id or new_id()
            # Reading from outside takes its time: what was set or scaled meanwhile counts.
            before = admission.environment_or_none(self._parts, app, environment)
            config = admission.config(self._parts, tx, app, environment, before, outside)
            if reusable is None:
                release = state.next_release(tx, app)
                state.insert_release(
                    tx,
                    Release(
                        app=app,
                        id=release,
                        commit=commit,
                        digest=digest,
                        state=ReleaseState.BUILDING,
                        spec=text,
                        size=None,
                        build_seconds=None,
                        created_at=tx.now,
                        change=id,
                    ),
                )
            elif ships:
                release = admission.with_config(self._parts, tx, reusable, environment, config, id)
            else:
                release = reusable.id
            change = self._record(
                tx,
                id,
                kind,
                before or Environment(app, environment, None, None, (), ()),
                _goal(release, spec, dict(before.scale) if before else {}, config)
                if ships
                else Goal(release, (), BUILD_ONLY, 1, config.digest),
                config,
                archive_digest=archive_digest,
            )
            if gated:
                tx.append(
                    events.GatePassed(
                        app=app, environment=environment, change=id, release=release, reason=asked.past_gate
                    )
                )
            if reusable is not None:
                tx.append(
                    events.BuildReused(
                        app=app, environment=environment, change=id, release=release, commit=commit.id
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
        asked = _Asked(app, environment, actor, id, replace_running)
        return self._ship(ChangeKind.CONFIGURE, asked, serving, now, config_before)

    def promote(
        self,
        app: AppName,
        source: EnvironmentName,
        environment: EnvironmentName,
        *,
        replace_running: bool,
        past_gate: str = "",
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Ship the release that ``source`` serves: the same build, with this environment's configuration."""
        if source == environment:
            raise NOTHING_NEW.error(f"cannot promote {source} to itself", hint="name two environments")
        admission.require_names(app=app, environment=environment)
        served, _, _ = self._serving(app, source, "promote")
        release = self._parts.state.release(app, served.serving or ReleaseId(""))
        before = admission.environment_or_none(self._parts, app, environment)
        whole = self._parts.whole_spec(app, release.id)
        gated = admission.check_gate(self._parts, app, environment, whole, past_gate)
        serves = before is not None and before.serving == release.id
        config = self._serving(app, environment, "promote")[2] if serves else None
        return self._ship(
            ChangeKind.PROMOTE,
            _Asked(app, environment, actor, id, replace_running, past_gate if gated else ""),
            release,
            before or Environment(app, environment, None, None, (), ()),
            config,
        )

    def _ship(
        self,
        kind: ChangeKind,
        asked: "_Asked",
        release: Release,
        now: Environment,
        serving_with: Config | None,
    ) -> Change:
        """Roll out what is built already with the environment's configuration as it is now.

        ``serving_with`` is the configuration of the same release where it serves already.
        """
        app, environment = asked.app, asked.environment
        whole = desired.spec_of(release.spec)
        spec = admission.spec_for(whole, environment)
        admission.check(self._parts, app, environment, spec)
        outside = admission.checked_config(self._parts, app, environment, spec, whole.default_environment)
        self._make_way(asked)
        self._parts.stores.ensure(app, environment, spec, _instances(spec, dict(now.scale)))
        with self._recording(app, environment, asked.actor) as tx:
            state.ensure_environment(tx, app, environment)
            id = asked.id or new_id()
            # Reading from outside takes its time: what was set or scaled meanwhile counts.
            set_now = admission.environment_or_none(self._parts, app, environment) or now
            config = admission.config(self._parts, tx, app, environment, set_now, outside)
            if config == serving_with:
                raise NOTHING_NEW.error(
                    f"cannot {kind.value}: {release.id} serves {environment} with this configuration already",
                    hint="homeport config show prints what its instances see",
                )
            goal = _goal(
                admission.with_config(self._parts, tx, release, environment, config, id),
                spec,
                dict(set_now.scale),
                config,
            )
            if kind is ChangeKind.CONFIGURE:
                # The same files: what serves may be older than the schema, after a rollback.
                goal = replace(goal, migrate=(), undo=())
            change = self._record(tx, id, kind, now, goal, config)
            if asked.past_gate:
                tx.append(
                    events.GatePassed(
                        app=app,
                        environment=environment,
                        change=id,
                        release=goal.release,
                        reason=asked.past_gate,
                    )
                )
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
        """Go back to a release; without a name to the one that last served well.

        One that never served there is refused where there is a gate: ``rollout.gated``.
        """
        parts = self._parts
        self._let_own_end(_Asked(app, environment, actor, id, replace_running))
        now = parts.state.environment(app, environment)
        if now.serving is None:
            raise NOTHING_SERVES.error(
                f"cannot roll back {app}: nothing serves in {environment}", hint="homeport deploy"
            )
        contracts.check_way_back(parts.state.store, now, self._rollback_target(now, release)[0])
        if release is not None:
            admission.check_rollback(parts, now, release)
        if replace_running:
            self.take_over(app, environment)
            # What ran may have been promoted just before: then that is what is gone back from.
            now = parts.state.environment(app, environment)
        target, config = self._rollback_target(now, release)
        contracts.check_way_back(parts.state.store, now, target)
        spec = parts.spec(app, environment, target)
        config = self._with_stores(config, spec, now)
        admission.check(self._parts, app, environment, spec)
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
        self._let_own_end(_Asked(app, environment, actor, id))
        now, spec, config = self._serving(app, environment, "scale")
        for name, count in processes.items():
            admission.require_process(spec, name)
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
        count = sum(w.count for w in goal.wants)
        self._parts.stores.resize(app, environment, spec, count)
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
        self._let_own_end(_Asked(app, environment, actor, id))
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

    def take_over(self, app: AppName, environment: EnvironmentName) -> None:
        """Have a running change of the environment taken back, and wait for its end. Raises ``rollout.busy``."""
        clock = self._parts.clock
        until = clock.monotonic() + END_WITHIN
        for running in self._parts.state.running(app, environment):
            self.abort(running.id)
            while not self._parts.state.change(running.id).done:
                if clock.monotonic() > until:
                    raise _busy(running)
                clock.sleep(0.05)

    def migrate(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        databases: tuple[str, ...],
        schema: Mapping[str, Any],
        actor: str,
        id: ChangeId | None = None,
    ) -> Change:
        """Bring the schemas of some databases to what ``schema`` says, by the migrations of what serves.

        ``schema`` has the names of :class:`homeport.database.migrations.model.Goal`.
        """
        self._let_own_end(_Asked(app, environment, actor, id))
        now, spec, config = self._serving(app, environment, "migrate")
        for name in databases:
            if not wanted.database_of(spec, name).migrations:
                raise wanted.no_migrations(spec, name)
        goal = Goal(
            now.serving or ReleaseId(""),
            (),
            MIGRATE_ONLY,
            1,
            config=None,
            migrate=databases,
            schema=tuple(sorted(schema.items())),
        )
        with self._recording(app, environment, actor) as tx:
            change = self._record(tx, id or new_id(), ChangeKind.MIGRATE, now, goal, config)
        self._start(change.id)
        return change

    # Within

    def _make_way(self, asked: "_Asked") -> None:
        self._await_own(asked)
        if asked.replace_running:
            self.take_over(asked.app, asked.environment)

    def _let_own_end(self, asked: "_Asked") -> None:
        """As :meth:`_await_own`, but for what Homeport itself asks for: that is tried again."""
        if asked.actor != ACTOR:
            self._await_own(asked)

    def _await_own(self, asked: "_Asked") -> None:
        """What Homeport does to the environment by itself, just then, is waited for, not refused for.

        No longer than a change may take to be taken back.
        """
        # Mending is not worth waiting for where it is to be replaced.
        kinds = {ChangeKind.MIGRATE} if asked.replace_running else {ChangeKind.MIGRATE, ChangeKind.HEAL}
        clock = self._parts.clock
        until = clock.monotonic() + END_WITHIN
        while clock.monotonic() < until and any(
            c.kind in kinds and c.actor == ACTOR
            for c in self._parts.state.running(asked.app, asked.environment)
        ):
            clock.sleep(0.05)

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

    def rollback_target(self, app: AppName, environment: EnvironmentName) -> ReleaseId:
        """The release that :meth:`rollback` goes to without a name. Raises what it raises where there is none."""
        return self._rollback_target(self._parts.state.environment(app, environment), None)[0]

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
        carried_out = contracts.all_of(self._parts.state.store, app)
        well = [p for p in history if p.well and p.release != now.serving and p.release in ready]
        for past in well:
            if contracts.in_the_way(carried_out, now.name, past.release) is None:
                return past.release, past.config
        if well:
            return well[0].release, well[0].config  # refused for what was taken away, in words of its own
        raise NO_TARGET.error(
            f"cannot roll back {app}: no earlier release served well in {now.name}",
            hint="homeport releases; homeport rollback rN names one",
        )

    def _with_stores(self, config: Config, spec: Spec, now: Environment) -> Config:
        """A configuration of before, with the URLs of databases and caches as they are now: of those there is
        one for all releases, and a password may have been changed since."""
        newest = self._parts.vault.versions(now.app, now.name)
        urls = {name: newest[name] for name in wanted.given(spec) if name in newest}
        return Config.of(dict(config.variables), dict(config.secrets) | urls)

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
        if error := returning.in_the_way(self._parts.state.store, kind, id, now.app, now.name):
            raise error
        fresh = admission.environment_or_none(self._parts, now.app, now.name)
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
        steps=tuple(s for s in spec.rollout.steps if s < 1) if spec.rollout.strategy == "canary" else (),
        first=_hooks(spec, "before-start"),
        before=_hooks(spec, "before-traffic"),
        after=_hooks(spec, "after-traffic"),
        back=_hooks(spec, "after-rollback"),
        migrate=wanted.migrated_by(spec),
        undo=wanted.undone_by(spec),
    )


def _instances(spec: Spec, scale: Mapping[str, int]) -> int:
    """How many of all processes together."""
    return sum(w.count for w in desired.wants(spec, scale))


def _hooks(spec: Spec, name: str) -> tuple[str, ...]:
    return (name,) if spec.hook(name) is not None else ()


def new_id() -> ChangeId:
    return ChangeId(f"c-{secrets.token_hex(5)}")


def id_for(key: str) -> ChangeId:
    """The id of the change that a call with this idempotency key makes."""
    return ChangeId(f"c-{hashlib.sha256(key.encode()).hexdigest()[:10]}")


def _expected_size(source: Path, releases: tuple[Release, ...]) -> int:
    """Bytes a new release will about take: as much as the last one, at least twice its sources."""
    last = next((r.size for r in reversed(releases) if r.size), 0)
    return max(last, 2 * source.stat().st_size)
