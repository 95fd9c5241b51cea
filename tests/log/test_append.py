"""Appending to RocketMQ, against a proxy that says what the test wants: refused or unknown, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import pytest

from bennu.errors import AppendRefused, AppendUnknown
from bennu.log.rocketmq import session as session_module
from bennu.log.rocketmq.admin import Admin
from bennu.log.rocketmq.append import Appender, failure_of_status
from bennu.log.rocketmq.routes import Routes
from bennu.log.rocketmq.session import Session
from bennu.log.rocketmq.settings import Address, Credentials, RocketmqSettings
from bennu.log.rocketmq.stubs import definition, service, stubs
from tests.log.helpers import run

Wire: TypeAlias = Any
"""Messages of the generated code, which comes without types."""


def said(code: int, *, offset: int = 0, entry: int | None = None) -> Wire:
    """A `SendMessageResponse`."""
    answer = service.SendMessageResponse()
    answer.status.code = code
    answer.status.message = "as the test says"
    if code == definition.OK:
        answer.entries.add(offset=offset).status.code = code if entry is None else entry
    return answer


class Proxy(stubs.MessagingServiceServicer):  # type: ignore[misc]  # generated code that comes without types
    """Answers `SendMessage` as `script` says, and remembers who came."""

    def __init__(self) -> None:
        self.script: Callable[[], Awaitable[Wire]] = self._ok
        self.sent: list[bytes] = []
        self.news = asyncio.Condition()
        self.in_flight = self.most_in_flight = 0
        self.greetings: asyncio.Queue[Wire] = asyncio.Queue(maxsize=100)
        self.metadata: dict[str, str] = {}
        self.heartbeat_code = definition.OK

    async def received(self, how_many: int) -> None:
        """Wait until so many appends have arrived."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.sent) >= how_many)

    async def _ok(self) -> Wire:
        return said(definition.OK, offset=len(self.sent) - 1)

    async def SendMessage(self, request: Wire, context: Wire) -> Wire:  # noqa: N802  gRPC's name
        self.metadata = dict(context.invocation_metadata())
        self.sent.append(request.messages[0].body)
        async with self.news:
            self.news.notify_all()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = await self.script()
        finally:
            self.in_flight -= 1
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as the test says")
        return answer

    async def QueryRoute(self, request: Wire, _context: Wire) -> Wire:  # noqa: N802  gRPC's name
        answer = service.QueryRouteResponse()
        answer.status.code = definition.OK
        queue = answer.message_queues.add(topic=request.topic)
        queue.broker.name = "broker-a"
        return answer

    async def Heartbeat(self, _request: Wire, _context: Wire) -> Wire:  # noqa: N802  gRPC's name
        answer = service.HeartbeatResponse()
        answer.status.code = self.heartbeat_code
        return answer

    async def Telemetry(self, requests: AsyncIterator[Wire], _context: Wire) -> AsyncIterator[Wire]:  # noqa: N802  gRPC's name
        async for command in requests:
            await self.greetings.put(command.settings)
            yield command


