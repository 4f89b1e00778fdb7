"""The start of connections to Postgres.

About half of the connections are refused, as if too many were open.
"""

from testbed import PostgresRefused
from testbed.chaos.call import AwsError, Call
from testbed.chaos.schedule import Schedule

fault = PostgresRefused(sqlstate="53300", probability=0.5)

schedule = Schedule([fault], seed=42)
connects = [Call("postgres", "Connect", "shop", "client", f"{n:x}", attempt=1, at=3.0) for n in range(100)]
answers = [decision.answering.answer for call in connects if (decision := schedule.decide(call)) and decision.answering]
assert 30 < len(answers) < 70
assert all(isinstance(answer, AwsError) and answer.code == "53300" for answer in answers)
