"""Reading and writing the rollout room's tables. No decisions here."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from homeport.journal import schema
from homeport.journal.store import Store, Transaction, parse_time, text_time
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName, InstanceName, ProcessName, ReleaseId
from homeport.kernel.text import did_you_mean
from homeport.rollout.model import (
    Change,
    ChangeKind,
    Commit,
    Config,
    Deployment,
    Environment,
    Failure,
    Goal,
    Instance,
    Release,
    ReleaseState,
)

UNKNOWN_APP = declare("rollout.unknown_app", Kind.NOT_FOUND, "No app of that name was ever deployed here.")
UNKNOWN_ENVIRONMENT = declare(
    "rollout.unknown_environment", Kind.NOT_FOUND, "The app has no environment of that name."
)
UNKNOWN_RELEASE = declare(
    "rollout.unknown_release", Kind.NOT_FOUND, "The app has no release of that number, or its files are gone."
)
UNKNOWN_CHANGE = declare("rollout.unknown_change", Kind.NOT_FOUND, "No change has that id.")


class State:
    """The tables of ``state.db`` that say what should run."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # Reading

    def apps(self) -> tuple[AppName, ...]:
        with self.store.read() as c:
            return tuple(
                AppName(n) for n in c.execute(sa.select(schema.apps.c.name).order_by("name")).scalars()
            )

    def environments(self, app: AppName | None = None) -> tuple[Environment, ...]:
        e = schema.environments.c
        p = schema.previews.c
        with_previews = schema.environments.outerjoin(
            schema.previews, sa.and_(p.app == e.app, p.environment == e.name)
        )
        query = sa.select(schema.environments, p.asleep).select_from(with_previews).order_by(e.app, e.name)
        if app is not None:
            query = query.where(e.app == app)
        with self.store.read() as c:
            return tuple(_environment(row) for row in c.execute(query))

    def environment(self, app: AppName, name: EnvironmentName) -> Environment:
        """Raises ``rollout.unknown_app`` or ``rollout.unknown_environment``."""
        found = self.environments(app)
        if not found:
            self.require_app(app)
        for environment in found:
            if environment.name == name:
                return environment
        raise UNKNOWN_ENVIRONMENT.error(
            f"cannot find environment {name!r} of {app}", hint=did_you_mean(name, [e.name for e in found])
        )

    def has_app(self, app: AppName) -> bool:
        return app in self.apps()

    def require_app(self, app: AppName) -> None:
        known = self.apps()
        if app not in known:
            hint = did_you_mean(app, known) if known else "deploy it first: homeport deploy"
            raise UNKNOWN_APP.error(f"cannot find app {app!r}", hint=hint)

    def releases(self, app: AppName) -> tuple[Release, ...]:
        """Every release, oldest first."""
        r = schema.releases.c
        with self.store.read() as c:
            rows = c.execute(sa.select(schema.releases).where(r.app == app).order_by(r.number))
            return tuple(_release(row) for row in rows)

    def release(self, app: AppName, release: ReleaseId) -> Release:
        """Raises ``rollout.unknown_release``."""
        r = schema.releases.c
        with self.store.read() as c:
            row = c.execute(sa.select(schema.releases).where(r.app == app, r.id == release)).first()
        if row is None:
            known = [x.id for x in self.releases(app) if x.state is ReleaseState.READY]
            raise UNKNOWN_RELEASE.error(
                f"cannot find release {release} of {app}",
                hint=f"ready to serve: {', '.join(known[-5:])}" if known else "homeport releases lists them",
            )
        return _release(row)

    def reusable(self, app: AppName, digest: str) -> Release | None:
        """The newest release that is built from the same files and build configuration."""
        r = schema.releases.c
        query = (
            sa.select(schema.releases)
            .where(r.app == app, r.digest == digest, r.state == ReleaseState.READY.value)
            .order_by(r.number.desc())
        )
        with self.store.read() as c:
            row = c.execute(query).first()
        return _release(row) if row else None

    def instances(
        self, app: AppName | None = None, environment: EnvironmentName | None = None
    ) -> tuple[Instance, ...]:
        i = schema.instances.c
        query = sa.select(schema.instances).order_by(i.app, i.environment, i.release, i.process, i.n)
        if app is not None:
            query = query.where(i.app == app)
        if environment is not None:
            query = query.where(i.environment == environment)
        with self.store.read() as c:
            return tuple(_instance(row) for row in c.execute(query))

    def ports(self) -> frozenset[int]:
        with self.store.read() as c:
            query = sa.select(schema.instances.c.port).where(schema.instances.c.port.is_not(None))
            return frozenset(c.execute(query).scalars())

    def change(self, id: ChangeId) -> Change:
        """Raises ``rollout.unknown_change``."""
        with self.store.read() as c:
            row = c.execute(sa.select(schema.changes).where(schema.changes.c.id == id)).first()
        if row is None:
            raise UNKNOWN_CHANGE.error(
                f"cannot find change {id!r}", hint="homeport events lists what happened"
            )
        return _change(row)

    def changes(self, app: AppName | None = None, *, limit: int = 50) -> tuple[Change, ...]:
        """The newest changes first."""
        t = schema.changes.c
        query = sa.select(schema.changes).order_by(t.started_at.desc()).limit(limit)
        if app is not None:
            query = query.where(t.app == app)
        with self.store.read() as c:
            return tuple(_change(row) for row in c.execute(query))

    def running(
        self, app: AppName | None = None, environment: EnvironmentName | None = None
    ) -> tuple[Change, ...]:
        t = schema.changes.c
        query = sa.select(schema.changes).where(t.state == "running").order_by(t.started_at)
        if app is not None:
            query = query.where(t.app == app)
        if environment is not None:
            query = query.where(t.environment == environment)
        with self.store.read() as c:
            return tuple(_change(row) for row in c.execute(query))

    def is_promoted(self, change: ChangeId) -> bool:
        with self.store.read() as c:
            query = sa.select(schema.deployments.c.seq).where(schema.deployments.c.change == change)
            return c.execute(query).first() is not None

    def deployments(self, app: AppName, environment: EnvironmentName) -> tuple[Deployment, ...]:
        """What served, newest first."""
        d = schema.deployments.c
        query = (
            sa.select(d.release, d.variables, d.secrets, d.well)
            .where(d.app == app, d.environment == environment)
            .order_by(d.seq.desc())
        )
        with self.store.read() as c:
            return tuple(Deployment(ReleaseId(r), Config.of(v, s), w) for r, v, s, w in c.execute(query))

    def served(self, app: AppName, environment: EnvironmentName) -> frozenset[ReleaseId]:
        """Every release that was ever promoted there."""
        d = schema.deployments.c
        query = sa.select(d.release).where(d.app == app, d.environment == environment).distinct()
        with self.store.read() as c:
            return frozenset(ReleaseId(r) for r in c.execute(query).scalars())

    def served_well(self, app: AppName, release: ReleaseId) -> bool | None:
        """Whether the last time that a release was promoted went well; None when it never was."""
        d = schema.deployments.c
        query = sa.select(d.well).where(d.app == app, d.release == release).order_by(d.seq.desc())
        with self.store.read() as c:
            return c.execute(query).scalars().first()

    def last_change_to(self, app: AppName, release: ReleaseId) -> Change | None:
        """The newest change that aims at a release, or aimed at it."""
        t = schema.changes.c
        query = (
            sa.select(schema.changes)
            .where(t.app == app, t.goal["release"].as_string() == release)
            .order_by(t.started_at.desc())
            .limit(1)
        )
        with self.store.read() as c:
            row = c.execute(query).first()
        return _change(row) if row else None

    def serving_config(self, environment: Environment) -> Config:
        """The configuration that an environment's instances were given last."""
        history = self.deployments(environment.app, environment.name)
        return history[0].config if history else Config(environment.variables)


