"""Positions of projections."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make `bennu.positions`."""
    op.create_table(
        "positions",
        sa.Column("app", sa.Text),
        sa.Column("projection", sa.Text),
        sa.Column("generation", sa.Integer),
        sa.Column("partition", sa.Integer),
        sa.Column("partitions", sa.Integer, nullable=False, comment="how many the app has"),
        sa.Column("topic", sa.Text, nullable=False, comment="the partition's journal"),
        sa.Column("log_offset", sa.BigInteger, nullable=False, comment="everything below it is projected"),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("term", sa.Numeric(20, 0), nullable=False, comment="64 bits without a sign"),
        sa.Column("batch_no", sa.BigInteger, nullable=False, comment="last batch projected"),
        sa.Column("next_seq", sa.BigInteger, nullable=False, comment="sequence number of the next event"),
        sa.Column("digest", sa.LargeBinary, nullable=False, comment="of the last batch's record"),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("app", "projection", "generation", "partition"),
        schema="bennu",
        comment="Where each projection stands; moved in the transaction that writes its rows",
    )


def downgrade() -> None:
    """Forget the positions; the tables must then be rebuilt."""
    op.drop_table("positions", schema="bennu")
