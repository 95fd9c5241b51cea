"""The real parts, shared by the tests here."""

from tests.stack_fixtures import database, postgres, rocketmq

__all__ = ["database", "postgres", "rocketmq"]
