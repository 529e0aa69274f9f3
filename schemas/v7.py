"""V7's request and response, in V7's words: tolerant coming in, strict going out.

Source: V7's JSON Schema ``external-models/inference-response`` and its playbook "How to Register External Models".
"""

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator
from pydantic_core import PydanticCustomError

# --- coming in: unknown keys are ignored, since V7 may add some


NOT_FINITE = "json_not_finite"


class ImageSource(BaseModel):
    """Where the image is: exactly one of an address and the file itself."""

    url: str | None = None
    base64: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.url is None) == (self.base64 is None):
            raise ValueError("image needs exactly one of 'url' and 'base64'")
        return self


class InferRequest(BaseModel):
    """One image to annotate, with whatever V7 adds in ``params``."""

    image: ImageSource
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("params", mode="after")
    @classmethod
    def _only_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not _is_finite(value):  # pydantic's parser takes NaN and Infinity, which JSON does not have
            raise PydanticCustomError(NOT_FINITE, "NaN and Infinity are not JSON")
        return value

    @field_validator("params", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return {} if value is None else value


def _is_finite(value: object) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case _:
            return True


# --- going out: a wrong key or a number that is not finite is our bug, and must not reach V7

Coordinate = FiniteFloat
NonNegative = Annotated[FiniteFloat, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Strict):
    """A place in pixels of the full image, from its top left."""

    x: Coordinate
    y: Coordinate


class BoundingBox(_Strict):
    """An upright box: its top left corner and its size."""

    x: Coordinate
    y: Coordinate
    w: NonNegative
    h: NonNegative


class Path(_Strict):
    """A polygon's one flat ring, or a line."""

    path: list[Point] = Field(min_length=1)


class Node(_Strict):
    """A named point of a skeleton."""

    name: str
    x: NonNegative
    y: NonNegative
    occluded: bool


class Skeleton(_Strict):
    """All nodes of the class, in its order."""

    nodes: list[Node] = Field(min_length=1)


class Radius(_Strict):
    """An ellipse's two radii."""

    x: NonNegative
    y: NonNegative


class Ellipse(_Strict):
    """An ellipse; ``angle`` in degrees."""

    center: Point
    radius: Radius
    angle: NonNegative


class Tag(_Strict):
    """A class without a place."""


class Text(_Strict):
    """A text beside a main geometry."""

    text: str


GeometryType = Literal["bounding_box", "polygon", "line", "keypoint", "skeleton", "ellipse", "tag"]
GEOMETRIES: tuple[GeometryType, ...] = get_args(GeometryType)


class Result(_Strict):
    """One annotation: its class, twice as V7 wants it, its confidence and exactly one geometry."""

    name: str
    label: str
    confidence: Annotated[FiniteFloat, Field(ge=0, le=1)]
    bounding_box: BoundingBox | None = None
    polygon: Path | None = None
    line: Path | None = None
    keypoint: Point | None = None
    skeleton: Skeleton | None = None
    ellipse: Ellipse | None = None
    tag: Tag | None = None
    text: Text | None = None
    attributes: list[str] | None = None

    @model_validator(mode="after")
    def _one_class_and_one_geometry(self) -> Self:
        if self.name != self.label:
            raise ValueError("'name' and 'label' are both the class name")
        given = [geometry for geometry in GEOMETRIES if getattr(self, geometry) is not None]
        if len(given) != 1:
            raise ValueError(f"a result has exactly one geometry, not {given}")
        return self


class ErrorDetail(_Strict):
    """What went wrong: a stable code for programs and a sentence for people."""

    code: str
    message: str


class InferResponse(_Strict):
    """V7's answer; ``error`` is an extra key, which V7's schema lets pass."""

    status: Literal["succeeded", "failed"]
    results: list[Result]
    error: ErrorDetail | None = None

    def to_json(self) -> bytes:
        """Encode without the keys that are not set, as V7's schema forbids a null."""
        return self.model_dump_json(exclude_none=True).encode()


class ClassEntry(_Strict):
    """One line of ``GET classes``."""

    name: str
    type: GeometryType
