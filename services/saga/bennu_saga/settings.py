"""What Saga is told: the shared settings, and about snapshots."""

from typing import ClassVar

from pydantic import Field, SecretStr

from bennu.ops.settings import ServiceSettings
from bennu.snapshots.limits import EVERY_S


class SagaSettings(ServiceSettings):
    """The shared settings, and where snapshots are."""

    service: ClassVar[str] = "saga"
    postgres: SecretStr | None = Field(
        None, description="URL of the database of snapshots; without it journals are replayed from their start"
    )
    snapshot_every_s: int = Field(
        EVERY_S, ge=0, le=365 * 86_400, description="age at which a follower takes a new snapshot; 0: it takes none"
    )
