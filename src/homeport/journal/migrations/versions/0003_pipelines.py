"""Pipelines: trials of releases, runs, stages, approvals, sources, previews."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("releases", sa.Column("author", sa.String(), nullable=True))
    op.add_column("releases", sa.Column("committed_at", sa.String(), nullable=True))
    op.create_table(
        "trials",
        sa.Column("change", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("since", sa.String(), nullable=False),
        sa.Column("until", sa.String(), nullable=True),
        sa.Column("paused_by", sa.String(), nullable=True),
        sa.Column("promoted_by", sa.String(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("position", sa.JSON(), nullable=False),
        sa.Column("standing", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_trials_app_apps")),
        sa.PrimaryKeyConstraint("change", name=op.f("pk_trials")),
    )
    op.create_index("ix_trials_state", "trials", ["state"])
    op.create_table(
        "pipeline_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("commit", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("committed_at", sa.String(), nullable=True),
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("archive", sa.String(), nullable=False),
        sa.Column("spec", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("cancel", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("started_at", sa.String(), nullable=True),
        sa.Column("finished_at", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_pipeline_runs_app_apps")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_runs")),
        sa.UniqueConstraint("app", "number", name=op.f("uq_pipeline_runs_app")),
    )
    op.create_index("ix_pipeline_runs_state", "pipeline_runs", ["state"])
    op.create_table(
        "stage_runs",
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("change", sa.String(), nullable=True),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.String(), nullable=False),
        sa.Column("finished_at", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["pipeline_runs.id"], name=op.f("fk_stage_runs_run_pipeline_runs")),
        sa.PrimaryKeyConstraint("run", "position", "attempt", name=op.f("pk_stage_runs")),
    )
    op.create_table(
        "approvals",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("ticked", sa.JSON(), nullable=False),
        sa.Column("what", sa.JSON(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["pipeline_runs.id"], name=op.f("fk_approvals_run_pipeline_runs")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_approvals")),
    )
    op.create_table(
        "sources",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("directory", sa.String(), nullable=False),
        sa.Column("poll", sa.Float(), nullable=True),
        sa.Column("webhook", sa.Boolean(), nullable=False),
        sa.Column("credential", sa.Boolean(), nullable=False),
        sa.Column("seen", sa.String(), nullable=True),
        sa.Column("looked_at", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("pending", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_sources_app_apps")),
        sa.PrimaryKeyConstraint("app", name=op.f("pk_sources")),
    )
    op.create_table(
        "deliveries",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("app", "id", name=op.f("pk_deliveries")),
    )
    op.create_table(
        "previews",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("branch", sa.String(), nullable=False),
        sa.Column("commit", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("expires_at", sa.String(), nullable=True),
        sa.Column("used_at", sa.String(), nullable=False),
        sa.Column("asleep", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["app"], ["apps.name"], name=op.f("fk_previews_app_apps")),
        sa.PrimaryKeyConstraint("app", "environment", name=op.f("pk_previews")),
    )
