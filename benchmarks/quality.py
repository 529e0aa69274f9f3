"""Measure what both models find on labelled photos: ./scripts/quality FOLDER [--overlay DIR]."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.labels import LabelledPhoto, read_labels
from runners.faces import Faces, Item, Outcome, boxes_around
from runners.haar import HaarDetector
from runners.landmarks import LandmarkDetector
from schemas.classes import ibug_68

MIN_IOU = 0.4

# Of iBUG's 68 points: all but the jaw, whose places along the outline are a matter of taste, and the two that scale.
_INNER = slice(17, 68)
_OUTER_EYE_CORNERS = (36, 45)

_GREEN, _RED, _ORANGE = (0, 200, 0), (0, 0, 255), (0, 140, 255)  # BGR


@dataclass(frozen=True, slots=True)
class Matching:
    """Which found box is which labelled one: ``pairs`` of indices (found, labelled), and the indices left over."""

    pairs: tuple[tuple[int, int], ...]
    invented: tuple[int, ...]
    missed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PhotoFindings:
    """What both models found on one photo. ``ibug_xy``: float64 (n, 68, 2), the landmark model's faces."""

    photo: LabelledPhoto
    landmarks: Faces
    ibug_xy: NDArray[np.float64]
    landmarks_matching: Matching
    haar: Faces
    haar_matching: Matching


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures over all photos. ``inner_error``: mean distance of the 51 inner points over that of the eye corners."""

    photos: int
    faces: int
    landmarks_recall: float
    landmarks_precision: float
    inner_error: float
    haar_recall: float
    haar_precision: float

    def to_markdown(self) -> str:
        """Return a table for a report."""
        return "\n".join(
            [
                f"| {self.faces} faces on {self.photos} photos | recall | precision | error of the 51 inner points |",
                "|---|---|---|---|",
                f"| landmarks | {self.landmarks_recall:.3f} | {self.landmarks_precision:.3f} |"
                f" {self.inner_error:.4f} |",
                f"| Haar | {self.haar_recall:.3f} | {self.haar_precision:.3f} | |",
            ]
        )


def ious(one_xywh: NDArray[Any], other_xywh: NDArray[Any]) -> NDArray[np.float64]:
    """Return the intersections over unions (n, m) of n and m boxes, (n, 4) and (m, 4)."""
    one = np.asarray(one_xywh, np.float64).reshape(-1, 1, 4)
    other = np.asarray(other_xywh, np.float64).reshape(1, -1, 4)
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    common: NDArray[np.float64] = (high - low).clip(0).prod(axis=-1)
    union = one[..., 2:].prod(axis=-1) + other[..., 2:].prod(axis=-1) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def match(found_xywh: NDArray[Any], labelled_xywh: NDArray[Any], min_iou: float = MIN_IOU) -> Matching:
    """Pair boxes one to one, the best overlap first, down to ``min_iou``."""
    overlaps = ious(found_xywh, labelled_xywh)
    found, labelled = set(range(overlaps.shape[0])), set(range(overlaps.shape[1]))
    pairs = []
    for index in np.argsort(-overlaps, axis=None, kind="stable").tolist():
        one, other = divmod(index, overlaps.shape[1])
        if overlaps[one, other] < min_iou:
            break
        if one in found and other in labelled:
            found.remove(one)
            labelled.remove(other)
            pairs.append((one, other))
    return Matching(tuple(pairs), tuple(sorted(found)), tuple(sorted(labelled)))


def inner_error(found_xy: NDArray[np.float64], labelled_xy: NDArray[np.float64]) -> float:
    """Return the mean distance of a face's 51 inner points, (68, 2) each, over the labelled outer eye corners'."""
    right, left = labelled_xy[list(_OUTER_EYE_CORNERS)]
    distances = np.linalg.norm(found_xy[_INNER] - labelled_xy[_INNER], axis=1)
    return float(distances.mean() / np.linalg.norm(right - left))


def search(folder: Path) -> list[PhotoFindings]:
    """Run both models on every photo of ``folder/labels.xml``. Raises ValueError for a photo that cannot be read."""
    photos = read_labels(folder)
    items = [Item(photo.path.read_bytes()) for photo in photos]
    landmarks, haar = LandmarkDetector().detect(items), HaarDetector().detect(items)
    return [_findings(*found) for found in zip(photos, landmarks, haar, strict=True)]


def summarize(findings: Sequence[PhotoFindings]) -> Quality:
    """Sum up what was found; a share of nothing is not a number."""
    labelled = sum(len(found.photo.faces) for found in findings)
    errors = [
        inner_error(found.ibug_xy[one], found.photo.faces[other].points_xy)
        for found in findings
        for one, other in found.landmarks_matching.pairs
    ]
    haar_pairs = sum(len(found.haar_matching.pairs) for found in findings)
    return Quality(
        photos=len(findings),
        faces=labelled,
        landmarks_recall=_share(len(errors), labelled),
        landmarks_precision=_share(len(errors), sum(len(found.landmarks) for found in findings)),
        inner_error=_share(sum(errors), len(errors)),
        haar_recall=_share(haar_pairs, labelled),
        haar_precision=_share(haar_pairs, sum(len(found.haar) for found in findings)),
    )


def measure(folder: Path) -> Quality:
    """Return the figures of both models on ``folder``, which holds photos and a ``labels.xml``."""
    return summarize(search(folder))


def draw_overlays(findings: Iterable[PhotoFindings], folder: Path) -> None:
    """Write each photo twice, ``NAME.landmarks.png`` and ``NAME.haar.png``: found, missed (red), invented (orange)."""
    folder.mkdir(parents=True, exist_ok=True)
    for found in findings:
        name = found.photo.path.stem
        labelled_boxes = _labelled_boxes(found.photo)
        labelled_point_boxes = boxes_around(_labelled_points(found.photo))
        landmarks = _upright(found.photo.path)
        _draw_boxes(landmarks, boxes_around(found.ibug_xy), labelled_point_boxes, found.landmarks_matching)
        for number, points in enumerate(found.ibug_xy):
            colour = _ORANGE if number in found.landmarks_matching.invented else _GREEN
            for x, y in np.rint(points).astype(int).tolist():
                cv2.circle(landmarks, (x, y), 1, colour, cv2.FILLED)
        haar = _upright(found.photo.path)
        _draw_boxes(haar, found.haar.boxes_xywh, labelled_boxes, found.haar_matching)
        for model, picture in {"landmarks": landmarks, "haar": haar}.items():
            path = folder / f"{name}.{model}.png"
            if not cv2.imwrite(str(path), picture):
                raise OSError(f"cannot write {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, and draw the overlays if asked to."""
    parser = argparse.ArgumentParser(prog="scripts/quality", description="Measure both models on labelled photos.")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="photos and a labels.xml in dlib's format")
    parser.add_argument(
        "--overlay",
        metavar="DIR",
        type=Path,
        help="write the photos there with what was found in green, missed in red, invented in orange",
    )
    arguments = parser.parse_args(argv)
    try:
        findings = search(arguments.folder)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(summarize(findings).to_markdown())
    if arguments.overlay:
        draw_overlays(findings, arguments.overlay)


