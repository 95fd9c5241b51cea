"""The cars, an app of their own: `--app travel.car.app:app`."""
