"""What comes in and what goes out, whatever carried it: HTTP, or a call from inside the plane."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from multidict import CIMultiDict


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request to the gateway.

    Attributes:
        method: HTTP method.
        target: Path and query exactly as sent, percent-encoding included.
        headers: Request headers.
        body: The whole body; empty while it is still to be streamed.
        stream: The rest of a body that is too large, or not needed, to be read first; None when ``body`` is whole.
        abandoned: Whether the client has gone away by now.
    """

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    abandoned: Callable[[], bool] = _never

    @property
    def path(self) -> str:
        """The path without its query, still percent-encoded."""
        return self.target.partition("?")[0]


@dataclass(slots=True)
class Reply:
    """An answer of the gateway.

    Attributes:
        status: HTTP status.
        headers: Response headers without those that belong to the connection.
        body: The whole body; empty when ``stream`` carries it.
        stream: The body in pieces, for answers that are too large to hold.
        error: AWS error code, where the answer is an error.
        cause: Why it failed, in the vocabulary of the journal (``"throttle"``, ``"timeout"``, ...); None if it did not.
    """

    status: int
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    error: str | None = None
    cause: str | None = None

    @property
    def refused(self) -> bool:
        """Whether it is an error: what was asked for has not happened."""
        return not self.status or self.status >= 400  # noqa: PLR2004 - HTTP's errors begin here

    async def whole(self) -> bytes:
        """The whole body; what was still to be streamed is read, and held from then on."""
        if self.stream is not None:
            self.body, self.stream = b"".join([piece async for piece in self.stream]), None
        return self.body