def _findings(photo: LabelledPhoto, landmarks: Outcome, haar: Outcome) -> PhotoFindings:
    if not isinstance(landmarks, Faces) or not isinstance(haar, Faces):
        raise ValueError(f"{photo.path}: {landmarks if not isinstance(landmarks, Faces) else haar}")
    ibug_xy = landmarks.points_xy[:, list(ibug_68().mesh_indices)].astype(np.float64)
    return PhotoFindings(
        photo,
        landmarks,
        ibug_xy,
        match(boxes_around(ibug_xy), boxes_around(_labelled_points(photo))),
        haar,
        match(haar.boxes_xywh, _labelled_boxes(photo)),
    )


def _labelled_boxes(photo: LabelledPhoto) -> NDArray[np.float64]:
    return np.array([face.box_xywh for face in photo.faces], np.float64).reshape(-1, 4)


def _labelled_points(photo: LabelledPhoto) -> NDArray[np.float64]:
    return np.array([face.points_xy for face in photo.faces], np.float64).reshape(-1, 68, 2)


def _share(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")


def _upright(path: Path) -> NDArray[Any]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)  # upright: OpenCV applies EXIF's orientation
    if picture is None:
        raise ValueError(f"OpenCV cannot read {path}")
    return picture


def _draw_boxes(picture: NDArray[Any], found: NDArray[Any], labelled: NDArray[Any], matching: Matching) -> None:
    drawn = [(found[one], _GREEN) for one, _ in matching.pairs]
    drawn += [(found[one], _ORANGE) for one in matching.invented]
    drawn += [(labelled[other], _RED) for other in matching.missed]
    for (x, y, w, h), colour in drawn:
        corners = [(round(float(x)), round(float(y))), (round(float(x + w)), round(float(y + h)))]
        cv2.rectangle(picture, corners[0], corners[1], colour, 1)


if __name__ == "__main__":
    main()
