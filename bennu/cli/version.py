"""`bennu version`."""

import json
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from platform import python_version

import typer

from bennu.cli.options import AsJson

NOT_INSTALLED = "from a checkout that is not installed"


def versions() -> dict[str, str]:
    """Bennu's own version, and Python's."""
    try:
        own = installed("bennu")
    except PackageNotFoundError:
        own = NOT_INSTALLED
    return {"bennu": own, "python": python_version()}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def version(*, as_json: AsJson = False) -> None:
        """Print the version."""
        found = versions()
        typer.echo(json.dumps(found) if as_json else f"bennu {found['bennu']}, Python {found['python']}")
