"""Repositories of backups, their runs and what looks at clusters found. Secrets may be the machine's own."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "backup_repositories",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("place", sa.JSON(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_backup_repositories"),
    )
    op.create_table(
        "backup_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("cancel", sa.String(), nullable=False),
        sa.Column("started_at", sa.String(), nullable=False),
        sa.Column("finished_at", sa.String(), nullable=True),
        sa.Column("lane", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backup_runs"),
    )
    op.create_index("ix_backup_runs_started", "backup_runs", ["started_at"])
    op.create_index(
        "ux_backup_runs_lane", "backup_runs", ["lane"], unique=True, sqlite_where=sa.text("state = 'running'")
    )
    op.create_table(
        "backup_looks",
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=True),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "at", name="pk_backup_looks"),
    )
    # SQLite drops no constraint: the table is made anew, without its reference to apps.
    op.create_table(
        "secrets_new",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("app", "environment", "name", "version", name="pk_secrets"),
    )
    op.execute(
        "INSERT INTO secrets_new SELECT app, environment, name, version, token, source, actor, created_at FROM secrets"
    )
    op.drop_table("secrets")
    op.rename_table("secrets_new", "secrets")
