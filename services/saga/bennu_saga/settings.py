"""What Saga is told: the shared settings, and about snapshots."""

from typing import ClassVar

from bennu.snapshots.settings import ReplicaSettings


class SagaSettings(ReplicaSettings):
    """Nothing beside what every replica is told."""

    service: ClassVar[str] = "saga"
