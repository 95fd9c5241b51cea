"""`python -m bennu.archive --app bank.app:app --to DIR`, the archiver; with the first word `verify`, a look at DIR."""

import sys

from bennu.archive.archiver import main
from bennu.archive.settings import ArchiverSettings
from bennu.ops.run import leave, run_service


def run(arguments: list[str]) -> int:
    """Do what the arguments say; the exit code."""
    if arguments[:1] == ["verify"]:
        from bennu.cli import archive

        return archive.run_verify(arguments[1:])
    return run_service(ArchiverSettings, main, argv=arguments)


if __name__ == "__main__":
    leave(run(sys.argv[1:]))
