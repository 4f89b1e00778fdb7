"""Calls that are executed twice, as when a network or an SDK repeats one whose answer was lost."""

from dataclasses import dataclass

from testbed.chaos.call import Call, Effect, Injection
from testbed.chaos.fault import CallFault


@dataclass(frozen=True, slots=True)
class Twice(Effect):
    """The call is executed two times, one after the other; the caller gets the second answer."""

    def __str__(self) -> str:
        return "executed twice"


@dataclass(frozen=True, kw_only=True)
class Duplicate(CallFault):
    """Executes a call twice: a message is sent, a record is put, a function runs two times.

    A call that is refused the first time is not repeated, and the fault has not fired.

    Raises:
        UsageError: The service is Postgres, whose sessions cannot be repeated.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.service in {"postgres", "execute-api"}:
            raise self.refused(f"calls of {self.service} are not repeated; lose a reply, and let the client do it")

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on the call."""
        del call, seed
        return Injection(self.name, effect=Twice())
