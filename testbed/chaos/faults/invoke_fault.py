"""What faults of Lambda have in common that act where a handler runs."""

from collections.abc import Callable
from dataclasses import dataclass, field

from testbed.chaos.call import Call
from testbed.chaos.fault import CallFault


@dataclass(frozen=True, kw_only=True)
class InvokeFault(CallFault):
    """A fault of the invokes of functions, whoever invokes: APIs, pollers, other functions, clients.

    An asynchronous invoke (``InvocationType=Event``) is hit by its attempts, each of which is a call of its own with
    the caller ``"async:NAME"``; its acceptance runs no handler and is left alone, as a ``DryRun`` is.
    """

    service: str = field(default="lambda", init=False)
    operations: tuple[str, ...] = field(default=("Invoke",), init=False)

    def armed(self, seed: int) -> Callable[[Call], bool]:
        """As of every fault, but for calls that run no handler: its trigger does not count them either."""
        hits = super().armed(seed)
        return lambda call: call.runs and hits(call)
