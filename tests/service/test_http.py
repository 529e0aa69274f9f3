"""The front in-process: every route and every kind of failure, answered in V7's form."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from schemas.v7 import InferResponse
from service import FaceAnnotator
from tests.conftest import ROOT
from tests.servers import image_host

SCHEMA = ROOT.parent / "shared" / "v7" / "byom_schema.json"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    annotator: Any = FaceAnnotator  # bentoml types it as the plain class
    with TestClient(annotator.to_asgi(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def request_body(astronaut_base64: str) -> dict[str, Any]:
    return {"image": {"base64": astronaut_base64}, "params": {}}


def check_v7(body: bytes) -> InferResponse:
    """Check a body against our model, and against V7's own schema where it is there."""
    if SCHEMA.exists():
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(body))
    return InferResponse.model_validate_json(body)


def test_infer_answers_with_both_models(client: TestClient, request_body: dict[str, Any]) -> None:
    response = client.post("/api/infer", json=request_body)
    assert response.status_code == 200
    answer = check_v7(response.content)
    assert answer.status == "succeeded"
    face, landmarks = answer.results
    assert (face.name, landmarks.name) == ("Face", "Face landmarks")
    assert face.bounding_box is not None
    assert landmarks.skeleton is not None
    assert len(landmarks.skeleton.nodes) == 68
    inside = [
        face.bounding_box.x <= node.x <= face.bounding_box.x + face.bounding_box.w
        for node in landmarks.skeleton.nodes
        if node.name.startswith(("nose", "left_eye", "right_eye"))
    ]
    assert all(inside)


@pytest.mark.parametrize(("model", "name"), [("haar", "Face"), ("landmarks", "Face landmarks")])
def test_each_model_has_a_base_of_its_own(
    client: TestClient, request_body: dict[str, Any], model: str, name: str
) -> None:
    answer = check_v7(client.post(f"/api/{model}/infer", json=request_body).content)
    assert [result.name for result in answer.results] == [name]


@pytest.mark.parametrize(
    ("base", "classes"),
    [
        ("/api", [{"name": "Face", "type": "bounding_box"}, {"name": "Face landmarks", "type": "skeleton"}]),
        ("/api/haar", [{"name": "Face", "type": "bounding_box"}]),
        ("/api/landmarks", [{"name": "Face landmarks", "type": "skeleton"}]),
    ],
)
def test_classes_lists_what_its_infer_emits(client: TestClient, base: str, classes: list[dict[str, str]]) -> None:
    assert client.get(f"{base}/classes").json() == classes


def test_a_data_prefix_is_tolerated(client: TestClient, astronaut_base64: str) -> None:
    body = {"image": {"base64": f"data:image/jpeg;base64,{astronaut_base64}"}}
    assert len(check_v7(client.post("/api/haar/infer", json=body).content).results) == 1


def test_an_image_is_not_fetched_from_loopback_unless_allowed(client: TestClient) -> None:
    with image_host(ROOT / "examples") as url:
        response = client.post("/api/haar/infer", json={"image": {"url": f"{url}/astronaut.jpg?token=SECRET"}})
    answer = check_v7(response.content)
    assert answer.error is not None
    assert (response.status_code, answer.error.code) == (422, "image_address_refused")
    assert "SECRET" not in response.text


def test_a_photo_without_faces_succeeds_with_no_results(client: TestClient) -> None:
    grey = cv2.imencode(".png", np.full((200, 300, 3), 128, np.uint8))[1].tobytes()
    response = client.post("/api/infer", json={"image": {"base64": base64.b64encode(grey).decode()}})
    answer = check_v7(response.content)
    assert (answer.status, answer.results) == ("succeeded", [])


NOT_AN_IMAGE = base64.b64encode(b"this is no image at all").decode()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("POST", "/api/infer", b"{", 400, "request_malformed", id="bad JSON"),
        pytest.param("POST", "/api/infer", b"", 400, "request_malformed", id="empty"),
        pytest.param("POST", "/api/infer", b"[]", 422, "request_invalid", id="not an object"),
        pytest.param("POST", "/api/infer", b'{"image":{}}', 422, "request_invalid", id="neither url nor base64"),
        pytest.param(
            "POST", "/api/infer", b'{"image":{"url":"http://x/","base64":"eA=="}}', 422, "request_invalid", id="both"
        ),
        pytest.param("POST", "/api/infer", b'{"image":{"base64":"?"}}', 422, "request_invalid", id="bad base64"),
        pytest.param(
            "POST",
            "/api/infer",
            json.dumps({"image": {"base64": NOT_AN_IMAGE}}).encode(),
            415,
            "image_format_unsupported",
            id="not an image",
        ),
        pytest.param(
            "POST", "/api/infer", b'{"image":{"url":"ftp://x/y"}}', 422, "image_address_refused", id="not http"
        ),
        pytest.param("GET", "/api/infer", None, 405, "method_not_allowed", id="wrong method"),
        pytest.param("POST", "/api/classes", b"{}", 405, "method_not_allowed", id="wrong method of classes"),
        pytest.param("POST", "/livez", b"{}", 404, "not_found", id="wrong method of a probe"),
        pytest.param("GET", "/", None, 404, "not_found", id="root"),
        pytest.param("POST", "/api/infer/", b"{}", 404, "not_found", id="trailing slash"),
        pytest.param("POST", "/api/nothing/infer", b"{}", 404, "not_found", id="unknown model"),
    ],
)
def test_every_failure_is_an_answer_that_v7_can_read(
    client: TestClient, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    response = client.request(method, path, content=body)
    answer = check_v7(response.content)
    assert answer.error is not None
    assert (response.status_code, answer.status, answer.error.code) == (status, "failed", code)
    assert response.headers["content-type"] == "application/json"


def test_a_body_over_the_limit_is_refused(client: TestClient) -> None:
    response = client.post("/api/infer", content=b" " * 30_000_001)
    answer = check_v7(response.content)
    assert answer.error is not None
    assert (response.status_code, answer.error.code) == (413, "body_too_large")


def test_a_crash_of_ours_is_answered_without_its_details(
    client: TestClient, request_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("service._results", crash)
    response = client.post("/api/haar/infer", json=request_body)
    answer = check_v7(response.content)
    assert answer.error is not None
    assert (response.status_code, answer.error.code) == (500, "internal_error")
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_stay_bentomls(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200
