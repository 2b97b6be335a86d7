"""Every key of ``homeport.toml``, once. Parsing and the reference in docs/ both follow this table.

A default here is the TOML that would say what :mod:`homeport.spec.model` does without the key; a test
compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeport.spec.model import STRATEGIES
from homeport.spec.values import (
    Choice,
    Directory,
    Duration,
    Name,
    Number,
    ShellLine,
    Size,
    Type,
    UrlPath,
    User,
    Whole,
)


@dataclass(frozen=True, slots=True)
class Key:
    table: str
    """The table it stands in, with ``NAME`` for a name of the team's choice: ``processes.NAME``."""
    name: str
    type: Type
    meaning: str
    example: str | int | float
    default: str | int | float | None = None
    absent: str = ""
    """What holds without the key, where no default says it."""

    @property
    def path(self) -> str:
        return f"{self.table}.{self.name}"


@dataclass(frozen=True, slots=True)
class Table:
    path: str
    meaning: str
    """Markdown for the reference."""
    example: str = ""
    """Lines for the reference, where the keys are of the team's choice rather than in :data:`KEYS`."""


PROCESS = "processes.NAME"
HEALTH = "processes.NAME.health"
PROCESS_NAME = Name()
DEFAULT_ROUTE = ("*", "web")
"""Without ``[routes]``, every request goes to the process of this name, where there is one."""

RESERVED = ("PORT", "PATH")
RESERVED_PREFIX = "HOMEPORT_"
"""Environment variables that Homeport sets itself."""

TABLES = (
    Table("app", "What the app is called."),
    Table(
        "build",
        "How a release is made. The command runs once for each release, in a fresh copy of the commit's "
        "files; what it leaves there is the release. Without `[build]` the files are the release as they "
        "are.",
    ),
    Table(
        PROCESS,
        "One kind of process, such as `[processes.web]`; an app has one or more. It has either a `command` "
        "or a `static` directory. A process that a route names gets requests: it is told by the "
        "environment variable `PORT` on which port of 127.0.0.1 to listen. A process that no route names "
        "is a worker: it gets no requests and has no health check.",
    ),
    Table(
        HEALTH,
        "When an instance may get requests. May also be written in one line, as "
        '`health = { path = "/health" }` in `[processes.NAME]`. Only a process that a route names has it.',
    ),
    Table(
        "routes",
        "Which requests go to which process. A key is a host, a host and a path prefix, `*` for any host, "
        "or `*` and a prefix; it stands in quotes. The value is the name of a process. The longest prefix "
        "wins, and a named host wins over `*`. A prefix matches whole parts of a path: `/shop` matches "
        "`/shop` and `/shop/cart`, not `/shopping`. Upper case in a host and a `/` at the end make no "
        "difference. Hosts beyond ASCII are converted to the form that browsers send (`xn--…`). Ports, "
        "schemes and wildcards such as `*.example.com` are not accepted.\n\n"
        'Without `[routes]`, an app that has a process `web` gets the route `"*" = "web"`.',
        example='"shop.example.com" = "web"\n"example.com/shop" = "web"\n"*/guide" = "guide"',
    ),
    Table(
        "env",
        "Environment variables that belong to the code, for all processes and the build. A name is letters, digits and "
        "`_`, no digit first; a value is a string of one line, a whole number, or true or false. `PORT`, "
        "`PATH` and names that begin with `HOMEPORT_` are reserved. Passwords and keys do not belong into "
        "a file of the repository: set them with `homeport env set`, which also wins over this table.",
        example='LOG_LEVEL = "info"\nWEB_CONCURRENCY = 2\nDEBUG = false',
    ),
    Table("rollout", "How requests move from one release to the next."),
)

