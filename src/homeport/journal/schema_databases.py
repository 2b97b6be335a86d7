"""The tables of ``state.db`` that tell of databases; no password is in them."""

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, UniqueConstraint, text

from homeport.journal.metadata import metadata

clusters = Table(
    "clusters",
    metadata,
    Column("name", String, primary_key=True),
    # The major version of the server that made its files.
    Column("version", Integer, nullable=False),
    # "making" until its files are whole, "ready" from then on: what is ready is never made anew.
    Column("state", String, nullable=False),
    Column("port", Integer, nullable=False),
    Column("pooler_port", Integer, nullable=False),
    # Whether it is one database's own.
    Column("dedicated", Boolean, nullable=False),
    Column("created_at", String, nullable=False),
)

# Without a foreign key to apps: data outlives its app until somebody drops it by its name.
databases = Table(
    "databases",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("engine", String, nullable=False),
    Column("cluster", String, nullable=False),
    # What PostgreSQL calls it; the names of its roles follow from it.
    Column("database", String, nullable=False),
    # "making", "ready" or "dropping".
    Column("state", String, nullable=False),
    # The login that the app uses: "a" or "b"; and, while a rotation is under way, the one before it.
    Column("login", String, nullable=False),
    Column("previous", String),
    # How PgBouncer shares connections: "transaction", "session", "none".
    Column("pool", String, nullable=False),
    # How many connections were asked for; null: by the rule.
    Column("connections", Integer),
    # Instances of the app's processes together.
    Column("replicas", Integer, nullable=False),
    Column("extensions", JSON, nullable=False),
    Column("created_at", String, nullable=False),
    Column("rotated_at", String),
    # While a rotation is under way: instances that could go back to the former login are not kept for it.
    Column("hurried", Boolean, nullable=False, server_default=text("0")),
    UniqueConstraint("cluster", "database"),
)

restore_points = Table(
    "restore_points",
    metadata,
    Column("id", String, primary_key=True),
    Column("app", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("name", String, nullable=False),
    # Where in the server's log it lies, such as "0/1A2B3C4D".
    Column("lsn", String, nullable=False),
    Column("at", String, nullable=False),
    # The change before which it was made.
    Column("change", String),
    Index("ix_restore_points_database", "app", "environment", "name", "at"),
)

# What a release's migrations take away once it has served a while.
contracts = Table(
    "contracts",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("release", String, primary_key=True),
    # The database's name in homeport.toml.
    Column("name", String, primary_key=True),
    Column("versions", JSON, nullable=False),
    # "waiting", "done", "failed".
    Column("state", String, nullable=False),
    Column("at", String, nullable=False),
)

# Statements that keep a database well by the clock: the last run of each.
upkeep = Table(
    "upkeep",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    # The database's name in homeport.toml.
    Column("name", String, primary_key=True),
    Column("upkeep", String, primary_key=True),
    # Every time up to this one has had its run.
    Column("planned_to", String, nullable=False),
    Column("started_at", String),
    # Null while it runs.
    Column("finished_at", String),
    # As homeport.database.upkeep.model.Outcome has it.
    Column("outcome", JSON),
)

# How large a database was, once a day.
database_sizes = Table(
    "database_sizes",
    metadata,
    Column("app", String, primary_key=True),
    Column("environment", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("at", String, primary_key=True),
    # As homeport.database.insight.growth.Sizes has it.
    Column("sizes", JSON, nullable=False),
)
