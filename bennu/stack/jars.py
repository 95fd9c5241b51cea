"""The jars of RocketMQ, pinned by coordinate and SHA-256 in `jars.lock`, fetched once into a cache.

The lock file names no host: the library jgo knows where Maven artifacts live.
"""

import fcntl
import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from bennu.errors import BadSettings, Unavailable

LOCK_FILE = Path(__file__).with_name("jars.lock")
DEFAULT_CACHE = Path("~/.cache/bennu")
THREADS = 8
ATTEMPTS = 4
RETRY_DELAY_S = 1.0
FETCH_TIMEOUT_S = 30
OTHERS_TIMEOUT_S = 600


@dataclass(frozen=True)
class Jar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def coordinate(self) -> str:
        """group:artifact:version[:classifier]"""
        return ":".join(filter(None, (self.group, self.artifact, self.version, self.classifier)))

    @property
    def path(self) -> Path:
        """Where it lies in a Maven repository."""
        tail = f"-{self.classifier}" if self.classifier else ""
        folder = Path(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}{tail}.jar"


def read_lock(path: Path = LOCK_FILE) -> list[Jar]:
    """Every pinned jar.  Raises `BadSettings` for a line that makes no sense."""
    lines = path.read_text().splitlines()
    return [_parse(line, f"{path.name}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def _parse(line: str, where: str) -> Jar:
    coordinate, separator, sha256 = line.strip().partition(" sha256=")
    names = coordinate.split(":")
    if len(names) not in (3, 4) or not separator or len(sha256) != 64:
        raise BadSettings(f"{where} is not `group:artifact:version[:classifier] sha256=…`: {line!r}")
    group, artifact, version, classifier = (*names, "")[:4]
    return Jar(group, artifact, version, classifier, sha256)


def fetch(jars: Sequence[Jar], cache: Path = DEFAULT_CACHE) -> list[Path]:
    """The jars as files, fetched when they are not in the cache, each verified against its SHA-256.

    Raises `Unavailable` when a jar cannot be had, `BadSettings` when its bytes are not the pinned ones.
    """
    repository = cache.expanduser() / "maven"
    repository.mkdir(parents=True, exist_ok=True)
    with _alone(repository), ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(partial(_fetch_one, repository), jars))


@contextmanager
def _alone(repository: Path) -> Iterator[None]:
    """One process at a time: jgo writes straight to the final path, where another would see half a jar."""
    deadline = time.monotonic() + OTHERS_TIMEOUT_S
    with (repository / ".lock").open("w") as lock:
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise Unavailable(f"another process has been fetching jars to {repository} for {OTHERS_TIMEOUT_S} s")
            time.sleep(0.1)
        yield


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fetch_one(repository: Path, jar: Jar) -> Path:
    path = repository / jar.path
    if path.exists() and _sha256(path) == jar.sha256:
        return path
    problem = ""
    for attempt in range(ATTEMPTS):
        time.sleep(RETRY_DELAY_S * attempt)
        path.unlink(missing_ok=True)  # half a download, or a damaged cache
        problem = _download(repository, jar)
        if not problem and _sha256(path) == jar.sha256:
            return path
    raise _failure(jar, path, problem=problem)


def _download(repository: Path, jar: Jar) -> str:
    """Why it failed; empty when the file is there."""
    from jgo.maven import MavenContext  # half a second: only when something must be fetched

    context = MavenContext(repo_cache=repository, timeout=FETCH_TIMEOUT_S)
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    try:
        component.artifact(jar.classifier).resolve()
    except (OSError, RuntimeError) as problem:  # the network's errors are OSErrors, "not found" is a RuntimeError
        return f"{type(problem).__name__}: {problem}"
    return ""


def _failure(jar: Jar, path: Path, *, problem: str) -> Unavailable | BadSettings:
    if problem:
        return Unavailable(
            f"cannot fetch {jar.coordinate} ({ATTEMPTS} attempts): {problem}. Is this machine allowed to reach a Maven "
            f"repository? Otherwise put the file to {path} by hand."
        )
    return BadSettings(
        f"{jar.coordinate} is not the pinned one: SHA-256 is {_sha256(path)}, {LOCK_FILE.name} says {jar.sha256}. "
        "Do not use it: find out who changed it, or correct the lock file."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
