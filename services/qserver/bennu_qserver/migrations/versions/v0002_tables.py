"""Generations of projections, the processes that fill them, dead letters, and how fresh tables are."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; what was projected before is generation 1 of each projection."""
    _generations()
    _workers()
    _dead_letters()
    _freshness()


def _time(name: str, comment: str) -> "sa.Column[datetime]":
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment)


def _since(name: str, comment: str) -> "sa.Column[datetime]":
    """A time that is always there, and begins as the present one."""
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, nullable=False, server_default=sa.func.now())


def _generations() -> None:
    op.create_table(
        "projections",
        sa.Column("app", sa.Text),
        sa.Column("projection", sa.Text),
        sa.Column("paused_by", sa.Text, comment="the operator; NULL: not paused"),
        sa.Column("paused_reason", sa.Text),
        _time("paused_at", "since when"),
        sa.PrimaryKeyConstraint("app", "projection"),
        schema="bennu",
        comment="Projections, whatever their generations",
    )
    op.create_table(
        "generations",
        sa.Column("app", sa.Text),
        sa.Column("projection", sa.Text),
        sa.Column("generation", sa.Integer),
        sa.Column("state", sa.Text, nullable=False, comment="building, live, previous, cancelled or dropped"),
        sa.Column("declaration", sa.Text, nullable=False, comment="hash of its tables and event types"),
        sa.Column("asked_by", sa.Text, nullable=False, server_default="", comment="who wanted it"),
        sa.Column("reason", sa.Text, nullable=False, server_default="", comment="why"),
        sa.Column("tables", sa.ARRAY(sa.Text), nullable=False, server_default="{}", comment="as declared, once made"),
        sa.Column("wish", sa.Text, comment="what is wanted: switch, replace, cancel or drop; NULL: nothing"),
        sa.Column("problem", sa.Text, comment="why it does not go on; NULL: it does"),
        _since("created_at", "when it was begun"),
        _since("changed_at", "when its state changed last"),
        sa.PrimaryKeyConstraint("app", "projection", "generation"),
        schema="bennu",
        comment="Generations of projections: each has tables and positions of its own, and views show the live one",
    )
    op.create_index(
        "one_live_generation",
        "generations",
        ["app", "projection"],
        unique=True,
        schema="bennu",
        postgresql_where=sa.text("state = 'live'"),
    )


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("app", sa.Text),
        sa.Column("node", sa.Text, comment="name of the process"),
        sa.Column("life", sa.BigInteger, nullable=False, comment="random: two processes of one name differ by it"),
        sa.Column(
            "declarations", JSONB, nullable=False, comment="hash of each projection that it can project, by name"
        ),
        _since("seen_at", "by the clock of Postgres"),
        sa.PrimaryKeyConstraint("app", "node"),
        schema="bennu",
        comment="QServers that live: partitions are shared between them",
    )


def _dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("app", sa.Text),
        sa.Column("projection", sa.Text),
        sa.Column("generation", sa.Integer),
        sa.Column("partition", sa.Integer),
        sa.Column("seq", sa.BigInteger, comment="number of the event in the partition"),
        sa.Column("aggregate", sa.Text, nullable=False, comment="kind of what the event is about"),
        sa.Column("key", sa.Text, nullable=False, comment="which one: its later events are parked, too"),
        sa.Column("type", sa.Text, nullable=False, comment="of the event"),
        sa.Column("event", sa.LargeBinary, nullable=False, comment="as it stands in the journal"),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, comment="journaled time"),
        sa.Column("problem", sa.Text, comment="what is wrong; NULL: only that an earlier event of its key is parked"),
        sa.Column("state", sa.Text, nullable=False, comment="parked, applied or discarded"),
        sa.Column("wish", sa.Text, comment="what an operator wants: retry or discard; NULL: nothing"),
        sa.Column("wished_by", sa.Text),
        sa.Column("wished_reason", sa.Text),
        _since("parked_at", "when it was parked"),
        _time("ended_at", "when it was applied or discarded"),
        sa.PrimaryKeyConstraint("app", "projection", "generation", "partition", "seq"),
        schema="bennu",
        comment="Events that could not be projected, and later ones of the same key, in order",
    )
    op.create_index(
        "dead_letters_parked",
        "dead_letters",
        ["app", "projection", "generation", "partition", "seq"],
        schema="bennu",
        postgresql_where=sa.text("state = 'parked'"),
    )


def _freshness() -> None:
    op.create_table(
        "freshness",
        sa.Column("app", sa.Text),
        sa.Column("projection", sa.Text),
        sa.Column("generation", sa.Integer),
        sa.Column("partition", sa.Integer),
        sa.Column("node", sa.Text, nullable=False, comment="the process that projects it"),
        sa.Column("lag_batches", sa.BigInteger, nullable=False, comment="journal records that are not projected"),
        sa.Column("lag_events", sa.BigInteger, nullable=False, comment="events that were read and are not written"),
        sa.Column("lag_ms", sa.BigInteger, nullable=False, comment="age of the first record that is not projected"),
        _since("sampled_at", "when this was so"),
        sa.PrimaryKeyConstraint("app", "projection", "generation", "partition"),
        schema="bennu",
        comment="How far each projection is behind its journals, once a second",
    )


def downgrade() -> None:
    """Forget them; generation 1 alone is known then."""
    for table in ("freshness", "dead_letters", "workers", "generations", "projections"):
        op.drop_table(table, schema="bennu")
