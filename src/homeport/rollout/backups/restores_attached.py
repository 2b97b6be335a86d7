"""Databases that somebody else runs, brought back out of their dumps: in place, table by table, or only looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from homeport.backup.errors import NO_REPOSITORIES
from homeport.backup.model import RETURNING, Run, Step
from homeport.backup.physical.errors import IN_FUTURE
from homeport.backup.port import WantedDump
from homeport.backup.restores import plan
from homeport.backup.restores.errors import BAD_TARGET
from homeport.backup.restores.model import Place
from homeport.backup.service import Backups
from homeport.journal.store import text_time
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.backups.restore_moments import Moment
from homeport.rollout.parts import Parts


class AttachedRestores:
    """Every call may come from any thread."""

    def __init__(self, parts: Parts, backups: Backups) -> None:
        self._parts = parts
        self._backups = backups

    def find(self, app: AppName, environment: EnvironmentName, name: str | None) -> WantedDump | None:
        """The named one; without a name, the only one of an environment that has no other database."""
        mine = self.of(app, environment)
        if name is None:
            provisioned = any(r.state == "ready" for r in self._parts.stores.provisioned(app, environment))
            return mine[0] if len(mine) == 1 and not provisioned else None
        return next((d for d in mine if d.database == name), None)

    def of(self, app: AppName, environment: EnvironmentName) -> list[WantedDump]:
        """Of what serves; previews have none, since they are not backed up."""
        return [d for d in self._backups.wanted().dumps if (d.app, d.environment) == (app, environment)]

    def all_named(self, app: AppName, environment: EnvironmentName) -> list[dict[str, str]]:
        return [self.named(d) for d in self.of(app, environment)]

    # Asking

    def database(
        self,
        wanted: WantedDump,
        moment: Moment,
        check: Callable[[], None],
        *,
        hold: bool,
        run: str,
        actor: str,
    ) -> Run:
        """Take it back to a dump, in place; the one that served is kept. Raises what speaks against it.

        ``check`` as for :meth:`Backups.begin`.
        """
        dump = self._choose(wanted, moment, "in place")
        place = self._place(wanted, dump, run)
        steps = plan.dump_in_place(place, _request(wanted, dump), {"dump": _shown(dump)}, hold=hold)
        asked = {"dump": _shown(dump), "plan": False, "kept": place.before}
        return self._begin(run, wanted, asked, steps, actor, check)

    def look(self, wanted: WantedDump, moment: Moment, *, run: str, actor: str) -> Run:
        """Find out what that would lose. Nothing at its server is touched."""
        dump = self._choose(wanted, moment, "look")
        steps = plan.dump_looking(
            self._place(wanted, dump, run), _request(wanted, dump), list(dump["in_place"])
        )
        return self._begin(run, wanted, {"dump": _shown(dump), "plan": True}, steps, actor)

    def tables(
        self, wanted: WantedDump, moment: Moment, tables: Sequence[str], *, run: str, actor: str
    ) -> Run:
        """Bring tables back into a schema beside those that serve."""
        dump = self._choose(wanted, moment, "beside")
        place = self._place(wanted, dump, run)
        steps = plan.dump_beside(place, _request(wanted, dump), tables)
        asked = {"dump": _shown(dump), "plan": False, "tables": list(tables), "kept": place.side}
        return self._begin(run, wanted, asked, steps, actor)

    def merge(self, wanted: WantedDump, asked: Mapping[str, Any], *, run: str, actor: str) -> Run:
        steps = (Step(plan.MERGE, "restore-dump-merge", {**self.named(wanted), **asked}),)
        return self._begin(run, wanted, asked, steps, actor)

    @staticmethod
    def named(wanted: WantedDump) -> dict[str, str]:
        """By what a child finds it."""
        return {
            "app": wanted.app,
            "environment": wanted.environment,
            "database": wanted.database,
            "secret": wanted.secret,
        }

    # Deciding

    def _choose(self, wanted: WantedDump, moment: Moment, way: str) -> dict[str, Any]:
        label = f"database {wanted.database} of {wanted.app} {wanted.environment}"
        if not self._backups.repositories.list():
            raise NO_REPOSITORIES.error(
                f"cannot take back {label}: nothing of it was backed up",
                hint="homeport backup repository add NAME /a/directory/on/another/disk",
            )
        if moment.before_deploy:
            raise BAD_TARGET.error(
                f"cannot take {label} back to before a deploy: somebody else runs it, so there are only its dumps",
                hint="--at TIME takes the newest dump that is not after it",
            )
        if moment.at is not None and moment.backup:
            raise BAD_TARGET.error("cannot return to several moments: name one of a time, a backup, a deploy")
        if moment.at is not None and moment.at > self._parts.clock.now():
            raise IN_FUTURE.error(f"cannot take {label} back to a time that has not come yet")
        request = {
            **self.named(wanted),
            "at": text_time(moment.at) if moment.at else None,
            "label": moment.backup,
            "repository": moment.repository,
            "way": way,
        }
        found: dict[str, Any] = self._backups.ask("restore-dump-choose", request)
        return found

    def _place(self, wanted: WantedDump, dump: Mapping[str, Any], run: str) -> Place:
        return Place.for_run(
            run,
            self._parts.clock.now(),
            app=wanted.app,
            environment=wanted.environment,
            name=wanted.database,
            cluster="",
            database=dump["database"],
        )

    def _begin(
        self,
        run: str,
        wanted: WantedDump,
        request: Mapping[str, Any],
        steps: tuple[Step, ...],
        actor: str,
        check: Callable[[], None] = lambda: None,
    ) -> Run:
        asked = {
            **request,
            "app": wanted.app,
            "environment": wanted.environment,
            "database": wanted.database,
        }
        subject = f"{wanted.app} {wanted.environment}"
        return self._backups.begin(
            "restore", subject, RETURNING, asked, steps, actor=actor, id=run, check=check
        )


def _shown(dump: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dump[key] for key in ("repository", "snapshot", "at")}


def _request(wanted: WantedDump, dump: Mapping[str, Any]) -> dict[str, Any]:
    """Of each step. ``served``: the database's name at its server."""
    return {**AttachedRestores.named(wanted), **_shown(dump), "served": dump["database"]}
