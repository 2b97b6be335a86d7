"""What the rollout room works with, handed in by ``main``."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homeport.edge.model import Bind, EdgeState
from homeport.edge.port import Applied, Edge
from homeport.kernel.clock import Clock
from homeport.kernel.ids import AppName, ReleaseId
from homeport.rollout import desired
from homeport.rollout.state import State
from homeport.runtime.port import LogReader, Runtime
from homeport.spec.model import Spec


@dataclass
class Parts:
    """The services and settings of one running Homeport."""

    data_dir: Path
    state: State
    runtime: Runtime
    logs: LogReader
    edge: Edge
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

    def spec(self, app: AppName, release: ReleaseId) -> Spec:
        return desired.spec_of(self.state.release(app, release).spec)

    def release_directory(self, app: AppName, release: ReleaseId) -> Path:
        return self.data_dir / "releases" / app / release

    def build_log(self, app: AppName, release: ReleaseId) -> Path:
        return self.data_dir / "releases" / app / f"{release}.log"

    def archive(self, digest: str) -> Path:
        return self.data_dir / "archives" / f"{digest}.tar"

    def wanted_edge(self) -> EdgeState:
        """What the edge should do by the state as it is now."""
        return wanted_edge(self.state, self.http, self.https)

    def publish(self) -> Applied:
        """Make the edge do what the state says; cheap when it does so already."""
        with self.traffic:
            return self.edge.apply(self.wanted_edge())


def wanted_edge(state: State, http: Bind, https: Bind | None) -> EdgeState:
    """What the edge should do by the state as it is now."""
    environments = state.environments()
    instances = state.instances()
    needed = {(i.app, i.release) for i in instances}
    needed |= {(e.app, e.routing) for e in environments if e.routing is not None}
    specs = {key: desired.spec_of(state.release(*key).spec) for key in needed}
    return desired.edge_state(http, https, environments, instances, specs)
