"""``homeport.toml`` as frozen values: what an app is and how it wants to run."""

from dataclasses import dataclass, field, replace

from homeport.kernel.ids import PRODUCTION, AppName, EnvironmentName, ProcessName
from homeport.spec.model_backup import Backup as Backup
from homeport.spec.model_database import Cache as Cache
from homeport.spec.model_database import Database as Database
from homeport.spec.model_pipeline import GATES as GATES
from homeport.spec.model_pipeline import ON_NEWER as ON_NEWER
from homeport.spec.model_pipeline import STAGES as STAGES
from homeport.spec.model_pipeline import Budget as Budget
from homeport.spec.model_pipeline import Check as Check
from homeport.spec.model_pipeline import Pipeline as Pipeline
from homeport.spec.model_pipeline import SmokeRequest as SmokeRequest
from homeport.spec.model_pipeline import Stage as Stage


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
class Liveness:
    """How a worker shows that it lives: its command ends with status 0. Times in seconds."""

    command: str
    """A shell line, run beside the worker with its directory, variables and user."""
    interval: float = 10.0
    timeout: float = 5.0
    unhealthy_after: int = 3
    """Failures in a row before the worker is restarted."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How a worker shows that it lives: it touches a file at least every ``max_age`` seconds."""

    file: str
    """Relative to the release's directory; the worker gets its absolute path as ``HOMEPORT_HEARTBEAT``."""
    max_age: float = 60.0


STARTS = ("before-traffic", "after-traffic")


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
    start: str = "before-traffic"
    """A worker of a new release starts "before-traffic" moves to it, or "after-traffic" has moved."""
    exclusive: bool = False
    """A worker of which old and new never run side by side: the old ones are stopped first."""
    liveness: Liveness | None = None
    heartbeat: Heartbeat | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for ``host`` whose path is ``prefix`` or lies below it go to ``process``.

    ``host`` is lower case; "*" is any host. ``prefix`` begins with "/" and has no "/" at its end,
    but for "/" itself.
    """

    host: str
    prefix: str
    process: ProcessName


@dataclass(frozen=True, slots=True)
class Signal:
    """A number of the team's own that helps to judge a new release. Times in seconds.

    ``url`` answers it, or ``command`` prints it: one of the two. It is asked for the new release and, where
    ``compare`` is set, for the one before as well; the bounds are then multiples of that one's number.
    """

    name: str
    url: str = ""
    """``{release}`` and ``{side}`` ("new" or "before") in it stand for what is asked about."""
    command: str = ""
    """A shell line, run in the new release's directory with ``HOMEPORT_SIDE`` and ``HOMEPORT_RELEASE``."""
    json: str = ""
    """Where in a JSON answer the number is: "data.orders.0.rate"; "" where the answer is the number."""
    most: float | None = None
    least: float | None = None
    compare: bool = False
    interval: float = 5.0
    timeout: float = 5.0


STRATEGIES = ("blue-green", "rolling", "canary", "recreate")
INCONCLUSIVE = ("wait", "ask", "continue")


@dataclass(frozen=True, slots=True)
class Rollout:
    """How traffic moves to a new release. Times in seconds; shares and rates from 0 to 1."""

    strategy: str = "blue-green"
    drain: float = 30.0
    """How long an instance without new traffic may finish what it has."""
    keep_warm: float = 600.0
    """How long the release before stays started after a rollout."""
    batch: int = 1
    """With ``rolling``: instances replaced at a time."""
    steps: tuple[float, ...] = (0.05, 0.25, 1.0)
    """With ``canary``: the new release's share of the requests, rising; the last one is 1."""
    bake: float = 30.0
    """With ``canary``: how long each step below 1 takes at least."""
    max_error_rate: float = 0.01
    """A new release that fails no more often than this is not taken back for its errors."""
    max_latency_increase: float | None = 0.5
    """How much slower a new release may be; None: latency is not judged."""
    on_inconclusive: str = "wait"
    """When a step's time is over and there was too little traffic to judge by: one of :data:`INCONCLUSIVE`."""
    watch_for: float = 300.0
    """How long a new release is judged once it has all of the traffic; 0: not at all."""
    sticky: bool = False
    """A visitor stays with the side of a canary that answered first, by a cookie."""
    pin: bool = False
    """A browser that loaded a release goes on talking to it, by a cookie, until its instances are stopped."""
    signals: tuple[Signal, ...] = ()


