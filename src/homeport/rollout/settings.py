"""What people set for an environment: variables, secrets, modes. It restarts nothing by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from homeport.edge.modes import MAINTENANCE, MAX_PAGE
from homeport.guard import dotenv
from homeport.guard.model import Secret
from homeport.guard.vault import Rotation, check
from homeport.kernel.errors import Kind, declare
from homeport.kernel.ids import AppName, EnvironmentName, ReleaseId, ServiceName
from homeport.kernel.text import did_you_mean
from homeport.rollout import config as configuration
from homeport.rollout import events, modes, rules, state
from homeport.rollout.admission import require_names, require_process
from homeport.rollout.errors import NOTHING_SERVES
from homeport.rollout.model import Environment
from homeport.rollout.parts import Parts
from homeport.spec.model import Spec
from homeport.spec.variables import problem

BAD_VARIABLE = declare("rollout.bad_variable", Kind.INVALID, "A variable's name or value cannot be used.")
NOT_PLAIN = declare(
    "rollout.variable_is_secret", Kind.CONFLICT, "A variable is a secret, or a secret is a plain variable."
)
MODE_IS_OFF = declare("rollout.mode_is_off", Kind.CONFLICT, "A mode that is to be switched off is not on.")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the instances of an environment see, or would see."""

    release: ReleaseId
    deployed: tuple[configuration.Setting, ...]
    """With what serves now."""
    next: tuple[configuration.Setting, ...]
    """With what is set now: a deploy would bring it."""


