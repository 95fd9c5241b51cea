"""A real RocketMQ and a real Postgres on this machine, without Docker: for tests, the demo and developers."""
