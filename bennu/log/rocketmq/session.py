"""A producer's gRPC session with the proxy: the channel, who we are, `Telemetry` and heartbeats.

The session heals itself.  A link that is dead in one direction stays "ready" for minutes, so several deadlines in a row
replace the channel.
"""

import asyncio
import hashlib
import hmac
import os
import platform
import random
import secrets
import socket
import time
from collections.abc import Coroutine
from typing import Any

import grpc
import structlog

from bennu.cancellation import is_cancelled
from bennu.errors import Unavailable
from bennu.log.patience import Patience
from bennu.log.rocketmq.settings import Address, Credentials
from bennu.log.rocketmq.stubs import definition, service, stubs

logger = structlog.get_logger()

_CLIENT_VERSION = "5.1.2"
_HEARTBEAT_INTERVAL_S = 10.0
_HEARTBEAT_TIMEOUT_S = 3.0
_DEADLINES_UNTIL_NEW_CHANNEL = 3
_OLD_CHANNEL_GRACE_S = 3.0
# "min_reconnect" is also how long one attempt to connect may take: a proxy just started needs more than 200.
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Session:
    """Calls at the proxy, under one identity."""

    def __init__(self, proxy: Address, credentials: Credentials | None) -> None:
        self._proxy = proxy
        self._credentials = credentials
        client_id = f"bennu@{socket.gethostname()}@{os.getpid()}@{secrets.token_hex(4)}"
        self._identity = (
            ("x-mq-language", "PYTHON"),
            ("x-mq-protocol", "GRPC_V2"),
            ("x-mq-client-version", _CLIENT_VERSION),
            ("x-mq-client-id", client_id),
        )
        self._signed: tuple[int, tuple[tuple[str, str], ...]] = (0, ())
        self._deadlines = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()
        self._telemetry: asyncio.Task[None] | None = None
        self._greeted = asyncio.Event()
        self._open_channel()

    def _open_channel(self) -> None:
        self._channel = grpc.aio.insecure_channel(str(self._proxy), options=_OPTIONS)
        self._stub: Any = stubs.MessagingServiceStub(self._channel)  # Any: generated code that comes without types

    def endpoints(self) -> Any:  # Any: generated code that comes without types
        """The proxy's address as its protocol wants to hear it."""
        address = definition.Address(host=self._proxy.host, port=self._proxy.port)
        return definition.Endpoints(scheme=definition.IPv4, addresses=[address])

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call; with credentials, signed once a second."""
        if self._credentials is None:
            return self._identity
        now_s = int(time.time())
        if self._signed[0] != now_s:
            self._signed = now_s, (*self._identity, *sign(self._credentials, now_s))
        return self._signed[1]

    async def call(self, method: str, request: Any, *, timeout_s: float) -> Any:  # Any: as above
        """One call at the proxy.  Raises `grpc.aio.AioRpcError`."""
        if self._telemetry is None:
            await self._greet(timeout_s)
        try:
            answer = await getattr(self._stub, method)(request, timeout=timeout_s, metadata=self.metadata())
        except grpc.aio.AioRpcError as error:
            self._count(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED)
            raise
        self._deadlines = 0
        return answer

    def _count(self, is_deadline: bool) -> None:
        self._deadlines = self._deadlines + 1 if is_deadline else 0
        if self._deadlines < _DEADLINES_UNTIL_NEW_CHANNEL or self._closed.is_set():
            return
        logger.warning("the proxy does not answer, making a new channel", proxy=str(self._proxy))
        self._deadlines = 0
        self._spawn(self._channel.close(_OLD_CHANNEL_GRACE_S))
        self._open_channel()

    async def _greet(self, timeout_s: float) -> None:
        """Start the session.  Its `Settings` should arrive first, but an append does not fail for that."""
        self._telemetry = self._spawn(self._keep_telemetry())
        self._spawn(self._keep_heartbeat())
        greeting = asyncio.ensure_future(self._greeted.wait())
        await asyncio.wait({greeting}, timeout=min(1.0, timeout_s / 2))
        greeting.cancel()

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _keep_telemetry(self) -> None:
        patience = Patience(f"the session with {self._proxy}", self._closed)
        while not self._closed.is_set():
            problem = "the stream ended"
            try:
                stream = self._stub.Telemetry(metadata=self.metadata())
                await stream.write(service.TelemetryCommand(settings=self._settings()))
                while await stream.read() is not grpc.aio.EOF:
                    self._greeted.set()  # the proxy's settings, and commands to consumers of other kinds
                    patience.reset()
            except grpc.aio.AioRpcError as error:
                problem = f"{error.code().name}: {error.details()}"
            except asyncio.CancelledError:
                if is_cancelled() or self._closed.is_set():  # grpc raises it also for a call whose channel was closed
                    raise
                problem = "the channel was replaced"
            await patience.wait(problem)

    def _settings(self) -> Any:  # Any: generated code that comes without types
        settings = definition.Settings(client_type=definition.PRODUCER, access_point=self.endpoints())
        settings.request_timeout.seconds = 3
        settings.publishing.max_body_size = 4 * 1024 * 1024
        settings.user_agent.language = definition.PYTHON
        settings.user_agent.version = _CLIENT_VERSION
        settings.user_agent.platform = platform.platform()
        settings.user_agent.hostname = socket.gethostname()
        return settings

    async def _keep_heartbeat(self) -> None:
        request = service.HeartbeatRequest(client_type=definition.PRODUCER)
        while not self._closed.is_set():
            await asyncio.sleep(_HEARTBEAT_INTERVAL_S * random.uniform(0.9, 1.0))  # noqa: S311  jitter, not a secret
            try:
                answer = await self.call("Heartbeat", request, timeout_s=_HEARTBEAT_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                logger.debug("a heartbeat failed", proxy=str(self._proxy), problem=str(error.code()))
                continue
            except asyncio.CancelledError:
                if is_cancelled() or self._closed.is_set():
                    raise
                continue  # the channel was replaced under it
            if answer.status.code == definition.UNRECOGNIZED_CLIENT_TYPE and self._telemetry is not None:
                self._telemetry.cancel()  # the proxy has forgotten us: a new stream begins with our settings
                self._telemetry = self._spawn(self._keep_telemetry())

    async def close(self) -> None:
        """End the session; calls under way are cancelled."""
        self._closed.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close()

    def check_open(self) -> None:
        """Raises `Unavailable` when closed."""
        if self._closed.is_set():
            raise Unavailable(f"{self._proxy}: this log is closed")


def sign(credentials: Credentials, now_s: int) -> tuple[tuple[str, str], ...]:
    """ACL 2.0: the moment, signed.  Neither a body nor a nonce is in it, so it is safe only inside TLS."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    signature = hmac.digest(credentials.secret_key.encode(), moment.encode(), hashlib.sha1).hex()
    authorization = (
        f"MQv2-HMAC-SHA1 Credential={credentials.access_key}, SignedHeaders=x-mq-date-time, Signature={signature}"
    )
    return ("x-mq-date-time", moment), ("authorization", authorization)
