"""The hotels, an app of their own: `--app travel.hotel.app:app`."""
