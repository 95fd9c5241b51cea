"""`bennu version`."""

import json
from platform import python_version

import typer

from bennu.build import build
from bennu.cli.options import AsJson


def versions() -> dict[str, str]:
    """Bennu's own version, and Python's."""
    return {"bennu": build(), "python": python_version()}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def version(*, as_json: AsJson = False) -> None:
        """Print the version."""
        found = versions()
        typer.echo(json.dumps(found) if as_json else f"bennu {found['bennu']}, Python {found['python']}")
