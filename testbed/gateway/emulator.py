"""The way to the emulator: requests go through unchanged, bodies are streamed where they are large.

It also is the network before the emulator, which can be cut: see `Emulator.cut`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from io import BytesIO
from typing import Final, TypeVar

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
_T = TypeVar("_T")


class EmulatorUnreachableError(Exception):
    """Nothing answered where the emulator should be."""


class Emulator:
    """An HTTP client for the emulator.

    Attributes:
        url: Where it listens, for example ``"http://127.0.0.1:4567"``; empty until that is known. See `move`.
        cuts: How often the network was cut.
        reachable: Set while it is not cut.
    """

    def __init__(self) -> None:
        self.url = ""
        self.cuts = 0
        self.reachable = asyncio.Event()
        self.reachable.set()
        self._under_way: set[asyncio.Timeout] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._session = _session()

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes; see `cut`."""
        return not self.reachable.is_set()

    def move(self, url: str) -> None:
        """The emulator is here now; connections to another address break, as nobody is there any more."""
        if url != self.url:
            self.url = url
            self._break_off()

    def cut(self) -> None:
        """Let nothing through from now on, until `mend`; does nothing where it is so already.

        Connections do not survive that. Requests that are under way stay without an answer until the end of the cut,
        and fail then. Those that come meanwhile wait for its end and go through, unless their client has given up:
        then they are never sent, as they never were.
        """
        if not self.is_cut:
            self.reachable.clear()
            self.cuts += 1
            self._break_off()

    def mend(self) -> None:
        """End a cut."""
        self.reachable.set()

    def _break_off(self) -> None:
        """End every connection, and what is under way on it."""
        now = asyncio.get_running_loop().time()
        for each in self._under_way:
            each.reschedule(now)
        task = asyncio.create_task(self._session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._session = _session()

    async def forward(self, request: Inbound) -> Reply:
        """Send ``request`` on and return the answer; a long one is still to be streamed.

        Raises:
            EmulatorUnreachableError: The emulator did not answer.
        """
        while self.is_cut:
            await self.reachable.wait()
            if request.abandoned():
                raise EmulatorUnreachableError("the network was cut, and the client gave up")
        if not self.url:
            raise EmulatorUnreachableError("it is still starting")
        return await self._connected(self._exchange(request))

    async def close(self) -> None:
        """Close all connections."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._session.close()

    async def _exchange(self, request: Inbound) -> Reply:
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _CONNECTION_HEADERS
        )
        url = URL(self.url + request.target, encoded=True)
        response = await self._session.request(
            request.method, url, headers=headers, data=_data(request), allow_redirects=False
        )
        reply = Reply(response.status, _end_to_end(response))
        if (response.content_length or _HELD_BYTES + 1) <= _HELD_BYTES or request.method == "HEAD":
            reply.body = await response.read()
        else:
            reply.stream = self._pieces(response)
        return reply

    async def _connected(self, work: Awaitable[_T]) -> _T:
        """The result of ``work``; a failure is told once the network is there to tell it."""
        try:
            async with asyncio.timeout(None) as under_way:
                self._under_way.add(under_way)
                try:
                    return await work
                finally:
                    self._under_way.discard(under_way)
        except (aiohttp.ClientError, OSError) as error:
            await self.reachable.wait()
            raise EmulatorUnreachableError(str(error) or "the connection broke") from error

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        async with response:
            while piece := await self._connected(response.content.readany()):
                yield piece


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


def _data(request: Inbound) -> AsyncIterator[bytes] | BytesIO | bytes | None:
    """The body as aiohttp wants it: what is large it sends piece by piece, if it is a file, and warns otherwise."""
    if request.stream is not None:
        return request.stream
    return BytesIO(request.body) if len(request.body) > _HELD_BYTES else request.body or None


def _end_to_end(response: aiohttp.ClientResponse) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in response.headers.items() if name.lower() not in _CONNECTION_HEADERS
    )
