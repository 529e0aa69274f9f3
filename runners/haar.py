"""Frontal faces by OpenCV's Haar cascade: the plain core, without BentoML."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import cv2
import numpy as np
from cv2.data import haarcascades
from numpy.typing import NDArray

from runners.faces import Faces, Failure, Item, Outcome
from runners.images import ImageError, decode

# The fewest false faces at the best recall measured on labelled group photos (scripts/quality).
SCALE_FACTOR = 1.1
MIN_NEIGHBORS = 4
MIN_FACE_PX = 24
# Cost grows with the area searched, so that is bounded; faces in larger photos are larger too.
MAX_SIDE_PX = 800


def confidence(level_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map the cascade's level weights (the last stage's sum over its threshold) to 0..1.

    A logistic curve: 0.34 for a weight of 0, where the cascade is undecided, 0.5 at 1, 0.95 at 5.4. The true faces of
    labelled group photos have weights of 1.7 to 10, false ones seldom above 3.
    """
    mapped: NDArray[np.float64] = 1 / (1 + np.exp(-(level_weights - 1) / 1.5))
    return mapped


class HaarDetector:
    """Detect frontal faces in a batch of images, one image a core."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="haar")
        # A cascade must not be shared by two threads; a thread borrows one for the time of an image.
        self._cascades: SimpleQueue[cv2.CascadeClassifier] = SimpleQueue()
        path = Path(haarcascades) / "haarcascade_frontalface_default.xml"
        for _ in range(self._threads):
            self._cascades.put(cv2.CascadeClassifier(str(path)))

    def detect(self, items: list[Item]) -> list[Outcome]:
        """Return each item's faces, or why it has none; one item's error touches no other."""
        # A lone image gets OpenCV's own threads; several are spread, which wastes less.
        cv2.setNumThreads(self._threads if len(items) == 1 else 1)
        return list(self._pool.map(self._detect_one, items))

    def _detect_one(self, item: Item) -> Outcome:
        try:
            image = decode(item.image, grey=True, min_side_px=MAX_SIDE_PX)
        except ImageError as error:
            return error.failure
        grey = image.pixels
        longer_side = max(grey.shape)
        if longer_side > MAX_SIDE_PX:
            size = [max(1, round(side * MAX_SIDE_PX / longer_side)) for side in grey.shape[::-1]]
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        cascade = self._cascades.get()
        try:
            boxes, _, weights = cascade.detectMultiScale3(
                grey,
                SCALE_FACTOR,
                MIN_NEIGHBORS,
                minSize=(MIN_FACE_PX, MIN_FACE_PX),
                outputRejectLevels=True,
            )
        except cv2.error:
            return Failure("inference_failed", "the Haar cascade failed on this image")
        finally:
            self._cascades.put(cascade)
        to_full = np.divide(image.full_wh, grey.shape[::-1])
        return Faces.largest_first(
            image.full_wh,
            np.asarray(boxes, np.float32).reshape(-1, 4) * np.tile(to_full, 2).astype(np.float32),
            confidence(np.asarray(weights, np.float64).reshape(-1)).astype(np.float32),
        )
