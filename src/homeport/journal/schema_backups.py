"""The tables of ``state.db`` that tell of backups; no passphrase is in them."""

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, text

from homeport.journal.metadata import metadata

backup_repositories = Table(
    "backup_repositories",
    metadata,
    Column("name", String, primary_key=True),
    # In the order in which they came: pgBackRest numbers them.
    Column("position", Integer, nullable=False),
    # {"path": …} or {"endpoint": …, "bucket": …, …}; its secrets are the machine's.
    Column("place", JSON, nullable=False),
    # Whether it was opened and made; until then nothing goes there.
    Column("ready", Boolean, nullable=False),
    Column("created_at", String, nullable=False),
)

# Object lock that was asked for of a repository's store, and what was seen of it.
backup_locks = Table(
    "backup_locks",
    metadata,
    Column("repository", String, primary_key=True),
    # {"mode": "GOVERNANCE" or "COMPLIANCE", "days": …}
    Column("asked", JSON, nullable=False),
    # The same, of its bucket when it was looked at last; null: it locks nothing.
    Column("seen", JSON, nullable=False),
    Column("seen_at", String, nullable=False),
    # Why it could not be looked at or extended; "" if neither.
    Column("problem", String, nullable=False),
    # When what is in use was locked anew.
    Column("renewed_at", String),
)

# A backup, a restore, a drill: long work with steps, carried on after a kill.
backup_runs = Table(
    "backup_runs",
    metadata,
    # "b-" and ten hex digits.
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    # What it is about, for people: an environment, a cluster; "" is all.
    Column("subject", String, nullable=False),
    Column("request", JSON, nullable=False),
    # Who began it: a person, or "homeport" by the clock.
    Column("actor", String, nullable=False),
    # "running", "passed", "failed", "cancelled".
    Column("state", String, nullable=False),
    # [{"name", "work", "request", "state", "started_at", "finished_at", "progress", "result", "error"}, …]
    Column("steps", JSON, nullable=False),
    Column("cancel", String, nullable=False),
    Column("started_at", String, nullable=False),
    Column("finished_at", String),
    # Two of one lane do not run beside each other.
    Column("lane", String, nullable=False),
    Index("ix_backup_runs_started", "started_at"),
    Index("ux_backup_runs_lane", "lane", unique=True, sqlite_where=text("state = 'running'")),
)

# What a look at a cluster found, each minute.
backup_looks = Table(
    "backup_looks",
    metadata,
    Column("cluster", String, primary_key=True),
    Column("at", String, primary_key=True),
    # Seconds of writes that would be lost with the machine; null: not known.
    Column("lost", Integer),
    # [{"code", "sentence", "hint", "wants_full"}, …]
    Column("findings", JSON, nullable=False),
    # Whether it is the first of its findings: a history keeps these for longer.
    Column("changed", Boolean, nullable=False),
)

# What came of each drill, kept for good.
drill_reports = Table(
    "drill_reports",
    metadata,
    # Of the run: runs themselves are forgotten at some time.
    Column("run", String, primary_key=True),
    Column("scenario", String, nullable=False),
    Column("at", String, nullable=False),
    Column("passed", Boolean, nullable=False),
    # ``homeport.backup.drills.model.Report``
    Column("report", JSON, nullable=False),
    Index("ix_drill_reports_at", "at"),
)

# When drills are due: 1 is the machine's own schedule, others are those of environments in homeport.toml.
drill_schedule = Table(
    "drill_schedule",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line", String, nullable=False),
    # Since when it is looked for the next time: when it was set, or a drill began by it.
    Column("since", String, nullable=False),
)
