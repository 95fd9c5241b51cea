"""Bennu: in-memory, event-sourced services whose every answer is durable first."""
