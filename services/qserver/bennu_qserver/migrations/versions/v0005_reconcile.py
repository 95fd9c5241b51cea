"""When parked events were applied, and how far the comparison of tables with the journal has come."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was applied before has no such number: it counts as if it had never been parked."""
    comment = "of an applied one: the last event that its partition had projected before"
    op.add_column("dead_letters", sa.Column("applied_after", sa.BigInteger, comment=comment), schema="bennu")
    whole = "last time that all rows were compared"
    op.create_table(
        "reconciled",
        sa.Column("app", sa.Text),
        sa.Column("projection", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False, comment="the live one, when this was written"),
        sa.Column("part", sa.BigInteger, nullable=False, comment="which part of the rows is compared next"),
        sa.Column("parts", sa.BigInteger, nullable=False, comment="of so many"),
        sa.Column("rows", sa.BigInteger, nullable=False, comment="compared in this pass so far"),
        sa.Column("differences", sa.BigInteger, nullable=False, comment="found in this pass so far"),
        sa.Column("first_differences", JSONB, nullable=False, comment="the first ones of them, in words"),
        sa.Column("not_compared", JSONB, nullable=False, comment="tables that can't be compared, and why"),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, comment="when this pass began"),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False, comment="when this was written"),
        sa.Column("whole_at", sa.DateTime(timezone=True), comment=f"{whole}; NULL: never"),
        sa.Column("whole_rows", sa.BigInteger, comment=f"{whole}: how many there were"),
        sa.Column("whole_differences", sa.BigInteger, comment=f"{whole}: how many differences were found"),
        sa.Column("whole_first", JSONB, comment=f"{whole}: the first differences, in words"),
        sa.Column("problem", sa.Text, comment="why nothing can be compared; NULL: it can"),
        sa.PrimaryKeyConstraint("app", "projection"),
        schema="bennu",
        comment="How far QServer has come in comparing tables with the journal, over and over; and what it found",
    )


def downgrade() -> None:
    """Forget both."""
    op.drop_table("reconciled", schema="bennu")
    op.drop_column("dead_letters", "applied_after", schema="bennu")
