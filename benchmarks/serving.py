"""CServers to be measured: each a real process that leads the bank, with the log it runs on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import typer

from bennu.drill.rebuilding import bennu
from bennu.stack.folders import temporary_folder
from bennu.stack.rocketmq import RocketMQ
from bennu.stack.service import Service, clean_environ
from bennu.stack.suite import SuiteSettings

APP = "bank.app:app"
LOGS = ("sqlite", "rocketmq")
"""Those that are durable.  `memory` is for what is measured of the process alone."""
CPU_METRIC = "process_cpu_seconds_total"


@dataclass(frozen=True)
class Target:
    """A CServer over one log."""

    log: str
    url: str
    service: Service

    def cpu_seconds(self) -> float:
        """What the server's process has used so far."""
        return cpu_seconds(self.service)


def cpu_seconds(service: Service) -> float:
    """What this process has used so far."""
    with urlopen(f"http://{service.addresses['ops']}/metrics", timeout=5) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    found = next(line for line in lines if line.startswith(f"{CPU_METRIC} "))
    return float(found.split()[1])


def bench_folder() -> AbstractContextManager[Path]:
    """A temporary one, gone after the block."""
    return temporary_folder("bennu-bench-")


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """It serves, and is gone after the block."""
    try:
        service.start()
        service.wait_serving()
        yield service
    finally:
        service.kill()


def check_log(name: str) -> None:
    """Raises `BadParameter` for one that is not durable, or not there."""
    if name not in LOGS:
        raise typer.BadParameter(
            f"there are {' and '.join(LOGS)}, not {name}: what is measured needs several processes"
        )


@contextmanager
def log_url(name: str, folder: Path) -> Iterator[str]:
    """Where this log is, which lasts as long as the block; `rocketmq` is started for it."""
    with ExitStack() as stack:
        url = {"memory": "memory:", "sqlite": f"sqlite:{folder / 'log'}"}.get(name)
        if url is None:
            typer.echo("starting RocketMQ ...", err=True)
            url = stack.enter_context(RocketMQ(folder / "rocketmq")).log_url
        yield url


@contextmanager
def target(name: str, folder: Path, *, partitions: int = 1) -> Iterator[Target]:
    """A CServer that serves over a log of its own, and is gone after the block."""
    with log_url(name, folder) as url, served(name, url, folder, partitions=partitions) as found:
        yield found


@contextmanager
def served(name: str, url: str, folder: Path, *, partitions: int = 1) -> Iterator[Target]:
    """A CServer that serves over this log, and is gone after the block."""
    if name == "rocketmq":
        make_topics(url, partitions)
    flags = ["--app", APP, "--log", url, "--grpc", "127.0.0.1:0", "--partitions", str(partitions)]
    place = folder / name
    place.mkdir(exist_ok=True)
    with serving(Service("cserver", flags, place, environ=clean_environ())) as service:
        yield Target(name, url, service)


def make_topics(url: str, partitions: int, *, app: str = APP) -> None:
    """Those of the app, where an operator would make them."""
    # Not here: gRPC's poller serves the loop of this process, and would be left with one that was closed.
    flags = ("--app", app, "--log", url, "--partitions", str(partitions))
    bennu("topics", "create", *flags, settings=SuiteSettings(app, ""))
