"""Bounds of the skeleton, in one place."""

OPS_REQUEST_BYTES = 8 * 1024
"""The longest request head that the operations port reads."""

OPS_REQUEST_TIMEOUT_S = 5.0
"""From a connection's start to the end of its answer."""

OPS_CONNECTIONS = 32
"""A further connection to the operations port is closed at once."""

GRACEFUL_STOP_S = 10.0
"""After a signal: how long a service may take to end by itself ..."""

HARD_STOP_S = 2.0
"""... and, once cancelled, to clean up, before the process is ended under it."""

SECRET_FILE_BYTES = 64 * 1024
"""No secret is longer; whoever names a larger file named the wrong one."""

assert OPS_REQUEST_TIMEOUT_S < GRACEFUL_STOP_S
