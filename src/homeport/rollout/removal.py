"""Taking an app away, or one of its environments, with everything that is its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from homeport.journal import schema
from homeport.journal.model import Event
from homeport.journal.store import Transaction, text_time
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import PRODUCTION, AppName, EnvironmentName
from homeport.rollout import events, state
from homeport.rollout.data import contracts
from homeport.rollout.errors import NOT_CONFIRMED
from homeport.rollout.model import ReleaseState
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts
from homeport.system import files

KEPT = declare(
    "rollout.environment_kept",
    Kind.CONFLICT,
    "Production, or the only environment of an app, goes with the whole app only.",
)

_OF_AN_ENVIRONMENT = (
    schema.instances,
    schema.deployments,
    schema.modes,
    schema.cron_runs,
    schema.cron_jobs,
    schema.trials,
    schema.previews,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRemoved(Event):
    kind: ClassVar[str] = "environment.removed"
    instances: int
    storage: str
    """The directory that was removed with it, or "kept: " and the one that was not; "" for none."""
    databases_kept: list[str]
    """As PostgreSQL calls them."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What went with an environment."""

    environment: EnvironmentName
    instances: int
    storage: str
    """Its storage's directory; "" where it had none."""
    storage_kept: bool
    databases_kept: tuple[str, ...] = ()
    """As PostgreSQL calls them; homeport db drop takes one away."""


class Removal:
    """Every call may be made from any thread, and again after it was cut off anywhere."""

    def __init__(self, parts: Parts, rollouts: Rollouts) -> None:
        self._parts = parts
        self._rollouts = rollouts

    def destroy_app(self, app: AppName, *, confirm: str, actor: str) -> tuple[int, int]:
        """Take an app away: instances, releases, routes, settings. (instances, releases) that are gone.

        Its events stay in the journal. ``confirm`` must be the app's name.
        """
        parts = self._parts
        parts.state.require_app(app)
        if confirm != app:
            raise NOT_CONFIRMED.error(
                f"cannot destroy {app}: the name was not confirmed", hint="give the app's name as it is"
            )
        stopped: set[str] = set()
        while True:
            environments = [e.name for e in parts.state.environments(app)]
            for environment in environments:
                self._rollouts.take_over(app, environment)
            stopped |= self._stop(app, environments, actor)
            releases = parts.state.releases(app)
            for environment in environments:
                parts.stores.remove(app, environment, with_data=False, actor=actor)
            for name in parts.logs.names(f"{app}."):
                parts.runtime.forget_logs(name)
            # Held over both: what the edge should do is read from several tables, one after the other.
            with parts.traffic:
                with parts.state.store.transaction(actor) as tx:
                    is_moving = any(state.is_moving(tx, app, e.name) for e in parts.state.environments(app))
                    if not is_moving:
                        parts.vault.forget_app(tx, app)
                        state.delete_app(tx, app)
                        contracts.forget(tx, app)
                        tx.append(
                            events.AppDestroyed(app=app, releases=len(releases), instances=len(stopped))
                        )
                if not is_moving:
                    parts.publish()
                    break
            # A deploy of it was asked for meanwhile: it goes as well.
        files.remove_tree(parts.data_dir / "releases" / app, within=parts.data_dir)
        return len(stopped), len(releases)

    def destroy(self, app: AppName, environment: EnvironmentName, *, confirm: str, actor: str) -> Removed:
        """Take an environment away for good; its storage's files stay. ``confirm`` must be its name.

        Raises ``rollout.unknown_environment``, ``rollout.not_confirmed`` or ``rollout.environment_kept``.
        """
        self._parts.state.environment(app, environment)
        if confirm != environment:
            raise NOT_CONFIRMED.error(
                f"cannot destroy {environment} of {app}: the name was not confirmed",
                hint="give the environment's name as it is",
            )
        others = [e.name for e in self._parts.state.environments(app) if e.name != environment]
        if environment == PRODUCTION or not others:
            what = "it is production" if environment == PRODUCTION else "the app has no other environment"
            raise KEPT.error(
                f"cannot destroy {environment} of {app} alone: {what}",
                hint=f"homeport destroy {app} takes the whole app away",
            )
        return self.remove(app, environment, with_storage=False, actor=actor)

    def remove(
        self, app: AppName, environment: EnvironmentName, *, with_storage: bool, actor: str
    ) -> Removed:
        """Take an environment away, whichever it is: what runs is ended, what is kept of it is removed.

        Requests are sent nowhere before the first instance is stopped. Raises
        ``rollout.unknown_environment``, or ``rollout.busy`` where a change of it does not end.
        """
        parts = self._parts
        parts.state.environment(app, environment)
        stopped: set[str] = set()
        while True:
            self._rollouts.take_over(app, environment)
            stopped |= self._stop(app, [environment], actor)
            for name in parts.logs.names(f"{app}.{environment}."):
                parts.runtime.forget_logs(name)
            root = parts.storage_root(app, environment)
            has_storage = root.is_dir()
            if has_storage and with_storage:
                files.remove_tree(root, within=parts.data_dir)
            kept = has_storage and not with_storage
            databases = parts.stores.remove(app, environment, with_data=with_storage, actor=actor)
            with parts.state.store.transaction(actor) as tx:
                if not state.is_moving(tx, app, environment):
                    self._forget(tx, app, environment)
                    tx.append(
                        EnvironmentRemoved(
                            app=app,
                            environment=environment,
                            instances=len(stopped),
                            storage=f"{'kept: ' if kept else ''}{root}" if has_storage else "",
                            databases_kept=databases,
                        )
                    )
                    break
            # A deploy to it was asked for meanwhile: it goes as well.
        parts.publish()
        self._remove_run_directories(app, environment)
        return Removed(environment, len(stopped), str(root) if has_storage else "", kept, tuple(databases))

    def _stop(self, app: AppName, environments: Sequence[EnvironmentName], actor: str) -> set[str]:
        """End what runs in some environments of an app; nothing is routed to it before that."""
        parts = self._parts
        with parts.traffic:
            with parts.state.store.transaction(actor) as tx:
                for environment in environments:
                    state.update_environment(tx, app, environment, routing=None, serving=None)
                instances = [i for i in parts.state.instances(app) if i.environment in environments]
                for i in instances:
                    now = text_time(tx.now)
                    state.update_instance(tx, i.name, weight=0, retire_at=now, drain_until=now)
            parts.publish()
        parts.runtime.stop(tuple(i.name for i in instances))
        return {i.name for i in instances}

    def _forget(self, tx: Transaction, app: AppName, environment: EnvironmentName) -> None:
        for table in _OF_AN_ENVIRONMENT:
            tx.execute(table.delete().where(table.c.app == app, table.c.environment == environment))
        self._parts.vault.forget_environment(tx, app, environment)
        contracts.forget(tx, app, environment)
        e = schema.environments
        tx.execute(e.delete().where(e.c.app == app, e.c.name == environment))

    def _remove_run_directories(self, app: AppName, environment: EnvironmentName) -> None:
        """Copies of releases that its instances ran in; the releases themselves stay."""
        parts = self._parts
        for release in parts.state.releases(app):
            if release.state in (ReleaseState.READY, ReleaseState.PRUNED):
                own = parts.own_directory(app, release.base or release.id)
                files.remove_tree(own.with_name(f"{own.name}.{environment}"), within=parts.data_dir)
