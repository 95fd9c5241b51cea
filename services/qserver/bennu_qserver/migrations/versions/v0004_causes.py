"""Of a parked event all that is known of its command: it is projected later as it would have been."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = {
    "command_type": "full name of the command's message",
    "correlation_id": "the saga that sent the command, or what a client gave",
    "causation_id": "id of the command whose outcome led to it",
    "reason": "what its actor said",
    "traceparent": "of the trace that it belongs to",
}


def upgrade() -> None:
    """Empty for events that were parked before."""
    for name, comment in COLUMNS.items():
        column = sa.Column(name, sa.Text, nullable=False, server_default="", comment=comment)
        op.add_column("dead_letters", column, schema="bennu")


def downgrade() -> None:
    """Nobody knows it any more."""
    for name in COLUMNS:
        op.drop_column("dead_letters", name, schema="bennu")
