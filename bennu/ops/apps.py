"""Finds the app that a service is to run."""

import importlib
import traceback

from bennu.domain.app import App
from bennu.errors import BadSettings


def load_app(name: str) -> App:
    """The `App` that `module:attribute` names, such as `bank.app:app`.  Raises `BadSettings` saying what is wrong."""
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise BadSettings(f"app: expected module:attribute, such as bank.app:app, not {name!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise BadSettings(f"app: {module_name} imports {error.name}, which is not installed") from error
        raise BadSettings(f"app: no module {error.name}; is its folder on PYTHONPATH?") from error
    except TypeError as error:
        if "cannot follow optional fields" not in str(error):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]  # the class that could not be made
        why = f"{str(error).partition('. ')[0]}; every field of a State needs a default"
        raise BadSettings(f"app: {last.filename}:{last.lineno}: {why}") from error
    found = getattr(module, attribute, None)
    if found is None:
        raise BadSettings(f"app: module {module_name} has no attribute {attribute}")
    if not isinstance(found, App):
        raise BadSettings(f"app: {name} is a {type(found).__name__}, not a bennu.domain.App")
    return found
