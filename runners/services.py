"""The runners: each model's core as a BentoML service of one worker process, which batches what fronts send it."""

from typing import Any

import bentoml

from runners.faces import Item, Outcome
from runners.haar import HaarDetector
from runners.landmarks import LandmarkDetector

MAX_BATCH_SIZE = 16

_CONFIG: dict[str, Any] = {
    # A dead worker among several is not replaced in a container; a lone one takes the service down, which is replaced.
    "workers": 1,
    # The batcher in front answers callers in time; this only frees what a front that is gone has left behind.
    "traffic": {"timeout": 60},
    # By default the client session is closed every 100 calls, under calls that still use it (bentoml issue 5540).
    "runner_connection": {"max_requests": 10**9, "max_age": 1e9},
    "logging": {"access": {"enabled": False}},
}
# A cancelling limit: BentoML refuses work it expects to take longer. The batcher bounds the queue and the time instead.
_BATCHING: dict[str, Any] = {"batchable": True, "max_batch_size": MAX_BATCH_SIZE, "max_latency_ms": 60_000}


@bentoml.service(name="haar", **_CONFIG)
class HaarRunner:
    """Frontal faces by OpenCV's Haar cascade."""

    def __init__(self) -> None:
        self._detector = HaarDetector()

    @bentoml.api(**_BATCHING)
    def detect(self, items: list[Item]) -> list[Outcome]:
        """Return each item's faces or failure, in the items' order."""
        return self._detector.detect(items)


@bentoml.service(name="landmarks", **_CONFIG)
class LandmarksRunner:
    """Faces and their 478 mesh points by MediaPipe."""

    def __init__(self) -> None:
        self._detector = LandmarkDetector()

    @bentoml.api(**_BATCHING)
    def detect(self, items: list[Item]) -> list[Outcome]:
        """Return each item's faces or failure, in the items' order."""
        return self._detector.detect(items)
