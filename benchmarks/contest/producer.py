"""RocketMQ's own benchmark, `org.apache.rocketmq.example.benchmark.Producer`: a message a command, and nothing else.

It writes to the same broker as Bennu, directly, without the proxy; nobody decides, looks an id up, or answers.  A
message has the bytes that a deposit has in Bennu's journal.  Its topic has eight queues, as many as a broker gives one
by default.  What counts is its own figure: the rate of acknowledged messages that it prints every ten seconds.  With
64 threads it is the second one, when Java has compiled what runs often.
"""

import asyncio
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from benchmarks.contest.place import Place
from benchmarks.contest.port import Round
from bennu.errors import Unavailable
from bennu.stack import jars
from bennu.stack.java import find_java
from bennu.stack.rocketmq import RocketMQ
from bennu.stack.rocketmq_files import CLUSTER

LOCK_FILE = Path(__file__).with_name("jars.lock")
"""What the benchmark needs beside the broker's own jars."""
MAIN = "org.apache.rocketmq.example.benchmark.Producer"
ADMIN = "org.apache.rocketmq.tools.command.MQAdminStartup"
LINES = {1: 1, 64: 2}
"""Threads, and which of its lines counts."""
TOPIC = "producer-benchmark"
"""`BenchmarkTest`, its default, is the broker's own and has 1,024 queues."""
QUEUES = 8
MESSAGE_BYTES = 100
LINE_S = 9
"""What a line is about: it compares the last of ten looks at the clock, a second apart, with the first."""
TIMEOUT_S = 60.0
TOLD = re.compile(r"Send TPS: (?P<tps>\d+).*Send Failed: (?P<failed>\d+).*Response Failed: (?P<unanswered>\d+)")


def read_told(line: str) -> int | None:
    """Messages a second; None for another line.  Raises `Unavailable` when a message failed."""
    found = TOLD.search(line)
    if found is None:
        return None
    if int(found["failed"]) or int(found["unanswered"]):
        raise Unavailable(f"RocketMQ's producer lost messages: {line.strip()}")
    return int(found["tps"])


class Produced:
    """So many threads, each with one message at a time."""

    def __init__(self, threads: int, *, lines: int) -> None:
        self.name = f"producer/rocketmq/{threads}"
        self._threads, self._lines = threads, lines

    async def prepare(self, place: Place) -> None:
        self._rocketmq = place.rocketmq()
        make_topic(self._rocketmq)

    async def round(self, seconds: float) -> Round:
        flags = ("-n", self._rocketmq.namesrv_address, "-t", TOPIC, "-w", self._threads, "-s", MESSAGE_BYTES)
        command = _java(self._rocketmq, MAIN, *flags)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(TIMEOUT_S):
                per_second = await self._last(process.stdout)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        return Round(per_second * LINE_S, LINE_S)

    async def _last(self, output: asyncio.StreamReader) -> int:
        """What the line says that counts.  Raises `Unavailable` when it ends before."""
        said, found = "", 0
        async for raw in output:
            said += raw.decode(errors="replace")
            per_second = read_told(said.splitlines()[-1])
            found += per_second is not None
            if per_second is not None and found == self._lines:
                return per_second
        raise Unavailable(f"RocketMQ's producer ended before it said its rate:\n{said[-1000:]}")


def make_topic(rocketmq: RocketMQ) -> None:
    """A topic with these queues; it may be there already."""
    flags = ("updateTopic", "-n", rocketmq.namesrv_address, "-c", CLUSTER, "-t", TOPIC, "-r", QUEUES, "-w", QUEUES)
    if "success" not in (said := asked(rocketmq, *flags)):
        raise Unavailable(f"the topic {TOPIC} could not be made:\n{said[-1000:]}")


def asked(rocketmq: RocketMQ, *flags: object) -> str:
    """What RocketMQ's own tool for operators says."""
    command = _java(rocketmq, ADMIN, *flags)
    told = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    return told.stdout + told.stderr


def _java(rocketmq: RocketMQ, main: str, *flags: object) -> list[str]:
    found = jars.fetch([*jars.read_lock(LOCK_FILE), *jars.read_lock()])
    home = (f"-Duser.home={rocketmq.folder}", f"-Drocketmq.client.logRoot={rocketmq.folder}")
    options = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", *home, "-cp", ":".join(map(str, found)))
    return [str(find_java()), *options, main, *map(str, flags)]
