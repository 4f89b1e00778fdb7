"""Statements and commits, on the wire between functions and Postgres; Postgres does not execute them.

Every first attempt to commit fails as a serialization failure. Who repeats the transaction gets through.
"""

from testbed import SqlError
from testbed.chaos.call import AwsError, Call
from testbed.chaos.schedule import Schedule
from testbed.chaos.trigger import attempts

fault = SqlError(sqlstate="40001", operations=("Commit",), when=attempts(1))

schedule = Schedule([fault], seed=42)
first, second = (Call("postgres", "Commit", "shop", "client", "5e1f", attempt, at=3.0) for attempt in (1, 2))
decision = schedule.decide(first)
assert decision is not None
assert decision.answering is not None
assert isinstance(decision.answering.answer, AwsError)
assert decision.answering.answer.message == "could not serialize access due to concurrent update"
assert schedule.decide(second) is None  # who repeats the transaction gets through
