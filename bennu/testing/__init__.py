"""What tests of a domain, and Bennu's own, are written with: given / when / then, and time that does not pass."""

from bennu.testing.given import given

__all__ = ["given"]
