"""The flights, an app of their own: `--app travel.flight.app:app`."""
