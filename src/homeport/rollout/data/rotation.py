"""Changes of a database's credentials. What is written down is only that one is under way (the row's ``previous``);
everything else follows from what is there, so each look goes on from wherever the one before was cut off.

The app's other login gets a new password as a new version of the secret; a configuration is rolled out; and when no
instance, run or command of the environment has the former login any more, that is taken away.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from homeport.database import urls
from homeport.database.errors import NOT_HERE
from homeport.database.model import Provisioned
from homeport.database.state import set_database
from homeport.journal import schema
from homeport.journal.store import parse_time, text_time
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, ChangeId, EnvironmentName
from homeport.rollout import state
from homeport.rollout.data import known
from homeport.rollout.data.looking import require_postgresql
from homeport.rollout.model import Change, Instance
from homeport.rollout.oneoff import MARK
from homeport.rollout.parts import Parts
from homeport.rollout.rollouts import Rollouts, id_for
from homeport.runtime.jobs import state as jobs
from homeport.spec.database_names import variable_of
from homeport.spec.model_database import Database
from homeport.system import process

log = logging.getLogger(__name__)

ACTOR = "homeport"
PAUSES = (timedelta(0), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=4))
"""Before each try to roll the app; after the last one only what people ask for goes on."""
LONG = timedelta(hours=1)
"""After which a rotation is told of as one that does not end."""
AGAIN = 30.0
"""Seconds until what could not be done is tried again."""

Move = Literal["set", "roll", "hurry", "retire", "wait"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a rotation finds."""

    is_set: bool
    """The newest version of the URL is that of the new login."""
    serves: bool
    """The environment serves something that is given the URL."""
    serves_new: bool
    moving: bool
    """A change of the environment runs."""
    warm: int
    """Instances that have the former login, and are kept only for a way back."""
    others: int
    """Other instances, runs and commands that may have it."""
    hurried: bool
    tries: int
    """Rollouts of this rotation that were begun."""
    last_try: datetime | None
    """When the last of them ended."""


def next_move(seen: Seen, now: datetime, *, asked: bool = False) -> Move:
    """What brings a rotation nearer to its end; ``asked``: a person wants that just now. Pure."""
    if not seen.is_set:
        return "set"
    if seen.moving:
        return "wait"
    if seen.serves and not seen.serves_new:
        if asked:
            return "roll"
        if seen.tries >= len(PAUSES):
            return "wait"
        since = seen.last_try or now - PAUSES[-1]
        return "roll" if now >= since + PAUSES[seen.tries] else "wait"
    if seen.others:
        return "wait"
    if seen.warm:
        return "hurry" if seen.hurried else "wait"
    return "retire"


def rolling(row: Provisioned, attempt: int) -> ChangeId:
    """The change that rolls the app for a rotation, the first being 0."""
    at = text_time(row.rotated_at) if row.rotated_at else ""
    return id_for(f"rotate:{row.app}:{row.environment}:{row.name}:{at}:{attempt}")


