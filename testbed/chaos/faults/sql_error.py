"""Errors that Postgres answers a statement with, or a commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from testbed.chaos.call import AwsError, Call, Injection
from testbed.chaos.fault import CallFault

MESSAGES: Final[Mapping[str, str]] = {
    "40001": "could not serialize access due to concurrent update",
    "40P01": "deadlock detected",
    "53300": "remaining connection slots are reserved for roles with the SUPERUSER attribute",
    "55P03": "canceling statement due to lock timeout",
    "57014": "canceling statement due to statement timeout",
    "57P01": "terminating connection due to administrator command",
    "57P03": "the database system is starting up",
}
"""What PostgreSQL 16 says with these states (PostgreSQL documentation, appendix A, and its source)."""
_AT_CONNECT: Final = frozenset({"53300", "57P03"})
_FATAL: Final = frozenset({"57P01", "57P02", "57P05"})
_STATEMENTS: Final = ("Query", "Commit")
_LENGTH: Final = 5


@dataclass(frozen=True, slots=True)
class SqlState(AwsError):  # noqa: N818 - an answer, not an exception
    """An error of Postgres. It has no HTTP status; its code is the SQLSTATE.

    Attributes:
        fatal: Whether it ends the session.
    """

    status: int = 0
    message: str = ""
    fatal: bool = False


@dataclass(frozen=True, kw_only=True)
class SqlError(CallFault):
    """Answers a statement with an error in place of executing it; the session is then as after such an error.

    A transaction block has failed, and wants to be rolled back; a pipeline is skipped up to its sync. A commit that
    fails has rolled its transaction back. With 57P01 the session is over, and its transaction is rolled back. Nothing
    happens to a block that has failed already, and the fault has not fired: Postgres says 25P02 there, and a COMMIT of
    it is a ROLLBACK.

    Attributes:
        operations: ``"Query"`` or ``"Commit"``, or both; ``"Query"`` unless told otherwise.
        sqlstate: For example ``"40001"`` (serialization failure), ``"40P01"`` (deadlock), ``"57P01"`` (the server
            shuts down), ``"57014"`` (statement timeout), ``"55P03"`` (lock not available). See PostgreSQL
            documentation, appendix A. What is said at connect is for `PostgresRefused`.
        message: Text for people; empty is Postgres's own, for the states above.

    Raises:
        UsageError: A field makes no sense.
    """

    answers: ClassVar[bool] = True

    service: str = field(default="postgres", init=False)
    operations: tuple[str, ...] = ("Query",)
    sqlstate: str
    message: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sqlstate) != _LENGTH or not self.sqlstate.isalnum() or self.sqlstate != self.sqlstate.upper():
            raise self.refused(f"sqlstate={self.sqlstate!r} is not five digits or capital letters")
        if self.sqlstate in _AT_CONNECT:
            raise self.refused(f"Postgres answers no statement with {self.sqlstate}; PostgresRefused answers a connect")
        if not self.operations or not set(self.operations) <= set(_STATEMENTS):
            raise self.refused(f"operations={self.operations} are not among {', '.join(_STATEMENTS)}")
        if not self.message and self.sqlstate not in MESSAGES:
            raise self.refused(f"sqlstate={self.sqlstate!r} needs a message")

    def inject(self, call: Call, seed: int) -> Injection:
        """The error, not executed."""
        del call, seed
        message = self.message or MESSAGES[self.sqlstate]
        answer = SqlState(self.sqlstate, message=message, fatal=self.sqlstate in _FATAL)
        return Injection(self.name, answer=answer, can_fail=True)
