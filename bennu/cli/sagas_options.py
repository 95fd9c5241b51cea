"""Options of `bennu sagas`, and what its filters mean."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from bennu.v1.saga_admin_pb2 import SagaFilter

HERE = "127.0.0.1:50052"
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)")


class Standing(StrEnum):
    """As `bennu.v1.SagaStanding`."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    PARKED = "parked"
    COMPENSATION_FAILED = "compensation_failed"


Admin = Annotated[str, typer.Option("--admin", envvar="BENNU_ADMIN", help="Where any Saga of the app is reached.")]
One = Annotated[str, typer.Argument(metavar="SAGA", help="Its id, such as TransferSaga:t-17.")]
MaybeOne = Annotated[str, typer.Argument(metavar="[SAGA]", help="Its id; else say by filters which, and how many.")]
OfDefinition = Annotated[str, typer.Option("--definition", help="Only those of this name.")]
OfVersion = Annotated[int, typer.Option("--version", min=0, help="Only those of this version; 0: any.")]
Standings = Annotated[list[Standing] | None, typer.Option("--standing", help="Only those; may be given several times.")]
Stuck = Annotated[bool, typer.Option("--stuck", help="Only those that take longer than their service level.")]
Prefix = Annotated[str, typer.Option("--prefix", help="Only those whose id, or key, begins so.")]
OlderThan = Annotated[str, typer.Option("--older-than", metavar="TIME", help="Only older ones: 90s, 10m, 2h, 3d.")]
FailingStep = Annotated[str, typer.Option("--failing-step", help="Only those that are at odds with this step.")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0 prints all.")]
BulkLimit = Annotated[int, typer.Option("--limit", min=0, max=1_000, help="Without SAGA: at most so many.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the journal.")]
Actor = Annotated[str, typer.Option("--actor", help="Who decides; otherwise your login name.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Without SAGA: do not ask.")]
Step = Annotated[str, typer.Option("--step", help="Its name.")]


class Filters(NamedTuple):
    """Which sagas."""

    definition: str
    version: int
    standings: list[Standing] | None
    stuck: bool
    prefix: str
    older_than: str
    failing_step: str

    def message(self) -> "SagaFilter":
        """Raises `typer.BadParameter`."""
        from bennu.v1.saga_admin_pb2 import SagaFilter, SagaStanding

        return SagaFilter(
            definition=self.definition,
            version=self.version,
            standings=[SagaStanding.Value(f"SAGA_STANDING_{each.name}") for each in self.standings or ()],
            stuck=self.stuck,
            id_prefix=self.prefix,
            older_than_ms=milliseconds(self.older_than),
            failing_step=self.failing_step,
        )


def milliseconds(text: str) -> int:
    """`90s`, `10m`, `2h`, `3d`; nothing is 0.  Raises `typer.BadParameter`."""
    parts = DURATION.fullmatch(text)
    if text and parts is None:
        raise typer.BadParameter(f"{text!r} is no time; one is 90s, 10m, 2h or 3d", param_hint="--older-than")
    return int(parts[1]) * UNITS_MS[parts[2]] if parts else 0
