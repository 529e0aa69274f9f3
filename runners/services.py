"""The runners: each model's core as a BentoML service of one worker process, which batches what fronts send it.

Every process of the service imports this module; only the one that runs a model imports its libraries.
"""

from typing import Any, Generic, Protocol, TypeVar

import bentoml

from runners.faces import Item, Outcome

ContentT = TypeVar("ContentT")

MAX_BATCH_SIZE = 16
# A cancelling limit: BentoML refuses work it expects to take longer. The batcher bounds queue and time instead.
MAX_LATENCY_MS = 60_000

_CONFIG: dict[str, Any] = {
    # A dead worker among several is not replaced in a container; a lone one takes the service down, which is replaced.
    "workers": 1,
    # The batcher answers callers in time; this only frees what a front that is gone has left behind.
    "traffic": {"timeout": 60},
    # By default the client session is closed every 100 calls, under calls that still use it (bentoml issue 5540).
    "runner_connection": {"max_requests": 10**9, "max_age": 1e9},
    "logging": {"access": {"enabled": False}},
}


class Parcel(Generic[ContentT]):
    """An item or an outcome on its way between two processes.

    BentoML has pydantic take what crosses to pieces, dataclasses too; a class that pydantic does not know stays whole.
    """

    __slots__ = ("content",)

    def __init__(self, content: ContentT) -> None:
        self.content = content


@bentoml.service(name="haar", **_CONFIG)
class HaarRunner:
    """Frontal faces by OpenCV's Haar cascade."""

    def __init__(self) -> None:
        from runners.haar import HaarDetector

        self._detector = HaarDetector()

    @bentoml.api(  # type: ignore[untyped-decorator]  # bentoml gives it no types
        batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=MAX_LATENCY_MS
    )
    def detect(self, parcels: list[Any]) -> list[Any]:
        """Return a ``Parcel[Outcome]`` for each ``Parcel[Item]``, in order."""
        return _detect(self._detector, parcels)


@bentoml.service(name="landmarks", **_CONFIG)
class LandmarksRunner:
    """Faces and their 478 mesh points by MediaPipe."""

    def __init__(self) -> None:
        from runners.landmarks import LandmarkDetector

        self._detector = LandmarkDetector()

    @bentoml.api(  # type: ignore[untyped-decorator]  # bentoml gives it no types
        batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=MAX_LATENCY_MS
    )
    def detect(self, parcels: list[Any]) -> list[Any]:
        """Return a ``Parcel[Outcome]`` for each ``Parcel[Item]``, in order."""
        return _detect(self._detector, parcels)


class _Detector(Protocol):
    def detect(self, items: list[Item]) -> list[Outcome]: ...


def _detect(detector: _Detector, parcels: list[Parcel[Item]]) -> list[Parcel[Outcome]]:
    return [Parcel(outcome) for outcome in detector.detect([parcel.content for parcel in parcels])]


async def call(runner: Any, items: list[Item]) -> list[Outcome]:
    """Send a batch to a runner that the front depends on, and return its outcomes in order."""
    parcels: list[Parcel[Outcome]] = await runner.to_async.detect([Parcel(item) for item in items])
    return [parcel.content for parcel in parcels]
