"""Which broker has a topic, asked of a proxy that does not answer."""

import asyncio
from typing import Any

import grpc
import pytest

from bennu.errors import Unavailable
from bennu.log.rocketmq.admin import Admin
from bennu.log.rocketmq.routes import Routes
from bennu.log.rocketmq.session import Session
from bennu.log.rocketmq.settings import Address, RocketmqSettings
from bennu.log.rocketmq.stubs import stubs
from tests.log.helpers import run


class Silent(stubs.MessagingServiceServicer):  # type: ignore[misc]  # generated code that comes without types
    """Answers nobody who asks for a route; `asked`: somebody did."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def QueryRoute(self, _request: Any, _context: Any) -> Any:  # noqa: N802, ANN401  gRPC's name, generated code
        self.asked.set()
        await asyncio.Event().wait()


def test_a_route_that_is_asked_for_when_the_channel_closes_is_not_had() -> None:
    """Who asks is not cancelled by that; a task that took itself for cancelled would end without a word."""

    async def body() -> None:
        proxy, server = Silent(), grpc.aio.server()
        stubs.add_MessagingServiceServicer_to_server(proxy, server)
        address = Address("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        session = Session(address, None)
        asking = asyncio.ensure_future(Routes(session, Admin(RocketmqSettings(address))).broker_of("t"))
        await proxy.asked.wait()
        await session.close()
        with pytest.raises(Unavailable, match="t: no route: the channel was closed"):
            await asking
        await server.stop(None)

    run(body())
