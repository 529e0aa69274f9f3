"""The class table: what the service can emit. Answers, ``GET classes`` and the documents are made from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.v7 import BoundingBox, ClassEntry, GeometryType, Node, Result, Skeleton

# iBUG's 68 points in its order: (part, closed, indices into MediaPipe's mesh). Left and right are the person's.
_IBUG_68 = (
    ("jaw", False, (162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389)),
    ("right_brow", False, (71, 63, 105, 66, 107)),
    ("left_brow", False, (336, 296, 334, 293, 301)),
    ("nose_bridge", False, (168, 197, 5, 4)),
    ("nose_tip", False, (75, 97, 2, 326, 305)),
    ("right_eye", True, (33, 160, 158, 133, 153, 144)),
    ("left_eye", True, (362, 385, 387, 263, 373, 380)),
    ("outer_lip", True, (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)),
    ("inner_lip", True, (78, 82, 13, 312, 308, 317, 14, 87)),
)


@dataclass(frozen=True, slots=True)
class SkeletonLayout:
    """A skeleton's node names in V7's order, its edges as pairs of names, and each node's index in the mesh."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    mesh_indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnnotationClass:
    """A class as it is registered in V7."""

    name: str
    type: GeometryType
    layout: SkeletonLayout | None = None

    def entry(self) -> ClassEntry:
        """Return the class's line in ``GET classes``."""
        return ClassEntry(name=self.name, type=self.type)

    def box(self, box_xywh: NDArray[np.float32], confidence: float) -> Result:
        """Return a box, (4,) in pixels, as a result of this class."""
        x, y, w, h = _rounded(box_xywh)
        box = BoundingBox(x=x, y=y, w=w, h=h)
        return Result(name=self.name, label=self.name, confidence=_confidence(confidence), bounding_box=box)

    def skeleton(self, mesh_xy: NDArray[np.float32], confidence: float, image_wh: tuple[int, int]) -> Result:
        """Return a face's mesh, (478, 2) in pixels, as a skeleton of this class.

        A node outside of the image is ``occluded`` and moved to its edge: V7 refuses negative coordinates.
        """
        if self.layout is None:
            raise TypeError(f"the class {self.name!r} is no skeleton")
        points_xy = mesh_xy[list(self.layout.mesh_indices)]
        inside_xy = points_xy.clip(0, np.array(image_wh, np.float32))
        occluded = (points_xy != inside_xy).any(axis=1).tolist()
        nodes = [
            Node(name=name, x=x, y=y, occluded=hidden)
            for name, (x, y), hidden in zip(self.layout.nodes, _rounded(inside_xy), occluded, strict=True)
        ]
        skeleton = Skeleton(nodes=nodes)
        return Result(name=self.name, label=self.name, confidence=_confidence(confidence), skeleton=skeleton)


def ibug_68() -> SkeletonLayout:
    """Return iBUG's 68 points: ``jaw_01`` … ``jaw_17``, ``right_brow_01`` … ``inner_lip_08``."""

    def names(part: str, count: int) -> list[str]:
        return [f"{part}_{number:02}" for number in range(1, count + 1)]

    def chains() -> Iterator[tuple[str, str]]:
        for part, closed, indices in _IBUG_68:
            chain = names(part, len(indices))
            yield from zip(chain, chain[1:] + chain[:1] if closed else chain[1:], strict=False)

    return SkeletonLayout(
        nodes=tuple(name for part, _, indices in _IBUG_68 for name in names(part, len(indices))),
        edges=tuple(chains()),
        mesh_indices=tuple(index for _, _, indices in _IBUG_68 for index in indices),
    )


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Every class that the service emits."""

    face: AnnotationClass
    landmarks: AnnotationClass

    @classmethod
    def named(cls, *, face: str, landmarks: str) -> "ClassTable":
        """Make the table with a team's own class names."""
        return cls(
            face=AnnotationClass(face, "bounding_box"),
            landmarks=AnnotationClass(landmarks, "skeleton", ibug_68()),
        )


def _rounded(values: NDArray[np.float32]) -> Any:
    """Hundredths of a pixel are finer than any model here, and half the bytes. Return (nested) lists of floats."""
    return np.round(values.astype(np.float64), 2).tolist()


def _confidence(value: float) -> float:
    return round(float(value), 4)
