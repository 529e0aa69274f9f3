import re
from collections import Counter
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from gateway import errors
from gateway.errors import (
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    answer,
    from_code,
    from_exception,
    leaves,
)
from schemas.v7 import InferResponse

LEAVES = list(leaves())
RUNNERS = Path(__file__).parents[2] / "runners"
every_leaf = pytest.mark.parametrize("leaf", LEAVES, ids=[leaf.__name__ for leaf in LEAVES])


def test_every_code_belongs_to_one_error() -> None:
    assert [code for code, count in Counter(leaf.code for leaf in LEAVES).items() if count > 1] == []


@every_leaf
def test_every_error_has_a_status_of_the_agreed_ones(leaf: type[ServiceError]) -> None:
    assert leaf.status in {400, 401, 404, 405, 413, 415, 422, 429, 500, 502, 503, 504}


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    told = re.findall(r"^[├└]── (\w+) +(\d+) (\w+) ", errors.__doc__ or "", re.MULTILINE)
    assert told == [(leaf.__name__, str(leaf.status.value), leaf.code) for leaf in LEAVES]


@every_leaf
def test_every_error_is_answered_as_v7_wants_it(leaf: type[ServiceError]) -> None:
    response = answer(leaf("what it was", {"Retry-After": "1"}))
    body = InferResponse.model_validate_json(bytes(response.body))
    assert response.status_code == leaf.status
    assert response.headers["content-type"] == "application/json"
    assert response.headers["retry-after"] == "1"
    assert (body.status, body.results) == ("failed", [])
    assert body.error is not None
    assert (body.error.code, body.error.message) == (leaf.code, "what it was")


@every_leaf
def test_an_error_is_found_by_its_code(leaf: type[ServiceError]) -> None:
    error = from_code(leaf.code, "what it was")
    assert type(error) is leaf
    assert error.message == "what it was"


def test_an_unknown_code_is_an_internal_error() -> None:
    assert type(from_code("no_such_code", "what it was")) is InternalError


def test_every_code_that_a_runner_names_exists() -> None:
    sources = "\n".join(path.read_text() for path in sorted(RUNNERS.glob("*.py")))
    named = set(re.findall(r'(?:Failure|ImageError)\(\s*"(\w+)"', sources))
    assert named >= {"image_format_unsupported", "image_too_large", "image_broken", "inference_failed"}
    assert named <= {leaf.code for leaf in LEAVES}


@every_leaf
def test_an_error_of_ours_is_told_as_it_is(leaf: type[ServiceError]) -> None:
    error = leaf("what it was")
    assert from_exception(error) is error


def test_an_unknown_path_is_not_found() -> None:
    assert type(from_exception(HTTPException(404))) is NotFound


def test_a_wrong_method_is_told_the_right_ones() -> None:
    error = from_exception(HTTPException(405, headers={"Allow": "POST"}))
    assert type(error) is MethodNotAllowed
    assert "POST" in error.message
    assert answer(error).headers["allow"] == "POST"


def test_a_wrong_method_without_an_allow_header_is_told_too() -> None:
    assert type(from_exception(HTTPException(405))) is MethodNotAllowed


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError("/srv/secret.key"), id="an exception"),
        pytest.param(FileNotFoundError(2, "No such file", "/srv/secret.key"), id="an exception with a path"),
        pytest.param(HTTPException(418, "/srv/secret.key", {"X-Key": "/srv/secret.key"}), id="another HTTP status"),
    ],
)
def test_an_unexpected_exception_tells_nothing_of_ours(error: Exception) -> None:
    response = answer(from_exception(error))
    assert response.status_code == 500
    assert b'"internal_error"' in response.body
    assert b"secret" not in response.body
    assert "secret" not in str(response.headers)
