"""What Postgres says to any service: the settings are wrong, or the same may succeed later; and a URL's port."""

from urllib.parse import urlsplit

from asyncpg import exceptions as pg

from bennu.errors import BadSettings

MISTAKEN = (
    pg.ClientConfigurationError,
    pg.InvalidAuthorizationSpecificationError,
    pg.InvalidCatalogNameError,
    pg.InsufficientPrivilegeError,
)
"""The settings or the grants are wrong: an operator must act."""

AWAY = (
    OSError,  # refused, reset, and TimeoutError
    pg.InterfaceError,  # the connection was closed under us
    pg.InternalClientError,
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,  # terminated, shutting down, starting up, cancelled
    pg.InsufficientResourcesError,  # connections, memory, disk
    pg.InvalidTransactionStateError,  # read-only after a failover; ended for being idle
    pg.ObjectNotInPrerequisiteStateError,  # locks not available
    pg.TransactionRollbackError,  # serialization failure, deadlock
    pg.PostgresSystemError,  # its disk
)
"""The same transaction may succeed later."""

SCHEMA_LOCK = 0x62656E6E75  # "bennu"
"""Advisory lock of whoever makes tables of Bennu's own."""


def check_ports(dsn: str) -> None:
    """Raise `BadSettings` unless the port of each host is one.  It isn't shown: it may be half of a password."""
    for host in urlsplit(dsn).netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else "0"
        if not (port.isdecimal() and int(port) < 2**16):
            raise BadSettings("postgres: the port in the URL is no number below 65536")