# Writing: each within a transaction of the caller.


def ensure_environment(tx: Transaction, app: AppName, environment: EnvironmentName) -> None:
    now = text_time(tx.now)
    if tx.execute(sa.select(schema.apps.c.name).where(schema.apps.c.name == app)).first() is None:
        tx.execute(schema.apps.insert().values(name=app, last_release=0, created_at=now))
    e = schema.environments
    if tx.execute(sa.select(e.c.name).where(e.c.app == app, e.c.name == environment)).first() is None:
        tx.execute(e.insert().values(app=app, name=environment, variables={}, scale={}, created_at=now))


def next_release(tx: Transaction, app: AppName) -> ReleaseId:
    tx.execute(
        schema.apps.update()
        .where(schema.apps.c.name == app)
        .values(last_release=schema.apps.c.last_release + 1)
    )
    number = tx.execute(sa.select(schema.apps.c.last_release).where(schema.apps.c.name == app)).scalar_one()
    return ReleaseId(f"r{number}")


def insert_release(tx: Transaction, release: Release) -> None:
    tx.execute(
        schema.releases.insert().values(
            app=release.app,
            id=release.id,
            number=int(release.id[1:]),
            commit=release.commit.id,
            subject=release.commit.subject,
            dirty=release.commit.dirty,
            author=release.commit.author or None,
            committed_at=text_time(release.commit.at) if release.commit.at else None,
            digest=release.digest,
            state=release.state.value,
            spec=release.spec,
            size=release.size,
            build_seconds=release.build_seconds,
            created_at=text_time(release.created_at),
            change=release.change,
            base=release.base,
        )
    )


def update_release(tx: Transaction, app: AppName, release: ReleaseId, **values: Any) -> None:
    r = schema.releases
    tx.execute(r.update().where(r.c.app == app, r.c.id == release).values(**values))


def insert_change(tx: Transaction, change: Change) -> None:
    """Raises sqlalchemy.exc.IntegrityError when another change of the environment runs."""
    tx.execute(
        schema.changes.insert().values(
            id=change.id,
            kind=change.kind.value,
            app=change.app,
            environment=change.environment,
            state="running",
            goal=change.goal.to_json() | change.config.to_json() | {"archive": change.archive},
            cancelled=False,
            actor=change.actor,
            started_at=text_time(change.started_at),
        )
    )


