"""Compares tables with what the journal says they must hold: see docs/adr/0013-reconcile.md."""
