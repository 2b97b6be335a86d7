"""Migrations that wait until the release that allows them has served a while."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "contracts",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("app", "environment", "release", "name", name="pk_contracts"),
    )
