"""A page of the public web, and of nothing else.

What is judged is the address that a socket is about to connect to, at the last moment before it does, for every
connection of every redirect: a name that resolves to something else the second time, an address in an odd form and a
name of a private machine all come to the same check.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from yarl import URL

_REDIRECTS = (301, 302, 303, 307, 308)
_TEXTS = re.compile(r"text/.*|application/(.*[+])?(json|xml)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_GLOBAL_6 = ipaddress.ip_network("2000::/3")
_CLOUD = ipaddress.ip_address("168.63.129.16")
"""Azure's host, of all its machines: learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16."""
_LONGEST = 2048
"""Characters of an address."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    Of version 6 only global unicast addresses are (RFC 4291), without those that hold one of version 4 (6to4, Teredo);
    mapped ones and those of NAT64 (RFC 6052) are outside of that range.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return ip in _GLOBAL_6 and ip.is_global and ip.sixtofour is None and ip.teredo is None
    return ip.is_global and not ip.is_multicast and ip != _CLOUD


class WebFetch:
    """Text behind an address of the web."""

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        ports: Iterable[int] = (80, 443),
        most_bytes: int = 256 * 1024,
        seconds: float = 20,
        redirects: int = 5,
    ) -> None:
        """Take the limits.

        Args:
            allow: addresses that are reached though they are not public, such as ``127.0.0.1:8000``.
            ports: reached at public addresses.
            most_bytes: of a text, and of what is sent of it; the rest is left out, which is said.
            seconds: for all of a call.
            redirects: that are followed.
        """
        self.allow, self.ports, self.most_bytes = frozenset(allow), frozenset(ports), most_bytes
        self.seconds, self.redirects = seconds, redirects

    def description(self) -> str:
        """What it fetches."""
        return f"Fetches a text (a page, JSON, XML) of the public web, up to {self.most_bytes} bytes of it."

    def arguments(self) -> dict[str, Any]:
        """An address."""
        told = {"type": "string", "maxLength": _LONGEST, "description": "Such as https://example.org/page"}
        return {"type": "object", "properties": {"url": told}, "required": ["url"]}

    async def call(self, args: Mapping[str, Any], /) -> dict[str, Any]:
        """Final address, status, type and text, and whether it was cut.

        Raises:
            ValueError: the address, or one that it is redirected to, is refused; it holds no text, or cannot be had.
        """
        refused: list[str] = []

        def connectable(info: tuple[Any, ...]) -> socket.socket:
            family, kind, proto, _, (host, port, *_) = info
            if not self._may(host, port):
                refused.append(f"{host} port {port} is not an address of the public web, or not one of its ports")
                raise OSError(refused[-1])
            return socket.socket(family, kind, proto)

        connector = aiohttp.TCPConnector(
            resolver=aiohttp.ThreadedResolver(), use_dns_cache=False, socket_factory=connectable, force_close=True
        )
        try:
            async with (
                asyncio.timeout(self.seconds),
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    headers={"Accept-Encoding": "gzip, deflate"},
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as session,
            ):
                return await self._fetched(session, _url(args["url"]))
        except TimeoutError as error:
            raise ValueError(f"no answer within {self.seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise ValueError(f"{args['url']!r}: {'; '.join(refused) or error}") from error

    def _may(self, host: str, port: int) -> bool:
        return f"{host}:{port}" in self.allow or (port in self.ports and is_public(host))

    async def _fetched(self, session: aiohttp.ClientSession, url: URL) -> dict[str, Any]:
        for _ in range(self.redirects + 1):
            async with session.get(url, allow_redirects=False) as response:
                target = response.headers.get("Location")
                if response.status in _REDIRECTS and target:
                    url = _url(target, url)
                    continue
                if not _TEXTS.fullmatch(response.content_type):
                    raise ValueError(f"{url}: the type {response.content_type} is no text")
                data, cut = await self._read(response)
                try:
                    text = data.decode(response.charset or "utf-8", errors="replace")
                except LookupError:
                    text = data.decode(errors="replace")
                told = {"url": str(url), "status": response.status, "type": response.content_type, "text": text}
                return told | ({"cut": f"after {self.most_bytes} bytes"} if cut else {})
        raise ValueError(f"more than {self.redirects} redirects")

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """The body, decompressed no further than is kept, and whether it goes on."""
        coding = response.headers.get("Content-Encoding", "identity").lower()
        if coding not in ("identity", "gzip", "deflate"):
            raise ValueError(f"the encoding {coding} is not read")
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding != "identity" else None  # either header
        data, sent = bytearray(), 0
        try:
            async for chunk in response.content.iter_chunked(1 << 14):
                sent += len(chunk)
                data += unpacker.decompress(chunk, self.most_bytes + 1 - len(data)) if unpacker else chunk
                if max(sent, len(data)) > self.most_bytes:
                    return bytes(data[: self.most_bytes]), True
        except zlib.error as error:
            raise ValueError(f"the text is not packed as it says: {error}") from error
        if unpacker and sent and not unpacker.eof:
            raise ValueError("the text is not packed as it says: it breaks off")
        return bytes(data), False


def _url(text: str, base: URL | None = None) -> URL:
    """An address that may be asked for.

    Raises:
        ValueError: it is none of http or https, holds a name and password, or writes an IP address in an odd form.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"the address has {len(text)} characters; {_LONGEST} are allowed")
    url = base.join(URL(text)) if base else URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{text!r}: give an address of http:// or https://")
    if url.user is not None or url.password is not None:
        raise ValueError(f"{text!r}: an address with a name or password in it is not asked for")
    last = url.host.rstrip(".").rpartition(".")[2].lower()
    if ":" not in url.host and _NUMBER.fullmatch(last):
        try:
            ipaddress.ip_address(url.host)
        except ValueError as error:
            raise ValueError(f"{text!r}: write an IP address as four decimal numbers") from error
    return url
