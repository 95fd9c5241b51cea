"""What QServer is told."""

from pydantic import Field, SecretStr

from bennu.ops.settings import ServiceSettings


class QServerSettings(ServiceSettings):
    """The shared settings, and where the tables are."""

    service = "qserver"

    postgres: SecretStr = Field(description="URL of the database, postgresql://USER:PASSWORD@HOST:PORT/NAME")
    reconcile_cpu_percent: float = Field(
        1.0, ge=0, le=50, description="of a processor, for comparing tables with the journal all the time; 0: never"
    )
