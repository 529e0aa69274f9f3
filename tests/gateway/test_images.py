import asyncio
import base64
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.addresses import parse_rules
from gateway.errors import (
    ImageAddressRefused,
    ImageTimeout,
    ImageTooLarge,
    ImageUnreachable,
    InvalidRequest,
    ServiceError,
)
from gateway.images import MAX_REDIRECTS, ImageLoader
from schemas.v7 import ImageSource

IMAGE = b"\x89PNG and so on"
MAX_BYTES = 100_000
QUERY = "token=s3cret"
LOOPBACK = "127.0.0.0/8"

ResultT = TypeVar("ResultT")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def run(scenario: Coroutine[Any, Any, ResultT]) -> ResultT:
    async def bounded() -> ResultT:
        async with asyncio.timeout(10):
            return await scenario

    return asyncio.run(bounded())


async def image(_: web.Request) -> web.Response:
    return web.Response(body=IMAGE)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """Serve on 127.0.0.1 and yield the port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


@asynccontextmanager
async def loading(rules: str = LOOPBACK, *, timeout_s: float = 5) -> AsyncIterator[ImageLoader]:
    loader = ImageLoader(rules=parse_rules(rules), max_bytes=MAX_BYTES, timeout_s=timeout_s)
    try:
        yield loader
    finally:
        await loader.close()


async def fetch(url: str, rules: str = LOOPBACK, *, timeout_s: float = 5) -> bytes:
    async with loading(rules, timeout_s=timeout_s) as loader:
        return await loader.load(ImageSource(url=f"{url}?{QUERY}"))


async def failure(url: str, rules: str = LOOPBACK, *, timeout_s: float = 5) -> ServiceError:
    """Return the error of a download, which never tells the URL's query."""
    with pytest.raises(ServiceError) as caught:
        await fetch(url, rules, timeout_s=timeout_s)
    assert "s3cret" not in caught.value.message
    return caught.value


# --- by address


@pytest.mark.parametrize(
    ("host", "rules"),
    [
        pytest.param("127.0.0.1", LOOPBACK, id="an address, by its network"),
        pytest.param("localhost", f"{LOOPBACK},::1", id="a name, by the networks of its addresses"),
        pytest.param("localhost", "localhost", id="a name, by itself"),
        pytest.param("LOCALHOST", "localhost", id="a name, in another case"),
    ],
)
def test_an_allowed_address_is_downloaded(host: str, rules: str) -> None:
    async def scenario() -> None:
        async with serving(image) as port:
            assert await fetch(f"http://{host}:{port}/face.png", rules) == IMAGE

    run(scenario())


def test_the_query_reaches_the_host() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=request.path_qs)

    async def scenario() -> None:
        async with serving(echo) as port:
            assert await fetch(f"http://127.0.0.1:{port}/face.png") == f"/face.png?{QUERY}".encode()

    run(scenario())


