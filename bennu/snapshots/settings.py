"""What a service is told whose replicas may begin from snapshots."""

from pydantic import Field, SecretStr

from bennu.ops.settings import ServiceSettings
from bennu.snapshots.limits import EVERY_S


class ReplicaSettings(ServiceSettings):
    """The shared settings, and where snapshots are."""

    postgres: SecretStr | None = Field(
        None, description="URL of the database of snapshots; without it journals are replayed from their start"
    )
    snapshot_every_s: int = Field(
        EVERY_S, ge=0, le=365 * 86_400, description="age at which a follower takes a new snapshot; 0: it takes none"
    )
