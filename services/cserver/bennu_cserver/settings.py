"""What a CServer is told."""

from typing import ClassVar

from pydantic import Field

from bennu.limits import WINDOW_AGE_MS, WINDOW_COUNT
from bennu.snapshots.settings import ReplicaSettings


class CServerSettings(ReplicaSettings):
    """Beside the shared settings: its port, and how long replies are kept."""

    service: ClassVar[str] = "cserver"
    grpc: str = Field("127.0.0.1:50051", description="address of the gRPC port; port 0 takes a free one")
    advertise: str = Field(
        "", description="HOST:PORT by which the others reach the gRPC port; default: where it is bound"
    )
    window_count: int = Field(
        WINDOW_COUNT, ge=1, le=100_000_000, description="replies kept by this process, over all its partitions"
    )
    window_age_ms: int = Field(WINDOW_AGE_MS, ge=1000, description="age at which a kept reply is forgotten")
