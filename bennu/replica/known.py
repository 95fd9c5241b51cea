"""Whether this build knows what stands in a journal: asked before anything of a batch is applied."""

from collections.abc import Container, Iterable

from bennu.errors import UnknownToBuild


def check_events(event_types: Iterable[str], known: Container[str], *, app: str, where: str) -> None:
    """Raise `UnknownToBuild`, beginning with `where` and naming all of them, for types that the app does not know."""
    unknown = [name for name in event_types if name not in known]
    if unknown:
        types = f"event type {unknown[0]} is" if len(unknown) == 1 else f"event types {', '.join(unknown)} are"
        raise UnknownToBuild(f"{where}: {types} not known to app `{app}`")
