"""What QServer and the command line both say of `bennu.generations` and `bennu.workers`."""

BUILDING, LIVE, PREVIOUS, CANCELLED, DROPPED = "building", "live", "previous", "cancelled", "dropped"
"""States of a generation."""

KEPT = (BUILDING, LIVE, PREVIOUS)
"""Those that have tables, and are kept up to date."""

SWITCH, REPLACE, CANCEL, DROP = "switch", "replace", "cancel", "drop"
"""Wishes: show this generation; the same, and make views anew; give up building it; drop its tables."""

WORKER_GONE_S = 4.0
"""A QServer that has said nothing for so long is no longer counted on."""
