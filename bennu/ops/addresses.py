"""Addresses to listen on: `HOST:PORT`, and only loopback unless the operator says otherwise."""

import errno
import socket
from ipaddress import ip_address
from typing import NamedTuple

from bennu.errors import BadSettings


class Address(NamedTuple):
    """A host and a port; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it.  A name other than localhost is not trusted to be."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse(text: str, *, what: str) -> Address:
    """`127.0.0.1:50051`, `[::1]:0` or `localhost:80`.  Raises `BadSettings` naming `what`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadSettings(f"{what}: write an IPv6 address in brackets, as in [::1]:50051, not {text!r}")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise BadSettings(f"{what}: expected HOST:PORT, such as 127.0.0.1:50051, not {text!r}")
    return Address(host, int(port))


def to_bind(text: str, *, what: str, insecure_bind: bool, tls: bool = False) -> Address:
    """`parse`, and `BadSettings` for a plaintext port that others could reach."""
    address = parse(text, what=what)
    if not (tls or insecure_bind or address.is_loopback):
        raise BadSettings(
            f"{what}: {address} is no loopback address and the port is not encrypted; bind 127.0.0.1, or say "
            "--insecure-bind (BENNU_INSECURE_BIND=true) if the network itself is trusted"
        )
    return address


def refuse_if_taken(address: Address, *, what: str) -> None:
    """Raise `BadSettings` when nobody can listen there now: in words, and before half of a start."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server(address, family=family).close()
    except OSError as problem:
        raise not_bound(address, problem, what=what) from problem


def not_bound(address: Address, problem: OSError | None = None, *, what: str) -> BadSettings:
    """What to say, and advise, when nobody can listen there; without a problem it was taken a moment ago."""
    why = "it is in use"
    if problem is not None and problem.errno != errno.EADDRINUSE:
        why = problem.strerror or str(problem)
    return BadSettings(
        f"{what}: can't listen on {address}: {why}.  Stop what listens there, or name another address: "
        f"--{what} 127.0.0.1:0 takes a free port"
    )
