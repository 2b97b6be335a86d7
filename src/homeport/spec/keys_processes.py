"""The keys of ``homeport.toml`` about processes."""

from __future__ import annotations

from homeport.spec.key import Key, Table
from homeport.spec.model import STARTS
from homeport.spec.values import (
    Choice,
    Directory,
    Duration,
    File,
    Flag,
    Number,
    ShellLine,
    Size,
    UrlPath,
    User,
    Whole,
)

PROCESS = "processes.NAME"
HEALTH = "processes.NAME.health"
LIVENESS = "processes.NAME.liveness"
HEARTBEAT = "processes.NAME.heartbeat"

PROCESS_TABLES = (
    Table(
        PROCESS,
        "One kind of process, such as `[processes.web]`; an app has one or more. It has either a `command` "
        "or a `static` directory. A process that a route names gets requests: it is told by the "
        "environment variable `PORT` on which port of 127.0.0.1 to listen. A process that no route names "
        "is a worker: it gets no requests and has no health check; `start`, `exclusive`, `liveness` and "
        "`heartbeat` are for workers only. Names that begin with `cron-`, `run-` or `hook-` are Homeport's own.",
    ),
    Table(
        HEALTH,
        "When an instance may get requests. May also be written in one line, as "
        '`health = { path = "/health" }` in `[processes.NAME]`. Only a process that a route names has it.',
    ),
    Table(
        LIVENESS,
        "How a worker shows that it lives: a command that ends with status 0. It is restarted when the "
        "command fails too often in a row.",
    ),
    Table(
        HEARTBEAT,
        "How a worker shows that it lives: it touches a file now and then, and is restarted when the file "
        "gets too old. The worker is told the file's absolute path by the environment variable "
        "`HOMEPORT_HEARTBEAT`.",
    ),
)

PROCESS_KEYS = (
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
        PROCESS,
        "start",
        Choice(STARTS),
        "For a worker: whether those of a new release start before requests move to it, or after.",
        "after-traffic",
        default="before-traffic",
    ),
    Key(
        PROCESS,
        "exclusive",
        Flag(),
        "For a worker: old and new ones never run side by side; the old ones are stopped first.",
        True,
        default=False,
    ),
    Key(
        LIVENESS,
        "command",
        ShellLine(),
        "One shell line, run beside the worker with its directory, variables and user.",
        "test -e tmp/alive",
        absent="required",
    ),
    Key(
        LIVENESS,
        "interval",
        Duration("1s", "1h"),
        "Time between two runs of the command.",
        "15s",
        default="10s",
    ),
    Key(
        LIVENESS,
        "timeout",
        Duration("100ms", "10m"),
        "A command that takes longer has failed.",
        "3s",
        default="5s",
    ),
    Key(
        LIVENESS,
        "unhealthy_after",
        Whole(1, 100),
        "Failures in a row before the worker is restarted.",
        2,
        default=3,
    ),
    Key(
        HEARTBEAT,
        "file",
        File(),
        "The file that the worker touches, in the release's directory.",
        "tmp/heartbeat",
        absent="required",
    ),
    Key(
        HEARTBEAT,
        "max_age",
        Duration("1s", "24h"),
        "The worker is restarted when the file is older than this.",
        "30s",
        default="60s",
    ),
)
