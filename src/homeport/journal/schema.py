"""The tables of ``state.db``. Times are ISO 8601 UTC text with microseconds; they sort as text."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from homeport.journal import schema_backups as schema_backups
from homeport.journal.metadata import metadata as metadata
from homeport.journal.schema_databases import clusters as clusters
from homeport.journal.schema_databases import contracts as contracts
from homeport.journal.schema_databases import database_sizes as database_sizes
from homeport.journal.schema_databases import databases as databases
from homeport.journal.schema_databases import restore_points as restore_points
from homeport.journal.schema_databases import upkeep as upkeep

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("app", String),
    Column("environment", String),
    Column("change", String),
    Column("actor", String, nullable=False),
    Column("data", JSON, nullable=False),
    Column("hash", String, nullable=False),
    Index("ix_events_change", "change", "seq"),
    Index("ix_events_app", "app", "seq"),
)

changes = Table(
    "changes",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("state", String, nullable=False),
    Column("goal", JSON, nullable=False),
    Column("failure", JSON),
    Column("cancelled", Boolean, nullable=False, server_default=text("0")),
    Column("hooks", JSON),
    Column("result", JSON),
    Column("actor", String, nullable=False),
    Column("started_at", String, nullable=False),
    Column("finished_at", String),
    # One change at a time moves an environment.
    Index(
        "uq_changes_running",
        "app",
        "environment",
        unique=True,
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
    Index("ix_changes_app", "app", "environment", "started_at"),
)

apps = Table(
    "apps",
    metadata,
    Column("name", String, primary_key=True),
    Column("last_release", Integer, nullable=False, server_default=text("0")),
    Column("created_at", String, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("app", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("serving", String),
    Column("routing", String),
    Column("variables", JSON, nullable=False),
    Column("scale", JSON, nullable=False),
    Column("created_at", String, nullable=False),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)

releases = Table(
    "releases",
    metadata,
    Column("app", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("commit", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("dirty", Boolean, nullable=False),
    Column("digest", String, nullable=False),
    Column("state", String, nullable=False),
    Column("spec", String, nullable=False),
    Column("size", Integer),
    Column("build_seconds", Float),
    Column("created_at", String, nullable=False),
    Column("change", String),
    # The release whose files it uses, when it differs from that one in its configuration only.
    Column("base", String),
    Column("author", String),
    # When its commit was made.
    Column("committed_at", String),
    ForeignKeyConstraint(["app"], ["apps.name"]),
    UniqueConstraint("app", "number"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("release", String, nullable=False),
    Column("variables", JSON, nullable=False),
    # Versions by name.
    Column("secrets", JSON, nullable=False, server_default=text("'{}'")),
    Column("well", Boolean, nullable=False),
    Column("promoted_at", String, nullable=False),
    Column("change", String, nullable=False, unique=True),
    Index("ix_deployments_environment", "app", "environment", "seq"),
)

instances = Table(
    "instances",
    metadata,
    Column("name", String, primary_key=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("release", String, nullable=False),
    Column("process", String, nullable=False),
    Column("n", Integer, nullable=False),
    Column("port", Integer, unique=True),
    Column("config", String, nullable=False),
    Column("change", String, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("created_at", String, nullable=False),
    Column("retire_at", String),
    Column("drain_until", String),
    Index("ix_instances_environment", "app", "environment"),
)

# Without a foreign key to apps: some are the machine's own.
secrets = Table(
    "secrets",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    # Sealed; null: removed by this version.
    Column("token", String),
    # Where its value was read from, when not given by hand: "file:…" or "command:…".
    Column("source", String),
    Column("actor", String, nullable=False),
    Column("created_at", String, nullable=False),
)

modes = Table(
    "modes",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    # "maintenance" or "read-only".
    Column("mode", String, primary_key=True),
    Column("message", String, nullable=False),
    # Networks that are let through, in CIDR notation.
    Column("allow", JSON, nullable=False),
    Column("until", String),
    Column("actor", String, nullable=False),
    Column("since", String, nullable=False),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)

cron_jobs = Table(
    "cron_jobs",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("name", String, primary_key=True),
    # All times up to this one have their runs. NULL: nothing that serves has this job.
    Column("planned_to", String),
    # The schedule and time zone that it was planned by: a change begins anew.
    Column("schedule", String, nullable=False),
    # The number of its newest run.
    Column("last_number", Integer, nullable=False),
    Column("paused_by", String),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)

cron_runs = Table(
    "cron_runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("name", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("due_at", String, nullable=False),
    # Whether it makes up for a time that was due while Homeport was down.
    Column("missed", Boolean, nullable=False),
    # "schedule" or who asked for it by hand.
    Column("cause", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    # waiting, running, or how it ended: succeeded, failed, timed out, lost, skipped, replaced, stopped.
    Column("state", String, nullable=False),
    # Not before this time: the random delay, or the pause before a retry.
    Column("start_at", String, nullable=False),
    Column("release", String),
    Column("started_at", String),
    Column("finished_at", String),
    Column("exit", String),
    UniqueConstraint("app", "environment", "name", "due_at", "cause", "attempt"),
    Index("ix_cron_runs_state", "state"),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)

trials = Table(
    "trials",
    metadata,
    # The change that brought the release; a trial outlives it while the release is watched.
    Column("change", String, primary_key=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("release", String, nullable=False),
    # The release beside it, or before it.
    Column("before", String),
    # "canary": beside it; "watch": it has all of the traffic.
    Column("phase", String, nullable=False),
    # How many of the steps were passed, and since when the one that is under way.
    Column("step", Integer, nullable=False),
    Column("since", String, nullable=False),
    # Of a watch: its end.
    Column("until", String),
    Column("paused_by", String),
    # Who said that it goes on, whatever the evidence.
    Column("promoted_by", String),
    Column("evidence", JSON, nullable=False),
    # Where in the edge's counters and log the last look ended.
    Column("position", JSON, nullable=False),
    # How it stands, for people: outcome, reasons, figures.
    Column("standing", JSON, nullable=False),
    # "running", or how it ended: promoted, rolled back, inconclusive, ended.
    Column("state", String, nullable=False),
    Index("ix_trials_state", "state"),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)

pipeline_runs = Table(
    "pipeline_runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("commit", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("author", String, nullable=False),
    Column("committed_at", String),
    Column("branch", String, nullable=False),
    # SHA-256 of the source archive.
    Column("archive", String, nullable=False),
    # Its homeport.toml.
    Column("spec", String, nullable=False),
    # "push", "webhook", "poll" or "cli".
    Column("cause", String, nullable=False),
    Column("actor", String, nullable=False),
    # queued, running, waiting (at a gate), or how it ended: passed, failed, cancelled, superseded.
    Column("state", String, nullable=False),
    Column("reason", String),
    # One more with each retry.
    Column("attempt", Integer, nullable=False),
    # Who asked for its end; "" while nobody did.
    Column("cancel", String, nullable=False, server_default=text("''")),
    Column("created_at", String, nullable=False),
    Column("started_at", String),
    Column("finished_at", String),
    UniqueConstraint("app", "number"),
    Index("ix_pipeline_runs_state", "state"),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)

stage_runs = Table(
    "stage_runs",
    metadata,
    Column("run", String, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("environment", String),
    # running, waiting, or how it ended: passed, failed, cancelled.
    Column("state", String, nullable=False),
    Column("reason", String),
    # The change it made.
    Column("change", String),
    # What it found, for people and for later stages.
    Column("found", JSON, nullable=False),
    Column("started_at", String, nullable=False),
    Column("finished_at", String),
    ForeignKeyConstraint(["run"], ["pipeline_runs.id"]),
)

approvals = Table(
    "approvals",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("person", String, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    # Items of the checklist.
    Column("ticked", JSON, nullable=False),
    # What was approved: commits, configuration, releases.
    Column("what", JSON, nullable=False),
    Column("at", String, nullable=False),
    ForeignKeyConstraint(["run"], ["pipeline_runs.id"]),
)

sources = Table(
    "sources",
    metadata,
    Column("app", String, primary_key=True),
    # A repository that Homeport fetches from; null: it only takes pushes.
    Column("url", String),
    Column("branch", String, nullable=False),
    # The app's, within the repository; "" is its root.
    Column("directory", String, nullable=False),
    # Seconds between two looks; null: it is not watched.
    Column("poll", Float),
    # Whether there is a secret of a webhook, and of the repository: both are kept among the secrets.
    Column("webhook", Boolean, nullable=False),
    Column("credential", Boolean, nullable=False),
    # The commit that a run was last started for.
    Column("seen", String),
    Column("looked_at", String),
    # Looks in a row that failed, and why the last one did.
    Column("failures", Integer, nullable=False),
    Column("problem", String),
    # What webhooks asked for and was not done yet.
    Column("pending", JSON, nullable=False),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("app", String, primary_key=True),
    # What the sender calls it.
    Column("id", String, primary_key=True),
    Column("at", String, nullable=False),
)

previews = Table(
    "previews",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    # What people call it: the environment without "preview-".
    Column("name", String, nullable=False),
    Column("branch", String, nullable=False),
    Column("commit", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("expires_at", String),
    Column("used_at", String, nullable=False),
    # Its instances are stopped until a request comes.
    Column("asleep", Boolean, nullable=False),
    ForeignKeyConstraint(["app"], ["apps.name"]),
)
