"""Whether a rule is a function of what it is given: a state, and a command, an event or a query.

While a rule runs, the clocks and the sources of chance and identity of the standard library are watched: who reads one
is named, with the place, whatever it does with what it read.  A rule runs twice, and must say, or make, the same.

Caught: `time`, `datetime`, `random`, `secrets`, `uuid`, `os.urandom`, called by their modules' names or by names that
a module of the rules' own package imported; memory of its own, such as a counter; a command, an event or a state that
is changed by a rule that may only look.  Not caught here: a clock that was put away in an object or a default before;
files, the environment, the network; the order of a set or of `hash`, which is one and the same within a process (a
golden history, replayed under several hash seeds, shows that: `bennu.testing.golden`).
"""

import datetime
import os
import random
import secrets
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any, NamedTuple

ALWAYS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time")
WITHOUT_ARGUMENTS = ("gmtime", "localtime", "ctime", "asctime")
"""With a time given they only convert it."""
DRAWS = (
    *("betavariate", "choice", "choices", "expovariate", "gauss", "getrandbits", "normalvariate", "randbytes"),
    *("randint", "random", "randrange", "sample", "shuffle", "triangular", "uniform"),
)
OF_A_DATE = ("now", "utcnow", "today")

BETWEEN = (random.__file__, secrets.__file__, uuid.__file__)
"""Code that asks the sources for others: who called it is of interest."""


class Source(NamedTuple):
    """A name under which a clock, chance or identity is had."""

    owner: ModuleType | type
    name: str
    said: str
    read: Callable[[tuple[object, ...]], bool]
    """Whether a call with these arguments reads it."""


def _any(_arguments: tuple[object, ...]) -> bool:
    return True


def _unseeded(arguments: tuple[object, ...]) -> bool:
    return len(arguments) < 2 or arguments[1] is None


SOURCES = (
    *(Source(time, name, f"time.{name}", _any) for name in ALWAYS),
    *(Source(time, name, f"time.{name}", lambda given: not given) for name in WITHOUT_ARGUMENTS),
    *(Source(random, name, f"random.{name}", _any) for name in DRAWS),
    Source(random, "_urandom", "random.SystemRandom or secrets", _any),
    Source(random.Random, "seed", "random.Random() without a seed", _unseeded),
    Source(os, "urandom", "os.urandom", _any),
    Source(uuid, "uuid1", "uuid.uuid1", _any),
    Source(uuid, "uuid4", "uuid.uuid4", _any),
)


class _Watch(threading.local):
    """What this thread's rule has read; None while none is watched."""

    found: list[str] | None = None


_WATCH = _Watch()


@contextmanager
def watched(rule: Callable[..., object]) -> Iterator[list[str]]:
    """While this runs, sources that are read by this thread are listed, each with its place in the code."""
    seams = _seams(str(getattr(rule, "__module__", "")).partition(".")[0], len(sys.modules))
    found: list[str] = []
    _WATCH.found = found
    try:
        for seam in seams:
            setattr(seam.owner, seam.name, seam.stand_in)
        yield found
    finally:
        for seam in seams:
            setattr(seam.owner, seam.name, seam.original)
        _WATCH.found = None


def _tell(said: str) -> None:
    if _WATCH.found is None:
        return
    caller = sys._getframe(2)  # above this one and the one that stands in
    while caller.f_code.co_filename in BETWEEN and caller.f_back is not None:
        caller = caller.f_back
    _WATCH.found.append(f"{said} at {caller.f_code.co_filename}:{caller.f_lineno}")


class Seam(NamedTuple):
    """A name that means something else while a rule is watched."""

    owner: ModuleType | type
    name: str
    original: object
    stand_in: object


@lru_cache(maxsize=16)
def _seams(package: str, _modules: int) -> tuple[Seam, ...]:
    """The sources themselves, and what the package's modules imported of them by name."""
    own = _own_seams()
    by_id = {id(seam.original): seam.stand_in for seam in own}
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == package]
    return (
        *own,
        *(
            Seam(module, name, value, by_id[id(value)])
            for module in modules
            for name, value in vars(module).items()
            if id(value) in by_id
        ),
    )


@lru_cache(maxsize=1)
def _own_seams() -> tuple[Seam, ...]:
    kinds = (datetime.datetime, datetime.date)
    return (
        *(
            Seam(source.owner, source.name, found := getattr(source.owner, source.name), _call(source, found))
            for source in SOURCES
        ),
        *(Seam(datetime, kind.__name__, kind, _date(kind)) for kind in kinds),
    )


def _call(source: Source, original: Callable[..., object]) -> object:
    @wraps(original)
    def stand_in(*arguments: object, **named: object) -> object:
        if source.read(arguments):
            _tell(source.said)
        return original(*arguments, **named)

    return stand_in


def _date(kind: type) -> object:
    """The class, with methods that tell; what it makes is of the class itself."""

    def method(name: str) -> object:
        def stand_in(*arguments: object, **named: object) -> object:
            _tell(f"{kind.__name__}.{name}")
            return getattr(kind, name)(*arguments, **named)

        return staticmethod(stand_in)

    names = {name: method(name) for name in OF_A_DATE if hasattr(kind, name)}
    return _Dates(kind.__name__, (kind,), {"__new__": lambda _, *given, **named: kind(*given, **named), **names})


class _Dates(type):
    """A class that takes instances of its base for its own."""

    def __instancecheck__(cls, instance: Any) -> bool:  # noqa: ANN401 - as `type` has it
        return isinstance(instance, cls.__mro__[1])
