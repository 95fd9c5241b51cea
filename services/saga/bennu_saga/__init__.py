"""Saga: long transactions over several aggregates.  Events in, commands out, compensation when a step fails."""