@asynccontextmanager
async def _appender(
    *, credentials: Credentials | None = None, gone: bool = False
) -> AsyncIterator[tuple[Proxy, Appender, Session]]:
    proxy, server = Proxy(), grpc.aio.server()
    stubs.add_MessagingServiceServicer_to_server(proxy, server)
    address = Address("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    session = Session(address, credentials)
    try:
        yield proxy, Appender(session, _Routes(session, Admin(RocketmqSettings(address)), gone=gone)), session
    finally:
        await session.close()
        await server.stop(None)


class _Routes(Routes):
    """Knows whether the topic is gone because the test says so."""

    def __init__(self, session: Session, admin: Admin, *, gone: bool) -> None:
        super().__init__(session, admin)
        self.gone = gone

    async def is_gone(self, _topic: str) -> bool:
        return self.gone


async def _never() -> Wire:
    await asyncio.Event().wait()


def test_an_acknowledged_append_returns_its_offset() -> None:
    """OK with an entry is the only success."""

    async def body() -> None:
        async with _appender() as (proxy, appender, _):
            assert [await appender.append("t", b"%d" % n, timeout_ms=5_000) for n in range(3)] == [0, 1, 2]
            assert proxy.sent == [b"0", b"1", b"2"]

    run(body())


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("ILLEGAL_TOPIC", True),
        ("MESSAGE_BODY_TOO_LARGE", True),
        ("MESSAGE_BODY_EMPTY", True),
        ("MESSAGE_PROPERTY_CONFLICT_WITH_TYPE", True),
        ("FORBIDDEN", True),
        ("UNAUTHORIZED", True),
        ("TOO_MANY_REQUESTS", False),
        ("TOPIC_NOT_FOUND", False),
        ("MASTER_PERSISTENCE_TIMEOUT", None),
        ("SLAVE_PERSISTENCE_TIMEOUT", None),
        ("HA_NOT_AVAILABLE", None),
        ("INTERNAL_SERVER_ERROR", None),
        ("PROXY_TIMEOUT", None),
        ("REQUEST_TIMEOUT", None),
        ("CODE_UNSPECIFIED", None),
    ],
)
@pytest.mark.parametrize("in_entry", [False, True])
def test_what_the_proxy_answers_is_refused_or_unknown(code: str, final: bool | None, in_entry: bool) -> None:
    """Only answers on the short list are refusals, at the top or in the entry."""

    async def body() -> None:
        async with _appender() as (proxy, appender, _):
            number = definition.Code.Value(code)

            async def script() -> Wire:
                return said(definition.OK, entry=number) if in_entry else said(number)

            proxy.script = script
            await _ends(appender, final)

    run(body())


def test_a_type_that_the_proxy_could_not_ask_for_is_asked_for_again() -> None:
    """While a broker restarts, the proxy takes its topics to have no type, and says so: refused, but not for ever."""
    code = definition.MESSAGE_PROPERTY_CONFLICT_WITH_TYPE
    failure = failure_of_status("t", code, message="the expected type is UNSPECIFIED, but actual type is NORMAL")
    assert isinstance(failure, AppendRefused)
    assert not failure.final


async def _ends(appender: Appender, final: bool | None) -> None:
    """The append is refused so, or its outcome unknown (None)."""
    if final is None:
        with pytest.raises(AppendUnknown):
            await appender.append("t", b"x", timeout_ms=5_000)
    else:
        with pytest.raises(AppendRefused) as refused:
            await appender.append("t", b"x", timeout_ms=5_000)
        assert refused.value.final is final


@pytest.mark.parametrize(
    ("code", "final"),
    [
        (grpc.StatusCode.UNAVAILABLE, None),
        (grpc.StatusCode.DEADLINE_EXCEEDED, None),
        (grpc.StatusCode.CANCELLED, None),
        (grpc.StatusCode.INTERNAL, None),
        (grpc.StatusCode.UNKNOWN, None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, None),
        (grpc.StatusCode.PERMISSION_DENIED, True),
        (grpc.StatusCode.UNAUTHENTICATED, True),
    ],
)
def test_a_failed_call_is_unknown_unless_we_were_not_let_in(code: grpc.StatusCode, final: bool | None) -> None:
    """A call that failed may have been carried out."""

    async def body() -> None:
        async with _appender() as (proxy, appender, _):

            async def script() -> Wire:
                return code

            proxy.script = script
            await _ends(appender, final)

    run(body())


def test_an_answer_without_entries_proves_nothing() -> None:
    """OK without an offset is unknown."""

    async def body() -> None:
        async with _appender() as (proxy, appender, _):

            async def script() -> Wire:
                answer = service.SendMessageResponse()
                answer.status.code = definition.OK
                return answer

            proxy.script = script
            await _ends(appender, None)

    run(body())


def test_a_topic_that_is_certainly_gone_is_final() -> None:
    """A topic not found is final once who keeps the topics agrees."""

    async def body() -> None:
        async with _appender(gone=True) as (proxy, appender, _):

            async def script() -> Wire:
                return said(definition.TOPIC_NOT_FOUND)

            proxy.script = script
            await _ends(appender, True)

    run(body())


