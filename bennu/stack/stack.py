"""The whole stack of a developer: a log and a Postgres, opened and closed together."""

from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

from bennu.stack.owned import Owned, side_by_side
from bennu.stack.postgres import Postgres
from bennu.stack.rocketmq import Mode, RocketMQ


class LogKind(StrEnum):
    """Which log."""

    ROCKETMQ = "rocketmq"
    """RocketMQ as in production: name server, broker, proxy."""
    ROCKETMQ_LOCAL = "rocketmq-local"
    """RocketMQ with the broker inside the proxy: boots faster, takes less memory."""
    SQLITE = "sqlite"
    """Files of this machine; no process."""


class Stack(Owned):
    """A log and a Postgres below one folder."""

    def __init__(self, folder: Path, kind: LogKind) -> None:
        self.folder = folder.absolute()
        self.postgres = Postgres(self.folder / "postgres")
        self.rocketmq = _rocketmq(self.folder, kind)

    @property
    def addresses(self) -> dict[str, str]:
        """How to reach each part, by name."""
        found = {"log_url": f"sqlite:{self.folder / 'log'}", "postgres_dsn": self.postgres.dsn}
        if self.rocketmq is not None:
            mq = self.rocketmq
            found["log_url"] = mq.log_url
            found["rocketmq_proxy"] = mq.proxy_address
            found["rocketmq_namesrv"] = mq.namesrv_address
            found["rocketmq_broker"] = mq.broker_address
        return found

    def start(self) -> None:
        """Boot everything side by side; the first failure is raised."""
        side_by_side([part.start for part in self._parts()], stop=self.stop)

    def stop(self) -> None:
        """End everything side by side."""
        with ThreadPoolExecutor() as pool:
            for ending in [pool.submit(part.stop) for part in self._parts()]:
                ending.result()

    def _parts(self) -> list[Owned]:
        return [self.postgres, self.rocketmq] if self.rocketmq is not None else [self.postgres]


def _rocketmq(folder: Path, kind: LogKind) -> RocketMQ | None:
    if kind is LogKind.SQLITE:
        return None
    mode = Mode.CLUSTER if kind is LogKind.ROCKETMQ else Mode.LOCAL
    return RocketMQ(folder / "rocketmq", mode=mode)
