"""The way to the emulator: requests go through unchanged, bodies are streamed where they are large."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from testbed.gateway.message import Inbound, Reply

_CONNECTION_HEADERS: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
)
_HELD_BYTES: Final = 1 << 20
_IDLE_SECONDS: Final = 10.0  # shorter than the emulator's own, so that it never closes a connection just in use
UNREACHABLE: Final = "emulator unreachable"
"""The journal's cause for requests that the emulator did not answer."""


class EmulatorUnreachableError(Exception):
    """Nothing answered where the emulator should be."""


class Emulator:
    """An HTTP client for the emulator.

    Attributes:
        url: Where it listens, for example ``"http://127.0.0.1:4567"``; empty until that is known.
    """

    def __init__(self) -> None:
        self.url = ""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def forward(self, request: Inbound) -> Reply:
        """Send ``request`` on and return the answer; a long one is still to be streamed.

        Raises:
            EmulatorUnreachableError: The emulator did not answer.
        """
        if not self.url:
            raise EmulatorUnreachableError("it is still starting")
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _CONNECTION_HEADERS
        )
        url = URL(self.url + request.target, encoded=True)
        try:
            response = await self._session.request(
                request.method, url, headers=headers, data=_data(request), allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise EmulatorUnreachableError(str(error) or type(error).__name__) from error
        reply = Reply(response.status, _end_to_end(response))
        if (response.content_length or _HELD_BYTES + 1) <= _HELD_BYTES or request.method == "HEAD":
            try:
                reply.body = await response.read()
            except (aiohttp.ClientError, OSError) as error:
                raise EmulatorUnreachableError(str(error) or type(error).__name__) from error
        else:
            reply.stream = _pieces(response)
        return reply

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _data(request: Inbound) -> AsyncIterator[bytes] | BytesIO | bytes | None:
    """The body as aiohttp wants it: what is large it sends piece by piece, if it is a file, and warns otherwise."""
    if request.stream is not None:
        return request.stream
    return BytesIO(request.body) if len(request.body) > _HELD_BYTES else request.body or None


def _end_to_end(response: aiohttp.ClientResponse) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in response.headers.items() if name.lower() not in _CONNECTION_HEADERS
    )


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with response:
        async for piece in response.content.iter_any():
            yield piece
