"""Read labelled faces from a ``labels.xml`` as dlib writes it: photos, boxes and iBUG's 68 points."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

LABELS_FILE = "labels.xml"
POINTS = 68


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """``box_xywh``: float64 (4,), left, top, width, height. ``points_xy``: float64 (68, 2). Both in pixels."""

    box_xywh: NDArray[np.float64]
    points_xy: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo's file and the faces in it."""

    path: Path
    faces: tuple[LabelledFace, ...]


def read_labels(folder: Path) -> list[LabelledPhoto]:
    """Read ``labels.xml`` in ``folder``.

    Raises FileNotFoundError for a photo that is listed and not there, ValueError for a face without all its points.
    """
    photos = []
    for image in ElementTree.parse(folder / LABELS_FILE).iter("image"):
        path = folder / image.attrib["file"]
        if not path.is_file():
            raise FileNotFoundError(f"{folder / LABELS_FILE} lists a photo that does not exist: {path}")
        photos.append(LabelledPhoto(path, tuple(_face(box, path) for box in image.iter("box"))))
    return photos


def _face(box: ElementTree.Element, path: Path) -> LabelledFace:
    places = {int(part.attrib["name"]): (float(part.attrib["x"]), float(part.attrib["y"])) for part in box.iter("part")}
    if sorted(places) != list(range(POINTS)):
        raise ValueError(f"{path}: a face has {len(places)} points instead of the {POINTS} numbered 0 to {POINTS - 1}")
    return LabelledFace(
        box_xywh=np.array([float(box.attrib[side]) for side in ("left", "top", "width", "height")]),
        points_xy=np.array([places[number] for number in range(POINTS)]),
    )