KEYS = (
    Key(
        "app",
        "name",
        Name(),
        "Name of the app: 1 to 40 of a-z, 0-9 and inner hyphens, a letter first.",
        "shop",
        absent="required",
    ),
    Key(
        "build",
        "command",
        ShellLine(),
        "One shell line that makes the release, run in its directory.",
        "npm ci && npm run build",
        absent="builds nothing",
    ),
    Key(
        "build",
        "timeout",
        Duration("1s", "24h"),
        "After this time the build is stopped and its files are removed.",
        "10m",
        default="15m",
    ),
    Key(
        "build",
        "disk",
        Size("1MB", "1TB"),
        "How much disk a release may take, sources included; a build that takes more is stopped.",
        "500MB",
        default="2GB",
    ),
    Key(
        PROCESS,
        "command",
        ShellLine(),
        "One shell line that starts the process, run in the release's directory.",
        "node server.js",
        absent="either this or `static`",
    ),
    Key(
        PROCESS,
        "static",
        Directory(),
        "A directory of the release that Homeport serves as a static site.",
        "public",
        absent="either this or `command`",
    ),
    Key(
        PROCESS,
        "replicas",
        Whole(1, 100),
        "How many instances run.",
        2,
        default=1,
    ),
    Key(
        PROCESS,
        "memory",
        Size("8MB", "16TB"),
        "How much memory one instance may use, all its processes together.",
        "512MB",
        absent="no limit",
    ),
    Key(
        PROCESS,
        "cpu",
        Number(0.01, 1024),
        "How many cores one instance may use.",
        0.5,
        absent="no limit",
    ),
    Key(
        PROCESS,
        "user",
        User(),
        "System user to run as; only where Homeport runs as root.",
        "www-data",
        absent="as Homeport",
    ),
    Key(
        PROCESS,
        "start_timeout",
        Duration("1s", "1h"),
        "How long a new instance may take until it is ready.",
        "30s",
        default="60s",
    ),
    Key(
        PROCESS,
        "stop_grace",
        Duration("0s", "1h"),
        "How long an instance may take to end after SIGTERM; then it gets SIGKILL.",
        "20s",
        default="10s",
    ),
    Key(
        PROCESS,
        "response_timeout",
        Duration("1s", "24h"),
        "How long the edge waits for the next byte of an answer.",
        "2m",
        default="5m",
    ),
    Key(
        HEALTH,
        "path",
        UrlPath(),
        "Path that answers 2xx when an instance can serve. A redirect does not count.",
        "/health",
        default="/",
    ),
    Key(
        HEALTH,
        "interval",
        Duration("100ms", "5m"),
        "Time between two checks of an instance that serves. Before, it is checked more often.",
        "2s",
        default="1s",
    ),
    Key(
        HEALTH,
        "timeout",
        Duration("100ms", "1m"),
        "A check that takes longer has failed.",
        "1s",
        default="2s",
    ),
    Key(
        HEALTH,
        "healthy_after",
        Whole(1, 100),
        "Checks that pass in a row before an instance gets requests.",
        3,
        default=2,
    ),
    Key(
        HEALTH,
        "unhealthy_after",
        Whole(1, 100),
        "Checks that fail in a row before an instance gets no more requests.",
        2,
        default=3,
    ),
    Key(
        "rollout",
        "strategy",
        Choice(STRATEGIES, {"canary": "canary rollouts are", "recreate": "recreate is"}),
        "`blue-green` starts all new instances, then moves all requests at once; `rolling` replaces "
        "`batch` instances at a time.",
        "rolling",
        default="blue-green",
    ),
    Key(
        "rollout",
        "drain",
        Duration("0s", "1h"),
        "How long an instance that gets no new requests may finish those it has.",
        "1m",
        default="30s",
    ),
    Key(
        "rollout",
        "keep_warm",
        Duration("0s", "7d"),
        "How long the release before stays started, so that a rollback only moves requests.",
        "30m",
        default="10m",
    ),
    Key(
        "rollout",
        "batch",
        Whole(1, 100),
        "With `rolling`: how many instances are replaced at a time.",
        2,
        default=1,
    ),
)

LATER = {
    "alerts": "alerts are",
    "backup": "backups are",
    "checks": "checks are",
    "cron": "scheduled commands are",
    "database": "databases are",
    "environments": "settings for one environment are",
    "hooks": "hooks are",
    "limits": "limits on requests are",
    "notifications": "notifications are",
    "pipeline": "pipelines are",
    "secrets": "secrets are",
    "storage": "storage is",
    "tls": "certificate settings are",
    "rollout.bake": "canary rollouts are",
    "rollout.max_error_rate": "canary rollouts are",
    "rollout.max_latency_increase": "canary rollouts are",
    "rollout.steps": "canary rollouts are",
}
"""What later versions of Homeport bring, so that it can be refused by its name."""


def keys_of(table: str) -> dict[str, Key]:
    return {key.name: key for key in KEYS if key.table == table}


def tables_in(table: str) -> tuple[str, ...]:
    """The names of the tables right inside ``table``; "" is the top of the file."""
    prefix = f"{table}." if table else ""
    names = (t.path.removeprefix(prefix).split(".")[0] for t in TABLES if t.path.startswith(prefix))
    return tuple(name for name in dict.fromkeys(names) if name != "NAME")
