"""Faults that happen at a time, to a part of the engine or to what is deployed, and not to a call."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import MISSING, dataclass, fields
from math import isclose
from typing import Any, Protocol, TypeVar

from testbed.chaos.fault import Fault
from testbed.errors import UsageError

_T = TypeVar("_T")


class Part(Protocol):
    """LocalStack or Postgres, as `testbed.engine.base.Part` has it."""

    async def kill(self) -> None:
        """End it at once."""

    async def start(self) -> None:
        """Start it again."""

    async def pause(self) -> None:
        """Freeze it."""

    async def resume(self) -> None:
        """Let it go on."""

    async def disconnect(self) -> None:
        """Cut it off from the network."""

    async def reconnect(self) -> None:
        """Put it back."""


class World(Protocol):
    """What a timed fault can reach: a running testbed with an architecture on it."""

    def part(self, name: str) -> Part:
        """A part of the engine, ``"localstack"`` or ``"postgres"``."""

    async def aws(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call AWS with boto3, past all faults; the operation in boto3's form (``"put_function_concurrency"``)."""

    def connect(self, *, admin: bool) -> AbstractAsyncContextManager[Any]:
        """A psycopg connection to the database of the architecture, as the functions' user or as superuser."""


@dataclass(frozen=True, kw_only=True)
class TimedFault(Fault, ABC):
    """A fault that begins and ends at its times.

    Two of a kind that name the same function, table or part may not overlap: what one puts back, the other would find
    taken away, and the other way round. One may begin as the other ends; it waits until all is put back.

    Attributes:
        at: When it begins, in seconds after the start of the traffic.
        seconds: How long it lasts.

    Raises:
        UsageError: A time makes no sense.
    """

    at: float
    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at < 0 or self.seconds <= 0:
            raise self.refused(f"at={self.at}, seconds={self.seconds}: it begins at 0 or later, and lasts a while")

    @property
    def target(self) -> tuple[str, ...]:
        """The names that it was given of what it acts on; empty where it takes nothing that has a name."""
        required = (field.name for field in fields(self) if field.default is field.default_factory is MISSING)
        return tuple(value for name in required if isinstance(value := getattr(self, name), str))

    @abstractmethod
    def happening(self, world: World) -> AbstractAsyncContextManager[bool]:
        """The fault while the context is open; what was done is undone at its end, whatever happened in between.

        It yields whether it made a difference: else it has not fired. It may be cancelled while it begins, and has to
        undo then what it has done until there; it is not cancelled while it ends.
        """


def check_apart(faults: Sequence[Fault]) -> None:
    """See that timed faults of one kind leave each other alone.

    Args:
        faults: With a name each.

    Raises:
        UsageError: Two of them act on the same thing at the same time.
    """
    last: dict[tuple[object, ...], TimedFault] = {}
    for fault in sorted((each for each in faults if isinstance(each, TimedFault)), key=lambda each: each.at):
        key = type(fault), fault.target
        if fault.target and key in last:
            _check_after(last[key], fault)
        last[key] = fault


def _check_after(first: TimedFault, second: TimedFault) -> None:
    end = first.at + first.seconds
    if second.at < end and not isclose(second.at, end):  # windows that were scaled may miss each other by a rounding
        raise UsageError(
            f"{type(second).__name__} {second.name!r} begins at {second.at:g} s, while {first.name!r} acts on "
            f"{', '.join(second.target)} until {end:g} s",
            "let it begin when the other has ended, or make one fault of both",
        )


async def to_its_end(work: Awaitable[_T]) -> _T:
    """What ``work`` comes to; whoever is cancelled meanwhile is so once it is over: what undoes it must not be first.

    Raises:
        CancelledError: It came to its end, but nobody wants to go on.
    """
    doing = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait((doing,))
        except asyncio.CancelledError as error:
            cancelled = error
    result = doing.result()
    if cancelled is not None:
        raise cancelled
    return result