def test_a_second_download_uses_the_first_ones_connection() -> None:
    async def tell_port(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.Response(text=str(request.transport.get_extra_info("peername")))

    async def scenario() -> None:
        async with serving(tell_port) as port, loading() as loader:
            source = ImageSource(url=f"http://127.0.0.1:{port}/face.png")
            assert await loader.load(source) == await loader.load(source)

    run(scenario())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
    ],
)
@pytest.mark.parametrize("rules", ["", "files.lan"], ids=["no rule", "rule for another"])
def test_a_private_address_is_refused_in_every_spelling_and_sees_no_connection(host: str, rules: str) -> None:
    async def scenario() -> None:
        callers = []

        async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            callers.append(writer.get_extra_info("peername"))
            writer.close()

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            error = await failure(f"http://{host}:{port}/face.png", rules)
            assert isinstance(error, ImageAddressRefused | ImageUnreachable)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.read()  # until the server hangs up: whoever came before has been accepted by then
            assert callers == [writer.get_extra_info("sockname")]
            writer.close()

    run(scenario())


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"]],
    ids=["private only", "private last", "private first"],
)
def test_a_name_with_a_private_address_is_refused(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(_host: str, port: int, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = run(failure("http://example.com/face.png"))
    assert type(error) is ImageAddressRefused
    assert "example.com" in error.message


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://user:s3cret@127.0.0.1/", id="user and password"),
        pytest.param("http://user@127.0.0.1/", id="user"),
        pytest.param("http://:s3cret@127.0.0.1/", id="password"),
        pytest.param("ftp://127.0.0.1/face.png", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("data:image/png;base64,AAAA", id="data"),
        pytest.param("/face.png", id="path"),
        pytest.param("//127.0.0.1/face.png", id="no scheme"),
        pytest.param("http:///face.png", id="no host"),
        pytest.param("http://xn--a/face.png", id="no name in punycode"),
        pytest.param("http://xn--/face.png", id="empty punycode"),
        pytest.param("http://[::1/face.png", id="half an address"),
        pytest.param("http://127.0.0.1:99999/face.png", id="no such port"),
        pytest.param("http://exa\ud800mple.com/", id="lone surrogate"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_no_plain_http_url_is_refused(url: str) -> None:
    assert type(run(failure(url))) is ImageAddressRefused


@pytest.mark.parametrize("host", ["a..example.com", f"{'a' * 64}.com"], ids=["empty label", "long label"])
def test_a_host_that_cannot_be_a_name_is_unreachable_or_refused(host: str) -> None:
    assert isinstance(run(failure(f"http://{host}/face.png")), ImageUnreachable | ImageAddressRefused)


def test_a_name_that_does_not_resolve_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert type(run(failure("http://example.com/face.png"))) is ImageUnreachable


# --- redirects


def test_redirects_are_followed() -> None:
    async def count_down(request: web.Request) -> web.Response:
        left = int(request.match_info["path"])
        return await image(request) if left == 0 else web.Response(status=302, headers={"Location": f"/{left - 1}"})

    async def scenario() -> None:
        async with serving(count_down) as port:
            assert await fetch(f"http://127.0.0.1:{port}/{MAX_REDIRECTS}") == IMAGE
            error = await failure(f"http://127.0.0.1:{port}/{MAX_REDIRECTS + 1}")
            assert type(error) is ImageUnreachable

    run(scenario())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_loop_of_redirects_ends(status: int) -> None:
    paths = []

    async def again(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": request.path_qs})

    async def scenario() -> None:
        async with serving(again) as port:
            error = await failure(f"http://127.0.0.1:{port}/face.png")
            assert type(error) is ImageUnreachable
            assert "redirects" in error.message
            assert len(paths) == MAX_REDIRECTS + 1

    run(scenario())


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("http://169.254.169.254/latest/meta-data", id="cloud metadata"),
        pytest.param("http://[::1]/", id="loopback v6"),
        pytest.param("//10.0.0.1/", id="another host, same scheme"),
        pytest.param("http://0.0.0.0/", id="unspecified"),
        pytest.param("http://user:s3cret@127.0.0.1/", id="user and password"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("http://[", id="no URL"),
    ],
)
def test_a_redirect_to_a_refused_address_is_refused(target: str) -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    async def scenario() -> None:
        async with serving(elsewhere) as port:
            error = await failure(f"http://127.0.0.1:{port}/face.png", "127.0.0.1")
            assert type(error) is ImageAddressRefused

    run(scenario())


# --- what the host answers


@pytest.mark.parametrize("status", [204, 206, 304, 302, 403, 404, 500])
def test_any_status_but_200_is_told(status: int) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async def scenario() -> None:
        async with serving(refuse) as port:
            error = await failure(f"http://127.0.0.1:{port}/face.png")
            assert type(error) is ImageUnreachable
            assert str(status) in error.message

    run(scenario())


async def long_by_its_header(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(MAX_BYTES + 1)})
    await response.prepare(request)
    await asyncio.Event().wait()  # the body never comes
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 10_000)


async def bomb(_: web.Request) -> web.Response:
    body = zlib.compress(b"x" * (MAX_BYTES + 1))
    return web.Response(body=body, headers={"Content-Encoding": "deflate"})


@pytest.mark.parametrize("handler", [long_by_its_header, endless, bomb])
def test_a_file_over_the_limit_is_too_large(handler: Handler) -> None:
    async def scenario() -> None:
        async with serving(handler) as port:
            error = await failure(f"http://127.0.0.1:{port}/face.png")
            assert type(error) is ImageTooLarge
            assert "0.1 MB" in error.message

    run(scenario())


def test_a_file_just_at_the_limit_is_downloaded() -> None:
    async def largest(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * MAX_BYTES)

    async def scenario() -> None:
        async with serving(largest) as port:
            assert len(await fetch(f"http://127.0.0.1:{port}/face.png")) == MAX_BYTES

    run(scenario())


@pytest.mark.parametrize("begun", [False, True], ids=["no answer", "an answer that stops"])
def test_a_host_that_is_too_slow_times_out(begun: bool) -> None:
    async def scenario() -> None:
        over = asyncio.Event()

        async def stall(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            if begun:
                await response.prepare(request)
                await response.write(IMAGE)
            await over.wait()
            return response

        async with serving(stall) as port:
            error = await failure(f"http://127.0.0.1:{port}/face.png", timeout_s=0.2)
            over.set()
            assert type(error) is ImageTimeout
            assert "0.2 s" in error.message

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="not HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", id="half a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", id="no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf", id="broken gzip"),
    ],
)
def test_a_host_that_breaks_off_is_unreachable(answer: bytes) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
            error = await failure(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/face.png")
            assert type(error) is ImageUnreachable

    run(scenario())


def test_a_closed_port_is_unreachable() -> None:
    with socket.socket() as bound:  # bound but not listening, so that nobody else listens there
        bound.bind(("127.0.0.1", 0))
        error = run(failure(f"http://127.0.0.1:{bound.getsockname()[1]}/face.png"))
    assert type(error) is ImageUnreachable


# --- base64


async def decode(text: str) -> bytes:
    async with loading() as loader:
        return await loader.load(ImageSource(base64=text))


@pytest.mark.parametrize(
    ("text", "file"),
    [
        pytest.param("/9j/4A==", b"\xff\xd8\xff\xe0", id="plain"),
        pytest.param("/9j/4A", b"\xff\xd8\xff\xe0", id="without padding"),
        pytest.param("/9j/4A=", b"\xff\xd8\xff\xe0", id="with half the padding"),
        pytest.param("data:image/jpeg;base64,/9j/4A==", b"\xff\xd8\xff\xe0", id="data URL"),
        pytest.param(" /9j\n/4\r\nA==\n", b"\xff\xd8\xff\xe0", id="in lines"),
        pytest.param(base64.b64encode(b"x" * MAX_BYTES).decode(), b"x" * MAX_BYTES, id="just at the limit"),
        pytest.param("data:,\n" + base64.encodebytes(b"x" * MAX_BYTES).decode(), b"x" * MAX_BYTES, id="in many lines"),
    ],
)
def test_base64_is_decoded(text: str, file: bytes) -> None:
    assert run(decode(text)) == file


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(" \n", id="blank"),
        pytest.param("data:image/jpeg;base64,", id="empty data URL"),
        pytest.param("data:image/jpeg", id="data URL without data"),
        pytest.param("not base64!", id="garbage"),
        pytest.param("/9j_-A==", id="another alphabet"),
        pytest.param("AAAAA", id="impossible length"),
        pytest.param("AA==AA==", id="padding in the middle"),
        pytest.param("ÄÖÜß", id="not ASCII"),
        pytest.param("\ud800AAA", id="lone surrogate"),
    ],
)
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"image\.base64 is"):
        run(decode(text))


@pytest.mark.parametrize("excess", [1, 2, 3, 4, MAX_BYTES])
def test_base64_of_a_file_over_the_limit_is_too_large(excess: int) -> None:
    with pytest.raises(ImageTooLarge, match=r"0\.1 MB"):
        run(decode(base64.b64encode(b"x" * (MAX_BYTES + excess)).decode()))


def test_a_loader_that_never_downloaded_can_be_closed() -> None:
    run(ImageLoader(rules=(), max_bytes=1, timeout_s=1).close())
