"""The real parts, shared by all tests."""

from tests.stack_fixtures import database, postgres, rocketmq

__all__ = ["database", "postgres", "rocketmq"]
