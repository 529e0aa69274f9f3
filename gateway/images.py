"""Fetch the image of a request: download it from an address that may be fetched, or decode its base64."""

import asyncio
import base64
import binascii
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway.addresses import AddressRule, may_fetch
from gateway.errors import ImageAddressRefused, ImageTimeout, ImageTooLarge, ImageUnreachable, InvalidRequest
from schemas.v7 import ImageSource

MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_CHUNK_BYTES = 65_536


class ImageLoader:
    """Load images by URL or base64, within limits of size, time and place.

    Connections are kept alive and pooled; ``close`` ends them. Environment proxies are ignored: they would resolve
    names that were not checked.
    """

    def __init__(self, *, rules: Sequence[AddressRule], max_bytes: int, timeout_s: float) -> None:
        self._rules = rules
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def load(self, source: ImageSource) -> bytes:
        """Return the encoded image. Raises ServiceError of the kinds named ``Image…``, and InvalidRequest."""
        if source.url is not None:
            return await self._fetch(source.url)
        return self._decode_base64(source.base64 or "")

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()

    def _decode_base64(self, text: str) -> bytes:
        if text[:5].lower() == "data:":
            text = text.partition(",")[2]
        text = "".join(text.split())
        if len(text) * 3 // 4 > self._max_bytes + 2:  # before the copy is made
            raise self._too_large()
        try:
            image = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("image.base64 is not base64") from None
        if not image:
            raise InvalidRequest("image.base64 is empty")
        if len(image) > self._max_bytes:
            raise self._too_large()
        return image

    async def _fetch(self, address: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(self._parse(address))
        except TimeoutError:
            raise ImageTimeout(f"the image's host took longer than {self._timeout_s:g} s") from None
        except aiohttp.ClientError as error:
            # The error's own text can hold the URL with its token.
            raise ImageUnreachable(f"the image cannot be downloaded ({type(error).__name__})") from None

    async def _follow(self, url: URL) -> bytes:
        """Download, following redirects by hand, since each one leads to an address that has to be checked."""
        if self._session is None:
            self._session = self._open_session()
        for _ in range(MAX_REDIRECTS + 1):
            self._check_literal(url)
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    url = self._parse(response.headers["Location"], base=url)
                    continue
                if response.status != 200:
                    raise ImageUnreachable(f"the image's host answers {response.status}")
                return await self._read(response)
        raise ImageUnreachable(f"more than {MAX_REDIRECTS} redirects")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """Read the body, counted as it comes: whatever length it claims, and after decompression."""
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        image = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            image += chunk
            if len(image) > self._max_bytes:
                raise self._too_large()
        return bytes(image)

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_CheckingResolver(self._rules), use_dns_cache=False, limit=0, keepalive_timeout=30
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "facebento", "Accept": "image/*", "Accept-Encoding": "identity"},
        )

    @staticmethod
    def _parse(address: str, base: URL | None = None) -> URL:
        try:
            url = base.join(URL(address)) if base else URL(address)
            host = url.host  # decoded only now
        except ValueError:
            raise ImageAddressRefused("image.url is not a URL") from None
        if url.scheme not in ("http", "https") or not host:
            raise ImageAddressRefused("image.url is not an http or https URL")
        if url.user is not None or url.password is not None:
            raise ImageAddressRefused("image.url must not carry a user name or password")
        return url

    def _check_literal(self, url: URL) -> None:
        """Check a host that is an address itself: aiohttp does not ask a resolver for those."""
        host = url.host or ""
        try:
            ip_address(host.partition("%")[0])
        except ValueError:
            if host.replace(".", "").isdigit():  # an old spelling of an address, which aiohttp may take for one
                raise _refused(host) from None
            return  # a name, which the resolver checks
        if not may_fetch(host, host, self._rules):
            raise _refused(host)

    def _too_large(self) -> ImageTooLarge:
        return ImageTooLarge(f"the image file is larger than the limit of {self._max_bytes / 1e6:g} MB")


class _CheckingResolver(AbstractResolver):
    """Resolve a name to addresses that may all be fetched; the connection then goes to just those."""

    def __init__(self, rules: Sequence[AddressRule]) -> None:
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except UnicodeError:
            raise OSError("no name that can be looked up") from None  # aiohttp expects this kind
        # One forbidden address among several is a sign of an attack, and which is tried first is not ours to say.
        if not all(may_fetch(host, str(info[4][0]), self._rules) for info in infos):
            raise _refused(host)
        return [
            ResolveResult(
                hostname=host,
                host=str(sockaddr[0]),
                port=port,
                family=info_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for info_family, _, proto, _, sockaddr in infos
        ]

    async def close(self) -> None:
        """Nothing to close."""


def _refused(host: str) -> ImageAddressRefused:
    return ImageAddressRefused(
        f"images are not fetched from {host[:100]}: its address is not public, nor allowed by FACEBENTO_FETCH_ALLOW"
    )
