"""What the tables `sagas`, `saga_steps` and `saga_commands` hold: see `saga_projection` for how they are filled.

The key of `sagas` is the saga's id, since all records but the first name nothing else: a saga whose id was used before
takes the place of that one, which has ended.  `instance` tells them apart.  Commands of all instances are kept; a row
of a step belongs to the saga as long as both have the same instance.
"""

from bennu.domain import BIGINT, BOOLEAN, JSONB, TEXT, TIMESTAMP, Column, Table

_INSTANCE = Column("instance", TEXT, comment="place of the event that started it: sagas of one id differ by it")

SAGAS = Table(
    "sagas",
    key=("saga_id",),
    indexes=(("status",), ("correlation_id",)),
    comment="Sagas: the newest one of each id",
    columns=(
        Column("saga_id", TEXT, comment="definition and key, such as TransferSaga:t-17"),
        _INSTANCE,
        Column("definition", TEXT, comment="name of the declaration"),
        Column("version", BIGINT, comment="of the declaration; a saga ends on the one it began with"),
        Column(
            "status",
            TEXT,
            comment="running or compensating; then completed, compensated, compensation_failed (waits for an operator) "
            "or resolved (by one)",
            formula="coalesce(outcome, CASE WHEN turned_back THEN 'compensating' ELSE 'running' END)",
        ),
        Column("outcome", TEXT, nullable=True, comment="the status it ended in; NULL while it goes on"),
        Column("turned_back", BOOLEAN, comment="whether what it did is being undone, or was"),
        Column("reason", TEXT, nullable=True, comment="why: it turned back (the newest refusal), failed, was resolved"),
        Column("parked", TEXT, nullable=True, comment="why it waits for an operator; NULL: it goes on by itself"),
        Column("parked_step", BIGINT, nullable=True, comment="the step that it is parked at"),
        Column("parked_at", TIMESTAMP, nullable=True, comment="journaled time"),
        Column(
            "operation", TEXT, nullable=True, comment="an operator's last decision: retry, skip, compensate, resolve"
        ),
        Column("operated_step", BIGINT, nullable=True, comment="the step of a skip"),
        Column("operated_by", TEXT, nullable=True, comment="the operator"),
        Column("operated_reason", TEXT, nullable=True, comment="what the operator said"),
        Column("operated_at", TIMESTAMP, nullable=True, comment="journaled time"),
        Column("correlation_id", TEXT, comment="of the command that it answers to"),
        Column("causation_id", TEXT, comment="that command's id"),
        Column("trigger_type", TEXT, comment="type of the event that started it"),
        Column("trigger", JSONB, nullable=True, comment="that event; NULL if this build can't read it"),
        Column("data", JSONB, nullable=True, comment="what it remembers of answers; NULL: nothing yet"),
        Column("partition", BIGINT, comment="of its journal"),
        Column("seq", BIGINT, comment="number of its first record in the journal"),
        Column("started_at", TIMESTAMP, comment="journaled time"),
        Column("updated_at", TIMESTAMP, comment="journaled time of its last record"),
        Column("ended_at", TIMESTAMP, nullable=True, comment="journaled time of the outcome"),
    ),
)
SAGA_STEPS = Table(
    "saga_steps",
    key=("saga_id", "step"),
    comment="Steps of sagas: what was last said of each.  In one that turned back, `resting` is over",
    columns=(
        Column("saga_id", TEXT, comment="join with sagas on this and instance"),
        _INSTANCE,
        Column("step", BIGINT, comment="index in the declaration; behind the last one: the command that tells the end"),
        Column("name", TEXT, comment="empty for the closing command, and for a declaration that this build lacks"),
        Column(
            "phase",
            TEXT,
            comment="waiting, asked, awaits_event, resting (before it is asked again), done, refused, given_up, "
            "left_out, skipped or undone",
        ),
        Column("role", TEXT, comment="of its last command: forward, compensation or closing; empty: there was none"),
        Column("attempts", BIGINT, comment="how often that command was asked for"),
        Column("last_error", TEXT, nullable=True, comment="the last refusal, silence, or failure of a rule"),
        Column("awaited", TEXT, nullable=True, comment="id of the command whose answer is waited for"),
        Column("due_at", TIMESTAMP, nullable=True, comment="when it is given up, or asked again; journaled time"),
        Column("updated_at", TIMESTAMP, comment="journaled time"),
    ),
)
SAGA_COMMANDS = Table(
    "saga_commands",
    key=("command_id",),
    indexes=(("saga_id", "instance"),),
    comment="Commands that sagas issued, each with its newest sending",
    columns=(
        Column("command_id", TEXT, comment="one effect, however often it is sent"),
        Column("saga_id", TEXT),
        _INSTANCE,
        Column("step", BIGINT, comment="index of the step"),
        Column("role", TEXT, comment="forward, compensation or closing"),
        Column("type", TEXT, comment="type of the command"),
        Column("payload", JSONB, nullable=True, comment="the command; NULL if this build can't read it"),
        Column("destination", TEXT, comment="the command log that it goes to"),
        Column("no", BIGINT, comment="its newest number in what goes there from this saga journal"),
        Column("attempt", BIGINT, comment="how often the step was asked for before"),
        Column(
            "compensates", TEXT, nullable=True, comment="the unanswered command that it undoes if that had an effect"
        ),
        Column("issued_at", TIMESTAMP, comment="first; journaled time"),
        Column("asked_at", TIMESTAMP, comment="last; journaled time"),
        Column("due_at", TIMESTAMP, nullable=True, comment="until when an answer was waited for; NULL: for ever"),
        Column("answered_at", TIMESTAMP, nullable=True, comment="NULL: no answer was heard"),
        Column("accepted", BOOLEAN, nullable=True, comment="whether it was carried out"),
        Column("reason", TEXT, nullable=True, comment="of a refusal"),
    ),
)
