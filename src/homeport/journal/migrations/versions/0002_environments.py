"""Environments: secrets, modes, scheduled commands, releases that differ in configuration only."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("changes", sa.Column("hooks", sa.JSON(), nullable=True))
    op.add_column("releases", sa.Column("base", sa.String(), nullable=True))
    op.add_column(
        "deployments", sa.Column("secrets", sa.JSON(), server_default=sa.text("'{}'"), nullable=False)
    )
    op.create_table(
        "secrets",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_secrets_app_apps")),
        sa.PrimaryKeyConstraint("app", "environment", "name", "version", name=op.f("pk_secrets")),
    )
    op.create_table(
        "modes",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("allow", sa.JSON(), nullable=False),
        sa.Column("until", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("since", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_modes_app_apps")),
        sa.PrimaryKeyConstraint("app", "environment", "mode", name=op.f("pk_modes")),
    )
    op.create_table(
        "cron_jobs",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("planned_to", sa.String(), nullable=True),
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.Column("paused_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_cron_jobs_app_apps")),
        sa.PrimaryKeyConstraint("app", "environment", "name", name=op.f("pk_cron_jobs")),
    )
    op.create_table(
        "cron_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.String(), nullable=False),
        sa.Column("missed", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("start_at", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=True),
        sa.Column("started_at", sa.String(), nullable=True),
        sa.Column("finished_at", sa.String(), nullable=True),
        sa.Column("exit", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_cron_runs_app_apps")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cron_runs")),
        sa.UniqueConstraint(
            "app", "environment", "name", "due_at", "cause", "attempt", name=op.f("uq_cron_runs_app")
        ),
    )
    op.create_index("ix_cron_runs_state", "cron_runs", ["state"], unique=False)
