"""The thread of the embedded log: what is handed to it and back."""

import asyncio
import threading

import pytest

from bennu.log.sqlite_thread import CallThread, Overdue
from tests.log.helpers import run


def test_calls_are_done_one_after_the_other_in_one_thread() -> None:
    """A connection belongs to one thread, and a topic's records to one order."""

    async def body() -> None:
        thread, done = CallThread("t"), list[tuple[int, str]]()

        def note(number: int) -> int:
            done.append((number, threading.current_thread().name))
            return number

        calls = [thread.begin(lambda n=n: note(n)) for n in range(100)]  # type: ignore[misc]  # mypy can't tell n
        assert [await call.answer for call in calls] == list(range(100))
        assert done == [(number, "t") for number in range(100)]
        thread.end()

    run(body())


@pytest.mark.parametrize("error", [ValueError("no"), AssertionError("a fault of ours"), SystemExit(3)])
def test_whatever_goes_wrong_is_whose_who_waits_and_the_thread_goes_on(error: BaseException) -> None:
    """Else one fault would leave all later appends without an answer."""

    async def body() -> None:
        thread = CallThread("t")

        def fail() -> None:
            raise error

        call = thread.begin(fail)
        await asyncio.wait([call.answer])
        assert call.answer.exception() is error
        assert await thread.run(lambda: 7) == 7
        thread.end()

    run(body())


def test_what_ends_early_is_a_failure_too() -> None:
    """A future takes no `StopIteration`."""

    async def body() -> None:
        thread = CallThread("t")
        with pytest.raises(RuntimeError):
            await thread.run(lambda: next(iter(())))
        thread.end()

    run(body())


def test_who_gives_up_in_line_has_nothing_done() -> None:
    """A call that is under way is finished; one that was not begun never is."""

    async def body() -> None:
        thread, gate, done = CallThread("t"), threading.Event(), list[int]()
        first = asyncio.ensure_future(thread.run(gate.wait))
        second = asyncio.ensure_future(thread.run(lambda: done.append(2)))
        third = asyncio.ensure_future(thread.run(lambda: done.append(3)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        gate.set()
        await third
        assert await first
        assert done == [3]
        assert second.cancelled()
        thread.end()

    run(body())


def test_a_call_that_was_begun_can_not_be_dropped() -> None:
    """What `drop` says decides between "refused" and "unknown"."""

    async def body() -> None:
        thread, gate, begun = CallThread("t"), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            gate.wait()

        call, behind = thread.begin(work), thread.begin(lambda: None)
        await asyncio.to_thread(begun.wait)
        assert not call.drop()
        assert behind.drop()
        gate.set()
        await call.answer
        thread.end()

    run(body())


def test_a_thread_that_can_not_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of processes may be reached for a moment."""

    async def body() -> None:
        thread = CallThread("t")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_thread)
            with pytest.raises(RuntimeError, match="can't start"):
                thread.begin(lambda: None)
        assert await thread.run(lambda: 7) == 7
        thread.end()

    run(body())


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_nothing_can_be_begun_after_the_end() -> None:
    """It would never be done, and who waits for it would wait for ever."""

    async def body() -> None:
        thread = CallThread("t")
        thread.end()
        with pytest.raises(RuntimeError, match="ended"):
            thread.begin(lambda: None)

    run(body())


def test_what_comes_back_after_the_loop_is_closed_harms_nobody() -> None:
    """A disk may let go of a thread when all is over."""
    thread, gate, ended = CallThread("t"), threading.Event(), threading.Event()

    async def body() -> None:
        thread.begin(lambda: gate.wait() and None)

    run(body())
    gate.set()

    async def later() -> None:
        assert await thread.run(lambda: 5) == 5
        thread.begin(ended.set)
        thread.end()

    run(later())
    assert ended.wait(10)


def test_each_is_ended_when_its_own_time_is_over() -> None:
    """Whatever the order in which they came; one timer serves all."""

    async def body() -> None:
        loop, overdue = asyncio.get_running_loop(), Overdue()
        late, soon, never = (loop.create_future() for _ in range(3))
        for waiting, patience_s in ((late, 0.08), (never, 60.0), (soon, 0.02)):
            overdue.watch(waiting, patience_s)
        ended: list[str] = []
        late.add_done_callback(lambda _: ended.append("late"))
        soon.add_done_callback(lambda _: ended.append("soon"))
        await asyncio.wait([soon])
        overdue.forget(soon)
        await asyncio.wait([late])
        await asyncio.sleep(0)
        assert ended == ["soon", "late"]
        assert isinstance(soon.exception(), TimeoutError)
        assert isinstance(late.exception(), TimeoutError)
        assert not never.done()

    run(body())
