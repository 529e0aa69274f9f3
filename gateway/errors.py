"""Every way in which a request can fail, and the one place that turns it into an answer.

The tree, each with its HTTP status and its code:

ServiceError
├── MalformedRequest      400 request_malformed        the body is not JSON
├── Unauthorized          401 unauthorized             credentials are missing or wrong
├── NotFound              404 not_found                no such path
├── MethodNotAllowed      405 method_not_allowed       the path answers other methods
├── BodyTooLarge          413 body_too_large           the request is larger than allowed
├── InvalidRequest        422 request_invalid          JSON, but not V7's request
├── ImageTooLarge         413 image_too_large          bytes, pixels or a side over the limit
├── ImageFormatUnsupported 415 image_format_unsupported not an image of a known format
├── ImageBroken           422 image_broken             an image, but damaged or cut off
├── ImageAddressRefused   422 image_address_refused    an address that must not be fetched
├── ImageUnreachable      502 image_unreachable        the image's host does not deliver it
├── ImageTimeout          504 image_timeout            the image's host is too slow
├── Overloaded            503 overloaded               the queue is full; try again
├── DeadlineExceeded      504 deadline_exceeded        no answer within the time allowed
├── RunnerUnavailable     503 runner_unavailable       the model's process does not answer
├── InferenceFailed       500 inference_failed         the model failed on this image
└── InternalError         500 internal_error           a bug of ours
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import ClassVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.v7 import ErrorDetail, InferResponse


class ServiceError(Exception):
    """A failure as told to the caller: ``message`` has what, value and limit, never a path or a URL's query."""

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})


class MalformedRequest(ServiceError):
    """The body is not JSON."""

    status, code = HTTPStatus.BAD_REQUEST, "request_malformed"


class Unauthorized(ServiceError):
    """Credentials are missing or wrong."""

    status, code = HTTPStatus.UNAUTHORIZED, "unauthorized"


class NotFound(ServiceError):
    """No such path."""

    status, code = HTTPStatus.NOT_FOUND, "not_found"


class MethodNotAllowed(ServiceError):
    """The path answers other methods."""

    status, code = HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed"


class BodyTooLarge(ServiceError):
    """The request is larger than allowed."""

    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large"


class InvalidRequest(ServiceError):
    """The body is JSON, but not V7's request."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "request_invalid"


class ImageTooLarge(ServiceError):
    """The image's bytes, pixels or longer side are over the limit."""

    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "image_too_large"


class ImageFormatUnsupported(ServiceError):
    """The file is not an image of a known format."""

    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "image_format_unsupported"


class ImageBroken(ServiceError):
    """The file is an image, but damaged or cut off."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "image_broken"


class ImageAddressRefused(ServiceError):
    """The image's address must not be fetched."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "image_address_refused"


class ImageUnreachable(ServiceError):
    """The image's host does not deliver it."""

    status, code = HTTPStatus.BAD_GATEWAY, "image_unreachable"


class ImageTimeout(ServiceError):
    """The image's host is too slow."""

    status, code = HTTPStatus.GATEWAY_TIMEOUT, "image_timeout"


class Overloaded(ServiceError):
    """The queue is full."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"


class DeadlineExceeded(ServiceError):
    """There was no answer within the time allowed."""

    status, code = HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded"


class RunnerUnavailable(ServiceError):
    """The model's process does not answer."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "runner_unavailable"


class InferenceFailed(ServiceError):
    """The model failed on this image."""

    status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "inference_failed"


class InternalError(ServiceError):
    """A bug of ours."""

    status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error"


def leaves(error_class: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Yield every error that can be answered."""
    for child in error_class.__subclasses__():
        yield child
        yield from leaves(child)


def from_code(code: str, message: str) -> ServiceError:
    """Return the error that a runner named by its code: types do not survive the way between processes."""
    for error_class in leaves():
        if error_class.code == code:
            return error_class(message)
    return InternalError(message)


def from_exception(error: Exception) -> ServiceError:
    """Return what the caller is told of any exception: nothing of ours but its own kind."""
    match error:
        case ServiceError():
            return error
        case HTTPException(status_code=404):
            return NotFound("no such path; V7's requests go to /api/infer")
        case HTTPException(status_code=405):
            allowed = (error.headers or {}).get("Allow", "")
            return MethodNotAllowed(f"this path answers {allowed} only", error.headers)
        case _:
            return InternalError("an unexpected error; the log has the details")


def answer(error: ServiceError) -> Response:
    """Return the error as an HTTP answer whose body is valid under V7's schema."""
    detail = ErrorDetail(code=error.code, message=error.message)
    body = InferResponse(status="failed", results=[], error=detail).to_json()
    return Response(body, error.status, error.headers, media_type="application/json")
