"""An environment's files, brought back out of a backup, or only compared with those that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from homeport.backup.errors import NO_REPOSITORIES
from homeport.backup.model import RETURNING, Run
from homeport.backup.physical.model import AtTime, Newest, OfBackup
from homeport.backup.restores import plan
from homeport.backup.restores.errors import BAD_TARGET, NO_FILES
from homeport.backup.restores.model import target_document
from homeport.backup.service import Backups
from homeport.journal.store import text_time
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.backups.restore_moments import Moment
from homeport.rollout.parts import Parts


class FileRestores:
    """Every call may come from any thread."""

    def __init__(self, parts: Parts, backups: Backups) -> None:
        self._parts = parts
        self._backups = backups

    def files(
        self,
        app: AppName,
        environment: EnvironmentName,
        paths: Sequence[str],
        moment: Moment,
        check: Callable[[], None],
        *,
        hold: bool,
        run: str,
        actor: str,
    ) -> Run:
        """Take them back; ``check`` as for :meth:`Backups.begin`. Raises what speaks against it."""
        serves = self._parts.state.environment(app, environment).serving is not None
        request = self._request(app, environment, paths, moment, run)
        steps = plan.files(request, hold=hold and serves, restart=serves)
        asked = _asked(app, environment, request, moment, looks=False)
        return self._backups.begin(
            "restore", f"files of {app} {environment}", RETURNING, asked, steps, actor=actor, id=run, check=check
        )  # fmt: skip

    def look(
        self,
        app: AppName,
        environment: EnvironmentName,
        paths: Sequence[str],
        moment: Moment,
        *,
        run: str,
        actor: str,
    ) -> Run:
        """Find out which files a return would change. Nothing is changed."""
        self._parts.state.environment(app, environment)
        request = self._request(app, environment, paths, moment, run)
        asked = _asked(app, environment, request, moment, looks=True)
        subject = f"files of {app} {environment}"
        return self._backups.begin(
            "restore", subject, RETURNING, asked, plan.looking_at_files(request), actor=actor, id=run
        )

    def contents(self, app: AppName, environment: EnvironmentName, pattern: str, moment: Moment) -> Any:
        """What a backup holds of files (``works_restore_files.contents``), also of what is not there any more."""
        return self._backups.ask(
            "restore-files-contents", self._wanted(app, environment, moment, "list") | {"pattern": pattern}
        )

    def _request(
        self, app: AppName, environment: EnvironmentName, paths: Sequence[str], moment: Moment, run: str
    ) -> dict[str, Any]:
        if moment.before_deploy:
            raise BAD_TARGET.error("cannot take files back to before a deploy: name a time or a backup")
        root = f"storage/{app}/{environment}"
        request = self._wanted(app, environment, moment, "take back") | {
            "run": run,
            "paths": [f"{root}/{path}" for path in _inside(paths)] or [root],
        }
        found: dict[str, Any] = self._backups.ask("restore-files-choose", request)
        return request | found

    def _wanted(
        self, app: AppName, environment: EnvironmentName, moment: Moment, doing: str
    ) -> dict[str, Any]:
        if not self._backups.repositories.list():
            raise NO_REPOSITORIES.error(
                f"cannot {doing} files of {app} {environment}: nothing of them was backed up",
                hint="homeport backup repository add NAME /a/directory/on/another/disk",
            )
        return {
            "series": f"{app}.{environment}",
            "at": text_time(moment.at) if moment.at else None,
            "label": moment.backup,
            "repository": moment.repository,
        }


def _asked(
    app: AppName, environment: EnvironmentName, request: Mapping[str, Any], moment: Moment, *, looks: bool
) -> dict[str, Any]:
    target = OfBackup(moment.backup) if moment.backup else AtTime(moment.at) if moment.at else Newest()
    return {
        "app": app,
        "environment": environment,
        "paths": request["paths"],
        "target": target_document(target),
        "plan": looks,
    }


def _inside(paths: Sequence[str]) -> list[str]:
    """Paths in the storage, plain, none of them within another. Raises ``restore.no_files``."""
    found = []
    for path in paths:
        parts = PurePosixPath(path.strip("/")).parts
        if not parts or ".." in parts:
            raise NO_FILES.error(f"cannot bring back {path[:200]!r}: it is no path in the storage")
        found.append("/".join(parts))
    return [p for p in dict.fromkeys(found) if not any(p.startswith(f"{other}/") for other in found)]
