"""RocketMQ's jars are the pinned ones, or there is a clear error."""

import hashlib
from pathlib import Path

import pytest

from bennu.errors import BadSettings, Unavailable
from bennu.stack import jars
from bennu.stack.jars import Jar, fetch, read_lock

GOOD = b"good bytes"
JAR = Jar("org.example", "thing", "1.0", "linux-x86_64", hashlib.sha256(GOOD).hexdigest())


class Repository:
    """Stands in for the network: the bytes, or the problems, of each attempt."""

    def __init__(self, *answers: bytes | str) -> None:
        self.answers = list(answers)

    def download(self, repository: Path, jar: Jar) -> str:
        """As `jars._download`."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, str):
            return answer
        path = repository / jar.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer)
        return ""


def serve(monkeypatch: pytest.MonkeyPatch, *answers: bytes | str) -> Repository:
    """Put the stand-in where the network is asked."""
    repository = Repository(*answers)
    monkeypatch.setattr(jars, "_download", repository.download)
    monkeypatch.setattr(jars, "RETRY_DELAY_S", 0.001)
    return repository


def test_the_lock_file_pins_one_release_of_rocketmq() -> None:
    """Every line is a coordinate with a hash, no host, no second version."""
    pinned = read_lock()
    names = [(jar.group, jar.artifact, jar.classifier) for jar in pinned]
    assert len(set(names)) == len(names)
    versions = {jar.artifact: jar.version for jar in pinned}
    assert {versions[f"rocketmq-{part}"] for part in ("proxy", "namesrv", "tools", "broker", "store")} == {"5.5.0"}
    assert "rocketmq-example" not in versions
    assert "//" not in jars.LOCK_FILE.read_text()


def test_a_line_without_a_hash_is_named(tmp_path: Path) -> None:
    """The error points at the line."""
    lock = tmp_path / "some.lock"
    lock.write_text(f"a:b:1 sha256={'0' * 64}\na:b:1\n")
    with pytest.raises(BadSettings, match=r"some\.lock:2"):
        read_lock(lock)


def test_a_jar_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time needs no network."""
    serve(monkeypatch, GOOD)
    [path] = fetch([JAR], tmp_path)
    assert path.read_bytes() == GOOD
    serve(monkeypatch, "no network")
    assert fetch([JAR], tmp_path) == [path]


def test_a_damaged_cache_is_fetched_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file in the cache heals itself."""
    serve(monkeypatch, GOOD)
    [path] = fetch([JAR], tmp_path)
    path.write_bytes(GOOD[:3])
    assert fetch([JAR], tmp_path) == [path]
    assert path.read_bytes() == GOOD


def test_a_passing_failure_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One lost connection, or one cut download, is not the end."""
    serve(monkeypatch, "connection reset", GOOD[:3], GOOD)
    [path] = fetch([JAR], tmp_path)
    assert path.read_bytes() == GOOD


def test_other_bytes_than_the_pinned_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the coordinate and both hashes."""
    serve(monkeypatch, b"evil bytes")
    with pytest.raises(BadSettings, match=f"org.example:thing:1.0:linux-x86_64.*{JAR.sha256}"):
        fetch([JAR], tmp_path)


def test_a_jar_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what was wanted, what went wrong and where to put the file by hand."""
    serve(monkeypatch, "no route")
    with pytest.raises(Unavailable, match=r"org.example:thing:1.0.*no route.*thing-1.0-linux-x86_64.jar"):
        fetch([JAR], tmp_path)
