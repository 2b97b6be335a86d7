"""The keys of ``homeport.toml`` about what runs beside processes, and what they share."""

from __future__ import annotations

from homeport.spec.key import Key, Table
from homeport.spec.model import MISSED, OVERLAPS
from homeport.spec.values import (
    Choice,
    Duration,
    File,
    Flag,
    Number,
    ShellLine,
    ShortText,
    Size,
    User,
    Whole,
)

CRON = "cron.NAME"
HOOK = "hooks.NAME"
STORAGE = "storage.NAME"

JOB_TABLES = (
    Table(
        CRON,
        "A command that runs by the clock, such as `[cron.nightly-report]`, in the directory of the release "
        "that serves and with its variables. A name has at most 30 characters.",
    ),
    Table(
        "hooks",
        "Commands that run once at a point of a rollout, in the new release's directory and with its "
        "variables. A value is a shell line, or a table with the keys of `[hooks.NAME]`. A hook that fails "
        "before requests have moved stops the rollout.",
        example='before-traffic = ".venv/bin/python -m shop.warm"\n'
        'after-traffic = { command = "bin/purge-cdn", timeout = "1m" }',
    ),
    Table(HOOK, "A hook with more than its command, such as `[hooks.before-traffic]`."),
    Table(
        STORAGE,
        "A directory that outlives releases, such as `[storage.uploads]`, and is shared by all instances of "
        "an environment. Two of them may not be the same or inside each other.",
    ),
)

JOB_KEYS = (
    Key(
        CRON,
        "schedule",
        ShortText(200),
        "When it runs: the five fields of cron, `@every 10m`, or `@hourly`, `@daily`, `@weekly`, `@monthly`, "
        "`@yearly`.",
        "0 3 * * *",
        absent="required",
    ),
    Key(
        CRON,
        "command",
        ShellLine(),
        "One shell line, run in the release's directory.",
        "python -m shop.report",
        absent="required",
    ),
    Key(
        CRON,
        "timezone",
        ShortText(64),
        "The time zone of the schedule.",
        "Europe/Berlin",
        default="UTC",
    ),
    Key(
        CRON,
        "overlap",
        Choice(OVERLAPS),
        "When it is due while it still runs: `skip` it, `queue` it until that has ended, or `replace` what "
        "runs.",
        "queue",
        default="skip",
    ),
    Key(
        CRON,
        "timeout",
        Duration("1s", "30d"),
        "A run that takes longer is stopped and has failed.",
        "20m",
        default="1h",
    ),
    Key(
        CRON,
        "retries",
        Whole(0, 100),
        "How often a run that failed is tried again.",
        2,
        default=0,
    ),
    Key(
        CRON,
        "retry_delay",
        Duration("1s", "24h"),
        "Time before the first retry; it doubles with each one more.",
        "1m",
        default="30s",
    ),
    Key(
        CRON,
        "missed",
        Choice(MISSED),
        "Runs that were due while Homeport was down: one of them is made up for (`once`), none (`skip`), or "
        "`all`.",
        "skip",
        default="once",
    ),
    Key(
        CRON,
        "random_delay",
        Duration("0s", "24h"),
        "Each run starts up to this much later than it is due.",
        "5m",
        default="0s",
    ),
    Key(
        CRON,
        "user",
        User(),
        "System user to run as; only where Homeport runs as root.",
        "www-data",
        absent="as Homeport",
    ),
    Key(
        CRON,
        "memory",
        Size("8MB", "16TB"),
        "How much memory a run may use, all its processes together.",
        "256MB",
        absent="no limit",
    ),
    Key(
        CRON,
        "cpu",
        Number(0.01, 1024),
        "How many cores a run may use.",
        0.5,
        absent="no limit",
    ),
    Key(
        CRON,
        "stop_grace",
        Duration("0s", "1h"),
        "How long a run that is stopped may take to end after SIGTERM; then it gets SIGKILL.",
        "20s",
        default="10s",
    ),
    Key(
        CRON,
        "enabled",
        Flag(),
        "`false` leaves the command out, which an environment may say of one that the app has.",
        False,
        default=True,
    ),
    Key(
        "hooks",
        "before-build",
        ShellLine(),
        "Runs in the fresh copy of the files, before the build command.",
        "bin/check-licenses",
        absent="none",
    ),
    Key(
        "hooks",
        "after-build",
        ShellLine(),
        "Runs when the build command is done.",
        "npm prune --omit=dev",
        absent="none",
    ),
    Key(
        "hooks",
        "before-start",
        ShellLine(),
        "Runs before any instance of the new release starts: what they need to start, such as a migration.",
        "bin/migrate",
        absent="none",
    ),
    Key(
        "hooks",
        "before-traffic",
        ShellLine(),
        "Runs when the new instances are ready, before requests move to them.",
        "bin/warm-caches",
        absent="none",
    ),
    Key(
        "hooks",
        "after-traffic",
        ShellLine(),
        "Runs when requests have moved.",
        "bin/purge-cdn",
        absent="none",
    ),
    Key(
        "hooks",
        "after-rollback",
        ShellLine(),
        "Runs when a rollout was rolled back.",
        "bin/tell-team",
        absent="none",
    ),
    Key(
        HOOK,
        "command",
        ShellLine(),
        "One shell line, run in the new release's directory.",
        "bin/migrate",
        absent="required",
    ),
    Key(
        HOOK,
        "timeout",
        Duration("1s", "24h"),
        "A hook that takes longer is stopped and has failed.",
        "2m",
        default="5m",
    ),
    Key(
        STORAGE,
        "path",
        File("directory", "var/uploads"),
        "Where the release sees it, relative to the release's directory.",
        "var/uploads",
        absent="required",
    ),
)
