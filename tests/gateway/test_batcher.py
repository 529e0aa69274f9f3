import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.batcher import Batcher
from gateway.errors import DeadlineExceeded, Overloaded, RunnerUnavailable


@dataclass
class Call:
    """A call in flight, which the test ends."""

    items: list[str]
    outcomes: asyncio.Future[Sequence[str]]

    def finish(self) -> None:
        self.outcomes.set_result([item.upper() for item in self.items])


@dataclass
class Runner:
    """A runner whose calls the test receives one by one."""

    calls: asyncio.Queue[Call] = field(default_factory=asyncio.Queue)
    observed: list[int] = field(default_factory=list)
    ready: bool = True

    async def send(self, items: list[str]) -> Sequence[str]:
        call = Call(items, asyncio.get_running_loop().create_future())
        self.calls.put_nowait(call)
        return await call.outcomes

    def batcher(self, *, max_batch_size: int = 8, max_queue: int = 100) -> Batcher[str, str]:
        return Batcher(
            self.send,
            max_batch_size=max_batch_size,
            max_queue=max_queue,
            observe=self.observed.append,
            is_ready=self.is_ready,
        )

    async def is_ready(self) -> bool:
        return self.ready


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


def submit(batcher: Batcher[str, str], *items: str, within_s: float = 60) -> list[asyncio.Task[str]]:
    """Submit items, which are queued in this order when the loop runs next."""
    deadline = asyncio.get_running_loop().time() + within_s
    return [asyncio.create_task(batcher.submit(item, deadline)) for item in items]


def test_a_lone_item_is_sent_at_once_and_so_is_the_next() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        for item in "ab":
            [task] = submit(batcher, item)
            call = await runner.calls.get()
            assert call.items == [item]
            call.finish()
            assert await task == item.upper()

    run(scenario())


def test_what_queues_during_a_call_goes_together_and_in_order() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        first = submit(batcher, "a")
        call = await runner.calls.get()
        others = submit(batcher, "b", "c", "d")
        call.finish()
        assert await first[0] == "A"
        call = await runner.calls.get()
        assert call.items == ["b", "c", "d"]
        call.finish()
        assert await asyncio.gather(*others) == ["B", "C", "D"]
        assert runner.calls.empty()

    run(scenario())


def test_only_one_call_is_in_flight() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher(max_batch_size=1, max_queue=1)
        tasks = submit(batcher, "a")
        call = await runner.calls.get()
        tasks += submit(batcher, "b")
        with pytest.raises(Overloaded):  # so b waits in the queue by now
            await submit(batcher, "c")[0]
        assert runner.calls.empty()
        call.finish()
        (await runner.calls.get()).finish()
        assert await asyncio.gather(*tasks) == ["A", "B"]

    run(scenario())


def test_a_batch_is_no_larger_than_allowed_and_its_size_is_observed() -> None:
    async def scenario() -> None:
        runner = Runner()
        tasks = submit(runner.batcher(max_batch_size=3), *"abcdefg")
        sent = []
        for _ in range(3):
            call = await runner.calls.get()
            sent.append("".join(call.items))
            call.finish()
        assert await asyncio.gather(*tasks) == list("ABCDEFG")
        assert sent == ["abc", "def", "g"]
        assert runner.observed == [3, 3, 1]

    run(scenario())


def test_an_item_beyond_the_queue_is_refused_and_the_others_are_served() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher(max_queue=2)
        tasks = submit(batcher, "a")
        call = await runner.calls.get()
        tasks += submit(batcher, "b", "c")
        with pytest.raises(Overloaded, match="2 images wait already, the limit is 2"):
            await submit(batcher, "d")[0]
        call.finish()
        call = await runner.calls.get()
        assert call.items == ["b", "c"]
        tasks += submit(batcher, "e")  # there is room again
        call.finish()
        (await runner.calls.get()).finish()
        assert await asyncio.gather(*tasks) == ["A", "B", "C", "E"]

    run(scenario())


def test_an_item_whose_caller_was_cancelled_is_never_sent_and_makes_room() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher(max_queue=1)
        [a] = submit(batcher, "a")
        call = await runner.calls.get()
        [b] = submit(batcher, "b")
        with pytest.raises(Overloaded):
            await submit(batcher, "c")[0]
        b.cancel()
        with pytest.raises(asyncio.CancelledError):
            await b
        [d] = submit(batcher, "d")
        call.finish()
        assert await a == "A"
        call = await runner.calls.get()
        assert call.items == ["d"]
        call.finish()
        assert await d == "D"

    run(scenario())