def update_change(tx: Transaction, change: ChangeId, **values: Any) -> None:
    tx.execute(schema.changes.update().where(schema.changes.c.id == change).values(**values))


def insert_instance(tx: Transaction, instance: Instance) -> None:
    tx.execute(
        schema.instances.insert().values(
            name=instance.name,
            app=instance.app,
            environment=instance.environment,
            release=instance.release,
            process=instance.process,
            n=instance.n,
            port=instance.port,
            config=instance.config,
            change=instance.change,
            weight=instance.weight,
            ready=instance.ready,
            created_at=text_time(instance.created_at),
        )
    )


def update_instance(tx: Transaction, name: InstanceName, **values: Any) -> None:
    tx.execute(schema.instances.update().where(schema.instances.c.name == name).values(**values))


def delete_instance(tx: Transaction, name: InstanceName) -> None:
    tx.execute(schema.instances.delete().where(schema.instances.c.name == name))


def update_environment(tx: Transaction, app: AppName, name: EnvironmentName, **values: Any) -> None:
    e = schema.environments
    tx.execute(e.update().where(e.c.app == app, e.c.name == name).values(**values))


def wake(tx: Transaction, app: AppName, environment: EnvironmentName) -> None:
    """A preview that sleeps does so no longer; nothing for any other environment."""
    p = schema.previews
    of_it = (p.c.app == app, p.c.environment == environment)
    tx.execute(p.update().where(*of_it).values(asleep=False, used_at=text_time(tx.now)))


def is_moving(tx: Transaction, app: AppName, environment: EnvironmentName) -> bool:
    """Whether a change is at an environment; where not, none can begin before the transaction ends."""
    c = schema.changes.c
    query = sa.select(c.id).where(c.app == app, c.environment == environment, c.state == "running")
    return tx.execute(query).first() is not None


def insert_deployment(tx: Transaction, change: Change) -> None:
    tx.execute(
        schema.deployments.insert().values(
            app=change.app,
            environment=change.environment,
            release=change.goal.release,
            **change.config.to_json(),
            well=True,
            promoted_at=text_time(tx.now),
            change=change.id,
        )
    )


def mark_left_as_bad(tx: Transaction, app: AppName, environment: EnvironmentName, release: ReleaseId) -> None:
    """Someone went back from ``release``: it is no target of a rollback without a name any more."""
    d = schema.deployments
    tx.execute(
        d.update()
        .where(d.c.app == app, d.c.environment == environment, d.c.release == release)
        .values(well=False)
    )


def delete_app(tx: Transaction, app: AppName) -> None:
    """Everything but its events and changes, which are the record of what happened."""
    for table in (
        schema.instances,
        schema.deployments,
        schema.releases,
        schema.environments,
        schema.modes,
        schema.cron_runs,
        schema.cron_jobs,
        schema.sources,
        schema.deliveries,
        schema.previews,
        schema.trials,
    ):
        tx.execute(table.delete().where(table.c.app == app))
    tx.execute(schema.apps.delete().where(schema.apps.c.name == app))


def _pairs(data: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(data.items()))


def _environment(row: Row[Any]) -> Environment:
    return Environment(
        AppName(row.app),
        EnvironmentName(row.name),
        row.serving,
        row.routing,
        _pairs(row.variables),
        _pairs(row.scale),
        bool(row.asleep),
    )


def _release(row: Row[Any]) -> Release:
    return Release(
        AppName(row.app),
        ReleaseId(row.id),
        Commit(
            row.commit,
            row.subject,
            row.dirty,
            row.author or "",
            parse_time(row.committed_at) if row.committed_at else None,
        ),
        row.digest,
        ReleaseState(row.state),
        row.spec,
        row.size,
        row.build_seconds,
        parse_time(row.created_at),
        row.change,
        row.base,
    )


def _instance(row: Row[Any]) -> Instance:
    return Instance(
        app=AppName(row.app),
        environment=EnvironmentName(row.environment),
        release=ReleaseId(row.release),
        process=ProcessName(row.process),
        n=row.n,
        port=row.port,
        config=row.config,
        change=ChangeId(row.change),
        weight=row.weight,
        ready=row.ready,
        created_at=parse_time(row.created_at),
        retire_at=parse_time(row.retire_at) if row.retire_at else None,
        drain_until=parse_time(row.drain_until) if row.drain_until else None,
    )


def _change(row: Row[Any]) -> Change:
    return Change(
        id=ChangeId(row.id),
        kind=ChangeKind(row.kind),
        app=AppName(row.app),
        environment=EnvironmentName(row.environment),
        goal=Goal.from_json(row.goal),
        config=Config.of(row.goal["variables"], row.goal.get("secrets", {})),
        archive=row.goal["archive"],
        done=row.state == "done",
        failure=Failure.from_json(row.failure) if row.failure else None,
        cancelled=row.cancelled,
        result=row.result,
        actor=row.actor,
        started_at=parse_time(row.started_at),
        finished_at=parse_time(row.finished_at) if row.finished_at else None,
        hooks=tuple(row.hooks or ()),
    )
