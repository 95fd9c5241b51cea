"""Command line flags, made from the fields of a service's settings."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from pydantic import BaseModel

from bennu.errors import BadSettings
from bennu.ops import names


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadSettings(message)


def flag_of(name: str) -> str:
    """`insecure_bind` is `--insecure-bind`."""
    return "--" + name.replace("_", "-")


def parse(kind: type[BaseModel], argv: Sequence[str]) -> dict[str, object]:
    """What the flags say, by field; texts are not checked yet.  Raises `BadSettings`; `--help` exits."""
    parser = _parser(kind)
    found, rest = parser.parse_known_args(argv)
    if rest:
        known = [option for action in parser._actions for option in action.option_strings]
        close = get_close_matches(rest[0].split("=")[0], known, 1)
        raise BadSettings(f"no flag is called {rest[0]}" + (f"; did you mean {close[0]}?" if close else ""))
    return vars(found)


def _parser(kind: type[BaseModel]) -> _Parser:
    parser = _Parser(
        prog=getattr(kind, "program", f"python -m bennu_{getattr(kind, 'service', 'x')}"),
        description="Each flag may also be a variable: BENNU_ and its name in capitals.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file of settings")
    for name, field in kind.model_fields.items():
        help_text = (field.description or "").replace("%", "%%")
        if name in names.SECRETS:
            parser.add_argument(flag_of(f"{name}_file"), metavar="FILE", help=f"file that holds: {help_text}")
        elif field.annotation is bool:
            parser.add_argument(flag_of(name), action=argparse.BooleanOptionalAction, help=help_text)
        else:
            default = "" if field.is_required() or field.default in ("", None) else f" (default {field.default})"
            also = getattr(kind, "aliases", {}).get(name)
            parser.add_argument(
                flag_of(name), *([also] if also else []), metavar=name.upper(), help=help_text + default
            )
    return parser
