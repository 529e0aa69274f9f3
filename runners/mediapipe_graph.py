"""MediaPipe's full-range face detection and its attention mesh as two unconnected chains of one graph.

One graph lets its scheduler overlap the detection of one image with the meshes of another; two chains leave what is to
be meshed to us.
"""

import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


def _import_mediapipe() -> Path:
    """Register the package without running its ``__init__``, and return the folder it is installed in.

    That file imports every solution and task, and matplotlib with them: ten times the time, twice the memory.
    """
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise ImportError("mediapipe is not installed")
    sys.modules.setdefault("mediapipe", importlib.util.module_from_spec(spec))
    return Path(spec.origin).parent.parent


_SITE_PACKAGES = _import_mediapipe()

from google.protobuf import text_format  # noqa: E402 (mediapipe has to be registered first)
from mediapipe.framework import calculator_pb2  # noqa: E402
from mediapipe.framework.formats import detection_pb2, landmark_pb2  # noqa: E402, F401 (packet_getter needs them known)
from mediapipe.modules.face_detection import face_detection_pb2  # noqa: E402
from mediapipe.python import packet_creator, packet_getter  # noqa: E402
from mediapipe.python._framework_bindings import resource_util  # noqa: E402
from mediapipe.python._framework_bindings.calculator_graph import CalculatorGraph  # noqa: E402
from mediapipe.python._framework_bindings.image_frame import ImageFormat  # noqa: E402

resource_util.set_resource_dir(str(_SITE_PACKAGES))

POINTS_PER_FACE = 478
# Far above what any image takes; a graph that has failed never answers.
_STEP_TIMEOUT_S = 20.0

_CONFIG = """
input_stream: "detection_image"
output_stream: "detections"
node {
  calculator: "FaceDetectionFullRangeCpu"
  input_stream: "IMAGE:detection_image"
  output_stream: "DETECTIONS:detections"
}

input_stream: "mesh_image"
input_stream: "mesh_detection"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "ImagePropertiesCalculator"
  input_stream: "IMAGE:mesh_image"
  output_stream: "SIZE:mesh_image_size"
}
node {
  calculator: "FaceDetectionFrontDetectionToRoi"
  input_stream: "DETECTION:mesh_detection"
  input_stream: "IMAGE_SIZE:mesh_image_size"
  output_stream: "ROI:mesh_roi"
}
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:mesh_image"
  input_stream: "ROI:mesh_roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


class GraphError(RuntimeError):
    """The graph failed and answers nothing any more; a new one has to be made."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face that was detected: its score, 0..1, and MediaPipe's own message, which the mesh chain takes."""

    score: float
    message: Any


class FaceGraph:
    """Two streams, fed by one thread: images to detections, and detections to landmarks.

    Feed with ``detect`` and ``mesh`` as often as needed; fetch the answers, in the same order, with ``detections`` and,
    after one ``finish``, ``landmarks``. ``min_confidence`` is fixed when the graph is built.
    """

    def __init__(self, min_confidence: float) -> None:
        config = text_format.Parse(_CONFIG, calculator_pb2.CalculatorGraphConfig())
        options = config.node[0].options.Extensions[face_detection_pb2.FaceDetectionOptions.ext]
        options.min_score_thresh = min_confidence
        self._graph = CalculatorGraph(graph_config=config)
        self._detections: SimpleQueue[Any] = SimpleQueue()
        self._landmarks: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()
        # True: report an empty answer too, so that an image without a face is not waited for.
        self._graph.observe_output_stream("detections", lambda _, packet: self._detections.put(packet), True)
        self._graph.observe_output_stream("landmarks", lambda _, packet: self._landmarks.put(_points(packet)), True)
        self._graph.start_run({"with_attention": packet_creator.create_bool(True)})
        self._detect_time = 0
        self._mesh_time = 0

    @staticmethod
    def packet(image_rgb: NDArray[np.uint8]) -> Any:
        """Copy an image, uint8 (h, w, 3), into a packet that both chains can share."""
        return packet_creator.create_image_frame(image_format=ImageFormat.SRGB, data=image_rgb)

    def detect(self, image_packet: Any) -> None:
        """Start the search of one image."""
        self._detect_time += 1
        self._feed("detection_image", image_packet.at(self._detect_time))

    def detections(self) -> list[Detection]:
        """Wait for the next image's detections."""
        try:
            packet = self._detections.get(timeout=_STEP_TIMEOUT_S)
        except Empty:
            raise GraphError("the detection chain gave no answer") from None
        messages = [] if packet.is_empty() else packet_getter.get_proto_list(packet)
        return [Detection(message.score[0], message) for message in messages]

    def mesh(self, image_packet: Any, detection: Detection) -> None:
        """Start the mesh of one detected face."""
        self._mesh_time += 1
        self._feed("mesh_image", image_packet.at(self._mesh_time))
        self._feed("mesh_detection", packet_creator.create_proto(detection.message).at(self._mesh_time))

    def finish(self) -> None:
        """Wait until everything fed has been worked off."""
        try:
            self._graph.wait_until_idle()
        except (RuntimeError, ValueError) as error:
            raise GraphError(str(error)) from error

    def landmarks(self) -> NDArray[np.float32] | None:
        """Return the next face's points, (478, 2), x and y as fractions of the image; None where it saw no face."""
        try:
            return self._landmarks.get_nowait()
        except Empty:
            raise GraphError("the mesh chain gave no answer") from None

    def _feed(self, stream: str, packet: Any) -> None:
        try:
            self._graph.add_packet_to_input_stream(stream, packet)
        except (RuntimeError, ValueError) as error:
            raise GraphError(str(error)) from error


def _points(packet: Any) -> NDArray[np.float32] | None:
    """Convert a face's landmarks; in the graph's thread, so that it costs the batch no time at its end."""
    if packet.is_empty():
        return None
    return np.array([(point.x, point.y) for point in packet_getter.get_proto(packet).landmark], np.float32)


@contextmanager
def native_stderr_to_log() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 meanwhile to our log, at DEBUG.

    No environment variable silences MediaPipe's lines of start and first face.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                logger.debug("mediapipe: %s", line)
