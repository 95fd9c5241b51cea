"""Folders that somebody names on a command line."""

from pathlib import Path

from bennu.errors import BadSettings


def make(folder: Path, *, what: str) -> None:
    """Make it, and those above it, if it is not there.  Raises `BadSettings` naming `what` when it can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BadSettings(f"{what}: {folder} is no folder") from None
    except OSError as problem:
        raise BadSettings(f"{what}: can't make the folder {folder}: {problem.strerror or problem}") from None
