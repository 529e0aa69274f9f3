"""What goes into a runner and what comes out of it, one item an image."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatT = TypeVar("FloatT", bound=np.floating[Any])


@dataclass(frozen=True, slots=True)
class Item:
    """One image to be searched: the encoded file, and not its pixels, crosses to the runner."""

    image: bytes


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of one image, the largest first, in pixels of the upright image.

    ``image_wh``: width and height of that image.
    ``boxes_xywh``: float32 (n, 4), left, top, width, height.
    ``confidences``: float32 (n,), 0..1.
    ``points_xy``: float32 (n, 478, 2), MediaPipe's mesh with irises, or (n, 0, 2) from a model without points.
    """

    image_wh: tuple[int, int]
    boxes_xywh: NDArray[np.float32]
    confidences: NDArray[np.float32]
    points_xy: NDArray[np.float32]

    @classmethod
    def largest_first(
        cls,
        image_wh: tuple[int, int],
        boxes_xywh: NDArray[np.float32],
        confidences: NDArray[np.float32],
        points_xy: NDArray[np.float32] | None = None,
    ) -> "Faces":
        """Order by area, then by place, so that the same image always gives the same order."""
        boxes = np.asarray(boxes_xywh, np.float32).reshape(-1, 4)
        n = len(boxes)
        points = np.zeros((n, 0, 2), np.float32) if points_xy is None else points_xy
        order = np.lexsort((boxes[:, 1], boxes[:, 0], -boxes[:, 2] * boxes[:, 3]))
        return cls(image_wh, boxes[order], np.asarray(confidences, np.float32)[order], points[order])

    def __len__(self) -> int:
        return len(self.boxes_xywh)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one item has no faces to report: an error as a value, since a raised one would fail its whole batch.

    ``code`` is that of an error in ``gateway.errors``.
    """

    code: str
    message: str


Outcome = Faces | Failure


def boxes_around(points_xy: NDArray[FloatT]) -> NDArray[FloatT]:
    """Return the boxes (n, 4), left, top, width, height, around each face's points (n, m, 2)."""
    low, high = points_xy.min(axis=1), points_xy.max(axis=1)
    return np.concatenate([low, high - low], axis=1)