VARIABLE_TYPES = ("string", "int", "bool", "url", "duration")


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that the code declares."""

    name: str
    value: str | None = None
    """What it is where nobody sets it otherwise; None: nothing."""
    required: bool = False
    """A deploy without a value for it is refused."""
    secret: bool = False
    """Its value is kept as a secret and never shown."""
    type: str = "string"
    pattern: str = ""
    """A regular expression that has to be found in the value; "" is any value."""
    one_of: tuple[str, ...] = ()
    """The only values it may have; () is any value."""
    description: str = ""
    source: str = ""
    """Read at each rollout from "file:PATH" or "command:LINE" instead; such a value is a secret."""


OVERLAPS = ("skip", "queue", "replace")
MISSED = ("once", "skip", "all")


@dataclass(frozen=True, slots=True)
class Cron:
    """A command that runs by the clock in the release that serves. Times in seconds."""

    name: str
    schedule: str
    """Five fields, or ``@every 10m``, or ``@hourly`` and the like."""
    command: str
    timezone: str = "UTC"
    overlap: str = "skip"
    """When it is due while it still runs: "skip" it, "queue" it, or "replace" what runs."""
    timeout: float = 3600.0
    retries: int = 0
    """How often a run that failed is tried again."""
    retry_delay: float = 30.0
    """Before the first retry; it doubles with each one more."""
    missed: str = "once"
    """Runs that were due while Homeport was down: one of them, none ("skip"), or "all"."""
    random_delay: float = 0.0
    """Each run starts up to this much later than it is due."""
    user: str | None = None
    memory: int | None = None
    cpu: float | None = None
    stop_grace: float = 10.0


HOOKS = ("before-build", "after-build", "before-start", "before-traffic", "after-traffic", "after-rollback")


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that runs once at a point of a rollout, in the new release's directory."""

    name: str
    """One of :data:`HOOKS`."""
    command: str
    timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class Storage:
    """A directory that outlives releases and is shared by the instances of an environment."""

    name: str
    path: str
    """Where the release sees it, relative to the release's directory."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What ``homeport maintenance on`` answers with."""

    page: str = ""
    """An HTML file of the release; "" is Homeport's own page."""
    retry_after: float = 120.0
    """Seconds that clients are told to wait."""


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """What ``homeport read-only on`` leaves alone."""

    exempt: tuple[str, ...] = ()
    """Path prefixes that may be written to all the same."""


@dataclass(frozen=True, slots=True)
class Previews:
    """Environments of branches. Times in seconds. What they run is ``[environments.preview]``."""

    domain: str = "localhost"
    """A preview's host is ``<name>.<app>.<domain>``."""
    ttl: float = 7 * 86400.0
    """After this time without a new commit a preview is taken away."""
    sleep_after: float | None = None
    """After this time without a request its instances are stopped, until the next request; None: never."""
    most: int = 20


PREVIEW = "preview-"
"""What the names of previews' environments begin with."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole ``homeport.toml``, as it holds where no environment says otherwise."""

    app: AppName
    build: Build
    processes: tuple[Process, ...]
    routes: tuple[Route, ...]
    rollout: Rollout
    variables: tuple[Variable, ...] = ()
    cron: tuple[Cron, ...] = ()
    hooks: tuple[Hook, ...] = ()
    storage: tuple[Storage, ...] = ()
    maintenance: Maintenance = field(default_factory=Maintenance)
    read_only: ReadOnly = field(default_factory=ReadOnly)
    gate: str = ""
    """Of an environment: "approval" where a deploy needs a person's; one of :data:`GATES`, or ""."""
    pipeline: Pipeline = field(default_factory=Pipeline)
    previews: Previews | None = None
    """None: the app has no ``[previews]``."""
    databases: tuple[Database, ...] = ()
    caches: tuple[Cache, ...] = ()
    backup: Backup | None = None
    """None: it is not backed up."""
    default_environment: EnvironmentName = PRODUCTION
    """The environment of a command that names none."""
    environments: tuple[tuple[EnvironmentName, "Spec"], ...] = ()
    """Each declared environment's own whole spec; those have no environments themselves."""

    def process(self, name: str) -> Process | None:
        return next((p for p in self.processes if p.name == name), None)

    def is_routed(self, name: str) -> bool:
        return any(r.process == name for r in self.routes)

    @property
    def main_process(self) -> ProcessName:
        """The process meant where none is named: ``web``, else the first one."""
        return next((p.name for p in self.processes if p.name == "web"), self.processes[0].name)

    def hook(self, name: str) -> Hook | None:
        return next((h for h in self.hooks if h.name == name), None)

    def declared(self, name: str) -> "Spec | None":
        return next((spec for e, spec in self.environments if e == name), None)

    def for_environment(self, name: str) -> "Spec":
        """The spec as it holds in an environment; this one itself where the environment is not declared.

        That of a preview is what the environment "preview" declares, else this one, on the preview's own host.
        It is no canary's: nobody is there to judge it by.
        """
        own = self.declared(name)
        if own is not None:
            return own
        if self.previews is None or not name.startswith(PREVIEW):
            return self
        base = self.declared("preview") or self
        host = f"{name.removeprefix(PREVIEW)}.{self.app}.{self.previews.domain}"
        prefixes = {route.prefix: route.process for route in base.routes}
        routes = tuple(Route(host, prefix, process) for prefix, process in prefixes.items())
        strategy = "blue-green" if base.rollout.strategy == "canary" else base.rollout.strategy
        rollout = replace(base.rollout, strategy=strategy)
        return replace(base, routes=routes, rollout=rollout, environments=())
