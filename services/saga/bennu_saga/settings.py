"""What Saga is told: the shared settings, about snapshots, and where operators reach it."""

from typing import ClassVar

from pydantic import Field

from bennu.snapshots.settings import ReplicaSettings


class SagaSettings(ReplicaSettings):
    """Beside what every replica is told: its port for operators, not called as CServer's: one file may serve both."""

    service: ClassVar[str] = "saga"
    admin: str = Field(
        "127.0.0.1:0", description="address of the gRPC port for operators; with port 0, as by default, a free one"
    )
    admin_advertise: str = Field(
        "", description="HOST:PORT by which operators reach the gRPC port; default: where it is bound"
    )