def test_an_item_whose_caller_is_cancelled_as_its_batch_is_made_is_never_sent() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher(max_queue=2)
        tasks = submit(batcher, "a")
        call = await runner.calls.get()
        b, c = submit(batcher, "b", "c")
        with pytest.raises(Overloaded):  # so b and c wait in the queue by now
            await submit(batcher, "d")[0]
        call.finish()  # wakes the batcher before b gets to know
        b.cancel()
        call = await runner.calls.get()
        assert call.items == ["c"]
        call.finish()
        assert await asyncio.gather(*tasks, c) == ["A", "C"]
        assert b.cancelled()

    run(scenario())


def test_a_caller_cancelled_during_its_call_leaves_the_others_their_outcomes() -> None:
    async def scenario() -> None:
        runner = Runner()
        a, b = submit(runner.batcher(), "a", "b")
        call = await runner.calls.get()
        a.cancel()
        with pytest.raises(asyncio.CancelledError):
            await a
        call.finish()
        assert await b == "B"

    run(scenario())


def test_an_item_whose_deadline_passed_in_the_queue_is_never_sent() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        [a] = submit(batcher, "a")
        call = await runner.calls.get()
        [late] = submit(batcher, "late", within_s=0.01)
        with pytest.raises(DeadlineExceeded):
            await late
        [b] = submit(batcher, "b")
        call.finish()
        assert await a == "A"
        call = await runner.calls.get()
        assert call.items == ["b"]
        call.finish()
        assert await b == "B"

    run(scenario())


def test_an_item_that_comes_after_its_deadline_is_never_sent() -> None:
    async def scenario() -> None:
        runner = Runner()
        [late] = submit(runner.batcher(), "late", within_s=-1)
        with pytest.raises(DeadlineExceeded):
            await late
        assert runner.calls.empty()
        assert runner.observed == []

    run(scenario())


def test_a_call_that_hangs_ends_at_its_deadline_and_the_next_item_is_served() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        hung = submit(batcher, "a", "b", within_s=0.05)
        call = await runner.calls.get()
        [c] = submit(batcher, "c")
        ends = await asyncio.gather(*hung, return_exceptions=True)
        assert [type(end) for end in ends] == [DeadlineExceeded, DeadlineExceeded]
        after = await runner.calls.get()
        assert call.outcomes.cancelled()
        assert after.items == ["c"]
        after.finish()
        assert await c == "C"

    run(scenario())


def test_a_call_goes_on_while_one_of_its_callers_has_time_left() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        [hasty] = submit(batcher, "hasty", within_s=0.05)
        [patient] = submit(batcher, "patient")
        call = await runner.calls.get()
        assert call.items == ["hasty", "patient"]
        with pytest.raises(DeadlineExceeded):
            await hasty
        call.finish()
        assert await patient == "PATIENT"

    run(scenario())


def test_a_call_that_fails_fails_its_own_batch_only() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        failing = submit(batcher, "a", "b")
        call = await runner.calls.get()
        [c] = submit(batcher, "c")
        call.outcomes.set_exception(ConnectionError("/run/runner.sock"))
        ends = await asyncio.gather(*failing, return_exceptions=True)
        assert [type(end) for end in ends] == [RunnerUnavailable, RunnerUnavailable]
        assert "runner.sock" not in str(ends)
        (await runner.calls.get()).finish()
        assert await c == "C"

    run(scenario())


@pytest.mark.parametrize("outcomes", [[], ["A"], ["A", "B", "C"]], ids=["none", "too few", "too many"])
def test_a_wrong_number_of_outcomes_is_no_answer(outcomes: list[str]) -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        tasks = submit(batcher, "a", "b")
        (await runner.calls.get()).outcomes.set_result(outcomes)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [RunnerUnavailable, RunnerUnavailable]
        [c] = submit(batcher, "c")
        (await runner.calls.get()).finish()
        assert await c == "C"

    run(scenario())


def test_after_a_failed_call_nothing_is_sent_to_a_runner_that_is_not_ready() -> None:
    async def scenario() -> None:
        runner = Runner()
        batcher = runner.batcher()
        [first] = submit(batcher, "a")
        (await runner.calls.get()).outcomes.set_exception(ConnectionError("gone"))
        with pytest.raises(RunnerUnavailable):
            await first
        runner.ready = False
        [second] = submit(batcher, "b")
        with pytest.raises(RunnerUnavailable):
            await second
        assert runner.calls.empty()
        runner.ready = True
        [third] = submit(batcher, "c")
        (await runner.calls.get()).finish()
        assert await third == "C"

    run(scenario())
