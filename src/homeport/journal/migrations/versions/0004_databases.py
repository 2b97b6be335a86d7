"""Clusters, databases and restore points."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "clusters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("pooler_port", sa.Integer(), nullable=False),
        sa.Column("dedicated", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_clusters"),
    )
    op.create_table(
        "databases",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("database", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("previous", sa.String(), nullable=True),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("connections", sa.Integer(), nullable=True),
        sa.Column("replicas", sa.Integer(), nullable=False),
        sa.Column("extensions", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("rotated_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("app", "environment", "name", name="pk_databases"),
        sa.UniqueConstraint("cluster", "database", name="uq_databases_cluster"),
    )
    op.create_table(
        "restore_points",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("lsn", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("change", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_restore_points"),
    )
    op.create_index("ix_restore_points_database", "restore_points", ["app", "environment", "name", "at"])
