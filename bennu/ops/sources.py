"""Where settings come from besides flags: `BENNU_…` variables over a TOML file.

In the file, keys at the top are for every service and a table `[cserver]` is for that one.  An unknown variable or key
is an error that names it.  An empty variable counts as absent, because compose files can't leave one out.
"""

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from bennu.errors import BadSettings
from bennu.ops import names
from bennu.ops.limits import SECRET_FILE_BYTES

PREFIX = "BENNU_"
CONFIG = f"{PREFIX}CONFIG"
SHORT_LOGS = {
    "sqlite": "sqlite:.bennu/log",
    "rocketmq": "rocketmq://127.0.0.1:8080?namesrv=127.0.0.1:9876",
}


class Given(NamedTuple):
    """A value and where it stood, for messages."""

    value: object
    where: str


def told(environ: Mapping[str, str], config: str | None, *, service: str) -> dict[str, Given]:
    """What variables and file say to this service, secrets' files not yet read.  Raises `BadSettings`.

    `config` is the file; None: the one that the environment names, if any.
    """
    from_environ = _from_environ(environ)
    path = config or environ.get(CONFIG)
    given = _from_file(path, service) if path else {}
    put(given, from_environ)
    return given


def check(environ: Mapping[str, str]) -> None:
    """Raise `BadSettings` for a variable that nobody knows."""
    _from_environ(environ)


def put(given: dict[str, Given], stronger: dict[str, Given]) -> None:
    """A secret itself and the file that holds it are one setting: the stronger source replaces either."""
    for name in stronger:
        given.pop(name.removesuffix("_file"), None)
        given.pop(f"{name}_file", None)
    given.update(stronger)


def _from_environ(environ: Mapping[str, str]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if variable != variable.upper() or name not in names.known() | names.NOT_A_SERVICES:
            raise _unknown(variable, (f"{PREFIX}{known.upper()}" for known in names.known()), "no variable is called")
        if value and name not in names.NOT_A_SERVICES:
            given[name] = Given(value, variable)
    return given


def _from_file(path: str, service: str) -> dict[str, Given]:
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path}: {error}") from error
    tables = {name: content.pop(name) for name in names.OWN if name in content}
    _check_keys(path, "", content, known=names.known())
    for owner, table in tables.items():
        if not isinstance(table, dict):
            raise BadSettings(f"{path}: {owner} must be a table, written [{owner}]")
        _check_keys(path, f"{owner}.", table, known=names.known_to(owner))
    given = {name: Given(value, f"{path}: {name}") for name, value in content.items()}
    own = tables.get(service, {})
    put(given, {name: Given(value, f"{path}: {service}.{name}") for name, value in own.items()})
    return given


def _check_keys(path: str, table: str, content: Mapping[str, object], *, known: frozenset[str]) -> None:
    for name in content:
        if name not in known:
            raise _unknown(f"{table}{name}", (f"{table}{other}" for other in known), f"{path}: no key is called")


def _unknown(name: str, known: Iterable[str], complaint: str) -> BadSettings:
    close = get_close_matches(name, sorted(known), 1)
    return BadSettings(f"{complaint} {name}" + (f"; did you mean {close[0]}?" if close else ""))


def with_secrets(given: dict[str, Given]) -> dict[str, Given]:
    """Each NAME_file replaced by the secret that stands in that file."""
    found = dict(given)
    for name in names.SECRETS:
        if (file := found.pop(f"{name}_file", None)) is not None:
            if name in given:
                raise BadSettings(f"{given[name].where} and {file.where} are both given; one must go")
            found[name] = Given(_read_secret(file), file.where)
    return found


def _read_secret(file: Given) -> str:
    path = Path(str(file.value))
    try:
        if path.stat().st_size > SECRET_FILE_BYTES:
            raise BadSettings(f"{file.where}: {path} is too large for a secret")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{file.where}: {error}") from error
