"""``homeport.toml`` as frozen values: what an app is and how it wants to run."""

from dataclasses import dataclass, field

from homeport.kernel.ids import AppName, ProcessName


@dataclass(frozen=True, slots=True)
class Build:
    """How a release is made from a commit's files. ``command`` is a shell line, "" builds nothing."""

    command: str = ""
    timeout: float = 900.0
    """Seconds until the build is stopped and its files removed."""
    disk: int = 2_000_000_000
    """Bytes a build may take on disk, sources included."""


@dataclass(frozen=True, slots=True)
class Health:
    """When an instance counts as ready, and later as healthy. Times in seconds."""

    path: str = "/"
    interval: float = 1.0
    """Between two checks by the edge while it serves; readiness is probed at least ten times a second."""
    timeout: float = 2.0
    healthy_after: int = 2
    """Successes in a row before an instance gets traffic."""
    unhealthy_after: int = 3
    """Failures in a row before the edge takes an instance out."""


@dataclass(frozen=True, slots=True)
class Process:
    """A kind of process. One that a route names is given ``$PORT``; others are workers."""

    name: ProcessName
    command: str
    """A shell line, run in the release's directory; "" for a static site."""
    static: str = ""
    """A directory of the release that Homeport serves as a static site instead of a command."""
    health: Health = field(default_factory=Health)
    replicas: int = 1
    memory: int | None = None
    """Bytes of memory that the instance may use, all its processes together."""
    cpu: float | None = None
    """Cores the instance may use, such as 0.5."""
    user: str | None = None
    """System user to run as; only where Homeport runs as root."""
    start_timeout: float = 60.0
    stop_grace: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""
    response_timeout: float = 300.0
    """Seconds the edge waits for the next byte of an answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for ``host`` whose path is ``prefix`` or lies below it go to ``process``.

    ``host`` is lower case; "*" is any host. ``prefix`` begins with "/" and has no "/" at its end,
    but for "/" itself.
    """

    host: str
    prefix: str
    process: ProcessName


STRATEGIES = ("blue-green", "rolling")


@dataclass(frozen=True, slots=True)
class Rollout:
    """How traffic moves to a new release. Times in seconds."""

    strategy: str = "blue-green"
    drain: float = 30.0
    """How long an instance without new traffic may finish what it has."""
    keep_warm: float = 600.0
    """How long the release before stays started after a rollout."""
    batch: int = 1
    """With ``rolling``: instances replaced at a time."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole ``homeport.toml``."""

    app: AppName
    build: Build
    processes: tuple[Process, ...]
    routes: tuple[Route, ...]
    rollout: Rollout
    variables: tuple[tuple[str, str], ...] = ()
    """``[env]``: plain environment variables that belong to the code, by name."""

    def process(self, name: str) -> Process | None:
        return next((p for p in self.processes if p.name == name), None)

    def is_routed(self, name: str) -> bool:
        return any(r.process == name for r in self.routes)
