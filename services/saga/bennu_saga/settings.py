"""What Saga is told: nothing beside the shared settings."""

from typing import ClassVar

from bennu.ops.settings import ServiceSettings


class SagaSettings(ServiceSettings):
    """The shared settings."""

    service: ClassVar[str] = "saga"
