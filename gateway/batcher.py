"""The batcher between the front and a runner: one call in flight, carrying everything that queued meanwhile.

It never waits for company, so a lone item goes out at once; under load batches grow by themselves, since the runner
is busy longer than the next item needs to arrive. BentoML's own dispatcher waits as long as calls used to wait, which
makes a lone request after a burst many times slower.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.errors import DeadlineExceeded, Overloaded, RunnerUnavailable

logger = logging.getLogger(__name__)

OUT_OF_TIME = "the model had no time left for this image"

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[ItemT]):
    item: ItemT
    deadline: float


class Batcher(Generic[ItemT, OutcomeT]):
    """Queue items for one runner and hand each its own outcome.

    ``send`` takes a list of items and returns one outcome for each, in order. After a call that failed, ``is_ready`` is
    asked before the next one: a runner that died leaves its socket behind, in which calls would wait for nobody.
    ``observe`` is told the size of each batch. Deadlines are times of the running event loop's clock, in seconds.
    """

    def __init__(
        self,
        send: Callable[[list[ItemT]], Awaitable[Sequence[OutcomeT]]],
        *,
        max_batch_size: int,
        max_queue: int,
        observe: Callable[[int], None],
        is_ready: Callable[[], Awaitable[bool]],
    ) -> None:
        self._send = send
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._observe = observe
        self._is_ready = is_ready
        self._failed = False
        self._queue: dict[asyncio.Future[OutcomeT], _Waiting[ItemT]] = {}  # in the order of arrival
        self._pump: asyncio.Task[None] | None = None

    async def submit(self, item: ItemT, deadline: float) -> OutcomeT:
        """Return the item's outcome.

        A caller that is cancelled takes its item out of the queue. Raises Overloaded when the queue is full,
        DeadlineExceeded when the time is up, RunnerUnavailable when the runner does not answer.
        """
        if len(self._queue) >= self._max_queue:
            message = f"{len(self._queue)} images wait already, the limit is {self._max_queue}"
            raise Overloaded(message, {"Retry-After": "1"})
        future: asyncio.Future[OutcomeT] = asyncio.get_running_loop().create_future()
        self._queue[future] = _Waiting(item, deadline)
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise DeadlineExceeded(OUT_OF_TIME) from None
        finally:
            self._queue.pop(future, None)

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._send_batch(self._take())
        finally:
            self._pump = None

    def _take(self) -> dict[asyncio.Future[OutcomeT], _Waiting[ItemT]]:
        """Take the oldest items whose callers still wait and have time left."""
        now = asyncio.get_running_loop().time()
        batch: dict[asyncio.Future[OutcomeT], _Waiting[ItemT]] = {}
        for future in list(self._queue):
            if len(batch) == self._max_batch_size:
                break
            waiting = self._queue.pop(future)
            if not future.done() and waiting.deadline > now:
                batch[future] = waiting
        return batch

    async def _send_batch(self, batch: dict[asyncio.Future[OutcomeT], _Waiting[ItemT]]) -> None:
        if not batch:
            return
        try:
            self._observe(len(batch))
            # When nobody has time left, the call is given up: a runner that hangs must not hold up those behind.
            async with asyncio.timeout_at(max(waiting.deadline for waiting in batch.values())):
                if self._failed and not await self._is_ready():
                    raise RuntimeError("the runner is not ready")
                outcomes = await self._send([waiting.item for waiting in batch.values()])
            if len(outcomes) != len(batch):  # whose is whose cannot be told
                raise ValueError(f"{len(outcomes)} outcomes for {len(batch)} items")
            self._failed = False
            for future, outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)
        except TimeoutError:
            logger.warning("A runner did not answer a batch of %d in time", len(batch))
            for future in batch:
                if not future.done():
                    future.set_exception(DeadlineExceeded(OUT_OF_TIME))
        except Exception:
            self._failed = True
            logger.exception("A runner did not answer a batch of %d", len(batch))
            for future in batch:
                if not future.done():
                    future.set_exception(RunnerUnavailable("the model does not answer; try again"))
