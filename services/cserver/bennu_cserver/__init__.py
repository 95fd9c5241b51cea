"""CServer: the only writer of a domain's state.  Commands in, events out, every answer durable first."""
