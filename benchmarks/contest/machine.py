"""On what a run was made: the processor, cores, memory and versions; no names of hosts, no paths."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from bennu.stack import jars
from bennu.stack.java import find_java, java_version

LIBRARIES = ("grpcio", "protobuf", "uvloop", "asyncpg", "eventsourcing", "psycopg")
POSTGRES = 18


def machine() -> dict[str, object]:
    """What a reader needs to judge figures; `load` is how many processes were at work already."""
    rocketmq = next(jar.version for jar in jars.read_lock() if jar.artifact == "rocketmq-broker")
    return {
        "cpu": _line("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_line("/proc/meminfo", "MemTotal").split()[0]) / 1024**2, 1),
        "kernel": platform.release().partition("-")[0],
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            "bennu": version("bennu"),
            "python": platform.python_version(),
            "rocketmq": rocketmq,
            "postgres": str(POSTGRES),
            "java": str(java_version(find_java())),
        }
        | {name: version(name) for name in LIBRARIES},
    }


def _line(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")
