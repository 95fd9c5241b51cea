"""What QServer is told."""

from pydantic import Field, SecretStr

from bennu.ops.settings import ServiceSettings


class QServerSettings(ServiceSettings):
    """The shared settings, and where the tables are."""

    service = "qserver"

    postgres: SecretStr = Field(description="URL of the database, postgresql://USER:PASSWORD@HOST:PORT/NAME")
