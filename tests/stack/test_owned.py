"""Whatever a block opens is gone after it, however the block ends."""

import asyncio
from pathlib import Path

import pytest

from bennu.errors import Unavailable
from bennu.stack.child import Child
from bennu.stack.owned import Owned
from tests.stack.processes import alive, shell, until


class Server(Owned):
    """One shell script."""

    def __init__(self, script: str, folder: Path) -> None:
        self.child: Child = shell(script, folder)

    def start(self) -> None:
        """As promised by `Owned`."""
        self.child.start(timeout_s=20)

    def stop(self) -> None:
        """As promised by `Owned`."""
        self.child.kill()


def test_it_serves_inside_the_block_and_is_gone_after_it(tmp_path: Path) -> None:
    """The plain block and the asynchronous one promise the same."""
    server = Server("echo ready; exec sleep 600", tmp_path)

    async def use() -> None:
        async with server:
            assert alive(server.child.pid)

    with server:
        assert alive(server.child.pid)
    assert not server.child.running
    asyncio.run(use())
    assert not server.child.running


def test_an_error_in_the_block_ends_it_too(tmp_path: Path) -> None:
    """A failing test leaves nothing over."""
    server = Server("echo ready; exec sleep 600", tmp_path)
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert not server.child.running


def test_a_failed_start_is_the_callers_error(tmp_path: Path) -> None:
    """`async with` raises what `start` raises."""

    async def use() -> None:
        async with Server("exit 1", tmp_path):
            pytest.fail("the block was entered")

    with pytest.raises(Unavailable, match="ended before"):
        asyncio.run(use())


def test_cancelled_while_starting_it_leaves_nothing(tmp_path: Path) -> None:
    """A thread cannot be cancelled, its servers can be ended."""
    server = Server("exec sleep 600", tmp_path)

    async def use() -> None:
        booting = asyncio.create_task(server.__aenter__())
        await asyncio.to_thread(until, lambda: server.child.running)
        booting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(booting, 30)

    asyncio.run(use())
    assert not server.child.running
