"""The wire between functions and Postgres.

One COMMIT in five is executed, and the connection breaks before the reply: the order is stored, and nobody knows.
"""

from testbed import PostgresReset
from testbed.chaos.call import RESET, Call
from testbed.chaos.schedule import Schedule

fault = PostgresReset(operations=("Commit",), position="after", probability=0.2)

schedule = Schedule([fault], seed=42)
commits = [Call("postgres", "Commit", "shop", "client", f"{n:x}", attempt=1, at=3.0) for n in range(100)]
lost = [decision.answering for commit in commits if (decision := schedule.decide(commit))]
assert 5 < len(lost) < 40
assert all(each and each.executed and each.answer == RESET for each in lost)  # stored, and nobody knows
