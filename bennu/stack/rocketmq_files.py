"""The files and command lines that RocketMQ's processes are started with.

Each setting that differs from RocketMQ's default has its reason here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bennu.stack.ports import HOST

CLUSTER = "DefaultCluster"
BROKER_NAME = "bennu-a"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Ports:
    """One port for each door."""

    namesrv: int
    broker: int
    proxy: int
    grpc: int


@dataclass(frozen=True)
class Runtime:
    """The Java that runs it: the program and the jars."""

    java: Path
    jars: Sequence[Path]


NAMESRV_HEAP = ("-Xms64m", "-Xmx128m", "-XX:MaxDirectMemorySize=128m")
BROKER_HEAP = ("-Xms512m", "-Xmx512m", "-XX:MaxDirectMemorySize=1g")
PROXY_HEAP = ("-Xms256m", "-Xmx256m", "-XX:MaxDirectMemorySize=512m")

FAST_BOOT = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData")
"""The first compiler alone: measured on two cores, it saves a fifth of the boot, and an append takes a third less time
in the first minutes, because the second compiler does not compete for the cores.  One collector thread suits small
heaps."""

OPENED = (
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.nio", "sun.nio.ch", "java.util")),
)
"""RocketMQ unmaps files and reaches into netty's buffers by reflection."""


def broker_settings(folder: Path, ports: Ports) -> dict[str, object]:
    """What broker.conf says."""
    return {
        "brokerClusterName": CLUSTER,
        "brokerName": BROKER_NAME,
        "brokerId": 0,
        "brokerRole": "ASYNC_MASTER",
        "namesrvAddr": f"{HOST}:{ports.namesrv}",
        # All interfaces otherwise; anybody who reaches this port can administer the broker.
        "bindAddress": HOST,
        "brokerIP1": HOST,
        "brokerIP2": HOST,
        "listenPort": ports.broker,
        "haListenPort": ports.broker + 1,
        "storePathRootDir": folder / "store",
        "storePathCommitLog": folder / "store" / "commitlog",
        # An answer means fsynced: Bennu's promise rests on it.
        "flushDiskType": "SYNC_FLUSH",
        # Never throw away what is not expired, however full the disk is.
        "cleanFileForciblyEnable": "false",
        "fileReservedTime": 168,
        # Topics are made on purpose, with one queue; a misspelt name must fail.
        "autoCreateTopicEnable": "false",
        "autoCreateSubscriptionGroup": "false",
        # A name server that lost its memory in a restart hears of the broker after 10 s at most, not 30.
        "registerNameServerPeriod": 10_000,
        # A pull returns up to 8 MiB, so that replay is not bound by round trips.
        "maxTransferCountOnMessageInMemory": 1024,
        "maxTransferBytesOnMessageInMemory": 8 * MIB,
        "maxTransferCountOnMessageInDisk": 1024,
        "maxTransferBytesOnMessageInDisk": 8 * MIB,
        # Of the wheel of delayed messages, all of it; every second, as by default, this takes a quarter of a core.  The
        # wheel itself is needed: without it brokers give nothing to consumers of RocketMQ's own clients.
        "timerFlushIntervalMs": 60_000,
        # A broker that has just started spins for one such interval, 10 s by default, before it first writes these.
        "transactionMetricFlushInterval": 500,
        # Small files: a test's store takes megabytes, not gigabytes, and nothing looks messages up by key.
        "mappedFileSizeCommitLog": 64 * MIB,
        "messageIndexEnable": "false",
        "maxMessageSize": 4 * MIB,
    }


def proxy_settings(ports: Ports, *, local: bool) -> dict[str, object]:
    """What rmq-proxy.json says."""
    return {
        "rocketMQClusterName": CLUSTER,
        "namesrvAddr": f"{HOST}:{ports.namesrv}",
        "proxyMode": "LOCAL" if local else "CLUSTER",
        "localServeAddr": HOST,
        "remotingAccessAddr": HOST,
        "grpcServerPort": ports.grpc,
        "remotingListenPort": ports.proxy,
        # A restarted broker's topics are refused until it is asked for routes and types again; every 20 s otherwise.
        "topicRouteServiceCacheRefreshSeconds": 1,
        "topicConfigCacheRefreshSeconds": 1,
    }


def write_files(folder: Path, ports: Ports, *, local: bool) -> None:
    """Write every settings file into the folder."""
    namesrv = {"listenPort": ports.namesrv, "bindAddress": HOST, "kvConfigPath": folder / "kv.json"}
    (folder / "ports.json").write_text(json.dumps(asdict(ports)) + "\n")
    (folder / "namesrv.conf").write_text(_properties(namesrv))
    (folder / "broker.conf").write_text(_properties(broker_settings(folder, ports)))
    (folder / "rmq-proxy.json").write_text(json.dumps(proxy_settings(ports, local=local), indent=2) + "\n")


def _properties(settings: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def namesrv_command(runtime: Runtime, folder: Path) -> list[str]:
    """The name server: which broker is where."""
    java = _java(runtime, folder, part="namesrv", options=NAMESRV_HEAP)
    return [*java, "org.apache.rocketmq.namesrv.NamesrvStartup", "-c", f"{folder}/namesrv.conf"]


def broker_command(runtime: Runtime, folder: Path) -> list[str]:
    """The broker: the log itself."""
    java = _java(runtime, folder, part="broker", options=(*BROKER_HEAP, *OPENED))
    return [*java, "org.apache.rocketmq.broker.BrokerStartup", "-c", f"{folder}/broker.conf"]


def proxy_command(runtime: Runtime, folder: Path, *, local: bool) -> list[str]:
    """The proxy: the door for clients; in local mode with the broker inside."""
    heap = BROKER_HEAP if local else PROXY_HEAP
    java = _java(runtime, folder, part="proxy", options=(*heap, *OPENED))
    mode = ("local", "-bc", f"{folder}/broker.conf") if local else ("cluster",)
    return [*java, "org.apache.rocketmq.proxy.ProxyStartup", "-pc", f"{folder}/rmq-proxy.json", "-pm", *mode]


def _java(runtime: Runtime, folder: Path, *, part: str, options: Sequence[str]) -> list[str]:
    classpath = ":".join(str(jar) for jar in runtime.jars)
    home = (f"-Drocketmq.home.dir={folder}", f"-Duser.home={folder}")
    logback = f"-Drmq.logback.configurationFile=rmq.{part}.logback.xml"
    return [str(runtime.java), *FAST_BOOT, *options, *home, logback, "-cp", classpath]