class Settings:
    """Variables, secrets and modes of environments. Every call may be made from any thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    # Variables

    def set_variables(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        set_: Mapping[str, str],
        unset: tuple[str, ...],
        declared: bool = False,
        actor: str,
    ) -> Environment:
        """Set and remove variables for the next deploy. ``declared``: see :meth:`_environment`."""
        now = self._environment(app, environment, actor, declared=declared)
        self._parts.stores.refuse_given(app, environment, frozenset(set_))
        problems = [p for name, value in set_.items() if (p := rules.variable_problem(name, value))]
        spec = self._spec(now)
        named = {v.name: v for v in spec.variables} if spec else {}
        secrets = self._parts.vault.versions(app, environment)
        for name in set_:
            if name in secrets or (name in named and named[name].secret):
                problems.append(f"{name}: is a secret: homeport secrets set {name}")
            elif name in named and (why := problem(named[name], set_[name])):
                problems.append(f"{name}: {why}")
        if problems:
            raise BAD_VARIABLE.error("cannot set the variables", details=problems)
        unknown = [name for name in unset if name not in dict(now.variables)]
        if unknown:
            raise BAD_VARIABLE.error(
                f"cannot unset {', '.join(unknown)}: not set by hand",
                hint=did_you_mean(unknown[0], dict(now.variables)),
            )
        with self._parts.state.store.transaction(actor) as tx:
            # Read again: two calls at once must not lose each other's variables.
            now = self._parts.state.environment(app, environment)
            variables = {k: v for k, v in (dict(now.variables) | dict(set_)).items() if k not in unset}
            state.update_environment(tx, app, environment, variables=variables)
            tx.append(
                events.VariablesChanged(
                    app=app, environment=environment, set=sorted(set_), unset=sorted(unset)
                )
            )
        return self._parts.state.environment(app, environment)

    def import_dotenv(
        self,
        app: AppName,
        environment: EnvironmentName,
        text: str,
        *,
        secrets: frozenset[str] = frozenset(),
        declared: bool = False,
        actor: str,
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Set what a .env file holds. (names of variables, names of secrets)

        What the app declares as a secret, is one already, or is named in ``secrets``, becomes one.
        All or nothing is set.
        """
        pairs = dict(dotenv.parse(text))
        now = self._environment(app, environment, actor, declared=declared)
        self._parts.stores.refuse_given(app, environment, frozenset(pairs))
        spec = self._spec(now)
        named = {v.name: v for v in spec.variables} if spec else {}
        known = self._parts.vault.versions(app, environment)
        secrets |= {n for n in pairs if n in known or (n in named and named[n].secret)}
        sealed = {n: v for n, v in pairs.items() if n in secrets}
        plain = {n: v for n, v in pairs.items() if n not in sealed}
        problems = [p for name, value in plain.items() if (p := rules.variable_problem(name, value))]
        problems += [
            f"{name}: is set as a plain variable: homeport env unset {name} first"
            for name in sealed
            if name in dict(now.variables)
        ]
        problems += [
            f"{name}: homeport.toml says that it comes from outside"
            for name in pairs
            if name in named and named[name].source
        ]
        problems += [
            f"{name}: {why}"
            for name, value in pairs.items()
            if name in named and (why := problem(named[name], value))
        ]
        if problems:
            raise BAD_VARIABLE.error("cannot set the variables", details=problems)
        for name, value in sealed.items():
            check(name, value)
        with self._parts.state.store.transaction(actor) as tx:
            for name, value in sealed.items():
                version = self._parts.vault.set(tx, app, environment, name, value)
                tx.append(
                    events.SecretChanged(
                        app=app, environment=environment, name=name, version=version, removed=False
                    )
                )
            if plain:
                now = self._parts.state.environment(app, environment)
                state.update_environment(tx, app, environment, variables=dict(now.variables) | plain)
                tx.append(
                    events.VariablesChanged(app=app, environment=environment, set=sorted(plain), unset=[])
                )
        return tuple(sorted(plain)), tuple(sorted(sealed))

    def export_dotenv(self, app: AppName, environment: EnvironmentName) -> str:
        now = self._parts.state.environment(app, environment)
        names = sorted(self._parts.vault.versions(app, environment))
        return dotenv.render(now.variables) + "".join(f"# {name} is a secret\n" for name in names)

    # Secrets

    def set_secret(
        self,
        app: AppName,
        environment: EnvironmentName,
        name: str,
        value: str,
        *,
        declared: bool = False,
        actor: str,
    ) -> Secret:
        """Seal a value as the newest version. The value is told by nobody but :meth:`reveal`."""
        now = self._environment(app, environment, actor, declared=declared)
        self._parts.stores.refuse_given(app, environment, frozenset({name}))
        if name in dict(now.variables):
            raise NOT_PLAIN.error(
                f"cannot make {name} a secret: it is set as a plain variable",
                hint=f"homeport env unset {name}, then set the secret",
            )
        spec = self._spec(now)
        variable = next((v for v in spec.variables if v.name == name), None) if spec else None
        if variable is not None and variable.source:
            raise NOT_PLAIN.error(
                f"cannot set {name}: homeport.toml says that it comes from outside",
                hint="take out its from = … first",
            )
        if variable is not None and (why := problem(variable, value)):
            raise BAD_VARIABLE.error(f"cannot set {name}: the value {why}")
        vault = self._parts.vault
        with self._parts.state.store.transaction(actor) as tx:
            version = vault.set(tx, app, environment, name, value)
            tx.append(
                events.SecretChanged(
                    app=app, environment=environment, name=name, version=version, removed=False
                )
            )
        return next(s for s in vault.list(app, environment) if s.name == name)

    def unset_secret(self, app: AppName, environment: EnvironmentName, name: str, *, actor: str) -> None:
        self._parts.state.environment(app, environment)
        self._parts.stores.refuse_given(app, environment, frozenset({name}))
        with self._parts.state.store.transaction(actor) as tx:
            version = self._parts.vault.remove(tx, app, environment, name)
            tx.append(
                events.SecretChanged(
                    app=app, environment=environment, name=name, version=version, removed=True
                )
            )

    def reveal(self, app: AppName, environment: EnvironmentName, name: str, *, actor: str) -> str:
        """A secret's value, for one person's eyes; that they looked is recorded first."""
        self._parts.state.environment(app, environment)
        value = self._parts.vault.reveal(app, environment, name)
        version = self._parts.vault.versions(app, environment)[name]
        with self._parts.state.store.transaction(actor) as tx:
            tx.append(events.SecretRevealed(app=app, environment=environment, name=name, version=version))
        return value

    def rotate_key(self, *, actor: str) -> Rotation:
        """Seal every secret with a new key; the old one opens nothing afterwards."""
        done = self._parts.vault.rotate(self._parts.runtime.reseal)
        with self._parts.state.store.transaction(actor) as tx:
            tx.append(events.KeyRotated(secrets=done.secrets, documents=done.documents))
        for environment in self._parts.state.environments():
            spec = self._spec(environment)
            if spec is not None and spec.caches:
                self._parts.stores.ensure_caches(environment.app, environment.name, spec)
        return done

    # What instances see

    def show(self, app: AppName, environment: EnvironmentName, process: str | None) -> Shown:
        """Raises ``rollout.nothing_serves`` before the first deploy."""
        now = self._parts.state.environment(app, environment)
        if now.serving is None:
            raise NOTHING_SERVES.error(
                f"cannot show the configuration: nothing serves in {environment} of {app}",
                hint="homeport env list and homeport secrets list show what is set",
            )
        whole = self._parts.whole_spec(app, now.serving)
        spec = whole.for_environment(environment)
        name = require_process(spec, process) if process else spec.main_process
        storage = self._parts.storage(app, environment, spec)
        serving, coming = self._parts.state.serving_config(now), self._parts.config_now(now)
        return Shown(
            now.serving,
            configuration.settings(whole, environment, now.serving, name, serving, storage),
            configuration.settings(whole, environment, now.serving, name, coming, storage),
        )

    def of_release(
        self, app: AppName, environment: EnvironmentName, release: ReleaseId
    ) -> tuple[configuration.Setting, ...]:
        """What instances saw when a release served last; where it never did, what they would see now."""
        now = self._parts.state.environment(app, environment)
        whole = self._parts.whole_spec(app, release)
        spec = whole.for_environment(environment)
        history = self._parts.state.deployments(app, environment)
        config = next((d.config for d in history if d.release == release), None)
        config = config or self._parts.config_now(now)
        return configuration.settings(whole, environment, release, spec.main_process, config)

    # Modes

    def switch_on(
        self,
        app: AppName,
        environment: EnvironmentName,
        mode: str,
        *,
        message: str,
        allow: tuple[str, ...],
        until: datetime | None,
        actor: str,
    ) -> modes.Switched:
        """Switch a mode on, or change it; on return every new request obeys. Raises ``rollout.bad_mode``."""
        parts = self._parts
        now = parts.state.environment(app, environment)
        if now.serving is None:
            raise NOTHING_SERVES.error(
                f"cannot switch {mode}: nothing serves in {environment} of {app}", hint="homeport deploy"
            )
        allowed = modes.networks(list(allow))
        spec = parts.spec(app, environment, now.serving)
        page = ""
        if mode == MAINTENANCE and spec.maintenance.page:
            page = modes.own_page(parts.release_directory(app, now.serving) / spec.maintenance.page)
        modes.check(
            modes.of_process(spec, ServiceName("any"), mode, message=message, allow=allowed, page=page)
        )
        with parts.traffic:
            with parts.state.store.transaction(actor) as tx:
                if until is not None and until <= tx.now:
                    raise modes.BAD_MODE.error(
                        "cannot switch it on: its end has passed", hint="name a later time"
                    )
                switched = modes.Switched(app, environment, mode, message, allowed, until, actor, tx.now)
                modes.write(tx, switched)
                tx.append(_changed(switched, on=True, reason="asked"))
            parts.publish()
        return switched

    def switch_off(
        self, app: AppName, environment: EnvironmentName, mode: str, *, actor: str, reason: str = "asked"
    ) -> None:
        """Raises ``rollout.mode_is_off``."""
        parts = self._parts
        parts.state.environment(app, environment)
        with parts.traffic:
            with parts.state.store.transaction(actor) as tx:
                was = next(
                    (
                        m
                        for m in modes.read(parts.state)
                        if (m.app, m.environment, m.mode) == (app, environment, mode)
                    ),
                    None,
                )
                if was is None or not modes.remove(tx, app, environment, mode):
                    raise MODE_IS_OFF.error(
                        f"cannot switch {mode} off: it is not on in {environment} of {app}"
                    )
                tx.append(_changed(was, on=False, reason=reason))
            parts.publish()

    def page_problem(self, app: AppName, environment: EnvironmentName) -> str:
        """Why the app's own page cannot be shown, so that Homeport's is; "" when it can, or there is none."""
        parts = self._parts
        now = parts.state.environment(app, environment)
        if now.serving is None:
            return ""
        page = parts.spec(app, environment, now.serving).maintenance.page
        if not page or modes.own_page(parts.release_directory(app, now.serving) / page):
            return ""
        return f"{now.serving} has no file {page} of UTF-8 text and at most {MAX_PAGE} bytes: Homeport's page is shown"

    def modes(self, app: AppName, environment: EnvironmentName) -> tuple[modes.Switched, ...]:
        self._parts.state.environment(app, environment)
        return tuple(m for m in modes.read(self._parts.state) if (m.app, m.environment) == (app, environment))

    def end_modes(self, now: datetime) -> None:
        """Switch off what has reached its end."""
        for m in modes.read(self._parts.state):
            if m.until is not None and m.until <= now:
                self.switch_off(m.app, m.environment, m.mode, actor="homeport", reason="its time was over")

    # Within

    def _environment(
        self, app: AppName, environment: EnvironmentName, actor: str, *, declared: bool
    ) -> Environment:
        """The environment; made when the app was never deployed there: it may need a value to start.

        ``declared``: a homeport.toml that is not shipped yet names it. Else the newest one that is has to.
        """
        require_names(app=app, environment=environment)
        known = self._parts.state.environments(app)
        if not any(e.name == environment for e in known):
            whole = self._newest_spec(app) if not declared else None
            if whole is not None:
                whole_names = [name for name, _ in whole.environments] + [whole.default_environment]
                if environment not in whole_names:
                    raise state.UNKNOWN_ENVIRONMENT.error(
                        f"cannot find environment {environment!r} of {app}",
                        hint=did_you_mean(environment, {*whole_names, *(e.name for e in known)}),
                    )
            with self._parts.state.store.transaction(actor) as tx:
                state.ensure_environment(tx, app, environment)
        return self._parts.state.environment(app, environment)

    def _newest_spec(self, app: AppName) -> Spec | None:
        releases = self._parts.state.releases(app)
        return self._parts.whole_spec(app, releases[-1].id) if releases else None

    def _spec(self, environment: Environment) -> Spec | None:
        """The spec that serves the environment, else the newest one of the app."""
        if environment.serving is not None:
            return self._parts.spec(environment.app, environment.name, environment.serving)
        newest = self._newest_spec(environment.app)
        return newest.for_environment(environment.name) if newest else None


def _changed(switched: modes.Switched, *, on: bool, reason: str) -> events.ModeChanged:
    return events.ModeChanged(
        app=switched.app,
        environment=switched.environment,
        mode=switched.mode,
        on=on,
        message=switched.message,
        allow=list(switched.allow),
        until=switched.until.isoformat() if switched.until else None,
        reason=reason,
    )
