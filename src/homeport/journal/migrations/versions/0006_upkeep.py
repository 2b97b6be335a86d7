"""What is done to databases by the clock: upkeep, sizes; and the end of a rotation that is not waited for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "databases", sa.Column("hurried", sa.Boolean(), nullable=False, server_default=sa.text("0"))
    )
    op.create_table(
        "upkeep",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("upkeep", sa.String(), nullable=False),
        sa.Column("planned_to", sa.String(), nullable=False),
        sa.Column("started_at", sa.String(), nullable=True),
        sa.Column("finished_at", sa.String(), nullable=True),
        sa.Column("outcome", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("app", "environment", "name", "upkeep", name="pk_upkeep"),
    )
    op.create_table(
        "database_sizes",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("sizes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("app", "environment", "name", "at", name="pk_database_sizes"),
    )
