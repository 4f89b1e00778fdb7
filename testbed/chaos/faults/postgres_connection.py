"""Connections to Postgres that break, fall silent, or are refused."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from testbed.chaos.call import RESET, Call, Effect, Injection
from testbed.chaos.fault import CallFault
from testbed.chaos.faults.sql_error import MESSAGES, SqlState


@dataclass(frozen=True, slots=True)
class Vanished(Effect):
    """From now on every byte of the session vanishes, both ways; in the end its connections are reset.

    Attributes:
        seconds: Until then.
    """

    seconds: float

    def __str__(self) -> str:
        return f"silent for {self.seconds:g} s"


@dataclass(frozen=True, kw_only=True)
class PostgresReset(CallFault):
    """Resets a connection to Postgres.

    ``PostgresReset(operations=("Commit",), position="after")`` is the COMMIT that was executed while its reply was
    lost: the client cannot know. A statement outside of a transaction block commits by itself: there the same goes for
    ``operations=("Query",)``. In a block, or in a pipeline before its sync, what was executed is rolled back. An answer
    that is an error is lost as any other.

    Attributes:
        position: ``"before"`` the round trip reaches Postgres, or ``"after"`` Postgres has answered it, when the
            answer is lost.
    """

    answers: ClassVar[bool] = True

    service: str = field(default="postgres", init=False)
    position: Literal["before", "after"] = "before"

    def inject(self, call: Call, seed: int) -> Injection:
        """No answer."""
        del call, seed
        return Injection(self.name, answer=RESET, executed=self.position == "after")


@dataclass(frozen=True, kw_only=True)
class PostgresBlackHole(CallFault):
    """Lets all bytes of a connection vanish from a round trip on, both ways, while the connection stays open.

    Postgres never sees the round trip, nor that the client gives up: it keeps the session, its transaction, its locks
    and its slot.

    Attributes:
        seconds: Until the connection is reset on both sides.

    Raises:
        UsageError: It is not positive.
    """

    answers: ClassVar[bool] = True

    service: str = field(default="postgres", init=False)
    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds <= 0:
            raise self.refused(f"seconds={self.seconds} is not more than 0")

    def inject(self, call: Call, seed: int) -> Injection:
        """No answer, for a while."""
        del call, seed
        return Injection(self.name, answer=RESET, effect=Vanished(self.seconds))


@dataclass(frozen=True, kw_only=True)
class PostgresRefused(CallFault):
    """Refuses connections to Postgres, which never sees them.

    Connections of one user to one database are attempts of the same call: which environment is refused depends on who
    comes first.

    Attributes:
        sqlstate: ``"53300"``: no connection is left for an ordinary user; ``"57P03"``: the server is starting up.
            Empty resets the connection, as where nobody listens any more: only that TCP's own handshake, which is over
            before a fault can see whom it hits, has worked.
    """

    answers: ClassVar[bool] = True

    service: str = field(default="postgres", init=False)
    operations: tuple[str, ...] = field(default=("Connect",), init=False)
    sqlstate: Literal["", "53300", "57P03"] = ""

    def inject(self, call: Call, seed: int) -> Injection:
        """An error, or no answer."""
        del call, seed
        if not self.sqlstate:
            return Injection(self.name, answer=RESET)
        return Injection(self.name, answer=SqlState(self.sqlstate, message=MESSAGES[self.sqlstate], fatal=True))
