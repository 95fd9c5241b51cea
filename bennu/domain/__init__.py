"""What a team declares: aggregates, sagas, projections, and the app that names them.  No I/O, nothing that waits."""

from bennu.domain.aggregate import Accepted, Aggregate, Context, Rejection, State, answers, decides, evolves
from bennu.domain.app import App
from bennu.domain.event_table import EventTable
from bennu.domain.projection import (
    BIGINT,
    BOOLEAN,
    DAY,
    JSONB,
    MAX,
    MIN,
    MONTH,
    SUM,
    TEXT,
    TIMESTAMP,
    Column,
    EventMeta,
    Projection,
    Rows,
    Table,
    projects,
)
from bennu.domain.saga import NOTHING, Parallel, Retry, Saga, Step, Tcc, hears
from bennu.domain.scenario import Scenario, States
from bennu.domain.upcast import upcasts

__all__ = [
    "BIGINT",
    "BOOLEAN",
    "DAY",
    "JSONB",
    "MAX",
    "MIN",
    "MONTH",
    "NOTHING",
    "SUM",
    "TEXT",
    "TIMESTAMP",
    "Accepted",
    "Aggregate",
    "App",
    "Column",
    "Context",
    "EventMeta",
    "EventTable",
    "Parallel",
    "Projection",
    "Rejection",
    "Retry",
    "Rows",
    "Saga",
    "Scenario",
    "State",
    "States",
    "Step",
    "Table",
    "Tcc",
    "answers",
    "decides",
    "evolves",
    "hears",
    "projects",
    "upcasts",
]
