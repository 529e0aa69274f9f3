"""Read a request's body, and give its work up when its caller hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from gateway.errors import BodyTooLarge, InvalidRequest, MalformedRequest
from schemas.v7 import NOT_FINITE, InferRequest

ResultT = TypeVar("ResultT")


async def read_infer_request(request: Request, max_bytes: int) -> InferRequest:
    """Read V7's request, whatever its Content-Type says. Raises MalformedRequest, BodyTooLarge, InvalidRequest."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge(f"the request is larger than the limit of {max_bytes / 1e6:g} MB")
    try:
        # From the bytes: what is ignored is never made into Python objects, of which one body can hold millions.
        return InferRequest.model_validate_json(bytes(body))
    except ValidationError as error:
        if any(details["type"] in ("json_invalid", NOT_FINITE) for details in error.errors()):
            raise MalformedRequest("the body is not JSON") from None
        # Where and what, and not the value: it may be a URL with its token.
        problems = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()]
        raise InvalidRequest("; ".join(problems)) from None


async def while_connected(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Await ``work``, and cancel it when the caller hangs up: then raise ClientDisconnect.

    The request's body must have been read.
    """
    working = asyncio.create_task(work)
    hanging_up = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return await working
    finally:
        working.cancel()
        hanging_up.cancel()
        await asyncio.wait({working, hanging_up})


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
