import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from gateway.errors import BodyTooLarge, InvalidRequest, MalformedRequest, ServiceError
from gateway.requests import read_infer_request, while_connected
from schemas.v7 import ImageSource, InferRequest

URL = "https://example.com/face.png?token=s3cret"
MAX_BYTES = 400_000
HANG_UP: Message = {"type": "http.disconnect"}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


def request_of(receive: Receive) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/api/infer", "headers": []}, receive)


def read(*chunks: bytes, hang_up: bool = False) -> InferRequest:
    """Read a request whose body comes in these chunks."""

    async def scenario() -> InferRequest:
        messages: asyncio.Queue[Message] = asyncio.Queue()
        for number, chunk in enumerate(chunks, start=1):
            more = hang_up or number < len(chunks)
            messages.put_nowait({"type": "http.request", "body": chunk, "more_body": more})
        messages.put_nowait(HANG_UP)
        return await read_infer_request(request_of(messages.get), MAX_BYTES)

    return asyncio.run(scenario())


def body(document: object) -> bytes:
    return json.dumps(document).encode()


# --- reading


@pytest.mark.parametrize(
    ("document", "params"),
    [
        pytest.param({"image": {"url": URL}}, {}, id="params absent"),
        pytest.param({"image": {"url": URL}, "params": None}, {}, id="params null"),
        pytest.param({"image": {"url": URL}, "params": {"a": [1]}}, {"a": [1]}, id="params given"),
        pytest.param({"image": {"url": URL, "base64": None}}, {}, id="base64 null"),
        pytest.param({"image": {"url": URL, "id": 1}, "team": "x"}, {}, id="unknown keys"),
    ],
)
def test_v7s_request_is_read(document: object, params: dict[str, Any]) -> None:
    assert read(body(document)) == InferRequest(image=ImageSource(url=URL), params=params)


def test_an_image_in_base64_is_read() -> None:
    assert read(body({"image": {"base64": "/9j/"}})).image == ImageSource(base64="/9j/")


def test_a_body_in_chunks_is_read_as_one() -> None:
    whole = body({"image": {"url": URL + "ä"}})
    assert read(*(whole[i : i + 1] for i in range(len(whole)))).image.url == URL + "ä"


def test_a_body_at_the_limit_is_read() -> None:
    assert read(body({"image": {"url": URL}}).ljust(MAX_BYTES)).image.url == URL


@pytest.mark.parametrize(
    "malformed",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \n", id="blank"),
        pytest.param(b"image=1", id="not JSON"),
        pytest.param(body({"image": {"url": URL}})[:-1], id="cut off"),
        pytest.param(body({"image": {"url": URL}}) * 2, id="twice"),
        pytest.param(b'{"image": {"url": "\xff"}}', id="invalid UTF-8"),
        pytest.param(b'{"image": {"url": "x"}, "params": {"a": NaN}}', id="NaN"),
        pytest.param(b'{"image": {"url": "x"}, "params": {"a": -Infinity}}', id="infinity"),
        pytest.param(b'{"image": {"url": "x"}, "params": {"a": [{"b": 1e999}]}}', id="a number without bounds"),
        pytest.param(b'{"image": {"url": "x"}, "params": {"a": ' + b"9" * 5000 + b"}}", id="huge integer"),
        pytest.param(b"[" * 100_000, id="deep nesting, open"),
        pytest.param(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, id="deep nesting, closed"),
    ],
)
def test_what_is_not_json_is_malformed(malformed: bytes) -> None:
    with pytest.raises(MalformedRequest, match=r"^the body is not JSON$"):
        read(malformed)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        pytest.param({"image": {"url": URL, "base64": "AAAA"}}, "image:", id="url and base64"),
        pytest.param({"image": {}}, "image:", id="neither"),
        pytest.param({"image": {"url": None}}, "image:", id="url null"),
        pytest.param({"image": {"url": [URL]}}, "image.url:", id="url of a wrong type"),
        pytest.param({"image": {"base64": 1}}, "image.base64:", id="base64 of a wrong type"),
        pytest.param({"image": URL}, "image:", id="image of a wrong type"),
        pytest.param({"image": {"url": URL}, "params": URL}, "params:", id="params of a wrong type"),
        pytest.param({"url": URL}, "image:", id="no image"),
        pytest.param([{"image": {"url": URL}}], "body:", id="array"),
        pytest.param(URL, "body:", id="string"),
        pytest.param(None, "body:", id="null"),
    ],
)
def test_json_that_is_not_v7s_request_is_told_its_place_but_not_its_value(document: object, place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(body(document))
    assert caught.value.message.startswith(place)
    assert "example.com" not in caught.value.message
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([b" " * (MAX_BYTES + 1)], id="in one chunk"),
        pytest.param([b" " * (MAX_BYTES - 1)] * 2, id="across chunks"),
    ],
)
def test_a_body_over_the_limit_is_too_large(chunks: list[bytes]) -> None:
    with pytest.raises(BodyTooLarge, match=r"0\.4 MB"):
        read(*chunks)


def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    async def scenario() -> None:
        messages: asyncio.Queue[Message] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": b" " * (MAX_BYTES + 1), "more_body": True})
        with pytest.raises(BodyTooLarge):
            await read_infer_request(request_of(messages.get), MAX_BYTES)

    run(scenario())


def test_a_caller_who_hangs_up_within_the_body_is_gone() -> None:
    with pytest.raises(ClientDisconnect):
        read(b'{"image": ', hang_up=True)


# --- working


def test_the_works_result_is_returned() -> None:
    async def work() -> str:
        return "done"

    async def scenario() -> None:
        assert await while_connected(request_of(asyncio.Queue[Message]().get), work()) == "done"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


def test_only_hanging_up_ends_the_work() -> None:
    async def scenario() -> None:
        messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
        listening = asyncio.Event()

        async def receive() -> Message:
            if messages:
                return messages.pop()
            listening.set()
            return await asyncio.Future[Message]()

        async def work() -> str:
            await listening.wait()
            return "done"

        assert await while_connected(request_of(receive), work()) == "done"

    run(scenario())


def test_the_works_exception_is_passed_on() -> None:
    failure = ServiceError("what it was")

    async def work() -> None:
        raise failure

    async def scenario() -> None:
        with pytest.raises(ServiceError) as caught:
            await while_connected(request_of(asyncio.Queue[Message]().get), work())
        assert caught.value is failure
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


def test_the_work_is_cancelled_when_the_caller_hangs_up() -> None:
    async def scenario() -> None:
        messages: asyncio.Queue[Message] = asyncio.Queue()
        ended: list[str] = []

        async def work() -> None:
            messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
            messages.put_nowait(HANG_UP)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        with pytest.raises(ClientDisconnect):
            await while_connected(request_of(messages.get), work())
        assert ended == ["cancelled"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


def test_the_work_is_cancelled_with_whoever_awaits_it() -> None:
    async def scenario() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        waiting = asyncio.create_task(while_connected(request_of(asyncio.Queue[Message]().get), work()))
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert ended.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())
