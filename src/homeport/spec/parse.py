"""``homeport.toml`` to a :class:`~homeport.spec.model.Spec`, or all its errors at once."""

from __future__ import annotations

from dataclasses import replace

from homeport.kernel.ids import PRODUCTION, AppName, EnvironmentName
from homeport.spec.document import read_document
from homeport.spec.environments import Merged, merge_all
from homeport.spec.model import Build, Maintenance, Process, ReadOnly, Route, Spec
from homeport.spec.problems import Problems
from homeport.spec.read_backup import read_backup
from homeport.spec.read_database import read_caches, read_databases
from homeport.spec.read_pipeline import Around, read_pipeline
from homeport.spec.read_previews import TEMPLATE, read_previews
from homeport.spec.read_processes import check_routed, read_processes, read_routes, rehosted
from homeport.spec.read_rollout import read_rollout
from homeport.spec.read_settings import read_crons, read_hooks, read_storage, read_variables
from homeport.spec.reading import Reading, Values


def parse(text: str, *, path: str = "homeport.toml") -> Spec:
    """The spec that ``text`` describes. ``path`` is what messages call the file.

    Raises HomeportError ``spec.invalid``, whose details name every error with its line and TOML path.
    """
    document, lines = read_document(text, file=path)
    problems = Problems(path)
    reading = Reading(problems, lines)
    reading.refuse_unknown("", (), document)
    app = _Whole(reading, document)
    wholes = {}
    for environment in merge_all(reading, problems, document):
        within = reading.within(environment.problems)
        wholes[environment.name] = _Whole(within, environment.document, app, environment)
    named = document.get("environments")
    names = tuple(named) if isinstance(named, dict) else ()
    routes = {name: wholes[name].routes if name in wholes else None for name in names}
    if app.default_environment is not None:
        routes.setdefault(app.default_environment, app.routes)
    pipeline = read_pipeline(reading, document, Around(app.default_environment, names, routes))
    previews = read_previews(reading, document, routes.get(TEMPLATE, app.routes))
    if len(problems) > 0 or app.spec is None:
        raise problems.error(lines)
    specs = {name: whole.spec for name, whole in wholes.items()}
    environments = tuple(
        (EnvironmentName(name), replace(spec, pipeline=pipeline, previews=previews))
        for name in names
        if (spec := specs[name])
    )
    return replace(app.spec, pipeline=pipeline, previews=previews, environments=environments)


class _Whole:
    """A whole document, that of the app or, with ``app``, that of an environment of it."""

    def __init__(
        self,
        reading: Reading,
        document: Values,
        app: _Whole | None = None,
        environment: Merged | None = None,
    ) -> None:
        self._reading = reading
        self._document = document
        self._app = app
        self._environment = environment
        self.routes: tuple[Route, ...] | None = None
        """None while they are in doubt."""
        self.default_environment: EnvironmentName | None = None
        """The one that ``[app]`` names; None while that is in doubt."""
        self.spec = self._read()
        """None when there was any problem."""

    def _read(self) -> Spec | None:
        reading, document = self._reading, self._document
        app = self._keys("app")
        if "name" not in app and not reading.problems.under(("app",)):
            reading.problems.add(("app", "name"), 'is missing: add [app] with name = "…"')
        if not reading.problems.under(("app", "environment")):
            self.default_environment = EnvironmentName(app.get("environment", PRODUCTION))
        build, rollout = self._keys("build"), read_rollout(reading, document)
        processes = read_processes(reading, document)
        self.routes = self._routes(processes)
        if self.routes is not None:
            check_routed(reading, processes, self.routes, document)
        variables = read_variables(reading, document)
        crons, hooks = read_crons(reading, document), read_hooks(reading, document)
        storage = read_storage(reading, document)
        databases = read_databases(reading, document, storage, variables)
        caches = read_caches(reading, document, variables)
        backup = read_backup(reading, document, databases)
        maintenance, read_only = self._keys("maintenance"), self._keys("read_only")
        if len(reading.problems) > 0:
            return None
        return Spec(
            app=AppName(app["name"]),
            build=Build(**build),
            processes=processes,
            routes=self.routes or (),
            rollout=rollout,
            variables=variables,
            cron=crons,
            hooks=hooks,
            storage=storage,
            maintenance=Maintenance(**maintenance),
            read_only=ReadOnly(**read_only),
            databases=databases,
            caches=caches,
            backup=backup,
            gate=document.get("gate") or "" if self._environment else "",
            default_environment=EnvironmentName(app.get("environment", PRODUCTION)),
        )

    def _keys(self, table: str) -> Values:
        return self._reading.keys(table, (table,), self._reading.table(self._document, (table,)))

    def _routes(self, processes: tuple[Process, ...]) -> tuple[Route, ...] | None:
        names = tuple(process.name for process in processes)
        if self._app is None or self._environment is None or "domains" not in self._document:
            routes = read_routes(self._reading, self._document, names)
            return None if self._reading.problems.under(("routes",)) else routes
        app_routes = self._app.routes
        if not app_routes and app_routes is not None:
            app_routes = read_routes(self._reading, {}, names) if "routes" not in self._app._document else ()
        if app_routes is None or not self._document["domains"]:
            return None
        try:
            return rehosted(app_routes, self._document["domains"], self._environment.name)
        except ValueError as error:
            self._reading.problems.add(("domains",), str(error))
            return None
