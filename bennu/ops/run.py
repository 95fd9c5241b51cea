"""The one supervisor: settings, logging, signals, the operations port, and what the process says when it ends.

    if __name__ == "__main__":
        leave(run_service(QServerSettings, main))

Exit codes: 0 asked to stop; 70 a `Final` error; 78 settings that make no sense; 1 a peer that is away, where nobody
waits for it, and anything else, with its traceback.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import structlog
import uvloop

from bennu.errors import BadSettings, Final, Unavailable
from bennu.ops import addresses, logging
from bennu.ops.addresses import Address
from bennu.ops.limits import GRACEFUL_STOP_S, HARD_STOP_S
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.ops.server import serve_ops
from bennu.ops.settings import ServiceSettings, load

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_FINAL = 70
EXIT_BAD_SETTINGS = 78

S = TypeVar("S", bound=ServiceSettings)

logger = structlog.get_logger()


@dataclass(frozen=True)
class Running:
    """What the supervisor gives to a service's main function."""

    service: str
    node: str
    ops: Address
    metrics: Metrics
    readiness: Readiness
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the first signal: finish what is under way and return."""

    def announce(self, **addresses: object) -> None:
        """One JSON line on stdout, once the ports are bound: how a parent process learns where they are."""
        ports = {name: str(address) for name, address in addresses.items()}
        announce({"service": self.service, "node": self.node, **ports, "ops": str(self.ops)})


Main = Callable[[S, Running], Awaitable[None]]


def announce(content: Mapping[str, object]) -> None:
    """Write one JSON line on stdout."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def run_service(
    kind: type[S], main: Main[S], *, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
) -> int:
    """Run `main` until it returns, fails, or a signal asks it to stop; the exit code.  Raises nothing."""
    logging.configure("info")
    runner, code = asyncio.Runner(loop_factory=uvloop.new_event_loop), EXIT_CRASHED
    try:
        settings = load(kind, sys.argv[1:] if argv is None else argv, os.environ if environ is None else environ)
        logging.configure(settings.log_level, secrets=settings.secret_values())
        code = runner.run(_supervise(settings, main))
    except Exception as error:  # the supervisor's: whatever ends the process is said, once
        code = _report(error)
    finally:
        with _ending(code):
            runner.close()
    return code


@contextmanager
def _ending(code: int) -> Iterator[None]:
    """End the process with this code should the block take too long, as tasks and threads that were left behind may."""
    last = _after_hard_stop(_left_behind, code)
    try:
        yield
    finally:
        last.cancel()


def _after_hard_stop(end: Callable[[int], object], code: int) -> threading.Timer:
    timer = threading.Timer(HARD_STOP_S, end, (code,))
    timer.daemon = True
    timer.start()
    return timer


def _left_behind(code: int) -> None:
    _after_hard_stop(os._exit, code)  # nobody may read what is said now
    logger.error("stopped", error="HardStop", reason="something is still under way, and does not end")
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process; no thread is waited for, as one may be stuck in a disk."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(code)


async def _supervise(settings: S, main: Main[S]) -> int:
    metrics, readiness = Metrics(), Readiness()
    address = addresses.to_bind(settings.ops, what="ops", insecure_bind=settings.insecure_bind)
    async with serve_ops(address, metrics=metrics, readiness=readiness) as ops:
        running = Running(settings.service, settings.node, ops, metrics, readiness)
        structlog.contextvars.bind_contextvars(service=settings.service, node=settings.node)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_call(main, settings, running))
            _on_signals(running.stop, work)
        if work.cancelled():
            logger.error("stopped", error="HardStop", reason="work under way was cut off")
            return EXIT_CRASHED
    logger.info("stopped")
    return EXIT_OK


async def _call(main: Main[S], settings: S, running: Running) -> None:
    await main(settings, running)


def _on_signals(stop: asyncio.Event, work: "asyncio.Task[None]") -> None:
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            _cut_off(work)
            return
        stop.set()
        logger.info("stopping")
        timer = loop.call_later(GRACEFUL_STOP_S, _cut_off, work)
        work.add_done_callback(lambda _: timer.cancel())

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)


def _cut_off(work: "asyncio.Task[None]") -> None:
    """Cancel; and should even that hang, for a thread or a deaf task, end the process under it."""
    work.cancel()
    _after_hard_stop(os._exit, EXIT_CRASHED)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, in groups of groups too; of any other error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _report(error: Exception) -> int:
    """Say why the process ends; the code to end with."""
    found = list(leaves(error))
    final = [leaf for leaf in found if isinstance(leaf, Final)]
    if not final and not all(isinstance(leaf, Unavailable) for leaf in found):
        logger.error("crashed", exc_info=error)
        return EXIT_CRASHED
    worst = next((leaf for leaf in final if isinstance(leaf, BadSettings)), (final or found)[0])
    logger.error("stopped", error=type(worst).__name__, reason=str(worst))
    if not final:
        return EXIT_CRASHED
    return EXIT_BAD_SETTINGS if isinstance(worst, BadSettings) else EXIT_FINAL