def test_one_topic_has_one_append_in_flight_and_others_do_not_wait_for_it() -> None:
    """Two requests in flight could change places, so a second waits, or was certainly not sent."""

    async def body() -> None:
        async with _appender() as (proxy, appender, _):
            await asyncio.gather(*(appender.append("t", b"%d" % n, timeout_ms=20_000) for n in range(20)))
            assert proxy.most_in_flight == 1
            assert proxy.sent == [b"%d" % n for n in range(20)]
            proxy.script = _never
            stuck = asyncio.ensure_future(appender.append("t", b"stuck", timeout_ms=20_000))
            other = asyncio.ensure_future(appender.append("other", b"also sent", timeout_ms=20_000))
            await proxy.received(22)
            with pytest.raises(AppendRefused) as refused:
                await appender.append("t", b"never sent", timeout_ms=300)
            assert not refused.value.final
            assert set(proxy.sent[20:]) == {b"stuck", b"also sent"}
            for append in (stuck, other):
                append.cancel()
            await asyncio.gather(stuck, other, return_exceptions=True)
            assert stuck.cancelled()

    run(body())


def test_closing_the_session_makes_what_is_under_way_unknown() -> None:
    """grpc cancels calls of a closed channel; the caller is not cancelled by that."""

    async def body() -> None:
        async with _appender() as (proxy, appender, session):
            await appender.append("t", b"x", timeout_ms=5_000)
            proxy.script = _never
            sending = asyncio.ensure_future(appender.append("t", b"y", timeout_ms=20_000))
            await proxy.received(2)
            await session.close()
            with pytest.raises(AppendUnknown):
                await sending

    run(body())


def test_nobody_there_is_an_outcome_in_time() -> None:
    """Without a proxy nothing was sent, and the caller hears so by its deadline."""

    async def body() -> None:
        session = Session(Address("127.0.0.1", 1), None)
        appender = Appender(session, Routes(session, Admin(RocketmqSettings(Address("127.0.0.1", 1)))))
        with pytest.raises(AppendRefused) as refused:
            await appender.append("t", b"x", timeout_ms=500)
        assert not refused.value.final
        await session.close()

    run(body())


def test_a_session_greets_with_its_settings_and_again_when_the_proxy_forgot_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Code 40015 to a heartbeat is answered with the settings."""

    async def body() -> None:
        monkeypatch.setattr(session_module, "_HEARTBEAT_INTERVAL_S", 0.01)
        async with _appender() as (proxy, appender, _):
            await appender.append("t", b"x", timeout_ms=5_000)
            assert (await proxy.greetings.get()).client_type == definition.PRODUCER
            proxy.heartbeat_code = definition.UNRECOGNIZED_CLIENT_TYPE
            assert (await proxy.greetings.get()).client_type == definition.PRODUCER

    run(body())


def test_several_deadlines_in_a_row_replace_the_channel() -> None:
    """A channel that only times out is not trusted to notice by itself."""

    async def body() -> None:
        async with _appender() as (proxy, appender, session):
            await appender.append("t", b"x", timeout_ms=5_000)
            before, proxy.script = session._channel, _never
            for _ in range(3):
                with pytest.raises(AppendUnknown):
                    await appender.append("t", b"y", timeout_ms=50)
            assert session._channel is not before
            proxy.script = proxy._ok
            await appender.append("t", b"z", timeout_ms=5_000)

    run(body())


def test_credentials_sign_each_call_and_the_secret_does_not_travel() -> None:
    """ACL 2.0 sends a signature over the moment."""

    async def body() -> None:
        async with _appender(credentials=Credentials("key", "hidden")) as (proxy, appender, _):
            await appender.append("t", b"x", timeout_ms=5_000)
            authorization = proxy.metadata["authorization"]
            assert authorization.startswith("MQv2-HMAC-SHA1 Credential=key, SignedHeaders=x-mq-date-time, Signature=")
            assert proxy.metadata["x-mq-date-time"]
            assert "hidden" not in str(proxy.metadata)

    run(body())
