"""What SQS may do to messages: deliver them twice, too early again, or late."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from testbed.chaos.call import Call, Effect, Injection
from testbed.chaos.fault import CallFault

_MAX_DELAY: Final = 900


@dataclass(frozen=True, slots=True)
class VisibleAgain(Effect):
    """Received messages become visible again before their visibility timeout is over.

    Attributes:
        after: Seconds after they were received.
    """

    after: int

    def __str__(self) -> str:
        return f"visible again after {self.after} s"


@dataclass(frozen=True, slots=True)
class SentLate(Effect):
    """Messages become visible only some time after they were sent.

    Attributes:
        seconds: How long after.
    """

    seconds: int

    def __str__(self) -> str:
        return f"delivered {self.seconds} s late"


@dataclass(frozen=True, kw_only=True)
class EarlyVisibility(CallFault):
    """Received messages become visible again too early, while their consumer still works on them.

    With ``after=0`` a message is delivered twice at once, as at-least-once delivery allows (Amazon SQS developer guide,
    At-least-once delivery). Its receive count is spent each time. It fires where a visibility timeout was cut short:
    not where nothing was received, nor where the timeout is over earlier than this.

    Attributes:
        after: Seconds after they were received, whole as SQS counts them.

    Raises:
        UsageError: The time is negative.
    """

    service: str = field(default="sqs", init=False)
    operations: tuple[str, ...] = field(default=("ReceiveMessage",), init=False)
    after: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after < 0:
            raise self.refused(f"after={self.after} is negative")

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on what is received."""
        del call, seed
        return Injection(self.name, effect=VisibleAgain(self.after))


@dataclass(frozen=True, kw_only=True)
class LateDelivery(CallFault):
    """Messages become visible late; those of FIFO queues are left alone, which take no delay for a single message.

    It fires where a message was sent, and its delay was not at its most already.

    Attributes:
        seconds: How late, 1 to 900, in whole seconds (Amazon SQS API reference, SendMessage, DelaySeconds); that of
            the message or the queue is added, and 900 is the most for both.

    Raises:
        UsageError: The time is out of range.
    """

    service: str = field(default="sqs", init=False)
    operations: tuple[str, ...] = field(default=("SendMessage", "SendMessageBatch"), init=False)
    seconds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.seconds <= _MAX_DELAY:
            raise self.refused(f"seconds={self.seconds} is not 1 to {_MAX_DELAY}")

    def armed(self, seed: int) -> Callable[[Call], bool]:
        """Whether it hits a call: one on a standard queue."""
        hits = super().armed(seed)
        return lambda call: not call.resource.endswith(".fifo") and hits(call)

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on what is sent."""
        del call, seed
        return Injection(self.name, effect=SentLate(self.seconds))
