"""The names of all settings of all services, in one place.

A service ignores what another one's settings are called, and refuses what nobody knows: so a misspelt variable is an
error in every service, and one environment or file may serve all three.  `settings.load` asserts that a service's
fields stand here.
"""

SHARED = frozenset(
    {
        "app",
        "archive",
        "insecure_bind",
        "log",
        "log_access_key",
        "log_level",
        "log_secret_key",
        "node",
        "ops",
        "partitions",
    }
)

OWN: dict[str, frozenset[str]] = {
    "archiver": frozenset({"once", "segment_age_s", "segment_bytes"}),
    "cserver": frozenset({"advertise", "grpc", "postgres", "snapshot_every_s", "window_age_ms", "window_count"}),
    "qserver": frozenset({"postgres", "reconcile_cpu_percent"}),
    "saga": frozenset({"admin", "admin_advertise", "postgres", "snapshot_every_s"}),
}

SECRETS = frozenset({"log_access_key", "log_secret_key", "postgres"})
"""May also be read from a file, by NAME_file; never taken from the command line, which every user of a host can see."""

NOT_A_SERVICES = frozenset({"config"})
"""`BENNU_CONFIG` names the file itself."""


def known_to(service: str) -> frozenset[str]:
    """What may stand in the table of `service`."""
    return _with_files(SHARED | OWN[service])


def known() -> frozenset[str]:
    """What may stand in the environment, or at the top of a file."""
    return _with_files(SHARED.union(*OWN.values()))


def _with_files(names: frozenset[str]) -> frozenset[str]:
    return names | {f"{name}_file" for name in names & SECRETS}
