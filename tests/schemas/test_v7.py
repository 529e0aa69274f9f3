import json
import math
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from schemas.v7 import GEOMETRIES, ErrorDetail, InferRequest, InferResponse

SCHEMA = Path(__file__).parents[2].parent / "shared" / "v7" / "byom_schema.json"

POINTS = [{"x": -1.5, "y": 2}, {"x": 3, "y": 4}]
NODE = {"name": "jaw_01", "x": 0, "y": 2.25, "occluded": True}
BOX: dict[str, Any] = {"x": -1, "y": 2, "w": 3, "h": 0}
ELLIPSE: dict[str, Any] = {"center": {"x": 1, "y": 2}, "radius": {"x": 3, "y": 4}, "angle": 0.5}
EXAMPLES: dict[str, dict[str, Any]] = {
    "bounding_box": BOX,
    "polygon": {"path": POINTS},
    "line": {"path": POINTS},
    "keypoint": {"x": -1, "y": 2},
    "skeleton": {"nodes": [NODE]},
    "ellipse": ELLIPSE,
    "tag": {},
}


def result(**keys: Any) -> dict[str, Any]:
    return {"name": "Face", "label": "Face", "confidence": 0.5, **keys}


def without(key: str, document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def response(*results: dict[str, Any]) -> dict[str, Any]:
    return {"status": "succeeded", "results": list(results)}


@pytest.fixture(scope="module")
def v7() -> Draft202012Validator:
    if not SCHEMA.exists():
        pytest.skip(f"V7's schema is not at {SCHEMA}")
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


# --- going out


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(
    "beside", [{}, {"text": {"text": "smile"}, "attributes": ["left"]}], ids=["alone", "with text and attributes"]
)
def test_every_geometry_is_valid_for_v7(geometry: str, beside: dict[str, Any], v7: Draft202012Validator) -> None:
    document = response(result(**{geometry: EXAMPLES[geometry]}, **beside))
    sent = json.loads(InferResponse.model_validate(document).to_json())
    v7.validate(sent)
    assert sent == document


def test_every_geometry_but_those_never_emitted_is_known(v7: Draft202012Validator) -> None:
    schema: Any = v7.schema
    known = {key for choice in schema["properties"]["results"]["items"]["oneOf"] for key in choice["required"]}
    assert set(GEOMETRIES) == known - {"cuboid", "directional_vector"}


@pytest.mark.parametrize(
    "error", [None, ErrorDetail(code="overloaded", message="try again")], ids=["no error", "error"]
)
def test_an_answer_without_results_is_valid_for_v7(error: ErrorDetail | None, v7: Draft202012Validator) -> None:
    v7.validate(json.loads(InferResponse(status="failed", results=[], error=error).to_json()))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_an_answer_never_has_a_null(geometry: str) -> None:
    document = response(
        result(**dict.fromkeys(GEOMETRIES), text=None, attributes=None) | {geometry: EXAMPLES[geometry]}
    )
    assert b"null" not in InferResponse.model_validate({**document, "error": None}).to_json()


REFUSED_BY_V7 = {
    "two geometries": response(result(bounding_box=BOX, tag={})),
    "no geometry": response(result()),
    "text only": response(result(text={"text": "smile"})),
    "no name": response(without("name", result(tag={}))),
    "no label": response(without("label", result(tag={}))),
    "no confidence": response(without("confidence", result(tag={}))),
    "name not a text": response(result(name=1, label=1, tag={})),
    "confidence over 1": response(result(confidence=1.1, tag={})),
    "confidence under 0": response(result(confidence=-0.1, tag={})),
    "confidence not a number": response(result(confidence="high", tag={})),
    "box without a height": response(result(bounding_box=without("h", BOX))),
    "box with a negative width": response(result(bounding_box={**BOX, "w": -1})),
    "polygon without a path": response(result(polygon={})),
    "line through no point": response(result(line={"path": [{"x": 1}]})),
    "keypoint without y": response(result(keypoint={"x": 1})),
    "skeleton without nodes": response(result(skeleton={})),
    "node with a negative x": response(result(skeleton={"nodes": [{**NODE, "x": -0.01}]})),
    "node with a negative y": response(result(skeleton={"nodes": [NODE, {**NODE, "y": -0.01}]})),
    "node without occluded": response(result(skeleton={"nodes": [without("occluded", NODE)]})),
    "ellipse with a negative angle": response(result(ellipse={**ELLIPSE, "angle": -1})),
    "ellipse without a radius": response(result(ellipse=without("radius", ELLIPSE))),
    "text without a text": response(result(tag={}, text={})),
    "attributes not a list": response(result(tag={}, attributes="left")),
    "results null": {"status": "succeeded", "results": None},
    "unknown status": {"status": "done", "results": []},
    "no status": {"results": []},
    "not an object": [],
}


@pytest.mark.parametrize("document", REFUSED_BY_V7.values(), ids=REFUSED_BY_V7.keys())
def test_what_v7_refuses_is_refused_here(document: Any, v7: Draft202012Validator) -> None:
    assert not v7.is_valid(document)
    with pytest.raises(ValidationError):
        InferResponse.model_validate(document)


REFUSED_HERE = {
    "name is not the label": response(result(label="face", tag={})),
    "confidence NaN": response(result(confidence=math.nan, tag={})),
    "x NaN": response(result(bounding_box={**BOX, "x": math.nan})),
    "x infinite": response(result(keypoint={"x": math.inf, "y": 0})),
    "width infinite": response(result(bounding_box={**BOX, "w": math.inf})),
    "node NaN": response(result(skeleton={"nodes": [{**NODE, "y": math.nan}]})),
    "node without a name": response(result(skeleton={"nodes": [without("name", NODE)]})),
    "skeleton of no nodes": response(result(skeleton={"nodes": []})),
    "polygon of no points": response(result(polygon={"path": []})),
    "negative radius": response(result(ellipse={**ELLIPSE, "radius": {"x": -1, "y": 1}})),
    "extra key in the response": {**response(), "took_ms": 3},
    "extra key in a result": response(result(tag={}, id=1)),
    "extra key in a geometry": response(result(bounding_box={**BOX, "z": 1})),
    "extra key in a tag": response(result(tag={"value": 1})),
    "geometry never emitted": response(result(directional_vector={"angle": 1, "length": 1})),
}


@pytest.mark.parametrize("document", REFUSED_HERE.values(), ids=REFUSED_HERE.keys())
def test_what_would_be_our_bug_is_refused_here(document: Any) -> None:
    with pytest.raises(ValidationError):
        InferResponse.model_validate(document)


@pytest.mark.parametrize("field", InferResponse.model_fields)
def test_an_answer_is_frozen(field: str) -> None:
    answer = InferResponse(status="succeeded", results=[])
    with pytest.raises(ValidationError, match="frozen"):
        setattr(answer, field, None)


# --- coming in


@pytest.mark.parametrize("image", [{"url": "https://example.com/face.png"}, {"base64": "AAAA"}], ids=["url", "base64"])
def test_a_request_has_one_image_and_unknown_keys_are_ignored(image: dict[str, str]) -> None:
    request = InferRequest.model_validate({"image": {**image, "width": 3}, "params": None, "new": True})
    assert request.model_dump(exclude_none=True) == {"image": image, "params": {}}


@pytest.mark.parametrize(
    "image", [{}, {"url": "a", "base64": "b"}, {"url": None, "base64": None}], ids=["neither", "both", "nulls"]
)
def test_a_request_without_exactly_one_image_is_refused(image: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of 'url' and 'base64'"):
        InferRequest.model_validate({"image": image})
