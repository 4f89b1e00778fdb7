"""Faults of Postgres: what they say of themselves, and what they refuse."""

from typing import Any

import pytest

from testbed.chaos.call import RESET, Call
from testbed.chaos.catalogue import faults_from_json, to_json
from testbed.chaos.fault import CallFault
from testbed.chaos.faults.postgres_connection import PostgresBlackHole, PostgresRefused, PostgresReset
from testbed.chaos.faults.slow_postgres import PostgresBandwidth
from testbed.chaos.faults.sql_error import SqlError, SqlState
from testbed.chaos.schedule import Schedule
from testbed.errors import UsageError

FAULTS: list[CallFault] = [
    PostgresBandwidth(name="thin", bytes_per_second=1e5),
    PostgresReset(name="lost", operations=("Commit",), position="after"),
    PostgresBlackHole(name="silent", seconds=2.5),
    PostgresRefused(name="full", sqlstate="53300"),
    SqlError(name="serialization", sqlstate="40001", operations=("Query", "Commit")),
]


def call(operation: str, service: str = "postgres") -> Call:
    return Call(service, operation, "shop", "client", "i", 1, 0)


def hit(fault: CallFault) -> set[str]:
    """The operations that it acts on."""
    schedule = Schedule([fault], 1)
    return {each for each in ("Connect", "Begin", "Query", "Commit", "Rollback") if schedule.decide(call(each))}


def test_each_survives_json() -> None:
    """Written and read again they are the same; all see Postgres alone."""
    assert faults_from_json(to_json(FAULTS)) == FAULTS
    assert {fault.service for fault in FAULTS} == {"postgres"}


def test_each_acts_where_it_makes_sense() -> None:
    """A refusal on connects, an error on statements; the others everywhere unless told otherwise."""
    everywhere = {"Connect", "Begin", "Query", "Commit", "Rollback"}
    assert hit(PostgresRefused()) == {"Connect"}
    assert hit(SqlError(sqlstate="40001")) == {"Query"}
    assert hit(SqlError(sqlstate="40001", operations=("Commit",))) == {"Commit"}
    assert hit(PostgresReset()) == hit(PostgresBlackHole(seconds=1)) == everywhere
    assert hit(PostgresBandwidth(bytes_per_second=1)) == everywhere


def test_what_each_does_to_a_call() -> None:
    """The journal is written from this: whether Postgres executed it, what was answered, what else was done."""
    done = [fault.inject(call("Query"), 1) for fault in FAULTS]
    assert [(each.answer, each.executed, str(each.effect)) for each in done] == [
        (None, False, "at 100000 bytes/s"),
        (RESET, True, "None"),
        (RESET, False, "silent for 2.5 s"),
        (
            SqlState("53300", message="remaining connection slots are reserved for roles with the SUPERUSER attribute",
                     fatal=True),
            False,
            "None",
        ),
        (SqlState("40001", message="could not serialize access due to concurrent update"), False, "None"),
    ]  # fmt: skip


def test_an_error_can_say_what_one_likes() -> None:
    """A state that is not known here needs a text."""
    injection = SqlError(sqlstate="XX000", message="cache lookup failed").inject(call("Query"), 1)
    assert injection.answer == SqlState("XX000", message="cache lookup failed")


@pytest.mark.parametrize(
    ("kind", "fields", "why"),
    [
        (PostgresBandwidth, {"bytes_per_second": 0}, "bytes_per_second=0"),
        (PostgresReset, {"position": "instead"}, "position='instead'"),
        (PostgresBlackHole, {"seconds": 0}, "seconds=0"),
        (PostgresRefused, {"sqlstate": "40001"}, "sqlstate='40001'"),
        (SqlError, {"sqlstate": "4000"}, "sqlstate='4000'"),
        (SqlError, {"sqlstate": "40p01"}, "sqlstate='40p01'"),
        (SqlError, {"sqlstate": "53300"}, "PostgresRefused"),
        (SqlError, {"sqlstate": "XX000"}, "needs a message"),
        (SqlError, {"sqlstate": "40001", "operations": ("Connect",)}, "operations="),
        (SqlError, {"sqlstate": "40001", "operations": ()}, "operations="),
    ],
)
def test_refuses_what_makes_no_sense(kind: Any, fields: dict[str, Any], why: str) -> None:
    """With the field that is wrong."""
    with pytest.raises(UsageError, match=why):
        kind(**fields)
