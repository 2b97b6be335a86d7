"""A database of one environment, masked, into another one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from homeport.backup.clone.errors import CANNOT_CLONE, CLONE_NOT_CONFIRMED
from homeport.backup.errors import NO_REPOSITORIES
from homeport.backup.model import RETURNING, Run, Step
from homeport.backup.restores.errors import MOVING
from homeport.backup.restores.model import Place
from homeport.backup.service import Backups, new_id
from homeport.database.errors import UNKNOWN
from homeport.database.model import Provisioned
from homeport.kernel.ids import AppName, EnvironmentName
from homeport.rollout.parts import Parts
from homeport.spec.model_backup import Mask

COPY = "restore a copy of the cluster"
MASK = "mask it, and take the database out"
LOAD = "load it beside"
SWITCH = "switch to it"
DROP = "drop what was there"
FILES = "bring the files"
TIDY = "remove the copy"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which clone."""

    database: str | None = None
    """In homeport.toml; None: the only one, or main."""
    backup: str = ""
    """A proven one; "": the newest."""
    repository: str = ""
    replace: bool = False
    """What served before is dropped, not kept."""
    files: bool = False
    """The source's files, too: no mask reaches them."""
    confirm: str = ""
    """The environment whose database it takes the place of, once more."""


class Clones:
    """Every call may come from any thread."""

    def __init__(self, parts: Parts, backups: Backups) -> None:
        self._parts = parts
        self._backups = backups

    def clone(
        self,
        app: AppName,
        source: EnvironmentName,
        target: EnvironmentName,
        wanted: Wanted,
        *,
        actor: str,
        id: str | None = None,
    ) -> Run:
        """Raises ``backup.cannot_clone``, ``.clone_not_confirmed``, ``.no_repositories``, ``.run_under_way``,
        ``restore.change_under_way``."""
        if id is not None and (known := self._backups.runs.find(id)) is not None:
            return known
        if source == target:
            raise CANNOT_CLONE.error(f"cannot clone {source} into itself")
        self._parts.state.environment(app, source)
        self._parts.state.environment(app, target)
        if wanted.confirm != target:
            raise CLONE_NOT_CONFIRMED.error(
                f"cannot clone {source} into {target} of {app}: the name of {target} was not repeated",
                hint=f"it takes the place of its database: --confirm {target}",
            )
        before = self._row(app, source, wanted.database)
        after = self._row(app, target, before.name)
        if not self._backups.repositories.list():
            raise NO_REPOSITORIES.error(
                f"cannot clone {before.label}: nothing of it was backed up",
                hint="homeport backup repository add NAME /a/directory/on/another/disk",
            )
        self._must_rest(app, target)
        if wanted.files:
            self._check_files(app, source)
        run = id or new_id()
        place = Place.for_run(
            run,
            self._parts.clock.now(),
            app=app,
            environment=target,
            name=after.name,
            cluster=after.cluster,
            database=after.database,
        )
        request = {
            "app": app,
            "from": source,
            "to": target,
            "database": before.name,
            "replace": wanted.replace,
            "files": wanted.files,
            "kept": "" if wanted.replace else place.before,
        }
        masks = self._masks(app, source, before.name)
        steps = planned(run, place, before, after, masks, wanted)
        subject = f"{app} {source} into {target}"
        return self._backups.begin(
            "clone", subject, RETURNING, request, steps, actor=actor, id=run,
            check=lambda: self._must_rest(app, target),
        )  # fmt: skip

    def _must_rest(self, app: AppName, target: EnvironmentName) -> None:
        moving = self._parts.state.running(app, target)
        if moving:
            raise MOVING.error(
                f"cannot clone into {target} of {app}: {moving[0].kind.value} {moving[0].id} is under way",
                hint="wait for its end, or homeport cancel",
            )

    def _row(self, app: AppName, environment: EnvironmentName, name: str | None) -> Provisioned:
        rows = [r for r in self._parts.stores.provisioned(app, environment) if r.state == "ready"]
        wanted = name or ("main" if len(rows) != 1 else rows[0].name)
        found = next((r for r in rows if r.name == wanted), None)
        if found is not None:
            return found
        serving = self._parts.state.environment(app, environment).serving
        declared = self._parts.spec(app, environment, serving).databases if serving else ()
        there = next((d for d in declared if d.name == wanted), None)
        if there is not None:
            what = "a file" if there.engine == "sqlite" else "run by somebody else"
            raise CANNOT_CLONE.error(
                f"cannot clone database {wanted} of {app} {environment}: it is {what}",
                hint="databases that Homeport itself runs are cloned",
            )
        names = ", ".join(r.name for r in rows)
        raise UNKNOWN.error(
            f"cannot find database {wanted} of {app} {environment}",
            hint=f"there are: {names}" if names else f"a deploy to {environment} makes it",
        )

    def _check_files(self, app: AppName, source: EnvironmentName) -> None:
        serving = self._parts.state.environment(app, source).serving
        spec = self._parts.spec(app, source, serving) if serving else None
        if spec is None or not spec.storage:
            raise CANNOT_CLONE.error(f"cannot clone the files of {source} of {app}: it has no [storage]")
        lite = [d.name for d in spec.databases if d.engine == "sqlite"]
        if lite:
            raise CANNOT_CLONE.error(
                f"cannot clone the files of {source} of {app}: database {lite[0]} is among them, and no mask reaches it",
                hint="without --files the databases that Homeport runs are cloned",
            )

    def _masks(self, app: AppName, source: EnvironmentName, name: str) -> tuple[Mask, ...]:
        """As the release that serves in the source says."""
        serving = self._parts.state.environment(app, source).serving
        backup = self._parts.spec(app, source, serving).backup if serving else None
        return tuple(m for m in backup.mask if m.database == name) if backup is not None else ()


def planned(
    run: str,
    place: Place,
    source: Provisioned,
    target: Provisioned,
    masks: tuple[Mask, ...],
    wanted: Wanted,
) -> tuple[Step, ...]:
    """Nothing but the masked dump leaves the copy."""
    common: dict[str, Any] = {
        "run": run,
        "source": _of(source),
        "target": _of(target),
        "place": place.document(),
        "cluster": source.cluster,
    }
    steps = [
        Step(COPY, "clone-copy", {**common, "repository": wanted.repository, "backup": wanted.backup}),
        Step(MASK, "clone-mask", {**common, "masks": [asdict(m) for m in masks]}, needs=(COPY,)),
        Step(LOAD, "clone-load", common, needs=(MASK,)),
        Step(SWITCH, "clone-switch", common, needs=(LOAD,)),
    ]
    if wanted.replace:
        steps.append(Step(DROP, "clone-drop-former", common, needs=(SWITCH,)))
    if wanted.files:
        steps.append(Step(FILES, "clone-files", {**common, "replace": wanted.replace}, needs=(SWITCH,)))
    return (*steps, Step(TIDY, "clone-tidy", common, always=True))


def _of(row: Provisioned) -> dict[str, str]:
    return {"app": row.app, "environment": row.environment, "name": row.name}