class Rotations:
    """:meth:`tick` is called from one thread alone, the others from any."""

    def __init__(self, parts: Parts, rollouts: Rollouts) -> None:
        self._parts = parts
        self._rollouts = rollouts
        self._again: dict[str, float] = {}

    def rotate(
        self, app: AppName, environment: EnvironmentName, name: str | None, *, now: bool, actor: str
    ) -> Change | None:
        """Begin, or go on; the change that rolls the app, where one was needed and could be begun.

        ``now``: instances kept for a way back are ended as soon as others serve. Raises ``database.not_here``.
        """
        parts = self._parts
        k = known.one(parts, app, environment, name)
        require_postgresql(k, "change the credentials of")
        if k.row is None:
            raise NOT_HERE.error(
                f"cannot change the credentials of {k.label}: somebody else runs it",
                hint=f"change its password there, then: homeport secrets set {k.spec.url}, homeport deploy --config-only",
            )
        parts.stores.databases.rotate(app, environment, k.spec, actor=actor)
        row = parts.stores.databases.get(app, environment, k.name)
        if now:
            with parts.state.store.transaction(actor) as tx:
                set_database(tx, row, hurried=True)
        self._take(parts.stores.databases.get(app, environment, k.name), actor, asked=True)
        return next(reversed(self._tried(row)), None)

    def tick(self) -> None:
        """One look at every rotation that is under way."""
        for row in self._parts.stores.state.databases():
            if row.previous is None or row.state != "ready":
                continue
            if self._parts.clock.monotonic() < self._again.get(row.label, 0.0):
                continue
            try:
                self._take(row, ACTOR)
            except HomeportError as e:
                self._again[row.label] = self._parts.clock.monotonic() + AGAIN
                log.warning("rotation of %s: %s", row.label, e.sentence)

    def _take(self, row: Provisioned, actor: str, *, asked: bool = False) -> None:
        """As many moves as can be made at once."""
        parts = self._parts
        app, environment = AppName(row.app), EnvironmentName(row.environment)
        for _ in range(3):
            seen = self.look(row)
            match next_move(seen, parts.clock.now(), asked=asked):
                case "set":
                    cluster = parts.stores.state.cluster(row.cluster)
                    dedicated = cluster is not None and cluster.dedicated
                    parts.stores.databases.rotate(app, environment, Database(row.name, dedicated=dedicated))
                case "roll":
                    id = rolling(row, seen.tries)
                    try:
                        self._rollouts.configure(app, environment, replace_running=False, actor=actor, id=id)
                    except HomeportError:
                        # Somebody who asked, and the clock, may come to it at once: it is the same change.
                        if self._change(id) is None:
                            raise
                    return
                case "hurry":
                    self._end_warm(row)
                    return
                case "retire":
                    parts.stores.databases.retire(app, environment, row.name, row.rotated_at)
                    return
                case _:
                    return

    # Looking

    def look(self, row: Provisioned) -> Seen:
        """How a rotation that is under way stands. Reaches no server."""
        parts = self._parts
        app, environment = AppName(row.app), EnvironmentName(row.environment)
        variable = variable_of(Database(row.name))
        new = row.login_role(row.login)
        users: dict[int | None, str] = {None: new}  # what is not given the URL needs no login

        def has_new(version: int | None) -> bool:
            if version not in users:
                users[version] = self._user(app, environment, variable, version)
            return users[version] == new

        newest = parts.vault.versions(app, environment).get(variable)
        now = next((e for e in parts.state.environments(app) if e.name == environment), None)
        serves = now is not None and now.serving is not None
        serving = None
        if now is not None and serves:
            serving = dict(parts.state.serving_config(now).secrets).get(variable)
        former = [
            i for i in parts.state.instances(app, environment) if not has_new(self._version(i, variable))
        ]
        warm = sum(i.retire_at is not None for i in former)
        tried = self._tried(row)
        new_serves = serves and has_new(serving)
        others = len(former) - warm
        if not others and not warm and new_serves:
            others = self._since_before(app, environment, self._served_since(row, has_new))
        return Seen(
            is_set=newest is not None and has_new(newest),
            serves=serves and serving is not None,
            serves_new=new_serves,
            moving=bool(parts.state.running(app, environment)),
            warm=warm,
            others=others,
            hurried=row.hurried,
            tries=len(tried),
            last_try=max((c.finished_at for c in tried if c.finished_at is not None), default=None),
        )

    def under_way(
        self, app: AppName, environment: EnvironmentName, name: str | None
    ) -> tuple[Provisioned, Seen] | None:
        """How the rotation of a database stands; None where none is under way. Reaches no server."""
        row = known.one(self._parts, app, environment, name).row
        return (row, self.look(row)) if row is not None and row.previous is not None else None

    def stuck(self) -> tuple[tuple[Provisioned, str], ...]:
        """Rotations that do not end, and why as far as that is known."""
        found = []
        now = self._parts.clock.now()
        for row in self._parts.stores.state.databases():
            if row.previous is None or row.rotated_at is None:
                continue
            seen = self.look(row)
            failed = seen.tries and seen.serves and not seen.serves_new and not seen.moving
            if failed:
                found.append((row, "its app could not be given the new login: homeport events shows why"))
            elif now - row.rotated_at > LONG:
                count = seen.warm + seen.others
                found.append((row, f"{count} instance(s), runs or commands may have the former login"))
        return tuple(found)

    def _version(self, i: Instance, variable: str) -> int | None:
        """Of the URL that an instance was started with."""
        return dict(self._parts.state.change(i.change).config.secrets).get(variable)

    def _user(self, app: AppName, environment: EnvironmentName, variable: str, version: int | None) -> str:
        try:
            url = self._parts.vault.reveal(app, environment, variable, version)
        except HomeportError:
            return ""
        return urls.user_and_password(url)[0]

    def _tried(self, row: Provisioned) -> list[Change]:
        """The rollouts of this rotation, in their order."""
        found: list[Change] = []
        while (change := self._change(rolling(row, len(found)))) is not None:
            found.append(change)
        return found

    def _change(self, id: ChangeId) -> Change | None:
        try:
            return self._parts.state.change(id)
        except HomeportError:
            return None

    def _served_since(self, row: Provisioned, has_new: Callable[[int | None], bool]) -> datetime | None:
        """When the environment began to serve with the new login."""
        variable = variable_of(Database(row.name))
        d = schema.deployments.c
        query = (
            sa.select(d.secrets, d.promoted_at)
            .where(d.app == row.app, d.environment == row.environment)
            .order_by(d.seq.desc())
        )
        since = None
        with self._parts.state.store.read() as c:
            for secrets, at in c.execute(query):
                if not has_new(secrets.get(variable)):
                    break
                since = parse_time(at)
        return since

    def _since_before(self, app: AppName, environment: EnvironmentName, moment: datetime | None) -> int:
        """Runs and one-off commands of an environment that live, and began before ``moment``."""
        if moment is None:
            return 0
        store = self._parts.state.store
        count = 0
        for run in jobs.active(store):
            if (run.app, run.environment) == (app, environment) and run.started_at is not None:
                count += run.started_at < moment
        for marked in {m.instance for m in process.marked(str(self._parts.data_dir))}:
            if MARK.fullmatch(marked) and marked.startswith(f"{app}.{environment}.run."):
                told = store.told_of_run(app, environment, marked.split(".")[3])
                count += not told or told[0].at < moment
        return count

    # Acting

    def _end_warm(self, row: Provisioned) -> None:
        """Instances that are kept for a way back go at once; a way back starts others."""
        parts = self._parts
        app, environment = AppName(row.app), EnvironmentName(row.environment)
        now = parts.clock.now()
        variable, new = variable_of(Database(row.name)), row.login_role(row.login)
        for i in parts.state.instances(app, environment):
            is_warm = i.retire_at is not None and i.retire_at > now and not i.weight
            if is_warm and self._user(app, environment, variable, self._version(i, variable)) != new:
                self._retire(i, now)

    def _retire(self, i: Instance, now: datetime) -> None:
        drain = self._parts.spec(i.app, i.environment, i.release).rollout.drain
        with self._parts.state.store.transaction(ACTOR) as tx:
            state.update_instance(
                tx,
                i.name,
                retire_at=text_time(now),
                drain_until=text_time(now + timedelta(seconds=drain)),
            )
