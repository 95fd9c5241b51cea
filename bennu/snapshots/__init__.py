"""Snapshots: a replica's state at one position, kept in Postgres.  A cache of the journal, which alone is the truth."""
