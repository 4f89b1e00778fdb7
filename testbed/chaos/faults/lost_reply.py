"""Answers that never arrive: the connection is reset, or hangs, before or after the call was executed."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from testbed.chaos.call import RESET, Call, Injection
from testbed.chaos.fault import CallFault


@dataclass(frozen=True, kw_only=True)
class LostReply(CallFault):
    """Executes a call, and breaks the connection in place of an answer: the caller cannot know that it happened.

    A call that the service refuses has not happened: the refusal gets through, and the fault has not fired.

    Attributes:
        hang_seconds: How long the connection stays open first, without a byte.

    Raises:
        UsageError: The time is negative.
    """

    answers: ClassVar[bool] = True

    hang_seconds: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hang_seconds < 0:
            raise self.refused(f"hang_seconds={self.hang_seconds} is negative")

    def inject(self, call: Call, seed: int) -> Injection:
        """Executed, and then nothing."""
        del call, seed
        return Injection(self.name, answer=RESET, executed=True, delay_after=self.hang_seconds)


@dataclass(frozen=True, kw_only=True)
class Unreachable(CallFault):
    """Breaks the connection before a call is executed: what the caller sees is the same as with `LostReply`.

    Attributes:
        kind: ``"reset"`` breaks it at once, ``"hang"`` when ``hang_seconds`` are over.
        hang_seconds: How long the connection stays open without a byte; an SDK's patience is 60 s as a rule.

    Raises:
        UsageError: A field makes no sense.
    """

    answers: ClassVar[bool] = True

    kind: Literal["reset", "hang"] = "reset"
    hang_seconds: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hang_seconds <= 0:
            raise self.refused(f"hang_seconds={self.hang_seconds} is not more than 0")

    def inject(self, call: Call, seed: int) -> Injection:
        """Nothing, not executed."""
        del call, seed
        return Injection(self.name, answer=RESET, delay=self.hang_seconds if self.kind == "hang" else 0.0)
