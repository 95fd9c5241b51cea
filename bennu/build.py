"""Which version of Bennu this is."""

from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "from a checkout that is not installed"


def build() -> str:
    """As it was installed."""
    try:
        return version("bennu")
    except PackageNotFoundError:
        return NOT_INSTALLED
