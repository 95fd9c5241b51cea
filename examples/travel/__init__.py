"""The travel example: a trip over four apps, reserved with three, paid in the bank, and all of it or nothing."""
