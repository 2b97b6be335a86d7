"""Object lock of repositories' stores."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "backup_locks",
        sa.Column("repository", sa.String(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("renewed_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("repository", name="pk_backup_locks"),
    )
