"""What scheduled commands run in: the release that serves each environment, with what it serves with."""

from homeport.kernel.ids import EnvironmentName, InstanceName, ReleaseId
from homeport.rollout import desired
from homeport.rollout.model import Config
from homeport.rollout.parts import Parts
from homeport.rollout.previews import state as table
from homeport.runtime.jobs.model import Target
from homeport.runtime.model import InstanceSpec
from homeport.spec.model import Cron, Spec


def job_targets(parts: Parts) -> tuple[Target, ...]:
    """One for each environment that serves a release with scheduled commands, but for previews: what they
    do by the clock (mail, invoices) is not for each branch to do again."""
    found = []
    previews = {p.key for p in table.read(parts.state.store)}
    for environment in parts.state.environments():
        release = environment.serving
        if release is None or (environment.app, environment.name) in previews:
            continue
        app = environment.app
        spec = parts.spec(app, environment.name, release)
        if spec.cron:
            config = parts.state.serving_config(environment)
            found.append(
                Target(
                    app,
                    environment.name,
                    release,
                    spec.cron,
                    _Instance(parts, environment.name, release, spec, config),
                )
            )
    return tuple(found)


class _Instance:
    """Makes the specification of a run's process."""

    def __init__(
        self, parts: Parts, environment: EnvironmentName, release: ReleaseId, spec: Spec, config: Config
    ) -> None:
        self._parts = parts
        self._environment = environment
        self._release = release
        self._spec = spec
        self._config = config

    def __call__(self, cron: Cron, name: str) -> InstanceSpec:
        parts, environment, release, spec = self._parts, self._environment, self._release, self._spec
        app = spec.app
        directory = parts.prepare_run_directory(app, environment, release)
        variables = desired.variables(
            app, environment, release, "", spec, self._config, parts.storage(app, environment, spec)
        )
        return InstanceSpec(
            name=InstanceName(name),
            command=cron.command,
            directory=str(directory),
            environment=tuple(sorted((variables | {"HOMEPORT_CRON": cron.name}).items())),
            user=cron.user,
            memory=cron.memory,
            cpu=cron.cpu,
            stop_grace=cron.stop_grace,
            secrets=tuple(sorted(parts.tokens(app, environment, self._config).items())),
        )
