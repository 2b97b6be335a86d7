"""What the rollout room works with, handed in by ``main``."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from homeport.edge.model import Bind, EdgeState
from homeport.edge.port import Applied, Edge
from homeport.guard.vault import Vault
from homeport.kernel.clock import Clock
from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName, EnvironmentName, InstanceName, ReleaseId
from homeport.kernel.masking import Masker
from homeport.rollout import desired, modes, storage
from homeport.rollout.data.stores import Stores
from homeport.rollout.model import Config, Environment, Instance
from homeport.rollout.sources import state as sources
from homeport.rollout.state import State
from homeport.runtime.model import InstanceSpec
from homeport.runtime.port import LogReader, Runtime
from homeport.spec.model import Spec

log = logging.getLogger(__name__)

HOOKS_SOCKET = "hooks.sock"
"""In the data directory: where the edge brings webhooks."""


@dataclass
class Parts:
    """The services and settings of one running Homeport."""

    data_dir: Path
    state: State
    vault: Vault
    runtime: Runtime
    logs: LogReader
    edge: Edge
    stores: Stores
    clock: Clock
    http: Bind
    https: Bind | None
    build_environment: Mapping[str, str]
    """What a build command sees besides the app's own variables: PATH, HOME, proxies."""
    is_port_free: Callable[[int], bool]
    port_start: int
    """Where the search for a free port begins; differs between Homeports on one machine."""
    traffic: threading.RLock = field(default_factory=threading.RLock)
    """Held while weights or routes are written and put in force, so that the last word wins."""
    ports: threading.Lock = field(default_factory=threading.Lock)
    """Held from choosing a port to recording it."""
    looping: dict[InstanceName, int] = field(default_factory=dict)
    """Instances that crash again and again, with how often of late; the keeper notices."""
    _masker: Masker | None = None
    _masked: tuple[str, ...] | None = None

    def whole_spec(self, app: AppName, release: ReleaseId) -> Spec:
        """A release's homeport.toml, with what it says of each environment."""
        return desired.spec_of(self.state.release(app, release).spec)

    def spec(self, app: AppName, environment: EnvironmentName, release: ReleaseId) -> Spec:
        """A release's spec as it holds in an environment."""
        return self.whole_spec(app, release).for_environment(environment)

    def release_directory(self, app: AppName, release: ReleaseId) -> Path:
        """Where a release's build is: it may be that of another one, with another configuration."""
        base = self.state.release(app, release).base
        return self.own_directory(app, base or release)

    def own_directory(self, app: AppName, release: ReleaseId) -> Path:
        return self.data_dir / "releases" / app / release

    def run_directory(self, app: AppName, environment: EnvironmentName, release: ReleaseId) -> Path:
        """Where its instances run in an environment; see :meth:`prepare_run_directory`."""
        build = self.release_directory(app, release)
        if not self.spec(app, environment, release).storage:
            return build
        return build.with_name(f"{build.name}.{environment}")

    def prepare_run_directory(self, app: AppName, environment: EnvironmentName, release: ReleaseId) -> Path:
        target = self.run_directory(app, environment, release)
        build = self.release_directory(app, release)
        if target != build:
            root = self.storage_root(app, environment)
            spec = self.spec(app, environment, release)
            storage.prepare(build, target, root, spec, within=self.data_dir)
        return target

    def storage_root(self, app: AppName, environment: EnvironmentName) -> Path:
        return self.data_dir / "storage" / app / environment

    def storage(self, app: AppName, environment: EnvironmentName, spec: Spec) -> dict[str, str]:
        return storage.directories(self.storage_root(app, environment), spec)

    def config_now(self, environment: Environment) -> Config:
        """What is set for an environment now; a deploy would bring it."""
        versions = self.vault.versions(environment.app, environment.name)
        return Config.of(dict(environment.variables), versions)

    def tokens(self, app: AppName, environment: EnvironmentName, config: Config) -> dict[str, str]:
        """The sealed secrets of a configuration, by name."""
        if not config.secrets:
            return {}
        return self.vault.tokens(app, environment, dict(config.secrets))

    def instance_spec(self, instance: Instance, config: Config) -> InstanceSpec:
        """How to start an instance with a configuration. Its run directory must have been prepared."""
        app, environment, release = instance.app, instance.environment, instance.release
        spec = self.spec(app, environment, release)
        process = spec.process(instance.process)
        assert process is not None
        return desired.instance_spec(
            instance,
            process,
            spec,
            config,
            str(self.run_directory(app, environment, release)),
            tokens=self.tokens(app, environment, config),
            storage=self.storage(app, environment, spec),
        )

    def start(self, instance: Instance, config: Config) -> None:
        """Start an instance with a configuration; nothing when it is there already."""
        self.prepare_run_directory(instance.app, instance.environment, instance.release)
        with self.vault.handing_out():
            self.runtime.start(self.instance_spec(instance, config))

    def masker(self) -> Masker:
        """Masks every secret of every app. Made anew when the secrets have changed."""
        try:
            values = self.vault.every_value()
        except HomeportError as e:
            # Without the key no secret can be opened, so none that was not known before can be told.
            log.warning("masking: %s", e.sentence)
            return self._masker or Masker(())
        if self._masker is None or self._masked is not values:
            self._masker, self._masked = Masker(values), values
        return self._masker

    def build_log(self, app: AppName, release: ReleaseId) -> Path:
        return self.data_dir / "releases" / app / f"{release}.log"

    def archive(self, digest: str) -> Path:
        return self.data_dir / "archives" / f"{digest}.tar"

    def wanted_edge(self) -> EdgeState:
        """What the edge should do by the state as it is now."""
        return wanted_edge(self.state, self.http, self.https, self.data_dir)

    def publish(self) -> Applied:
        """Make the edge do what the state says; cheap when it does so already."""
        with self.traffic:
            return self.edge.apply(self.wanted_edge())


def wanted_edge(state: State, http: Bind, https: Bind | None, data_dir: Path) -> EdgeState:
    """What the edge should do by the state as it is now."""
    environments = state.environments()
    instances = state.instances()
    needed = {(i.app, i.release) for i in instances}
    needed |= {(e.app, e.routing) for e in environments if e.routing is not None}
    specs = {key: desired.spec_of(state.release(*key).spec) for key in needed}
    switched = modes.of_services(state, environments, specs, data_dir)
    moving = frozenset((c.app, c.environment) for c in state.running())
    wanted = desired.edge_state(http, https, environments, instances, specs, switched, moving)
    if sources.has_webhooks(state.store):
        wanted = replace(wanted, hooks=str(data_dir / HOOKS_SOCKET))
    return wanted
