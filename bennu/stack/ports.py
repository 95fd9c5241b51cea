"""Free TCP ports on the loopback address.

They lie below the range from which Linux picks ports for outgoing connections, so that a server which is killed finds
its port free when it comes back.
"""

import secrets
import socket
from collections.abc import Sequence

from bennu.errors import Unavailable

HOST = "127.0.0.1"
FIRST, LAST = 15_000, 31_000
TRIES = 500


def free_port(offsets: Sequence[int] = (0,)) -> int:
    """A port such that it and its neighbours at the offsets are free now.  Raises `Unavailable`."""
    for _ in range(TRIES):
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if all(is_free(port + offset) for offset in offsets):
            return port
    raise Unavailable(f"no free TCP port on {HOST} between {FIRST} and {LAST} after {TRIES} tries: stop some servers")


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
