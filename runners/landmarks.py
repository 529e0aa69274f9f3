"""Face landmarks by MediaPipe: the plain core, without BentoML."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runners.faces import Faces, Failure, Item, Outcome, boxes_around
from runners.images import ImageError, decode
from runners.mediapipe_graph import POINTS_PER_FACE, FaceGraph, native_stderr_to_log

logger = logging.getLogger(__name__)

# Built low, since it is fixed for the graph's life, and filtered here.
GRAPH_MIN_CONFIDENCE = 0.3
MIN_CONFIDENCE = 0.5
# The mesh sees a face at 192 px, so larger photos are decoded smaller as long as this much is left.
MIN_SIDE_PX = 2000

# 16 large photos at once would take gigabytes.
MAX_PIXELS_IN_FLIGHT = 32_000_000

_WARM_UP_IMAGE = Path(__file__).with_name("warm_up_face.jpg")


@dataclass(frozen=True, slots=True)
class _Searched:
    """An image that was handed to the graph."""

    full_wh: tuple[int, int]
    packet: Any


class LandmarkDetector:
    """Detect faces and their 478 mesh points in a batch of images, fed to one graph as a stream."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a graph must not be fed by two threads
        self._broken: list[FaceGraph] = []
        self._start()

    def _start(self) -> None:
        """Make the graph and run it once on a known face: the first run is slow, and proves that it works."""
        with native_stderr_to_log():
            self._graph = FaceGraph(GRAPH_MIN_CONFIDENCE)
            (outcome,) = self._run([Item(_WARM_UP_IMAGE.read_bytes())])
        if not isinstance(outcome, Faces) or len(outcome) != 1:
            raise RuntimeError(f"the self-test of the landmark model found no face: {outcome}")

    def detect(self, items: list[Item]) -> list[Outcome]:
        """Return each item's faces, or why it has none; one item's error touches no other."""
        with self._lock:
            try:
                return self._run(items)
            except Exception:  # whatever it was: what the graph still answers would be taken for others'
                logger.exception("The MediaPipe graph failed and is made anew")
                self._broken.append(self._graph)  # closing a failed graph can hang, so it is kept
                self._start()
                return [Failure("inference_failed", "the landmark model failed on this batch") for _ in items]

    def _run(self, items: list[Item]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        searched: dict[int, _Searched] = {}
        pixels = 0
        for index, item in enumerate(items):  # the graph searches one image while the next is decoded here
            try:
                image = decode(item.image, min_side_px=MIN_SIDE_PX)
            except ImageError as error:
                outcomes[index] = error.failure
                continue
            searched[index] = _Searched(image.full_wh, FaceGraph.packet(image.pixels))
            self._graph.detect(searched[index].packet)
            height, width = image.pixels.shape[:2]
            pixels += width * height
            if pixels > MAX_PIXELS_IN_FLIGHT:
                outcomes |= self._mesh(searched)
                searched, pixels = {}, 0
        outcomes |= self._mesh(searched)
        return [outcomes[index] for index in range(len(items))]

    def _mesh(self, searched: dict[int, _Searched]) -> dict[int, Outcome]:
        """Take the detections of what is being searched, and return the faces once all their meshes are there."""
        scores: dict[int, list[float]] = {}
        for index, image in searched.items():
            kept = [detection for detection in self._graph.detections() if detection.score >= MIN_CONFIDENCE]
            for detection in kept:
                self._graph.mesh(image.packet, detection)
            scores[index] = [detection.score for detection in kept]
        self._graph.finish()
        return {index: self._faces(image.full_wh, scores[index]) for index, image in searched.items()}

    def _faces(self, full_wh: tuple[int, int], scores: list[float]) -> Faces:
        meshes = [(score, self._graph.landmarks()) for score in scores]
        seen = [(score, mesh) for score, mesh in meshes if mesh is not None]
        points = np.array([mesh for _, mesh in seen], np.float32).reshape(-1, POINTS_PER_FACE, 2)
        points *= np.array(full_wh, np.float32)
        confidences = np.array([score for score, _ in seen], np.float32)
        return Faces.largest_first(full_wh, boxes_around(points), confidences, points)
