"""A folder for everything that a command starts and leaves nothing of."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Gone after the block."""
    with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # for root: Postgres runs as another user, who must get through
        yield folder
